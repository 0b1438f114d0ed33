#include "src/engine/caption_files.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "src/base/json_depth.h"

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
      return UsageError("caption: --write-txt needs files; " + source.substr(0, 5) +
                        " has no place beside it");
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

Result<JsonLinesFile> JsonLinesFile::Open(const std::string& path, bool overwrite) {
  Done done;
  const auto parse = [path](std::string_view line, int64_t number, Done* found) -> Status {
    const std::string where = path + ":" + std::to_string(number);
    BIFRONS_RETURN_IF_ERROR(CheckJsonDepth(line, where));
    const auto json = nlohmann::json::parse(line, nullptr, false);
    const auto string = [&](const char* key) { return json.contains(key) && json[key].is_string(); };
    if (!json.is_object() || !string("file") || !string("question")) {
      return DataError(where +
                       ": not a result of caption (no \"file\" and \"question\"); give --jsonl another "
                       "file, or --overwrite to empty this one");
    }
    found->emplace(json["file"], json["question"]);
    return {};
  };
  // JSON's fields come sorted.
  const LineKind kind{"{\"complete\":", [&](std::string_view line, int64_t number) {
                        Done ignored;
                        return parse(line, number, &ignored);
                      }};
  const auto mode = overwrite ? LineFile::Mode::kEmpty : LineFile::Mode::kKeep;
  const auto read = [&](std::string_view line, int64_t number) { return parse(line, number, &done); };
  BIFRONS_TRY(LineFile file, LineFile::Open(path, mode, read, kind));
  return JsonLinesFile(std::move(file), std::move(done));
}

}  // namespace bifrons
