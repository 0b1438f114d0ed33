#include "src/model/model_path.h"

#include <cstdlib>
#include <filesystem>

namespace bifrons {

namespace fs = std::filesystem;

Result<std::string> BundledModel() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return Failure("cannot find the program's own folder: " + error.message());
  // bin/../share/bifrons of an installation; build/<preset>/[tests/] of a checkout
  for (const char* relative :
       {"../share/bifrons/janus-mini", "../../assets/janus-mini", "../../../assets/janus-mini"}) {
    const fs::path folder = (program.parent_path() / relative).lexically_normal();
    if (fs::exists(folder / "config.json", error)) return folder.string();
  }
#ifdef BIFRONS_SOURCE_DIR
  if (const fs::path folder = fs::path(BIFRONS_SOURCE_DIR) / "assets/janus-mini";
      fs::exists(folder / "config.json", error)) {
    return folder.string();
  }
#endif
  return DataError("the bundled model (janus-mini) was not found near " + program.parent_path().string() +
                   "; name a model folder with --model");
}

Result<std::string> ResolveModel(const std::string& model) {
  if (!model.empty()) return model;
  if (const char* set = std::getenv("BIFRONS_MODEL"); set && *set) return std::string(set);
  return BundledModel();
}

Result<std::string> TokenizerFolder(const std::string& model) {
  if (model.starts_with("random:")) return BundledModel();
  return model;
}

}  // namespace bifrons
