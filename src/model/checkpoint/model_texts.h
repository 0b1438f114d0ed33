// The small files of a model, wherever they are: in its folder, or as strings in its GGUF.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/mapped_file.h"
#include "src/base/result.h"

namespace bifrons {

/// One of them. Its text stays as long as a copy of this.
struct ModelText {
  std::string_view text;
  std::string path;  // for messages: FOLDER/config.json or FILE.gguf/config.json
  std::shared_ptr<const MappedFile> file;
};

struct Gguf;

class ModelTexts {
 public:
  /// Of a model that comes with none.
  ModelTexts() = default;
  /// Of a folder. Files are opened when they are asked for.
  ModelTexts(std::string folder) : path_(std::move(folder)) {}
  /// Of a GGUF. Errors: OpenModelFile's, ReadGguf's.
  static Result<ModelTexts> OpenGguf(const std::string& path);

  /// A text by its file's name ("config.json"); none where the model lacks it. Errors: OpenModelFile's.
  Result<std::optional<ModelText>> Find(const std::string& name) const;
  /// The same; an error as well where the model lacks it.
  Result<ModelText> Get(const std::string& name) const;

  /// The folder's, or the file's.
  const std::string& path() const { return path_; }
  bool is_gguf() const { return gguf_ != nullptr; }

 private:
  std::string path_;  // "": none
  std::shared_ptr<const MappedFile> file_;
  std::shared_ptr<const Gguf> gguf_;
};

/// Whether a model's path is that of a GGUF.
bool IsGgufPath(std::string_view path);

}  // namespace bifrons
