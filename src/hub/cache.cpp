#include "src/hub/cache.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "src/base/atomic_file.h"
#include "src/base/file_lock.h"
#include "src/base/temporary_file.h"
#include "src/hub/choose_files.h"
#include "src/hub/listing.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

Status MakeFolder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return Failure(folder.string() + ": cannot make this folder: " + error.message());
  return {};
}

// "ORG/NAME" as one folder's name.
std::string FolderName(const std::string& name) {
  const size_t slash = name.find('/');
  return "models--" + name.substr(0, slash) + "--" + name.substr(slash + 1);
}

}  // namespace

Result<FileLock> FileLock::Take(const std::string& path) {
  BIFRONS_RETURN_IF_ERROR(MakeFolder(fs::path(path).parent_path()));
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return Failure(path + ": cannot open: " + std::strerror(errno));
  FileLock lock(fd);
  BIFRONS_RETURN_IF_ERROR(WaitForLock(fd));
  return lock;
}

FileLock::FileLock(FileLock&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

RepositoryCache::RepositoryCache(const std::string& cache, const std::string& name)
    : folder_(cache + "/" + FolderName(name)), locks_(cache + "/.locks/" + FolderName(name)) {}

std::string RepositoryCache::ReadRef(const std::string& revision) const {
  std::array<char, 64> text;  // more than a commit has: what is longer is none
  std::ifstream ref(folder_ + "/refs/" + revision, std::ios::binary);
  ref.read(text.data(), text.size());
  return {text.data(), static_cast<size_t>(ref.gcount())};
}

std::optional<std::string> RepositoryCache::FindWhole(const std::string& revision) const {
  const std::string commit = IsCommit(revision) ? revision : ReadRef(revision);
  if (!IsCommit(commit) || !IsWholeModel(Snapshot(commit))) return std::nullopt;
  return Snapshot(commit);
}

Status RepositoryCache::MakeFolders(const std::string& commit) const {
  BIFRONS_RETURN_IF_ERROR(MakeFolder(folder_ + "/blobs"));
  return MakeFolder(Snapshot(commit));
}

Result<FileLock> RepositoryCache::Lock(const std::string& hash) const {
  return FileLock::Take(locks_ + "/" + hash + ".lock");
}

bool RepositoryCache::HasBlob(const std::string& hash, int64_t size) const {
  std::error_code error;
  const std::string path = Blob(hash);
  return fs::is_regular_file(path, error) && static_cast<int64_t>(fs::file_size(path, error)) == size;
}

Status RepositoryCache::Link(const std::string& commit, const std::string& file,
                             const std::string& hash) const {
  const std::string path = Snapshot(commit) + "/" + file, target = "../../blobs/" + hash;
  std::error_code error;
  if (fs::read_symlink(path, error) == target) return {};
  // Renamed over what is there, so that no moment is without it.
  const std::string temporary = Snapshot(commit) + "/" + TemporaryName();
  fs::create_symlink(target, temporary, error);
  if (!error) fs::rename(temporary, path, error);
  if (!error) return {};
  std::error_code ignored;
  fs::remove(temporary, ignored);
  return Failure(path + ": cannot make this link: " + error.message() +
                 "; HF_HOME names another folder for models");
}

Status RepositoryCache::WriteRef(const std::string& revision, const std::string& commit) const {
  if (revision == commit || ReadRef(revision) == commit) return {};
  const fs::path path = fs::path(folder_) / "refs" / revision;
  BIFRONS_RETURN_IF_ERROR(MakeFolder(path.parent_path()));
  return WriteFileAtomically(path.string(),
                             std::span(reinterpret_cast<const uint8_t*>(commit.data()), commit.size()));
}

}  // namespace bifrons
