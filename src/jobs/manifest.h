// What is finished, in files that survive: a line per picture or answer, appended and synced once its file
// is.
//
// A folder holds a manifest per process that ever wrote into it. A process appends to its own and reads all,
// so that work goes on where it was, whatever part of it each process takes.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/line_file.h"
#include "src/base/result.h"
#include "src/engine/metadata.h"
#include "src/jobs/finished_work.h"

namespace bifrons {

/// A manifest's first line, and again whenever a run differs from the last one.
struct ManifestHeader {
  uint64_t seed_base = 0;          // of jobs without a seed; for the life of the folder
  std::optional<int64_t> jobs;     // entries of the whole list, bad ones included; none: it came as a stream
  std::optional<int64_t> results;  // pictures and answers that it comes to
  std::string list;                // hash of the whole list's keys; "" of a stream
  std::string digest;              // ResultSetDigest of its results; "" also of version 0.1
  std::string shard = "0/1";
  std::string model, model_hash, version;
  std::string weights, kv;  // the types that weights, keys and values were given; "" = as stored, computed
  int64_t width = 0, height = 0;  // of the model's pictures; 0: a manifest of 0.1, which does not say
  nlohmann::json defaults;        // of the command line, where they decide pictures
  bool provisional = false;       // the list is still being read: jobs to digest follow in another header
  bool operator==(const ManifestHeader&) const = default;
};

/// What the lines of a finished picture and of an answer hold in common, and what finding it again takes.
struct ManifestRecord {
  std::string key;     // of the job
  int64_t number = 0;  // of the picture among the job's
  int64_t of = 1;      // pictures of the job
  int64_t index = 0;   // of the job
  std::string where, custom_id;
  uint64_t seed = 0;
  // A picture:
  std::optional<uint64_t> first_seed;  // of its candidates, where it was chosen among several
  std::string file, sha256;            // relative to the folder; of its bytes
  int64_t bytes = 0;
  std::optional<int64_t> mtime_ns;  // when the file was last written, since 1970; none: not told
  // An answer, where `file` is "":
  std::string text;
  bool complete = false;
  int64_t prompt_tokens = 0, tokens = 0;
};

/// What a picture's line tells besides.
struct PictureDetails {
  PictureSettings settings;
  std::string format;
  double drawing_seconds = 0,
         file_seconds = 0;  // the first token to pixels, in company; encoding and writing
};

std::string PictureLine(const ManifestRecord& record, const PictureDetails& details);
std::string AnswerLine(const ManifestRecord& record, const PictureSettings& model, const Sampling& sampling,
                       double seconds);
/// What is known of it from before: the fields above that the record holds.
std::string KeptLine(const ManifestRecord& record);
std::string HeaderLine(const ManifestHeader& header);

/// Told about the lines of a manifest. What they hold is checked: numbers are within their bounds, and files
/// are names below the folder.
struct ManifestVisitor {
  std::function<void(ManifestHeader)> header;
  std::function<void(ManifestRecord, std::string_view line, int64_t offset)> record;
};
/// For ReadLines and LineFile::Open. Errors (kBadData): a line that is no manifest's, by its number.
LineVisitor ManifestLines(const std::string& path, const ManifestVisitor& visitor);
/// One line about a picture or an answer. Errors (kBadData): what is wrong with it, without a place.
Result<ManifestRecord> ParseManifestRecord(std::string_view line);

/// The folder's manifest*.jsonl, sorted. Errors (kBadData): the folder cannot be read.
Result<std::vector<std::string>> FindManifests(const std::string& folder);

/// Which seeds the jobs without one get in this folder: what its manifests say. Where they say nothing, it is
/// made up, and `name` gets the header with it, so that every other process takes the same: to be called by
/// one process at a time. Errors: Manifest::Open's.
Result<uint64_t> FixSeeds(const std::string& folder, const std::string& name, ManifestHeader header);

/// This process's manifest.
class Manifest {
 public:
  /// Reads all of the folder's manifests and owns `name`. Errors: kUsage where another process owns it,
  /// kBadData where a file is no manifest, kFailure.
  static Result<Manifest> Open(const std::string& folder, const std::string& name);

  const FinishedWork& finished() const { return finished_; }
  /// Writes a header if it differs from the last one, for which a provisional one need not be.
  Status Begin(const ManifestHeader& header);
  /// On the disk when this returns.
  Status Append(const std::string& line) { return file_.AppendAndSync(line); }

 private:
  Manifest(LineFile file, FinishedWork finished) : file_(std::move(file)), finished_(std::move(finished)) {}
  LineFile file_;
  FinishedWork finished_;
  std::optional<ManifestHeader> last_header_;
};

}  // namespace bifrons
