#include "src/jobs/image_folder.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <utility>

#include "src/base/beneath.h"
#include "src/base/mapped_file.h"
#include "src/base/printable.h"
#include "vision/data_uri.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

// What of the path lies below the folder, by the names alone.
std::optional<std::string> Below(const fs::path& folder, const fs::path& path) {
  auto [f, rest] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  if (f != folder.end()) return std::nullopt;
  fs::path relative;
  for (; rest != path.end(); ++rest) relative /= *rest;
  return relative.string();
}

}  // namespace

Result<ImageFolder> ImageFolder::Open(const std::string& path) {
  ImageFolder folder;
  folder.fd_ = ::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder.fd_ < 0)
    return DataError(path + ": cannot be opened as the folder of images: " + std::strerror(errno));
  std::error_code error;
  folder.path_ = fs::canonical(path, error).string();
  if (error) return DataError(path + ": cannot be opened as the folder of images: " + error.message());
  return folder;
}

ImageFolder::ImageFolder(ImageFolder&& o) noexcept
    : fd_(std::exchange(o.fd_, -1)), path_(std::move(o.path_)) {}

ImageFolder& ImageFolder::operator=(ImageFolder&& o) noexcept {
  std::swap(fd_, o.fd_);
  std::swap(path_, o.path_);
  return *this;
}

ImageFolder::~ImageFolder() {
  if (fd_ >= 0) ::close(fd_);
}

int ImageFolder::OpenFile(const std::string& name) const {
  if (name.size() >= PATH_MAX) return -1;
  const fs::path path(name);
  // A FIFO must keep nobody waiting.
  constexpr int kFlags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
  const auto open = [&](const std::optional<std::string>& relative) {
    if (!relative) return -1;
    const auto opened = OpenBeneath(fd_, *relative, kFlags);
    return opened.ok() ? *opened : -1;
  };
  const int opened = open(path.is_absolute() ? Below(path_, path) : name);
  if (opened >= 0) return opened;
  // Other names of a file below the folder: links that give a whole path, and paths through links elsewhere.
  // With ".." among them, to come back would tell which folders there are outside.
  if (std::ranges::find(path, fs::path("..")) != path.end()) return -1;
  std::error_code error;
  const fs::path resolved = fs::canonical(path_ / path, error);
  return error ? -1 : open(Below(path_, resolved));
}

Result<Image> ImageFolder::Load(const std::string& source, const ImageOptions& options) const {
  if (IsDataUri(source)) return LoadImage(source, options);
  const std::string name = Printable(source);
  if (fd_ < 0) {
    return DataError(name +
                     ": images of a list that comes as a stream need --image-root DIR, the folder that they "
                     "are in; or give data: URIs");
  }
  const int fd = OpenFile(source);
  struct stat st {};
  if (fd < 0 || ::fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    if (fd >= 0) ::close(fd);
    return DataError(name +
                     " is not a readable file below the image folder; that is the job list's folder, or the "
                     "one that --image-root names");
  }
  BIFRONS_TRY(const MappedFile file, MappedFile::FromDescriptor(fd, name));
  return DecodeImage(file.bytes(), name, options);
}

}  // namespace bifrons
