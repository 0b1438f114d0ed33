#include "src/jobs/content_key.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "src/base/sha256.h"

namespace bifrons {
namespace {

using nlohmann::json;

// What keys are hashes of: the text of a JSON object as nlohmann's library writes it, without making one.
// Keys of manifests that exist depend on every byte of it.
class ContentText {
 public:
  /// In the order of their bytes, as in a std::map.
  ContentText& Name(const char* name) {
    text_ += text_.empty() ? "{\"" : ",\"";
    text_ += name;
    text_ += "\":";
    return *this;
  }
  void Null() { text_ += "null"; }
  void Whole(int64_t value) { text_ += std::to_string(value); }
  void Text(std::string_view text) {
    const auto plain = [](unsigned char c) { return c >= 0x20 && c < 0x7F && c != '"' && c != '\\'; };
    if (std::all_of(text.begin(), text.end(), plain)) {
      text_ += '"';
      text_ += text;
      text_ += '"';
    } else {
      Json(json(text));
    }
  }
  void Json(const json& value) { text_ += value.dump(-1, ' ', false, json::error_handler_t::replace); }
  template <class Write>
  void List(size_t count, const Write& write) {
    text_ += '[';
    for (size_t i = 0; i < count; i++) {
      if (i > 0) text_ += ',';
      write(i);
    }
    text_ += ']';
  }

  // A setting that nobody gave is the model's, whose hash stands beside.
  void OrNull(const std::optional<float>& value) { value ? Json(json(*value)) : Null(); }
  void OrNull(const std::optional<int>& value) { value ? Whole(*value) : Null(); }
  void OrNull(const std::optional<int64_t>& value) { value ? Whole(*value) : Null(); }

  std::string Hash() { return Sha256::Hex(text_ + "}"); }

 private:
  std::string text_;
};

void AddPicture(const Job& job, const JobDefaults& defaults, JobFormat format, const PlanModel& model,
                ContentText* out) {
  const PictureJob& p = *job.picture;
  const DrawSettings settings = Merged(p.settings, defaults.settings);
  // Absent where manifests of 0.1 know none.
  if (const int best_of = BestOf(p, defaults); best_of > 1) out->Name("best_of").Whole(best_of);
  out->Name("cfg").OrNull(settings.guidance);
  out->Name("file").Text(p.file);
  out->Name("format");
  if (!p.format.empty()) {
    out->Text(p.format);
  } else if (defaults.format) {
    out->Text(NameOf(*defaults.format));
  } else {
    out->Null();
  }
  // GenEval's tree names its folders by the entry's place.
  if (format == JobFormat::kGenEval) out->Name("geneval").Whole(job.index);
  out->Name("images").Whole(PictureCount(job, defaults, format));
  out->Name("min_p").OrNull(settings.min_p);
  out->Name("model").Text(model.hash);
  out->Name("plot").Json(ToJson(defaults.plot));
  out->Name("prompt").Text(p.prompt);
  out->Name("seed").OrNull(p.seed ? p.seed : defaults.seed);
  if (const auto size = AskedSize(p, model)) out->Name("size").Text(size->ToString());
  out->Name("temperature").OrNull(settings.temperature);
  out->Name("top_k").OrNull(settings.top_k);
  out->Name("top_p").OrNull(settings.top_p);
  out->Name("upscale").Whole(defaults.upscale);
}

void AddAnswer(const AnswerJob& a, const JobDefaults& defaults, const std::string& model_hash,
               ContentText* out) {
  out->Name("images").List(a.images.size(), [&](size_t i) { out->Text(a.images[i]); });
  out->Name("max_tokens").OrNull(a.max_tokens);
  out->Name("model").Text(model_hash);
  out->Name("seed").OrNull(a.seed ? a.seed : defaults.seed);
  out->Name("temperature").OrNull(a.temperature);
  out->Name("top_p").OrNull(a.top_p);
  out->Name("turns").List(a.turns.size(), [&](size_t i) {
    const AnswerJob::Turn& turn = a.turns[i];
    out->List(3, [&](size_t part) {
      part == 0 ? out->Whole(turn.images) : out->Text(part == 1 ? turn.question : turn.answer);
    });
  });
}

std::optional<uint64_t> ParseHex16(std::string_view digits) {
  uint64_t value = 0;
  for (const char c : digits) {
    if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) return std::nullopt;
    value = value << 4 | static_cast<uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  }
  return value;
}

}  // namespace

std::string ContentKey(const Job& job, const JobDefaults& defaults, JobFormat format,
                       const PlanModel& model) {
  ContentText content;
  if (job.picture) {
    AddPicture(job, defaults, format, model, &content);
  } else {
    AddAnswer(*job.answer, defaults, model.hash, &content);
  }
  return content.Hash().substr(0, 32);
}

Digest16 KeyDigest(std::string_view key) {
  if (key.size() == 32) {
    const auto high = ParseHex16(key.substr(0, 16)), low = ParseHex16(key.substr(16));
    if (high && low) return {*high, *low};
  }
  return DigestOf(key);
}

Digest16 ResultDigest(Digest16 key, int64_t number) {
  key.low +=
      static_cast<uint64_t>(number) * 0x9E3779B97F4A7C15u;  // far from the others, and from other jobs'
  return key;
}

// Mixed before they are summed (SplitMix64), as the digests of one job's results are evenly apart.
void ResultSetDigest::Add(Digest16 result) {
  uint64_t mixed = result.low;
  mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9u;
  mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EBu;
  mixed ^= mixed >> 31;
  sum_.low += mixed, sum_.high += result.high ^ mixed;
}

std::string ResultSetDigest::Text() const {
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(sum_.high),
                static_cast<unsigned long long>(sum_.low));
  return text;
}

std::string KeyCounter::Unique(const std::string& content_key) {
  const Digest16 digest = KeyDigest(content_key);
  if (seen_.Insert(digest, {}).second) return content_key;
  const int64_t count = ++*again_.Insert(digest, 1).first;
  return content_key + "#" + std::to_string(count);
}

}  // namespace bifrons
