// Images that requests name. A request may come from anybody: it sees files below one folder and no others,
// and an error does not tell which exist elsewhere.
#pragma once

#include <string>

#include "src/base/result.h"
#include "vision/image_file.h"

namespace bifrons {

class ImageFolder {
 public:
  /// None: only data: URIs are read.
  ImageFolder() = default;
  /// Errors (kBadData): no folder, or one that cannot be opened.
  static Result<ImageFolder> Open(const std::string& path);
  ImageFolder(ImageFolder&& o) noexcept;
  ImageFolder& operator=(ImageFolder&& o) noexcept;
  ~ImageFolder();

  /// `source` is a data: URI, a path relative to the folder, or an absolute path of a file below it. Symbolic
  /// links count by where they lead. May be called from any thread. Errors (kBadData): one and the same,
  /// whatever the cause, for all that is not a regular file below the folder; DecodeImage's of such a file.
  Result<Image> Load(const std::string& source, const ImageOptions& options) const;

 private:
  /// The open file, or -1.
  int OpenFile(const std::string& path) const;

  int fd_ = -1;
  std::string path_;  // without symbolic links
};

}  // namespace bifrons
