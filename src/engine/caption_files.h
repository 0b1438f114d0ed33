// Which images a caption run is about, and the results that exist already.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "src/base/line_file.h"
#include "src/base/result.h"

namespace bifrons {

/// Whether a file's name ends as those of pictures do, whatever is in it.
bool HasImageName(const std::string& path);

/// An image to caption, and the .txt file for its caption ("" where results go elsewhere).
struct CaptionJob {
  std::string source;
  std::string txt;
  std::string obstacle = {};  // "path: reason" why no caption may be written there; "" where it may
};

struct FoundImages {
  std::vector<std::string> images;
  std::vector<std::string> unseen;  // "path: reason" of what might hold images and cannot be reached
};

/// Files, data: URIs and - as given; of folders the files that are pictures by their contents or meant as
/// such by their names, sorted, those in folders within only when `recursive`. Pictures of a format that is
/// not read are among them, so that they are reported. Hidden files and folders and those of systems
/// (Thumbs.db, @eaDir, __MACOSX) are passed over, links to folders not followed. Errors: a folder that is
/// named and cannot be read or holds no image.
Result<FoundImages> FindImages(const std::vector<std::string>& inputs, bool recursive);

/// The .txt beside each image, once for each. What is there and is no text stands in its way: a picture,
/// another of the sources, what is no regular file. Errors: two images that would share one, a source that is
/// no file.
Result<std::vector<CaptionJob>> PlaceTexts(const std::vector<std::string>& sources);

/// A file of JSON lines that grows, one per result; a torn last line is cut off when it is opened again.
class JsonLinesFile {
 public:
  /// Opens or creates `path`; with `overwrite` the first result takes the place of all that are there. Reads
  /// the (file, question) pairs. Errors: not writable, or a line that is not a result (by its number).
  static Result<JsonLinesFile> Open(const std::string& path, bool overwrite);

  bool Holds(const std::string& file, const std::string& question) const {
    return done_.contains({file, question});
  }
  /// Appends `line` and a line break.
  Status Append(const std::string& line);
  /// Takes the file away where Open made it and it is empty still: nothing came of the run.
  void RemoveIfNew() const;

 private:
  using Done = std::set<std::pair<std::string, std::string>>;
  JsonLinesFile(LineFile file, Done done) : file_(std::move(file)), done_(std::move(done)) {}
  static Result<LineFile> OpenLines(const std::string& path, LineFile::Mode mode, Done* done);

  std::optional<LineFile> file_;  // always there
  Done done_;
  bool empties_ = false;  // before the next line
  bool made_ = false;     // it was not there before
};

}  // namespace bifrons
