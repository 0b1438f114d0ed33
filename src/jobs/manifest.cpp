#include "src/jobs/manifest.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <random>

#include "src/base/json_depth.h"
#include "src/base/lower_hex.h"
#include "src/base/shortest.h"
#include "src/jobs/file_name.h"
#include "src/jobs/job_fields.h"
#include "src/jobs/plan.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kVersion = 1;
constexpr size_t kMaxLine = size_t{64} << 20;

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

void AddFile(const ManifestRecord& r, nlohmann::ordered_json* line) {
  (*line)["file"] = r.file, (*line)["sha256"] = r.sha256, (*line)["bytes"] = r.bytes;
  if (r.mtime_ns) (*line)["mtime_ns"] = *r.mtime_ns;
}

std::string Finish(nlohmann::ordered_json line, const PictureSettings& model) {
  line["model"] = model.model, line["model_hash"] = model.model_hash;
  if (!model.weights.empty()) line["weights"] = model.weights;
  if (const std::string kv = model.given_kv(); !kv.empty()) line["kv"] = kv;
  line["isa"] = model.isa, line["compute"] = model.compute;
  if (!model.convolutions.empty()) line["convolutions"] = model.convolutions;
  line["finished"] = Now();
  return line.dump(-1, ' ', false, json::error_handler_t::replace);
}

// Beyond them JSON readers lose digits; nothing of ours comes near.
constexpr int64_t kMaxNumber = int64_t{1} << 53;

// Fields of one line; remembers the first that is missing, of another type or out of its bounds.
class Fields {
 public:
  explicit Fields(const json& line) : line_(line) {}
  template <class T>
  void Get(const char* name, T* value) {
    if (!Try(name, value)) Refuse(name);
  }
  void Get(const char* name, int64_t least, int64_t most, int64_t* value) {
    Get(name, value);
    if (*value < least || *value > most) Refuse(name);
  }
  /// Absent leaves the value as it is; another type too, and is not taken.
  template <class T>
  bool Try(const char* name, T* value) {
    const auto it = line_.find(name);
    if (it == line_.end() || !Fits(*it, *value)) return false;
    *value = it->get<T>();
    return true;
  }
  void Refuse(const char* name, const std::string& what = "is missing or not what it can be") {
    if (wrong_.empty()) wrong_ = "its \"" + std::string(name) + "\" " + what;
  }
  const std::string& wrong() const { return wrong_; }

 private:
  static bool Fits(const json& v, const std::string&) { return v.is_string(); }
  static bool Fits(const json& v, bool) { return v.is_boolean(); }
  static bool Fits(const json& v, uint64_t) { return v.is_number_unsigned(); }
  static bool Fits(const json& v, int64_t) {
    return v.is_number_unsigned() && v.get<uint64_t>() <= static_cast<uint64_t>(kMaxNumber);
  }

  const json& line_;
  std::string wrong_;
};

std::string ParseHeader(const json& line, ManifestHeader* header) {
  Fields fields(line);
  int64_t count = 0;
  fields.Get("seed", &header->seed_base);
  if (header->seed_base > static_cast<uint64_t>(kMaxSeed)) fields.Refuse("seed");
  if (fields.Try("jobs", &count)) header->jobs = count;
  if (fields.Try("results", &count)) header->results = count;
  fields.Try("digest", &header->digest);
  fields.Get("list", &header->list), fields.Get("shard", &header->shard);
  fields.Get("model", &header->model), fields.Get("model_hash", &header->model_hash);
  fields.Get("version", &header->version);
  fields.Try("weights", &header->weights), fields.Try("kv", &header->kv);
  fields.Try("provisional", &header->provisional);
  fields.Try("width", &header->width), fields.Try("height", &header->height);
  header->defaults = line.value("defaults", json());
  return fields.wrong();
}

bool IsSha256(std::string_view text) { return IsLowerHex(text, 64); }

