#include "src/model/export.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <vector>

#include "src/base/atomic_file.h"
#include "src/model/export_files.h"
#include "src/model/tensor_table.h"
#include "src/model/write_tensor.h"

namespace bifrons {
namespace fs = std::filesystem;
namespace {

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

const char* SafetensorsName(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kBF16:
      return "BF16";
    case DType::kF16:
      return "F16";
    case DType::kI32:
      return "I32";
    case DType::kU8:
      return "U8";
    case DType::kQ8_0:
    case DType::kQ4_0:
    case DType::kQ4_K:
      break;
  }
  BIFRONS_CHECK(false, "safetensors has no %s", NameOf(dtype));
}

// Names are our own (the table's), so they need no escaping.
std::string Header(const std::vector<TensorSpec>& specs, const WeightSource& source) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  uint64_t offset = 0;
  for (const TensorSpec& spec : specs) {
    const DType dtype = source.TypeOf(spec.name);
    const uint64_t end = offset + BytesOf(dtype, spec.shape);
    header += ",\"" + spec.converted + "\":{\"dtype\":\"" + SafetensorsName(dtype) +
              "\",\"shape\":" + spec.shape.ToString() + ",\"data_offsets\":[" + std::to_string(offset) + "," +
              std::to_string(end) + "]}";
    offset = end;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');  // the data begins aligned
  return header;
}

Status WriteWeights(WeightSource& source, const std::string& path) {
  std::vector<TensorSpec> specs = TensorTable(source.config());
  // Wider types first keep every tensor aligned.
  std::stable_sort(specs.begin(), specs.end(), [&](const TensorSpec& a, const TensorSpec& b) {
    return BlockOf(source.TypeOf(a.name)).bytes > BlockOf(source.TypeOf(b.name)).bytes;
  });
  BIFRONS_TRY(AtomicFile file, AtomicFile::Create(path));
  const std::string header = Header(specs, source);
  uint8_t length[8];
  for (int i = 0; i < 8; i++) length[i] = static_cast<uint8_t>(uint64_t{header.size()} >> (8 * i));
  BIFRONS_RETURN_IF_ERROR(file.Write(length));
  BIFRONS_RETURN_IF_ERROR(file.Write(Bytes(header)));
  for (const TensorSpec& spec : specs) {
    BIFRONS_RETURN_IF_ERROR(WriteTensor(source.Get(spec.name), file));
    source.Release(spec.name);
  }
  return file.Commit();
}

}  // namespace

Status ExportModel(WeightSource& source, const ModelTexts& texts, const std::string& out_folder) {
  const fs::path out(out_folder);
  std::error_code error;
  if (fs::exists(out, error) && !(fs::is_directory(out, error) && fs::is_empty(out, error))) {
    return UsageError(out_folder + ": exists and is not an empty folder; name a new one");
  }
  const JanusConfig& config = source.config();
  for (const TensorSpec& spec : TensorTable(config)) {
    if (const DType type = source.TypeOf(spec.name); IsQuantized(type))
      return UsageError("cannot export " + config.name + ": " + spec.name + " is stored as " + NameOf(type) +
                        ", which transformers does not load; export the model that it was converted from");
  }
  BIFRONS_TRY(const ModelText tokenizer, texts.Get("tokenizer.json"));
  BIFRONS_TRY(const PaddedTokenizer padded,
              PadTokenizer(tokenizer.text, config.llama.vocabulary, tokenizer.path));
  BIFRONS_TRY(const std::string config_json,
              ConvertedConfig(config, padded.tokens, source.TypeOf("llama.embed")));

  fs::create_directories(out, error);
  if (error) return Failure(out_folder + ": cannot create the folder: " + error.message());
  const auto write = [&](const char* name, std::string_view text) {
    return WriteFileAtomically((out / name).string(), Bytes(text));
  };
  BIFRONS_RETURN_IF_ERROR(write("tokenizer.json", padded.json));
  for (const char* name :
       {"tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json"}) {
    BIFRONS_TRY(const std::optional<ModelText> file, texts.Find(name));
    if (file) BIFRONS_RETURN_IF_ERROR(write(name, file->text));
  }
  BIFRONS_RETURN_IF_ERROR(write("generation_config.json", GenerationConfig(config, padded.tokens)));
  BIFRONS_RETURN_IF_ERROR(write("preprocessor_config.json", PreprocessorConfig(config)));
  BIFRONS_RETURN_IF_ERROR(write("processor_config.json", ProcessorConfig(config)));
  BIFRONS_RETURN_IF_ERROR(WriteWeights(source, (out / "model.safetensors").string()));
  return write("config.json", config_json);
}

}  // namespace bifrons
