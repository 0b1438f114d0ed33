#include "src/model/checkpoint/model_texts.h"

#include <filesystem>
#include <utility>

#include "src/model/checkpoint/gguf.h"
#include "src/model/checkpoint/model_file.h"

namespace bifrons {
namespace fs = std::filesystem;

Result<ModelTexts> ModelTexts::OpenGguf(const std::string& path) {
  BIFRONS_TRY(MappedFile file, OpenModelFile(path));
  BIFRONS_TRY(Gguf gguf, ReadGguf(file.bytes(), path));
  gguf.tensors.clear();
  ModelTexts texts(path);
  texts.file_ = std::make_shared<const MappedFile>(std::move(file));
  texts.gguf_ = std::make_shared<const Gguf>(std::move(gguf));
  return texts;
}

Result<std::optional<ModelText>> ModelTexts::Find(const std::string& name) const {
  if (path_.empty()) return std::optional<ModelText>();
  const std::string path = (fs::path(path_) / name).string();
  if (gguf_) {
    const auto it = gguf_->strings.find(GgufKeyOf(name));
    if (it == gguf_->strings.end()) return std::optional<ModelText>();
    return std::optional(ModelText{it->second, path, file_});
  }
  std::error_code error;
  if (!fs::exists(path, error)) return std::optional<ModelText>();
  BIFRONS_TRY(ModelText text, Get(name));
  return std::optional(std::move(text));
}

Result<ModelText> ModelTexts::Get(const std::string& name) const {
  const std::string path = (fs::path(path_) / name).string();
  if (gguf_) {
    BIFRONS_TRY(std::optional<ModelText> found, Find(name));
    if (found) return *std::move(found);
    return DataError(path_ + ": lacks the metadata " + std::string(GgufKeyOf(name)) +
                     ", which stands for a model's " + name + "; convert the model again");
  }
  BIFRONS_TRY(MappedFile file, OpenModelFile(path));
  auto shared = std::make_shared<const MappedFile>(std::move(file));
  const std::string_view text(reinterpret_cast<const char*>(shared->bytes().data()), shared->bytes().size());
  return ModelText{text, path, std::move(shared)};
}

bool IsGgufPath(std::string_view path) { return path.ends_with(".gguf"); }

}  // namespace bifrons
