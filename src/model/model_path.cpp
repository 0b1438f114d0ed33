#include "src/model/model_path.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "src/base/name_sample.h"
#include "src/model/checkpoint/adapter.h"
#include "src/model/checkpoint/hub_snapshot.h"
#include "src/model/config.h"

namespace bifrons {

namespace fs = std::filesystem;

Result<std::string> BundledModel() {
  std::vector<fs::path> candidates;
  // Without /proc, as in a bare chroot, a program does not know where it is.
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    candidates.push_back(program.parent_path() /
                         "../share/bifrons");  // bin/ of an installation, wherever it was moved
    candidates.push_back(program.parent_path() / "../../assets");  // build/<preset>/ of a checkout
  }
  candidates.emplace_back(BIFRONS_INSTALLED_ASSETS);  // a program that embeds the engine
  candidates.emplace_back(BIFRONS_SOURCE_ASSETS);
  for (const fs::path& candidate : candidates) {
    const fs::path folder = (candidate / kBundledName).lexically_normal();
    if (fs::exists(folder / "config.json", error)) return folder.string();
  }
  return DataError(
      "the bundled model (janus-mini) was found neither near the program nor in " BIFRONS_INSTALLED_ASSETS
      "; name a model folder with --model");
}

namespace {

// A folder's GGUF, where it has no other weights: those of published models' folders come first, whatever
// lies beside them.
Result<std::string> ResolveGguf(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.ends_with(".safetensors") || (name.starts_with("pytorch_model") && name.ends_with(".bin")))
      return folder;
    if (IsGgufPath(name)) found.push_back(it->path().string());
  }
  if (found.size() == 1) return found[0];
  if (found.empty()) return folder;
  std::sort(found.begin(), found.end());
  NameSample names;
  for (const std::string& path : found) names.Add(fs::path(path).filename().string());
  return DataError(folder + ": holds " + names.Counted("GGUF") + " (" + names.ToString() +
                   "): name one of them");
}

Result<std::string> ResolveNamed(const std::string& model) {
  BIFRONS_TRY(const std::string resolved, ResolveSnapshot(model));
  return ResolveGguf(resolved);
}

Error NoModel(const std::string& model) {
  // The program has downloaded these before; whoever embeds the engine has to.
  if (model.starts_with("hf:")) {
    return DataError(model + ": is not a folder; the model has to be downloaded first, as `bifrons pull " +
                     model.substr(3) + "` does, which prints the folder to name");
  }
  const fs::path path = model;
  std::error_code error;
  if (IsGgufPath(model)) return DataError(model + ": there is no such file");
  const fs::path above = fs::absolute(path, error).parent_path();
  if (fs::is_regular_file(path, error) && fs::exists(above / "config.json", error))
    return DataError(model + ": is not a folder; name the one that it is in: " + above.string());
  std::string others;
  for (const char* name : kPublishedNames) others += std::string(", random:") + name;
  return DataError(model + (fs::exists(path, error) ? ": is not a folder" : ": there is no such folder") +
                   "; a model is its folder, a GGUF, " + kBundledName + others +
                   "; `bifrons pull ORG/NAME` downloads one, and so does the program for hf:ORG/NAME");
}

}  // namespace

Result<std::string> ResolveModel(const std::string& model) {
  std::string named = model;
  if (const char* set = std::getenv("BIFRONS_MODEL"); named.empty() && set) named = set;
  std::error_code error;
  const bool bundled = named.empty() || (named == kBundledName && !fs::exists(named, error));
  return bundled ? BundledModel() : ResolveNamed(named);
}

Result<ModelTexts> OpenModelTexts(const std::string& model) {
  if (model.starts_with("random:")) return ModelTexts();
  std::error_code error;
  if (fs::is_directory(model, error)) return ModelTexts(model);
  if (IsGgufPath(model) && fs::exists(model, error)) return ModelTexts::OpenGguf(model);
  return NoModel(model);
}

Result<ModelTexts> OpenTokenizerTexts(const std::string& model) {
  if (model.starts_with("random:")) {
    BIFRONS_TRY(const std::string bundled, BundledModel());
    return ModelTexts(bundled);
  }
  BIFRONS_TRY(ModelTexts texts, OpenModelTexts(model));
  // Those of an adapter often have a tokenizer too, which is as good as its model's.
  std::error_code error;
  const fs::path folder = model;
  if (!texts.is_gguf() && !fs::exists(folder / "tokenizer.json", error) &&
      !fs::exists(folder / "config.json", error) && HasAdapter(model)) {
    return AdapterAlone(model);
  }
  return texts;
}

}  // namespace bifrons
