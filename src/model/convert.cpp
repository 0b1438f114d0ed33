#include "src/model/convert.h"

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "src/base/atomic_file.h"
#include "src/base/json_visitor.h"
#include "src/model/checkpoint/gguf.h"
#include "src/model/checkpoint/gguf_header.h"
#include "src/model/export_files.h"
#include "src/model/gguf_tokenizer.h"
#include "src/model/quantized_weights.h"
#include "src/model/tensor_table.h"
#include "src/model/write_tensor.h"

namespace bifrons {
namespace fs = std::filesystem;
namespace {

// ggml: GGML_QNT_VERSION, of the blocks' layout
constexpr uint32_t kQuantizationVersion = 2;

// llama.cpp: llama_ftype, of most of the matrices
uint32_t FileTypeOf(DType type) {
  switch (type) {
    case DType::kF32:
      return 0;
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ8_0:
      return 7;
    case DType::kQ4_K:
      return 14;  // MOSTLY_Q4_K_S: all of them
    case DType::kBF16:
      return 32;
    case DType::kI32:
    case DType::kU8:
      break;
  }
  return 1024;  // GUESSED
}

// As a file of its own, or within one of two others.
Result<std::string> ChatTemplateOf(const ModelTexts& texts) {
  BIFRONS_TRY(const std::optional<ModelText> file, texts.Find("chat_template.jinja"));
  if (file) return std::string(file->text);
  for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
    BIFRONS_TRY(const std::optional<ModelText> text, texts.Find(name));
    if (!text) continue;
    const auto json = ReadJsonTree(text->text, kMaxConfigBytes, text->path);
    if (!json.ok()) continue;  // whoever needs it tells what is wrong with it
    if (const auto it = json->find("chat_template"); it != json->end() && it->is_string())
      return it->get<std::string>();
  }
  return std::string();
}

Status AddTexts(const ModelTexts& texts, const ModelTexts& tokenizer, GgufHeader* header) {
  for (const char* name : {"generation_config.json", "preprocessor_config.json", "processor_config.json"}) {
    BIFRONS_TRY(const std::optional<ModelText> text, texts.Find(name));
    if (text) header->Add(GgufKeyOf(name), text->text);
  }
  BIFRONS_TRY(const std::optional<ModelText> settings, tokenizer.Find("tokenizer_config.json"));
  if (settings) header->Add(GgufKeyOf("tokenizer_config.json"), settings->text);
  BIFRONS_TRY(const std::string chat_template, ChatTemplateOf(tokenizer));
  if (!chat_template.empty()) header->Add(GgufKeyOf("chat_template.jinja"), chat_template);
  return {};
}

Status CheckRoom(const std::string& path, uint64_t bytes) {
  std::error_code error;
  const fs::path folder = fs::absolute(path, error).parent_path();
  const fs::space_info space = fs::space(folder, error);
  if (error || space.available >= bytes) return {};
  char text[96];
  std::snprintf(text, sizeof text, "needs %.2f GB, and %.2f GB are free in ",
                static_cast<double>(bytes) / 1e9, static_cast<double>(space.available) / 1e9);
  return Failure(path + ": " + text + folder.string());
}

}  // namespace

Status WriteGguf(WeightSource& source, const ModelTexts& texts, const ModelTexts& tokenizer,
                 const ConvertOptions& options, const std::string& path, AtomicFile& file) {
  const JanusConfig& config = source.config();
  BIFRONS_TRY(const ModelText tokenizer_json, tokenizer.Get("tokenizer.json"));
  BIFRONS_TRY(const GgufTokenizer lists,
              MakeGgufTokenizer(tokenizer_json.text, config.llama.vocabulary, tokenizer_json.path));
  GgufHeader header;
  header.Add("general.architecture", kGgufArchitecture);
  header.Add("general.name", config.name);
  header.Add("general.file_type", FileTypeOf(MatrixType(source)));
  header.Add("general.quantization_version", kQuantizationVersion);
  header.Add("general.alignment", kGgufAlignment);
  header.Add(kGgufSoftwareKey, options.software);
  header.Add(GgufKeyOf("config.json"), GgufConfig(config, lists.special, source.TypeOf("llama.norm")));
  BIFRONS_RETURN_IF_ERROR(AddTexts(texts, tokenizer, &header));
  header.Add(GgufKeyOf("tokenizer.json"), tokenizer_json.text);
  AddTokenizer(lists, &header);

  const std::vector<TensorSpec> table = TensorTable(config);
  for (const TensorSpec& spec : table) header.AddTensor(spec.name, source.TypeOf(spec.name), spec.shape);
  const std::string text = header.Text();
  BIFRONS_RETURN_IF_ERROR(CheckRoom(path, text.size() + header.data_bytes()));
  BIFRONS_RETURN_IF_ERROR(file.Write({reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
  uint64_t written = 0;
  for (const TensorSpec& spec : table) {
    const auto all = static_cast<double>(header.data_bytes());
    if (options.progress) options.progress(static_cast<double>(written) / all);
    const TensorView view = source.Get(spec.name);
    BIFRONS_RETURN_IF_ERROR(WriteTensor(view, file));
    const uint8_t zeros[kGgufAlignment] = {};
    const uint64_t padding = GgufHeader::PaddingOf(view.bytes());
    BIFRONS_RETURN_IF_ERROR(file.Write({zeros, static_cast<size_t>(padding)}));
    written += view.bytes() + padding;
    source.Release(spec.name);
  }
  if (options.progress) options.progress(1);
  return {};
}

}  // namespace bifrons
