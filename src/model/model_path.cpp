#include "src/model/model_path.h"

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "src/model/checkpoint/adapter.h"
#include "src/model/checkpoint/hub_snapshot.h"

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
    const fs::path folder = (candidate / "janus-mini").lexically_normal();
    if (fs::exists(folder / "config.json", error)) return folder.string();
  }
  return DataError(
      "the bundled model (janus-mini) was found neither near the program nor in " BIFRONS_INSTALLED_ASSETS
      "; name a model folder with --model");
}

Result<std::string> ResolveModel(const std::string& model) {
  if (!model.empty()) return ResolveSnapshot(model);
  if (const char* set = std::getenv("BIFRONS_MODEL"); set && *set) return ResolveSnapshot(set);
  return BundledModel();
}

Error NoModelFolder(const std::string& model) {
  // The program has downloaded these before; whoever embeds the engine has to.
  if (model.starts_with("hf:")) {
    return DataError(model + ": is not a folder; the model has to be downloaded first, as `bifrons pull " +
                     model.substr(3) + "` does, which prints the folder to name");
  }
  const fs::path path = model;
  std::error_code error;
  if (path.extension() == ".gguf") {
    return DataError(model +
                     ": is not a folder; GGUF files are not read: name the model's folder of safetensors, as "
                     "`bifrons pull ORG/NAME` downloads it");
  }
  const fs::path above = fs::absolute(path, error).parent_path();
  if (fs::is_regular_file(path, error) && fs::exists(above / "config.json", error))
    return DataError(model + ": is not a folder; name the one that it is in: " + above.string());
  return DataError(model +
                   ": is not a folder; a model is its folder, random:janus-pro-1b or random:janus-pro-7b; "
                   "`bifrons pull ORG/NAME` downloads one, and so does the program for hf:ORG/NAME");
}

Result<std::string> TokenizerFolder(const std::string& model) {
  if (model.starts_with("random:")) return BundledModel();
  // Those of an adapter often have a tokenizer too, which is as good as its model's.
  std::error_code error;
  const fs::path folder = model;
  if (!fs::is_directory(folder, error)) return NoModelFolder(model);
  if (!fs::exists(folder / "tokenizer.json", error) && !fs::exists(folder / "config.json", error) &&
      HasAdapter(model)) {
    return AdapterAlone(model);
  }
  return model;
}

}  // namespace bifrons
