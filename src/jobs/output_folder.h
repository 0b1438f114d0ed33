// The folder that a list is rendered into: pictures, sheets, the manifest, what failed, a batch's answers.
//
// A picture's file is written and synced before its line is: whatever ends the process in between, the line
// is missing, and the picture is drawn again to the same bytes.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/jobs/batch_output.h"
#include "src/jobs/failures.h"
#include "src/jobs/manifest.h"
#include "src/jobs/output_files.h"
#include "src/jobs/plan.h"

namespace bifrons {

class OutputFolder {
 public:
  /// Makes `folder` if it is not there and owns its `manifest` (a name: manifest*.jsonl; failed and output
  /// files are named alike). A manifest that is new begins with `header`, whose seed base is the folder's.
  /// Other processes wait only for that. Errors: Manifest::Open's, a folder that cannot be made or written,
  /// Interrupted().
  static Result<std::unique_ptr<OutputFolder>> Open(const std::string& folder, const std::string& manifest,
                                                    const ManifestHeader& header);
  ~OutputFolder();

  const FinishedWork& finished() const { return manifest_.finished(); }
  /// Fixed by the first header that any of the folder's manifests got.
  uint64_t seed_base() const { return seed_base_; }
  /// Keeps the answers of a batch, of requests for which `keep` says so.
  Status OpenBatchOutput(const BatchOutput::Keep& keep);

  std::string PathOf(const std::string& file) const;
  /// What this process's own files have behind their names, as its manifest: "" or "-000-of-004".
  std::string suffix() const { return suffix_.substr(0, suffix_.rfind('.')); }

  // The rest may be called from any thread. Errors of these are the folder's, not the job's: nothing more can
  // be kept in it.

  /// Whether the folder still has the file that the record tells of: surely, by its size and time; surely
  /// not; or its contents have to tell.
  enum class Held { kYes, kNo, kUnsure };
  Held Compare(const ManifestRecord& record) const;
  /// Whether the file's contents are those that the record tells of. They get the recorded time back: a copy
  /// is not to be read at every start. False also when a stop is requested meanwhile.
  bool Verify(const ManifestRecord& record) const;
  /// When the file was last written; none where that cannot be told.
  std::optional<int64_t> TimeOf(const std::string& file) const;
  /// Manifest::Begin, with the folder's seed base.
  Status Begin(ManifestHeader header);

  /// Why a file could not be written: the folder's fault, or the job's own (a name that cannot be).
  struct WriteError {
    Error error;
    bool folder = false;
  };
  /// Tells what stands under a file's name before it is drawn: OutputFiles::Look.
  std::optional<WriteError> Look(const std::string& file, std::optional<OutputFiles::Found>* found);
  /// Writes a file and the folders on its way, over `over` or where nothing is: OutputFiles::Write.
  std::optional<WriteError> WriteFile(const std::string& file, std::span<const uint8_t> bytes,
                                      const std::optional<OutputFiles::Found>& over);
  Status Record(const std::string& line);
  Status RecordFailure(const FailedJob& failed);
  bool IsAnswered(const std::string& custom_id) const { return batch_ && batch_->IsAnswered(custom_id); }
  Status RecordBatchAnswer(const std::string& custom_id, const std::string& line);
  /// The same for a request that was refused or failed.
  Status RecordBatchRefusal(const std::string& custom_id, const std::string& line);
  /// At the end: BatchOutput::Finish.
  Status FinishBatchOutput();

 private:
  class Lock;
  OutputFolder(std::string folder, std::string suffix, uint64_t seed_base, OutputFiles files,
               Manifest manifest, FailedFile failed);
  Error Gone() const;
  WriteError Blamed(const Error& error, std::span<const uint8_t> bytes) const;

  const std::string folder_;
  const std::string suffix_;  // what follows "manifest" in the manifest's name
  const uint64_t seed_base_;
  OutputFiles files_;
  std::mutex mutex_;
  Manifest manifest_;
  FailedFile failed_;
  std::optional<BatchOutput> batch_;
};

}  // namespace bifrons
