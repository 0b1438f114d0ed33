#include "src/model/checkpoint/hub_snapshot.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <vector>

#include "src/base/mapped_file.h"
#include "src/base/name_sample.h"
#include "src/base/printable.h"
#include "src/model/checkpoint/model_texts.h"

namespace bifrons {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxRefBytes = 255;  // a commit has 40

/// Names in ascending order.
std::vector<std::string> ListSnapshots(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    const std::string name = it->path().filename().string();
    if (!name.starts_with('.') && it->is_directory(ignored)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// "snapshots/a, snapshots/b, …"
std::string Listed(const std::vector<std::string>& names) {
  NameSample sample(8);
  for (const std::string& name : names) sample.Add("snapshots/" + name);
  return sample.ToString();
}

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

}  // namespace

Result<std::string> ResolveSnapshot(const std::string& folder) {
  const fs::path snapshots = fs::path(folder) / "snapshots", ref = fs::path(folder) / "refs/main";
  std::error_code error;
  if (!fs::is_directory(snapshots, error) || fs::exists(fs::path(folder) / "config.json", error))
    return folder;
  const std::vector<std::string> names = ListSnapshots(snapshots);
  const auto path_of = [&](const std::string& name) { return (snapshots / name).string(); };
  if (names.empty()) {
    return DataError(folder + ": a hub cache's folder without a snapshot of the model: download it again");
  }
  if (fs::exists(ref, error)) {
    BIFRONS_TRY(const MappedFile file, MappedFile::Open(ref.string()));
    if (file.bytes().size() > kMaxRefBytes) return DataError(ref.string() + ": too long for a commit's name");
    const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
    const std::string commit(Trimmed(text));
    // One of those listed, so no name that leads elsewhere.
    if (std::binary_search(names.begin(), names.end(), commit)) return path_of(commit);
    return DataError(ref.string() + ": names the snapshot '" + Printable(commit) +
                     "', which is not there: download the model again, or name one of " + Listed(names));
  }
  if (names.size() == 1) return path_of(names[0]);
  return DataError(folder + ": a hub cache's folder with " + std::to_string(names.size()) +
                   " snapshots, and no refs/main that chooses: name one of " + Listed(names));
}

std::string ModelName(const std::string& folder) {
  std::error_code error;
  const fs::path absolute = fs::canonical(folder, error);
  const fs::path path = error ? fs::path(folder) : absolute;
  if (IsGgufPath(path.native()) && !fs::is_directory(path, error)) return path.stem().string();
  const fs::path above = path.parent_path();
  const std::string repository = above.parent_path().filename().string();
  if (above.filename() != "snapshots" || !repository.starts_with("models--")) return path.filename().string();
  return repository.substr(repository.rfind("--") + 2);
}

}  // namespace bifrons
