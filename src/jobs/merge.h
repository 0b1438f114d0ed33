// Whether rendered folders are complete: what their manifests say, and what is really there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/base/atomic_file.h"
#include "src/base/result.h"
#include "src/jobs/failures.h"
#include "src/jobs/manifest.h"

namespace bifrons {

struct MergeRequest {
  std::vector<std::string> folders;
  std::string jobs{};       // the list; "" = what is missing is told by indices
  bool read_files = true;   // compare their hashes; else only whether they exist
  bool keep_lines = false;  // for WriteMergedManifest
};

/// A finished picture whose file is not what its line says.
struct DamagedFile {
  std::string path;
  bool exists = false;
};

/// From the first to the last of them.
struct Run {
  int64_t first = 0, last = 0;
  int64_t size() const { return last - first + 1; }
};

/// Jobs of which nothing is there, by their indices; or one job of which these pictures are not.
struct MissingJobs {
  Run indices;
  std::vector<Run> numbers;
};

struct MergeReport {
  struct Part {
    std::string manifest, shard;
    int64_t finished = 0;  // results about which it has a line that is right, whatever others have
  };
  std::vector<Part> parts;
  std::optional<int64_t> expected;  // pictures and answers; none: of streams nobody knows
  int64_t finished = 0;             // of them
  int64_t duplicates = 0;           // lines about what another line of the same manifest has
  int64_t repeated = 0;             // results that are finished in more than one manifest; the last counts
  int64_t others = 0;               // lines about what is not in the list (with --jobs)
  std::vector<DamagedFile> damaged;
  std::vector<MissingJobs> missing;         // jobs that did not fail, by index; empty where it cannot be told
  std::vector<FailedJob> failed;            // and are not finished either
  std::vector<std::string> missing_shards;  // "3/8", of incomplete lists; "3-7/1000" of very many
  std::optional<int64_t> jobs;              // entries of the list
  int64_t finished_jobs = 0;                // all of whose results are right
  // There are results of several lists or settings, and which of them are the last one's only its file can
  // tell: `finished` counts all.
  bool undecided = false;
  bool only_failed = false;  // nothing is left to be done but what failed
  bool complete = false;
  ManifestHeader header;             // the last one of the first manifest that has read its list
  std::vector<std::string> folders;  // that hold finished pictures
  std::vector<std::string> lines;    // right ones, by index and number, where they are to be kept
};

/// Reads no file outside of the folders. Errors: a folder that cannot be read or has no manifest, files that
/// are no manifests, a list that cannot be read (kBadData), manifests of several lists or models (kUsage).
Result<MergeReport> CheckFolders(const MergeRequest& request);

/// One manifest of all the report's lines, written to `file` and committed. It names pictures without their
/// folders.
Status WriteMergedManifest(const MergeReport& report, AtomicFile& file);

/// "3, 5-9, 12 (pictures 1 2)"
std::string ShownMissing(const std::vector<MissingJobs>& missing, size_t most);

}  // namespace bifrons
