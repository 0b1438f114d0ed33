// Which images a caption run is about, and the results that exist already.
#pragma once

#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

/// An image to caption, and the .txt file for its caption ("" where results go elsewhere).
struct CaptionJob {
  std::string source;
  std::string txt;
};

/// Files, data: URIs and - as given; of folders the images they hold (by extension, sorted by name), those in
/// folders within only when `recursive`. Errors: a folder that cannot be read or holds no image.
Result<std::vector<std::string>> FindImages(const std::vector<std::string>& inputs, bool recursive);

/// The .txt beside each image. Errors: two images that would share one, a source that is no file.
Result<std::vector<CaptionJob>> PlaceTexts(const std::vector<std::string>& sources);

/// A file of JSON lines that grows: every result is one write, so a killed process leaves at most a torn last
/// line, which opening it again cuts off.
class JsonLinesFile {
 public:
  /// Opens or creates `path`; `overwrite` empties it. Reads the (file, question) pairs that are there. Errors:
  /// not writable, or a line that is not a result (by its number).
  static Result<JsonLinesFile> Open(const std::string& path, bool overwrite);
  JsonLinesFile(JsonLinesFile&& o) noexcept;
  JsonLinesFile& operator=(JsonLinesFile&&) = delete;
  ~JsonLinesFile();

  bool Holds(const std::string& file, const std::string& question) const {
    return done_.contains({file, question});
  }
  /// Appends `line` and a line break.
  Status Append(const std::string& line);

 private:
  JsonLinesFile() = default;
  Status ReadResults();

  std::string path_;
  int fd_ = -1;
  std::set<std::pair<std::string, std::string>> done_;
};

}  // namespace bifrons
