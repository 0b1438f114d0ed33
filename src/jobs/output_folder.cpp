#include "src/jobs/output_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "src/base/file_beneath.h"
#include "src/base/file_lock.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kManifest = "manifest";

}  // namespace

/// Keeps other processes waiting, where the file system can lock a folder.
class OutputFolder::Lock {
 public:
  explicit Lock(const std::string& folder)
      : fd_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}
  /// Errors: Interrupted().
  Status Wait() const { return fd_ >= 0 ? WaitForLock(fd_) : Status(); }
  ~Lock() {
    if (fd_ >= 0) ::close(fd_);
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  const int fd_;
};

OutputFolder::OutputFolder(std::string folder, std::string suffix, uint64_t seed_base, OutputFiles files,
                           Manifest manifest, FailedFile failed)
    : folder_(std::move(folder)),
      suffix_(std::move(suffix)),
      seed_base_(seed_base),
      files_(std::move(files)),
      manifest_(std::move(manifest)),
      failed_(std::move(failed)) {}

OutputFolder::~OutputFolder() = default;

Status OutputFolder::Begin(ManifestHeader header) {
  header.seed_base = seed_base_;
  const std::lock_guard lock(mutex_);
  return manifest_.Begin(header);
}

Result<std::unique_ptr<OutputFolder>> OutputFolder::Open(const std::string& folder,
                                                         const std::string& manifest,
                                                         const ManifestHeader& header) {
  if (!manifest.starts_with(kManifest) || !manifest.ends_with(".jsonl") ||
      manifest.find('/') != std::string::npos) {
    return UsageError("a manifest's name begins with manifest and ends in .jsonl, unlike " + manifest);
  }
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return Failure(folder + ": cannot make this folder: " + error.message());
  uint64_t seed_base = 0;
  {
    const Lock lock(folder);
    BIFRONS_RETURN_IF_ERROR(lock.Wait());
    BIFRONS_TRY(seed_base, FixSeeds(folder, manifest, header));
  }
  BIFRONS_TRY(OutputFiles files, OutputFiles::Open(folder));
  BIFRONS_TRY(Manifest opened, Manifest::Open(folder, manifest));
  const std::string suffix = manifest.substr(kManifest.size());
  BIFRONS_TRY(FailedFile failed, FailedFile::Open((fs::path(folder) / ("failed" + suffix)).string()));
  return std::unique_ptr<OutputFolder>(
      new OutputFolder(folder, suffix, seed_base, std::move(files), std::move(opened), std::move(failed)));
}

Status OutputFolder::OpenBatchOutput(const BatchOutput::Keep& keep) {
  BIFRONS_TRY(BatchOutput batch, BatchOutput::Open(folder_, "output" + suffix_, keep));
  batch_.emplace(std::move(batch));
  return {};
}

std::string OutputFolder::PathOf(const std::string& file) const {
  return (fs::path(folder_) / file).string();
}

OutputFolder::Held OutputFolder::Compare(const ManifestRecord& record) const {
  const auto file = FileBeneath::Open(folder_, record.file);
  if (!file.ok() || file->bytes() != record.bytes) return Held::kNo;
  return file->mtime_ns() == record.mtime_ns ? Held::kYes : Held::kUnsure;
}

bool OutputFolder::Verify(const ManifestRecord& record) const {
  const auto file = FileBeneath::Open(folder_, record.file);
  if (!file.ok() || file->bytes() != record.bytes) return false;
  const auto hash = file->Sha256();
  if (!hash.ok() || *hash != record.sha256) return false;
  if (record.mtime_ns && *record.mtime_ns != file->mtime_ns()) file->SetTime(*record.mtime_ns);
  return true;
}

std::optional<int64_t> OutputFolder::TimeOf(const std::string& file) const {
  const auto opened = FileBeneath::Open(folder_, file);
  return opened.ok() ? std::optional(opened->mtime_ns()) : std::nullopt;
}

// Another file of this size in the folder's top tells whose fault it is.
OutputFolder::WriteError OutputFolder::Blamed(const Error& error, std::span<const uint8_t> bytes) const {
  if (!files_.IsThere()) return {Gone(), true};
  return {error, !files_.Probe(bytes).ok()};
}

std::optional<OutputFolder::WriteError> OutputFolder::Look(const std::string& file,
                                                           std::optional<OutputFiles::Found>* found) {
  if (!files_.IsThere()) return WriteError{Gone(), true};
  auto looked = files_.Look(file);
  constexpr uint8_t kSome[] = {0};
  if (!looked.ok()) return Blamed(looked.error(), kSome);
  *found = *looked;
  return std::nullopt;
}

std::optional<OutputFolder::WriteError> OutputFolder::WriteFile(
    const std::string& file, std::span<const uint8_t> bytes, const std::optional<OutputFiles::Found>& over) {
  if (!files_.IsThere()) return WriteError{Gone(), true};
  const Status written = files_.Write(file, bytes, over);
  if (!written.ok()) return Blamed(written.error(), bytes);
  return std::nullopt;
}

Error OutputFolder::Gone() const { return Failure(folder_ + ": cannot write: this folder was removed"); }

Status OutputFolder::Record(const std::string& line) {
  const std::lock_guard lock(mutex_);
  return manifest_.Append(line);
}

Status OutputFolder::RecordFailure(const FailedJob& failed) {
  const std::lock_guard lock(mutex_);
  if (!files_.IsThere()) return Gone();
  return failed_.Append(failed);
}

Status OutputFolder::RecordBatchAnswer(const std::string& custom_id, const std::string& line) {
  const std::lock_guard lock(mutex_);
  return batch_->AppendAnswer(custom_id, line);
}

Status OutputFolder::RecordBatchRefusal(const std::string& custom_id, const std::string& line) {
  const std::lock_guard lock(mutex_);
  return batch_->AppendRefusal(custom_id, line);
}

Status OutputFolder::FinishBatchOutput() {
  const std::lock_guard lock(mutex_);
  return batch_ ? batch_->Finish() : Status();
}

}  // namespace bifrons
