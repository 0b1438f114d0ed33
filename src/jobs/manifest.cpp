#include "src/jobs/manifest.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <random>

#include "src/base/json_depth.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kVersion = 1;

// The double that prints as the float does: 0.7, not 0.699999988079071.
double Shortest(float value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  double shortest = value;
  std::from_chars(text, end, shortest);
  return shortest;
}

double Milliseconds(double seconds) { return std::round(seconds * 1000) / 1000; }

std::string Now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

nlohmann::ordered_json Common(const ManifestRecord& r) {
  nlohmann::ordered_json line = {{"job", r.key}, {"number", r.number}, {"of", r.of}, {"index", r.index}};
  if (!r.where.empty()) line["where"] = r.where;
  if (!r.custom_id.empty()) line["custom_id"] = r.custom_id;
  return line;
}

std::string Finish(nlohmann::ordered_json line, const PictureSettings& model) {
  line["model"] = model.model, line["model_hash"] = model.model_hash;
  line["isa"] = model.isa, line["compute"] = model.compute;
  line["finished"] = Now();
  return line.dump(-1, ' ', false, json::error_handler_t::replace);
}

// Fields of one line; remembers if one is missing or of another type.
class Fields {
 public:
  explicit Fields(const json& line) : line_(line) {}
  template <class T>
  void Get(const char* name, T* value) {
    if (!Try(name, value)) complete_ = false;
  }
  /// Absent and null leave the value as it is.
  template <class T>
  bool Try(const char* name, T* value) {
    const auto it = line_.find(name);
    if (it == line_.end() || !Fits(*it, *value)) return false;
    *value = it->get<T>();
    return true;
  }
  bool complete() const { return complete_; }

 private:
  static bool Fits(const json& v, const std::string&) { return v.is_string(); }
  static bool Fits(const json& v, bool) { return v.is_boolean(); }
  static bool Fits(const json& v, uint64_t) { return v.is_number_unsigned(); }
  static bool Fits(const json& v, int64_t) { return v.is_number_unsigned(); }

  const json& line_;
  bool complete_ = true;
};

bool ParseHeader(const json& line, ManifestHeader* header) {
  Fields fields(line);
  int64_t count = 0;
  fields.Get("seed", &header->seed_base);
  if (fields.Try("jobs", &count)) header->jobs = count;
  if (fields.Try("results", &count)) header->results = count;
  fields.Get("list", &header->list), fields.Get("shard", &header->shard);
  fields.Get("model", &header->model), fields.Get("model_hash", &header->model_hash);
  fields.Get("version", &header->version);
  header->defaults = line.value("defaults", json());
  return fields.complete() && header->seed_base <= static_cast<uint64_t>(kMaxSeed);
}

bool ParseRecord(const json& line, ManifestRecord* record) {
  Fields fields(line);
  fields.Get("job", &record->key), fields.Get("number", &record->number), fields.Get("of", &record->of);
  fields.Get("index", &record->index), fields.Get("seed", &record->seed);
  fields.Try("where", &record->where), fields.Try("custom_id", &record->custom_id);
  if (line.contains("file")) {
    fields.Get("file", &record->file), fields.Get("sha256", &record->sha256);
    fields.Get("bytes", &record->bytes);
    return fields.complete() && !record->file.empty();
  }
  fields.Get("text", &record->text), fields.Get("complete", &record->complete);
  fields.Get("prompt_tokens", &record->prompt_tokens), fields.Get("tokens", &record->tokens);
  return fields.complete();
}

}  // namespace

std::string PictureLine(const ManifestRecord& r, const PictureDetails& d) {
  const PictureSettings& s = d.settings;
  nlohmann::ordered_json line = Common(r);
  line["prompt"] = s.prompt, line["seed"] = r.seed;
  line["guidance"] = Shortest(s.sampling.guidance), line["temperature"] = Shortest(s.sampling.temperature);
  line["top_k"] = s.sampling.top_k, line["top_p"] = Shortest(s.sampling.top_p);
  line["min_p"] = Shortest(s.sampling.min_p);
  line["file"] = r.file, line["sha256"] = r.sha256, line["bytes"] = r.bytes;
  line["width"] = s.width * s.upscale, line["height"] = s.height * s.upscale;
  line["format"] = d.format, line["upscale"] = s.upscale;
  line["seconds"] = {{"drawing", Milliseconds(d.drawing_seconds)}, {"file", Milliseconds(d.file_seconds)}};
  return Finish(std::move(line), s);
}

std::string AnswerLine(const ManifestRecord& r, const PictureSettings& model, const Sampling& sampling,
                       double seconds) {
  nlohmann::ordered_json line = Common(r);
  line["text"] = r.text, line["complete"] = r.complete;
  line["prompt_tokens"] = r.prompt_tokens, line["tokens"] = r.tokens;
  line["seed"] = r.seed;
  line["temperature"] = Shortest(sampling.temperature), line["top_p"] = Shortest(sampling.top_p);
  line["seconds"] = {{"answering", Milliseconds(seconds)}};
  return Finish(std::move(line), model);
}