std::string ParseRecord(const json& line, ManifestRecord* record) {
  Fields fields(line);
  fields.Get("job", &record->key);
  fields.Get("number", 0, kMaxJobImages - 1, &record->number);
  fields.Get("of", 1, kMaxJobImages, &record->of);
#ifndef BIFRONS_PLANTED_BUGS
  if (record->number >= record->of) fields.Refuse("number", "is not below its \"of\"");
#endif
  fields.Get("index", 0, kMaxNumber, &record->index);
  fields.Get("seed", &record->seed);
  if (record->seed > static_cast<uint64_t>(kMaxSeed)) fields.Refuse("seed");
  if (uint64_t first = 0; fields.Try("first_seed", &first)) {
    if (first > record->seed) fields.Refuse("first_seed");
    record->first_seed = first;
  }
  fields.Try("where", &record->where), fields.Try("custom_id", &record->custom_id);
  if (line.contains("file")) {
    fields.Get("file", &record->file), fields.Get("sha256", &record->sha256);
    fields.Get("bytes", 0, kMaxNumber, &record->bytes);
    const Status name = CheckFileName(record->file);
    if (!name.ok()) fields.Refuse("file", name.error().message);
    if (!FormatOfName(record->file)) fields.Refuse("file", "is no picture's name");
    if (!IsSha256(record->sha256)) fields.Refuse("sha256");
    const auto time = line.find("mtime_ns");
    if (time != line.end() && time->is_number_integer()) record->mtime_ns = time->get<int64_t>();
    return fields.wrong();
  }
  fields.Get("text", &record->text), fields.Get("complete", &record->complete);
  fields.Get("prompt_tokens", 0, kMaxNumber, &record->prompt_tokens);
  fields.Get("tokens", 0, kMaxNumber, &record->tokens);
  return fields.wrong();
}

}  // namespace

std::string PictureLine(const ManifestRecord& r, const PictureDetails& d) {
  const PictureSettings& s = d.settings;
  nlohmann::ordered_json line = Common(r);
  line["prompt"] = s.prompt, line["seed"] = r.seed;
  if (r.first_seed) line["first_seed"] = *r.first_seed, line["scores"] = s.choice.scores;
  line["guidance"] = Shortest(s.sampling.guidance), line["temperature"] = Shortest(s.sampling.temperature);
  line["top_k"] = s.sampling.top_k, line["top_p"] = Shortest(s.sampling.top_p);
  line["min_p"] = Shortest(s.sampling.min_p);
  AddFile(r, &line);
  line["width"] = s.file_width(), line["height"] = s.file_height();
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
  if (r.first_seed) line["first_seed"] = *r.first_seed;
  if (!r.file.empty()) {
    AddFile(r, &line);
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
                                 {"digest", h.digest},
                                 {"shard", h.shard},
                                 {"model", h.model},
                                 {"model_hash", h.model_hash},
                                 {"width", h.width},
                                 {"height", h.height},
                                 {"defaults", h.defaults},
                                 {"version", h.version}};
  if (!h.weights.empty()) line["weights"] = h.weights;
  if (!h.kv.empty()) line["kv"] = h.kv;
  if (h.provisional) line["provisional"] = true;
  return line.dump(-1, ' ', false, json::error_handler_t::replace);
}

LineVisitor ManifestLines(const std::string& path, const ManifestVisitor& visitor) {
  return [path, visitor, first = true](std::string_view text, int64_t number,
                                       int64_t offset) mutable -> Status {
    const std::string where = path + ":" + std::to_string(number);
    const auto refuse = [&](const std::string& what) {
      return DataError(where + ": " + what + "; move this file away, or take another folder");
    };
    if (text.size() > kMaxLine)
      return refuse("a line longer than " + std::to_string(kMaxLine >> 20) + " MB, which no manifest has");
    BIFRONS_RETURN_IF_ERROR(CheckJsonDepth(text, where));
    const json line = json::parse(text, nullptr, false);
    const bool is_header = line.is_object() && line.contains("bifrons_manifest");
    if (is_header && line["bifrons_manifest"] != kVersion)
      return DataError(where + ": a manifest of another version of bifrons; take another folder");
    if (!line.is_object() || (first && !is_header)) return refuse("not a line of a manifest");
    ManifestHeader header;
    ManifestRecord record;
    const std::string wrong = is_header ? ParseHeader(line, &header) : ParseRecord(line, &record);
    if (!wrong.empty()) return refuse("not a line of a manifest: " + wrong);
    if (is_header) {
      visitor.header(std::move(header));
    } else {
      visitor.record(std::move(record), text, offset);
    }
    first = false;
    return {};
  };
}

Result<ManifestRecord> ParseManifestRecord(std::string_view text) {
  BIFRONS_RETURN_IF_ERROR(CheckJsonDepth(text, "the line"));
  const json line = json::parse(text, nullptr, false);
  if (!line.is_object()) return DataError("not a line of a manifest");
  ManifestRecord record;
  if (const std::string wrong = ParseRecord(line, &record); !wrong.empty()) return DataError(wrong);
  return record;
}

Result<std::vector<std::string>> FindManifests(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code error;
  fs::directory_iterator it(folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with("manifest") && name.ends_with(".jsonl")) found.push_back(it->path().string());
  }
  if (error) return DataError(folder + ": cannot read this folder: " + error.message());
  std::sort(found.begin(), found.end());
  return found;
}

