#include "src/engine/caption_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "src/base/json_depth.h"
#include "src/base/mapped_file.h"

namespace bifrons {
namespace fs = std::filesystem;
namespace {

bool LooksLikeImage(const fs::path& path) {
  static const std::set<std::string> kExtensions = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tga",
                                                    ".psd", ".hdr",  ".pnm", ".ppm",  ".pgm", ".pbm"};
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return kExtensions.contains(extension);
}

template <class Iterator>
Status Collect(Iterator it, const std::string& folder, std::error_code& error,
               std::vector<std::string>& images) {
  for (; !error && it != Iterator(); it.increment(error)) {
    if (LooksLikeImage(it->path()) && it->is_regular_file(error)) images.push_back(it->path().string());
    error.clear();  // an entry that vanished meanwhile is not there
  }
  if (error) return Failure(folder + ": cannot read this folder: " + error.message());
  return {};
}

}  // namespace

Result<std::vector<std::string>> FindImages(const std::vector<std::string>& inputs, bool recursive) {
  std::vector<std::string> images;
  for (const std::string& input : inputs) {
    std::error_code error;
    if (input == "-" || input.starts_with("data:") || !fs::is_directory(input, error)) {
      images.push_back(input);
      continue;
    }
    std::vector<std::string> found;
    if (recursive) {
      fs::recursive_directory_iterator it(input, fs::directory_options::skip_permission_denied, error);
      BIFRONS_RETURN_IF_ERROR(Collect(it, input, error, found));
    } else {
      fs::directory_iterator it(input, error);
      BIFRONS_RETURN_IF_ERROR(Collect(it, input, error, found));
    }
    if (found.empty()) {
      return DataError(input + ": this folder holds no images" +
                       (recursive ? "" : "; --recursive looks into folders within it too"));
    }
    std::sort(found.begin(), found.end());
    images.insert(images.end(), found.begin(), found.end());
  }
  return images;
}

Result<std::vector<CaptionJob>> PlaceTexts(const std::vector<std::string>& sources) {
  std::vector<CaptionJob> jobs;
  std::map<std::string, std::string> owners;
  for (const std::string& source : sources) {
    if (source == "-" || source.starts_with("data:"))
      return UsageError("caption: --write-txt needs files; " + source.substr(0, 5) + " has no place beside it");
    const std::string txt = fs::path(source).replace_extension(".txt").string();
    const auto [owner, fresh] = owners.emplace(txt, source);
    if (!fresh && owner->second != source) {
      return UsageError("caption: " + owner->second + " and " + source + " would both write " + txt +
                        "; rename one, or use --jsonl");
    }
    if (fresh) jobs.push_back({source, txt});
  }
  return jobs;
}

JsonLinesFile::JsonLinesFile(JsonLinesFile&& o) noexcept
    : path_(std::move(o.path_)), fd_(std::exchange(o.fd_, -1)), done_(std::move(o.done_)) {}

JsonLinesFile::~JsonLinesFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<JsonLinesFile> JsonLinesFile::Open(const std::string& path, bool overwrite) {
  JsonLinesFile file;
  file.path_ = path;
  file.fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | (overwrite ? O_TRUNC : 0), 0666);
  if (file.fd_ < 0) return Failure(path + ": cannot write: " + std::strerror(errno));
  BIFRONS_RETURN_IF_ERROR(file.ReadResults());
  return file;
}

Status JsonLinesFile::ReadResults() {
  BIFRONS_TRY(const MappedFile mapped, MappedFile::Open(path_));
  const std::string_view text(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
  size_t at = 0;
  for (int64_t number = 1; at < text.size(); number++) {
    const size_t end = text.find('\n', at);
    if (end == std::string_view::npos) break;
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.empty()) continue;
    const std::string where = path_ + ":" + std::to_string(number);
    BIFRONS_RETURN_IF_ERROR(CheckJsonDepth(line, where));
    const auto json = nlohmann::json::parse(line, nullptr, false);
    const auto string = [&](const char* key) { return json.contains(key) && json[key].is_string(); };
    if (!json.is_object() || !string("file") || !string("question")) {
      return DataError(where + ": not a result of caption (no \"file\" and \"question\"); give --jsonl another "
                       "file, or --overwrite to empty this one");
    }
    done_.emplace(json["file"], json["question"]);
  }
  if (at < text.size() && ::ftruncate(fd_, static_cast<off_t>(at)) != 0)
    return Failure(path_ + ": cannot cut off its torn last line: " + std::strerror(errno));
  return {};
}

Status JsonLinesFile::Append(const std::string& line) {
  const std::string text = line + "\n";
  const ssize_t written = ::write(fd_, text.data(), text.size());
  if (written == static_cast<ssize_t>(text.size())) return {};
  // What was written of the line is cut off when the file is opened again.
  return Failure(path_ + ": cannot write: " + (written < 0 ? std::strerror(errno) : "the disk is full"));
}

}  // namespace bifrons