std::string KeptLine(const ManifestRecord& r) {
  nlohmann::ordered_json line = Common(r);
  line["seed"] = r.seed;
  if (!r.file.empty()) {
    line["file"] = r.file, line["sha256"] = r.sha256, line["bytes"] = r.bytes;
  } else {
    line["text"] = r.text, line["complete"] = r.complete;
    line["prompt_tokens"] = r.prompt_tokens, line["tokens"] = r.tokens;
  }
  return line.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string HeaderLine(const ManifestHeader& h) {
  const auto count = [](const std::optional<int64_t>& n) { return n ? json(*n) : json(); };
  nlohmann::ordered_json line = {{"bifrons_manifest", kVersion},
                                 {"seed", h.seed_base},
                                 {"jobs", count(h.jobs)},
                                 {"results", count(h.results)},
                                 {"list", h.list},
                                 {"shard", h.shard},
                                 {"model", h.model},
                                 {"model_hash", h.model_hash},
                                 {"defaults", h.defaults},
                                 {"version", h.version}};
  return line.dump(-1, ' ', false, json::error_handler_t::replace);
}

LineVisitor ManifestLines(const std::string& path, const ManifestVisitor& visitor) {
  return [path, visitor, first = true](std::string_view text, int64_t number) mutable -> Status {
    const std::string where = path + ":" + std::to_string(number);
    BIFRONS_RETURN_IF_ERROR(CheckJsonDepth(text, where));
    const json line = json::parse(text, nullptr, false);
    const bool is_header = line.is_object() && line.contains("bifrons_manifest");
    if (is_header && line["bifrons_manifest"] != kVersion)
      return DataError(where + ": a manifest of another version of bifrons; take another folder");
    ManifestHeader header;
    ManifestRecord record;
    if (is_header && ParseHeader(line, &header)) {
      visitor.header(std::move(header));
    } else if (!is_header && !first && line.is_object() && ParseRecord(line, &record)) {
      visitor.record(std::move(record), text);
    } else {
      return DataError(where + ": not a line of a manifest; move this file away, or take another folder");
    }
    first = false;
    return {};
  };
}

Result<std::vector<std::string>> FindManifests(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code error;
  fs::directory_iterator it(folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with("manifest") && name.ends_with(".jsonl")) found.push_back(it->path().string());
  }
  if (error) return Failure(folder + ": cannot read this folder: " + error.message());
  std::sort(found.begin(), found.end());
  return found;
}

void FinishedWork::Add(ManifestRecord record) {
  if (!record.file.empty()) owners_[record.file] = record.key;
  std::map<int64_t, ManifestRecord>& records = records_[record.key];
  const int64_t number = record.number;
  records.insert_or_assign(number, std::move(record));
}

const ManifestRecord* FinishedWork::Find(const std::string& key, int64_t number) const {
  const auto job = records_.find(key);
  if (job == records_.end()) return nullptr;
  const auto it = job->second.find(number);
  return it == job->second.end() ? nullptr : &it->second;
}

const ManifestRecord* FinishedWork::FindAny(const std::string& key) const {
  const auto job = records_.find(key);
  return job == records_.end() ? nullptr : &job->second.begin()->second;
}

const std::string* FinishedWork::OwnerOf(const std::string& file) const {
  const auto it = owners_.find(file);
  return it == owners_.end() ? nullptr : &it->second;
}

Result<Manifest> Manifest::Open(const std::string& folder, const std::string& name) {
  const std::string path = (fs::path(folder) / name).string();
  FinishedWork finished;
  std::optional<ManifestHeader> last, other;
  const auto record = [&](ManifestRecord r, std::string_view) { finished.Add(std::move(r)); };
  const ManifestVisitor mine{[&](ManifestHeader h) { last = std::move(h); }, record};
  const ManifestVisitor others{[&](ManifestHeader h) {
                                 if (!other) other = std::move(h);
                               },
                               record};
  BIFRONS_TRY(LineFile file, LineFile::Open(path, LineFile::Mode::kOwn, ManifestLines(path, mine)));
  BIFRONS_TRY(const auto paths, FindManifests(folder));
  for (const std::string& p : paths) {
    if (fs::path(p).filename() != name) BIFRONS_RETURN_IF_ERROR(ReadLines(p, ManifestLines(p, others)));
  }
  Manifest manifest(std::move(file), std::move(finished));
  // Processes that share a folder give jobs without a seed the same ones, so that a list dealt anew stays as
  // it is.
  std::random_device random;
  manifest.seed_base_ = last    ? last->seed_base
                        : other ? other->seed_base
                                : (uint64_t{random()} << 21 ^ random()) & static_cast<uint64_t>(kMaxSeed);
  manifest.last_header_ = std::move(last);
  return manifest;
}

Status Manifest::Begin(ManifestHeader header) {
  header.seed_base = seed_base_;
  if (last_header_ == header) return {};
  BIFRONS_RETURN_IF_ERROR(file_.AppendAndSync(HeaderLine(header)));
  last_header_ = std::move(header);
  return {};
}

}  // namespace bifrons
