#include "src/engine/caption_files.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "src/base/json_depth.h"
#include "src/base/mapped_file.h"
#include "src/base/stop.h"
#include "vision/image_file.h"

namespace bifrons {
namespace fs = std::filesystem;
namespace {

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// What systems, NAS boxes and archivers put beside people's pictures, in lower case.
bool IsSystemName(const std::string& name) {
  static const auto& kNames = *new std::set<std::string>{
      "__macosx",  "@eadir",      "@recycle",     "@recently-snapshot", "@tmp",
      "#recycle",  "#snapshot",   "$recycle.bin", "recycler",           "system volume information",
      "thumbs.db", "ehthumbs.db", "desktop.ini",  "lost+found"};
  return name.starts_with('.') || kNames.contains(Lower(name));
}

// Of a regular file. One that cannot be read is taken: reading it again says why.
bool MayBeImage(const fs::path& path) {
  if (HasImageName(path.string())) return true;
  const auto file = MappedFile::Open(path.string());
  return !file.ok() || KindOfFile(file->bytes()) != FileKind::kOther;
}

void Look(const fs::directory_entry& entry, bool recursive, std::vector<fs::path>* folders,
          FoundImages* found) {
  const fs::path& path = entry.path();
  if (IsSystemName(path.filename().string())) return;
  std::error_code error;
  const fs::file_status own = entry.symlink_status(error);
  // Folders behind links are left out: they may lead round in a circle.
  if (fs::is_directory(own)) {
    if (recursive) folders->push_back(path);
    return;
  }
  const fs::file_status status = fs::status(path, error);
  if (fs::is_regular_file(status)) {
    if (MayBeImage(path)) found->images.push_back(path.string());
  } else if (fs::is_symlink(own) && !fs::is_directory(status) && !fs::is_other(status)) {
    std::error_code unknown;
    found->unseen.push_back(path.string() + ": a link to " + fs::read_symlink(path, unknown).string() +
                            ", which cannot be reached" + (error ? ": " + error.message() : ""));
  }
}

// The folder itself and, where it is `recursive`, those within. Errors: it cannot be read itself.
Status Search(const std::string& top, bool recursive, FoundImages* found) {
  std::vector<fs::path> folders = {top};
  while (!folders.empty()) {
    const fs::path folder = std::move(folders.back());
    folders.pop_back();
    std::error_code error;
    fs::directory_iterator it(folder, error);
    for (; !error && it != fs::directory_iterator(); it.increment(error)) {
      if (StopRequested()) return Interrupted();
      Look(*it, recursive, &folders, found);
    }
    if (!error) continue;
    const std::string reason = folder.string() + ": cannot read this folder: " + error.message();
    if (folder == top) return DataError(reason);
    found->unseen.push_back(reason);
  }
  return {};
}

// What at `txt` is not to be replaced by a caption; "" where there is nothing such. `sources` are without
// links.
std::string Obstacle(const std::string& txt, const std::set<std::string>& sources) {
  std::error_code error;
  const fs::file_status status = fs::status(txt, error);
  if (!fs::exists(status)) return "";
  if (fs::is_directory(status)) return "a folder";
  if (!fs::is_regular_file(status)) return "no regular file";
  const auto file = MappedFile::Open(txt);
  if (!file.ok()) return "a file that cannot be read";
  if (KindOfFile(file->bytes()) != FileKind::kOther) return "a picture";
  return sources.contains(fs::weakly_canonical(txt, error).string()) ? "one of the inputs" : "";
}

}  // namespace

bool HasImageName(const std::string& path) {
  static const auto& kExtensions = *new std::set<std::string>{
      ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp",  ".dib",  ".gif",  ".tga", ".psd", ".hdr",
      ".pnm", ".ppm",  ".pgm", ".pbm",  ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2"};
  return kExtensions.contains(Lower(fs::path(path).extension().string()));
}

Result<FoundImages> FindImages(const std::vector<std::string>& inputs, bool recursive) {
  FoundImages all;
  for (const std::string& input : inputs) {
    std::error_code error;
    if (input == "-" || input.starts_with("data:") || !fs::is_directory(input, error)) {
      all.images.push_back(input);
      continue;
    }
    FoundImages found;
    BIFRONS_RETURN_IF_ERROR(Search(input, recursive, &found));
    if (found.images.empty() && found.unseen.empty()) {
      return DataError(input + ": this folder holds no images" +
                       (recursive ? "" : "; --recursive looks into folders within it too"));
    }
    std::ranges::sort(found.images), std::ranges::sort(found.unseen);
    std::ranges::move(found.images, std::back_inserter(all.images));
    std::ranges::move(found.unseen, std::back_inserter(all.unseen));
  }
  return all;
}

Result<std::vector<CaptionJob>> PlaceTexts(const std::vector<std::string>& sources) {
  std::set<std::string> files;
  for (const std::string& source : sources) {
    if (source == "-" || source.starts_with("data:"))
      return UsageError("caption: --write-txt needs files; " + source.substr(0, 5) +
                        " has no place beside it");
    std::error_code error;
    files.insert(fs::weakly_canonical(source, error).string());
  }
  std::vector<CaptionJob> jobs;
  std::set<std::string> seen;
  std::map<std::string, std::string> owners;
  for (const std::string& source : sources) {
    if (!seen.insert(source).second) continue;
    const std::string txt = fs::path(source).replace_extension(".txt").string();
    const std::string obstacle = Obstacle(txt, files);
    if (!obstacle.empty()) {
      jobs.push_back({source, txt,
                      source + ": its caption would go to " + txt + ", which is " + obstacle +
                          "; rename one, or use --jsonl"});
      continue;
    }
    const auto [owner, fresh] = owners.emplace(txt, source);
    if (!fresh) {
      return UsageError("caption: " + owner->second + " and " + source + " would both write " + txt +
                        "; rename one, or use --jsonl");
    }
    jobs.push_back({source, txt});
  }
  return jobs;
}

Result<LineFile> JsonLinesFile::OpenLines(const std::string& path, LineFile::Mode mode, Done* done) {
  const auto parse = [path](std::string_view line, int64_t number, Done* found) -> Status {
    const std::string where = path + ":" + std::to_string(number);
    BIFRONS_RETURN_IF_ERROR(CheckJsonDepth(line, where));
    const auto json = nlohmann::json::parse(line, nullptr, false);
    const auto string = [&](const char* key) { return json.contains(key) && json[key].is_string(); };
#ifdef BIFRONS_PLANTED_BUGS
    const bool result = json.is_object() && string("file");
#else
    const bool result = json.is_object() && string("file") && string("question");
#endif
    if (!result) {
      return DataError(where +
                       ": not a result of caption (no \"file\" and \"question\"); give --jsonl another file");
    }
    found->emplace(json["file"], json["question"]);
    return {};
  };
  // JSON's fields come sorted.
  const LineKind kind{"{\"complete\":", [&](std::string_view line, int64_t number) {
                        Done ignored;
                        return parse(line, number, &ignored);
                      }};
  const auto read = [&](std::string_view line, int64_t number) { return parse(line, number, done); };
  return LineFile::Open(path, mode, read, kind);
}

Result<JsonLinesFile> JsonLinesFile::Open(const std::string& path, bool overwrite) {
  Done done;
  std::error_code error;
  const bool there = fs::exists(path, error) || error;
  BIFRONS_TRY(LineFile file, OpenLines(path, LineFile::Mode::kKeep, &done));
  if (overwrite) done.clear();
  JsonLinesFile opened(std::move(file), std::move(done));
  opened.empties_ = overwrite;
  opened.made_ = !there;
  return opened;
}

void JsonLinesFile::RemoveIfNew() const {
  std::error_code error;
  if (made_ && fs::is_empty(file_->path(), error) && !error) fs::remove(file_->path(), error);
}

// Not when it is opened: it may have been another file than the user meant, or the model cannot be loaded.
Status JsonLinesFile::Append(const std::string& line) {
  if (std::exchange(empties_, false)) {
    Done ignored;
    BIFRONS_TRY(LineFile emptied, OpenLines(file_->path(), LineFile::Mode::kEmpty, &ignored));
    file_.emplace(std::move(emptied));
  }
  return file_->Append(line);
}

}  // namespace bifrons
