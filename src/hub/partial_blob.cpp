#include "src/hub/partial_blob.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "src/base/git_blob_hash.h"
#include "src/base/input_file.h"
#include "src/base/lower_hex.h"
#include "src/base/sha256.h"
#include "src/base/stop.h"
#include "src/hub/listing.h"

namespace bifrons {
namespace {

constexpr size_t kPiece = size_t{1} << 20;

// Makes a new name in a folder last.
void SyncFolder(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace

Error PartialBlob::SystemError(const char* what) const {
  return Failure(temporary_ + ": cannot " + what + ": " + std::strerror(errno) +
                 (errno == ENOSPC || errno == EDQUOT || errno == EFBIG
                      ? "; what came so far is kept: run again when there is room"
                      : ""));
}

void PartialBlob::StartHash() {
  received_ = 0;
  if (IsLowerHex(hash_, 64)) {
    digest_ = std::make_unique<Sha256>();
  } else {
    digest_ = std::make_unique<GitBlobHash>(size_);
  }
}

Result<PartialBlob> PartialBlob::Open(const std::string& path, int64_t size, const std::string& hash) {
  PartialBlob blob;
  blob.path_ = path, blob.temporary_ = path + ".incomplete", blob.hash_ = hash, blob.size_ = size;
  BIFRONS_TRY(blob.fd_, OpenRegularFile(blob.temporary_, O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  blob.StartHash();
  struct stat there {};
  if (::fstat(blob.fd_, &there) != 0) return blob.SystemError("read");
  if (there.st_size > size) BIFRONS_RETURN_IF_ERROR(blob.Restart());
  std::vector<char> piece(kPiece);
  while (blob.received_ < there.st_size && there.st_size <= size) {
    if (StopRequested()) return Interrupted();
    const ssize_t got = ::read(blob.fd_, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return blob.SystemError("read");
    if (got == 0) break;
    blob.digest_->Update({piece.data(), static_cast<size_t>(got)});
    blob.received_ += got;
  }
  return blob;
}

PartialBlob::PartialBlob(PartialBlob&& o) noexcept
    : path_(std::move(o.path_)),
      temporary_(std::move(o.temporary_)),
      hash_(std::move(o.hash_)),
      digest_(std::move(o.digest_)),
      size_(o.size_),
      received_(o.received_),
      fd_(std::exchange(o.fd_, -1)) {}

PartialBlob::~PartialBlob() {
  if (fd_ >= 0) ::close(fd_);
}

Status PartialBlob::Append(std::string_view bytes) {
  if (static_cast<int64_t>(bytes.size()) > size_ - received_)
    return DataError(path_ + ": the hub sends more than the " + std::to_string(size_) + " bytes it told of");
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), received_);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return SystemError("write");
    const auto count = static_cast<size_t>(written);
    digest_->Update(bytes.substr(0, count));
    received_ += written;
    bytes.remove_prefix(count);
  }
  return {};
}

Status PartialBlob::Restart() {
  if (::ftruncate(fd_, 0) != 0) return SystemError("write");
  StartHash();
  return {};
}

Result<bool> PartialBlob::Finish() {
  if (digest_->Finish() != hash_) {
    BIFRONS_RETURN_IF_ERROR(Restart());
    ::unlink(temporary_.c_str());
    return false;
  }
  if (::fsync(fd_) != 0) return SystemError("write");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return SystemError("rename");
  SyncFolder(std::filesystem::path(path_).parent_path().string());
  return true;
}

}  // namespace bifrons
