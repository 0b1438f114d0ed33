#include "src/model/checkpoint/adapter.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "src/base/json_visitor.h"
#include "src/base/mapped_file.h"
#include "src/base/printable.h"

namespace bifrons {
namespace fs = std::filesystem;
namespace {

// peft/utils/constants.py: SAFETENSORS_WEIGHTS_NAME, WEIGHTS_NAME, CONFIG_NAME
constexpr const char* kWeights[] = {"adapter_model.safetensors", "adapter_model.bin"};
constexpr const char* kConfig = "adapter_config.json";

bool Exists(const std::string& folder, const char* name) {
  std::error_code error;
  return fs::exists(fs::path(folder) / name, error);
}

class BaseModelVisitor : public JsonVisitor {
 public:
  std::string base;

  Use Choose(const JsonPlace& place, Kind kind) override {
    if (place.depth() == 0) return kind == Kind::kObject ? Use::kOpen : Use::kSkip;
    const bool named = kind == Kind::kScalar && place.key(0) == "base_model_name_or_path";
    return named ? Use::kTake : Use::kSkip;
  }
  Status Take(const JsonPlace&, nlohmann::json& value) override {
    const std::string* text = value.get_ptr<const std::string*>();
    base = text ? Printable(*text) : "";
    return {};
  }
};

/// What adapter_config.json tells; empty when it cannot be had from there.
std::string BaseModel(const std::string& folder) {
  const std::string path = (fs::path(folder) / kConfig).string();
  const Result<MappedFile> file = MappedFile::Open(path);
  if (!file.ok() || file->bytes().size() > kMaxAdapterConfigBytes) return "";
  BaseModelVisitor visitor;
  const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  return VisitJson(text, path, "not valid JSON", visitor).ok() ? visitor.base : "";
}

}  // namespace

bool IsAdapterWeights(std::string_view name) {
  for (const char* weights : kWeights) {
    if (name == weights) return true;
  }
  return false;
}

std::string FindAdapterWeights(const std::string& folder) {
  for (const char* weights : kWeights) {
    if (Exists(folder, weights)) return weights;
  }
  return "";
}

bool HasAdapter(const std::string& folder) {
  return !FindAdapterWeights(folder).empty() || Exists(folder, kConfig);
}

Error AdapterAlone(const std::string& folder) {
  const std::string base = BaseModel(folder);
  return DataError(folder + ": a PEFT adapter, not a whole model: merge it into its base model" +
                   (base.empty() ? "" : " '" + base + "'") +
                   " (PEFT's merge_and_unload, then save_pretrained) and name that folder, or name the base "
                   "model's");
}

}  // namespace bifrons
