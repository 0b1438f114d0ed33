// Whether rendered folders are complete: what their manifests say, and what is really there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/jobs/failures.h"
#include "src/jobs/manifest.h"

namespace bifrons {

struct MergeRequest {
  std::vector<std::string> folders;
  std::string jobs;        // the list; "" = what is missing is told by indices
  bool read_files = true;  // compare their hashes; else only whether they exist
};

/// One line about a picture or answer, and where it stands.
struct MergedLine {
  ManifestRecord record;
  std::string folder, line;
};

/// A finished picture whose file is not what its line says.
struct DamagedFile {
  std::string path;
  bool exists = false;
};

/// Results of a job that are not there: those with `numbers`, or all where there are none.
struct MissingJob {
  int64_t index = 0;
  std::vector<int64_t> numbers;
};

struct MergeReport {
  struct Part {
    std::string manifest, shard;
    int64_t finished = 0;  // lines that are right
  };
  std::vector<Part> parts;
  std::optional<int64_t> expected;  // pictures and answers; none: of streams nobody knows
  int64_t finished = 0;             // of them
  int64_t duplicates = 0;           // lines about what another line has
  int64_t others = 0;               // lines about what is not in the list (with --jobs)
  std::vector<DamagedFile> damaged;
  std::vector<MissingJob> missing;          // jobs that did not fail, by index; empty where it cannot be told
  std::vector<FailedJob> failed;            // and are not finished either
  std::vector<std::string> missing_shards;  // "3/8", of incomplete lists
  bool complete = false;
  ManifestHeader header;          // the last one of the first manifest
  std::vector<MergedLine> lines;  // right ones, by index and number
};

/// Errors: a folder without a manifest, files that are no manifests (kBadData), a list that cannot be read,
/// manifests of several lists or models (kUsage).
Result<MergeReport> CheckFolders(const MergeRequest& request);

/// One manifest of all the report's lines.
std::string MergedManifest(const MergeReport& report);

/// "3, 5-9, 12 (pictures 1, 2)"
std::string ShownMissing(const std::vector<MissingJob>& missing, size_t most);

}  // namespace bifrons
