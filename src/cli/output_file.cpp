#include "src/cli/output_file.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string_view>

#include "src/engine/metadata.h"
#include "src/jobs/manifest.h"
#include "src/jobs/picture_file.h"
#include "src/model/checkpoint/gguf.h"
#include "src/model/checkpoint/gguf_types.h"
#include "src/model/checkpoint/model_texts.h"
#include "vision/png.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

std::string FolderOf(const std::string& path) {
  const std::string folder = fs::path(path).parent_path();
  return folder.empty() ? "." : folder;
}

Status CheckFolder(const std::string& path) {
  const std::string folder = FolderOf(path);
  std::error_code error;
  if (!fs::is_directory(folder, error)) return Failure(path + ": cannot write: there is no folder " + folder);
  if (::access(folder.c_str(), W_OK) != 0)
    return Failure(path + ": cannot write: the folder " + folder + " is not writable");
  return {};
}

// Pictures, models and manifests say who wrote them.
bool IsOurs(const std::string& path) {
  if (IsGgufPath(path)) {
    const auto file = MappedFile::Open(path);
    const auto gguf = file.ok() ? ReadGguf(file->bytes(), path) : Result<Gguf>(file.error());
    return gguf.ok() && gguf->Find(kGgufSoftwareKey).starts_with("bifrons ");
  }
  const auto parameters = ReadPictureParameters(path);
  if (parameters.ok() && ParseParameters(*parameters).ok()) return true;
  if (const auto texts = ReadPngText(path); texts.ok()) {
    for (const auto& [keyword, text] : *texts)
      if (keyword == "Software" && text.starts_with("bifrons ")) return true;
    return false;
  }
  bool header = false;
  const ManifestVisitor visitor{[&](const ManifestHeader&) { header = true; }, [](const auto&...) {}};
  return ReadLines(path, ManifestLines(path, visitor)).ok() && header;
}

bool IsSame(const std::string& a, const std::string& b) {
  std::error_code error;
  return fs::weakly_canonical(fs::absolute(a, error), error) ==
         fs::weakly_canonical(fs::absolute(b, error), error);
}

}  // namespace

Status CheckFolderCanBe(const std::string& folder) {
  std::error_code error;
  fs::path above = fs::absolute(folder, error);
  while (above.has_relative_path() && !fs::exists(fs::symlink_status(above, error)))
    above = above.parent_path();
  if (!fs::is_directory(above, error) || ::access(above.c_str(), W_OK) != 0)
    return Failure(folder + ": cannot make this folder: " + above.string() + " is no folder to write into");
  return {};
}

Status MakeFolder(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder, error)) return Failure(folder + ": cannot make this folder");
  return {};
}

Result<OutputFile> OutputFile::Claim(const std::string& path, bool force) {
  BIFRONS_RETURN_IF_ERROR(CheckFolder(path));
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) return Failure(path + ": cannot write: it is a folder");
  if (!fs::exists(status)) {
    if (!fs::is_symlink(path, error)) return OutputFile(path, false);
    if (!force) return UsageError(path + ": is a link that leads nowhere; --force writes what it points to");
    return OutputFile(path, true);
  }
  if (!fs::is_regular_file(status)) return Failure(path + ": cannot write: not a regular file");
  if (!force && !IsOurs(path)) {
    return UsageError(
        path +
        ": is there already and does not say that bifrons wrote it; take another name, or --force "
        "to replace it");
  }
  return OutputFile(path, true);
}

Status OutputFile::CheckIsNot(const std::string& other, const char* what) const {
  if (!IsSame(path_, other)) return {};
  return UsageError(path_ + ": is " + what + " too; give it another name");
}

Status OutputFile::Write(std::span<const uint8_t> bytes) const {
  return WriteFileAtomically(path_, bytes, {.replace = replace_});
}

Result<NumberedFiles> NumberedFiles::Begin(const std::string& stem, const std::string& extension,
                                           bool several) {
  BIFRONS_RETURN_IF_ERROR(CheckFolder(stem + extension));
  // Behind the highest that is there, so that the order of names is that of drawing.
  const std::string start = fs::path(stem).filename().string() + "_";
  int64_t highest = several ? 0 : 1;
  std::error_code error;
  fs::directory_iterator it(FolderOf(stem), error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with(start) || !name.ends_with(extension) ||
        name.size() <= start.size() + extension.size())
      continue;
    const std::string_view digits =
        std::string_view(name).substr(start.size(), name.size() - start.size() - extension.size());
    int32_t number = 0;
    const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (failed == std::errc() && end == digits.data() + digits.size())
      highest = std::max<int64_t>(highest, number);
  }
  const bool free = !fs::exists(fs::symlink_status(stem + extension, error));
  return NumberedFiles(stem, extension, !several && free ? 0 : highest + 1);
}

Result<std::string> NumberedFiles::Write(std::span<const uint8_t> bytes) {
  // Another process may count as well.
  for (;;) {
    const std::string path = stem_ + (next_ == 0 ? "" : "_" + std::to_string(next_)) + extension_;
    next_ = std::max<int64_t>(next_ + 1, 2);
    const Status written = WriteFileAtomically(path, bytes, {.replace = false});
    if (written.ok()) return path;
    std::error_code error;
    if (!fs::exists(fs::symlink_status(path, error))) return written.error();
  }
}

}  // namespace bifrons
