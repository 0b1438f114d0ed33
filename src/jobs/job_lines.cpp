// Prompts, one per line, and A1111's "Prompts from file" lines among them: --prompt "a cat" --seed 1 …
// AUTOMATIC1111: scripts/prompts_from_file.py
#include <algorithm>
#include <array>
#include <vector>

#include "src/base/printable.h"
#include "src/jobs/job_parser.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

enum class Tag {
  kField,    // one of ours, by the same name
  kSeed,     // -1: any
  kImages,   // n_iter and batch_size, multiplied
  kIgnored,  // has no meaning for a model that draws token by token, or concerns the web UI alone
  kRefused,  // would make another picture; harmless when switched off
};

struct TagName {
  const char* name;
  Tag tag;
};
constexpr std::array kTags = {
    TagName{"prompt", Tag::kField},
    TagName{"negative_prompt", Tag::kField},
    TagName{"cfg_scale", Tag::kField},
    TagName{"best_of", Tag::kField},
    TagName{"width", Tag::kField},
    TagName{"height", Tag::kField},
    TagName{"seed", Tag::kSeed},
    TagName{"n_iter", Tag::kImages},
    TagName{"batch_size", Tag::kImages},
    TagName{"steps", Tag::kIgnored},
    TagName{"sampler_name", Tag::kIgnored},
    TagName{"sampler_index", Tag::kIgnored},
    TagName{"prompt_for_display", Tag::kIgnored},
    TagName{"outpath_grids", Tag::kIgnored},
    TagName{"do_not_save_grid", Tag::kIgnored},
    TagName{"sd_model", Tag::kRefused},
    TagName{"outpath_samples", Tag::kRefused},
    TagName{"styles", Tag::kRefused},
    TagName{"subseed", Tag::kRefused},
    TagName{"subseed_strength", Tag::kRefused},
    TagName{"seed_resize_from_h", Tag::kRefused},
    TagName{"seed_resize_from_w", Tag::kRefused},
    TagName{"restore_faces", Tag::kRefused},
    TagName{"tiling", Tag::kRefused},
    TagName{"do_not_save_samples", Tag::kRefused},
};

// "best-of" as well, which is how the command line spells it.
const TagName* FindTag(std::string name) {
  std::ranges::replace(name, '-', '_');
  for (const TagName& tag : kTags) {
    if (tag.name == name) return &tag;
  }
  return nullptr;
}

bool IsA1111(std::string_view line) {
  return line.starts_with("--") &&
         FindTag(std::string(line.substr(2, line.find_first_of(" \t") - 2))) != nullptr;
}

// Python's shlex.split in its POSIX mode, without comments.
std::vector<std::string> SplitWords(std::string_view line, Mistake* mistake) {
  std::vector<std::string> words;
  bool in_word = false;
  char quote = 0;
  for (size_t i = 0; i < line.size(); i++) {
    const char c = line[i];
    if (quote == 0 && (c == ' ' || c == '\t' || c == '\r')) {
      in_word = false;
      continue;
    }
    if (!in_word) words.emplace_back();
    in_word = true;
    std::string& word = words.back();
    if (c == '\\' && quote != '\'') {
      if (i + 1 == line.size()) {
        mistake->Report("", "the line ends with a backslash");
      } else if (quote == '"' && line[i + 1] != '"' && line[i + 1] != '\\') {
        word += c;
      } else {
        word += line[++i];
      }
    } else if (c == quote) {
      quote = 0;
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    } else {
      word += c;
    }
  }
  if (quote != 0) mistake->Report("", std::string("a quotation ") + quote + " is not closed");
  return words;
}

bool IsOff(const std::string& value) {
  return value.empty() || value == "false" || value == "False" || value == "0" || value == "0.0" ||
         value == "-1";
}

class A1111Line {
 public:
  explicit A1111Line(Mistake* mistake) : mistake_(mistake), fields_("--", mistake) {}

  /// The first tag that was passed over; "" = none.
  const std::string& ignored() const { return ignored_; }

  PictureJob Read(const std::vector<std::string>& words) {
    for (size_t i = 0; i < words.size();) {
      const std::string name = words[i].substr(std::min<size_t>(2, words[i].size()));
      const TagName* tag = words[i].starts_with("--") ? FindTag(name) : nullptr;
      if (tag == nullptr) {
        mistake_->Report(Printable(words[i]),
                         "is no tag that is known here; a value of several words needs quotes");
        break;
      }
      if (++i == words.size()) {
        mistake_->Report("--" + name, "has no value");
        break;
      }
      std::string value = words[i++];
      if (tag->name == std::string_view("prompt") || tag->name == std::string_view("negative_prompt")) {
        while (i < words.size() && !words[i].starts_with("--")) value += " " + words[i++];
      }
      Set(*tag, value);
    }
    PictureJob job = fields_.Take();
    if (images_ > kMaxJobImages)
      mistake_->Report("--n_iter", "times --batch_size is more than " + std::to_string(kMaxJobImages));
    if (images_ > 0) job.images = static_cast<int>(images_);
    return job;
  }

 private:
  void Set(const TagName& tag, const std::string& text) {
    const FieldValue value = FieldValue::OfText(text);
    const std::string name = std::string("--") + tag.name;
    switch (tag.tag) {
      case Tag::kSeed:
        if (text == "-1") break;
        [[fallthrough]];
      case Tag::kField:
        fields_.Set(tag.name, value);
        break;
      case Tag::kImages: {
        const int64_t count = value.Whole(name, 1, kMaxJobImages, mistake_);
        images_ = images_ == 0 ? count : images_ * count;
        images_ = std::min(images_, kMaxJobImages + 1);
        break;
      }
      case Tag::kIgnored:
        if (ignored_.empty()) ignored_ = name;
        break;
      case Tag::kRefused:
        if (!IsOff(text)) mistake_->Report(name, "is not supported; leave it out");
        break;
    }
  }

  Mistake* mistake_;
  PictureFields fields_;
  int64_t images_ = 0;  // 0: unsaid
  std::string ignored_;
};

class LinesParser : public JobParser {
 public:
  Taken Take(const std::string& text, ParsedEntry* entry) override {
    const std::string_view line = StripPythonWhitespace(text);
    if (line.empty() && !entry->mistake.error) return Taken::kNothing;
    if (entry->mistake.error) return Taken::kEntry;
    if (IsA1111(line)) {
      A1111Line reader(&entry->mistake);
      entry->job.picture = reader.Read(SplitWords(line, &entry->mistake));
      entry->job.ignored = reader.ignored();
    } else {
      // Rather than draw what was meant for another reader.
      if (LooksLikeJson(line))
        entry->mistake.Report("", "this is JSON, but the file began with plain prompts");
      PictureFields fields("", &entry->mistake);
      fields.Set("prompt", FieldValue::OfText(line));
      entry->job.picture = fields.Take();
    }
    return Taken::kEntry;
  }
};

}  // namespace

std::unique_ptr<JobParser> MakeLinesParser() { return std::make_unique<LinesParser>(); }

}  // namespace bifrons
