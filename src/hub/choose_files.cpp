#include "src/hub/choose_files.h"

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "src/base/mapped_file.h"
#include "src/model/checkpoint/index_json.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kConfig = "config.json";
constexpr std::string_view kTokenizer = "tokenizer.json";
constexpr std::string_view kSmallFiles[] = {kTokenizer,
                                            "tokenizer_config.json",
                                            "special_tokens_map.json",
                                            "added_tokens.json",
                                            "generation_config.json",
                                            "preprocessor_config.json",
                                            "processor_config.json",
                                            "chat_template.json",
                                            "chat_template.jinja"};

// A format's names, in the order in which the loader looks for them.
struct WeightFormat {
  std::string_view single, index, shard_prefix, any_prefix, suffix;
};
constexpr WeightFormat kFormats[] = {
    {"model.safetensors", "model.safetensors.index.json", "model-", "", ".safetensors"},
    {"pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-", "pytorch_model", ".bin"},
};

const RemoteFile* Find(const std::vector<RemoteFile>& files, std::string_view name) {
  const auto it =
      std::find_if(files.begin(), files.end(), [&](const RemoteFile& file) { return file.name == name; });
  return it == files.end() ? nullptr : &*it;
}

std::vector<RemoteFile> FilesNamed(const std::vector<RemoteFile>& files, std::string_view prefix,
                                   std::string_view suffix) {
  std::vector<RemoteFile> named;
  for (const RemoteFile& file : files) {
    const bool fits = file.name.starts_with(prefix) && file.name.ends_with(suffix);
    if (fits && file.name.find('/') == file.name.npos && !file.name.starts_with("adapter_"))
      named.push_back(file);
  }
  return named;
}

// None where there are none of this format.
std::vector<RemoteFile> ChooseWeights(const std::vector<RemoteFile>& files, const WeightFormat& format) {
  if (const RemoteFile* single = Find(files, format.single)) return {*single};
  if (const RemoteFile* index = Find(files, format.index)) {
    std::vector<RemoteFile> shards = FilesNamed(files, format.shard_prefix, format.suffix);
    if (!shards.empty()) shards.push_back(*index);
    return shards;
  }
  std::vector<RemoteFile> others = FilesNamed(files, format.any_prefix, format.suffix);
  return others.size() == 1 ? others : std::vector<RemoteFile>();
}

bool HasAllShards(const fs::path& folder, std::string_view index) {
  const std::string path = (folder / index).string();
  const auto file = MappedFile::Open(path);
  if (!file.ok()) return false;
  const auto bytes = (*file).bytes();
  const auto parsed = ParseIndex({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
  if (!parsed.ok()) return false;
  const std::vector<std::string>& names = (*parsed).files();
  return std::all_of(names.begin(), names.end(), [&](const std::string& name) {
    std::error_code error;
    return fs::is_regular_file(folder / name, error);
  });
}

bool HasWeights(const fs::path& folder, const WeightFormat& format) {
  std::error_code error;
  if (fs::is_regular_file(folder / format.single, error)) return true;
  if (fs::exists(folder / format.index, error)) return HasAllShards(folder, format.index);
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with(format.any_prefix) && name.ends_with(format.suffix) && it->is_regular_file(error))
      return true;
  }
  return false;
}

}  // namespace

Result<std::vector<RemoteFile>> ChooseFiles(const std::vector<RemoteFile>& files, const std::string& from) {
  const RemoteFile* const config = Find(files, kConfig);
  if (!config && Find(files, "adapter_config.json"))
    return DataError(from + " holds an adapter, not a model: merge it into its base model first");
  if (!config) return DataError(from + " holds no model that bifrons reads: it has no config.json");
  std::vector<RemoteFile> chosen;
  for (const WeightFormat& format : kFormats)
    if (chosen.empty()) chosen = ChooseWeights(files, format);
  if (chosen.empty())
    return DataError(from +
                     " holds no weights that bifrons reads: neither model.safetensors nor pytorch_model.bin, "
                     "nor either in shards with its index");
  for (const std::string_view name : kSmallFiles)
    if (const RemoteFile* file = Find(files, name)) chosen.push_back(*file);
  chosen.push_back(*config);
  return chosen;
}

bool IsWholeModel(const std::string& folder) {
  const fs::path path(folder);
  std::error_code error;
  if (!fs::is_regular_file(path / kConfig, error) || !fs::is_regular_file(path / kTokenizer, error))
    return false;
  return std::any_of(std::begin(kFormats), std::end(kFormats),
                     [&](const WeightFormat& format) { return HasWeights(path, format); });
}

}  // namespace bifrons