namespace {

// A process's own file. One that another process has is the only wrong usage of it.
Result<LineFile> OpenOwn(const std::string& path, const LineVisitor& visit, const LineKind& kind) {
  auto file = LineFile::Open(path, LineFile::Mode::kOwn, visit, kind);
  if (file.ok() || file.error().kind != ErrorKind::kUsage) return file;
  return UsageError(file.error().message +
                    "; wait for its end, or give every process its --shard i/N of the list, or, for another "
                    "list, a --manifest manifest-NAME.jsonl of its own");
}

LineKind KindOfManifestLines(const std::string& path) {
  const ManifestVisitor nothing{[](const ManifestHeader&) {},
                                [](const ManifestRecord&, std::string_view, int64_t) {}};
  return {"{\"bifrons_manifest\":", ManifestLines(path, nothing)};
}

// The header of a manifest's first line, if that much of it is there.
Result<std::optional<ManifestHeader>> FirstHeader(const fs::path& path) {
  std::optional<ManifestHeader> header;
  const ManifestVisitor visitor{[&](ManifestHeader h) { header = std::move(h); }, {}};
  constexpr const char* kEnough = "enough";
  const auto first = [&, lines = ManifestLines(path.string(), visitor)](std::string_view line, int64_t number,
                                                                        int64_t offset) -> Status {
    BIFRONS_RETURN_IF_ERROR(lines(line, number, offset));
    return Failure(kEnough);
  };
  const Status read = ReadLinesBeneath(path.parent_path().string(), path.filename().string(), first);
  if (!read.ok() && !header) return read.error();
  return header;
}

}  // namespace

Result<uint64_t> FixSeeds(const std::string& folder, const std::string& name, ManifestHeader header) {
  BIFRONS_TRY(std::vector<std::string> paths, FindManifests(folder));
  const auto is_own = [&](const std::string& path) { return fs::path(path).filename() == name; };
  std::stable_partition(paths.begin(), paths.end(), is_own);  // its own comes first
  std::optional<ManifestHeader> found;
  bool begun = false;
  for (const std::string& path : paths) {
    if (found) break;
    BIFRONS_TRY(found, FirstHeader(path));
    begun |= is_own(path) && found;
  }
  if (begun) return found->seed_base;
  std::random_device random;
  header.seed_base =
      found ? found->seed_base : (uint64_t{random()} << 21 ^ random()) & static_cast<uint64_t>(kMaxSeed);
  const std::string path = (fs::path(folder) / name).string();
  const LineKind kind = KindOfManifestLines(path);
  BIFRONS_TRY(LineFile file, OpenOwn(path, kind.check, kind));
  BIFRONS_RETURN_IF_ERROR(file.AppendAndSync(HeaderLine(header)));
  return header.seed_base;
}

Result<Manifest> Manifest::Open(const std::string& folder, const std::string& name) {
  const std::string path = (fs::path(folder) / name).string();
  FinishedWork finished(folder);
  std::optional<ManifestHeader> last;
  const auto record = [&](const ManifestRecord& r, std::string_view, int64_t offset) {
    finished.Add(r, offset);
  };
  const ManifestVisitor mine{[&](ManifestHeader h) { last = std::move(h); }, record};
  const ManifestVisitor others{[](const ManifestHeader&) {}, record};
  finished.BeginManifest(name);
  BIFRONS_TRY(LineFile file, OpenOwn(path, ManifestLines(path, mine), KindOfManifestLines(path)));
  BIFRONS_TRY(const auto paths, FindManifests(folder));
  for (const std::string& p : paths) {
    const std::string other = fs::path(p).filename().string();
    if (other == name) continue;
    finished.BeginManifest(other);
    BIFRONS_RETURN_IF_ERROR(ReadLinesBeneath(folder, other, ManifestLines(p, others)));
  }
  Manifest manifest(std::move(file), std::move(finished));
  manifest.last_header_ = std::move(last);
  return manifest;
}

Status Manifest::Begin(const ManifestHeader& header) {
  const auto same_run = [](ManifestHeader a, const ManifestHeader& b) {
    a.jobs = b.jobs, a.results = b.results, a.list = b.list, a.digest = b.digest;
    a.provisional = b.provisional;
    return a == b;
  };
  const bool known =
      last_header_ && (header.provisional ? same_run(*last_header_, header) : *last_header_ == header);
  if (known) return {};
  BIFRONS_RETURN_IF_ERROR(file_.AppendAndSync(HeaderLine(header)));
  last_header_ = header;
  return {};
}

}  // namespace bifrons
