#include "src/model/checkpoint/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "src/base/printable.h"
#include "src/model/checkpoint/pytorch_zip.h"
#include "src/model/checkpoint/safetensors.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxIndex = 64 << 20;  // bytes; 10,000 tensors need 1 MB

struct FileKind {
  const char* single;  // the usual name of an unsharded checkpoint
  const char* index;
  const char* prefix;
  const char* suffix;
  Result<TensorMap> (*read)(std::span<const uint8_t> bytes, const std::string& file);
};
constexpr FileKind kSafetensorsKind = {"model.safetensors", "model.safetensors.index.json", "",
                                       ".safetensors", ReadSafetensors};
constexpr FileKind kPytorchKind = {"pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model",
                                   ".bin", ReadPytorchZip};

/// What there is to read: names of files, and what the index says about who holds what (empty without an
/// index).
struct Layout {
  std::set<std::string> files;
  std::vector<std::pair<std::string, std::string>> promised;  // tensor, file
  std::string index;
};

std::vector<std::string> ListFiles(const std::string& folder, const FileKind& kind) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with(kind.prefix) && name.ends_with(kind.suffix)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Shards lie beside their index; anything else that a file could name is not ours to open.
bool IsPlainName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

Result<Layout> ReadIndex(const std::string& folder, const FileKind& kind) {
  Layout layout;
  layout.index = (fs::path(folder) / kind.index).string();
  BIFRONS_TRY(const MappedFile file, MappedFile::Open(layout.index));
  if (file.bytes().size() > kMaxIndex) return DataError(layout.index + ": too large for an index");
  const nlohmann::json json = nlohmann::json::parse(file.bytes().begin(), file.bytes().end(), nullptr, false);
  if (!json.is_object()) return DataError(layout.index + ": not valid JSON; fetch it again");
  const auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object() || map->empty()) {
    return DataError(layout.index + ": has no weight_map; fetch it again");
  }
  for (const auto& [tensor, shard] : map->items()) {
    const std::string* name = shard.get_ptr<const std::string*>();
    if (!name)
      return DataError(layout.index + ": weight_map of '" + Printable(tensor) + "' is not a file's name");
    if (!IsPlainName(*name)) {
      return DataError(layout.index + ": weight_map of '" + Printable(tensor) + "' leads to '" +
                       Printable(*name) + "', outside the model's folder: refused");
    }
    layout.files.insert(*name);
    layout.promised.emplace_back(tensor, *name);
  }
  return layout;
}

/// Nothing when the folder has no files of this kind.
Result<std::optional<Layout>> FindLayout(const std::string& folder, const FileKind& kind) {
  std::error_code error;
  Layout layout;
  if (fs::exists(fs::path(folder) / kind.single, error)) {
    layout.files.insert(kind.single);
    return std::optional(layout);
  }
  if (fs::exists(fs::path(folder) / kind.index, error)) {
    BIFRONS_TRY(layout, ReadIndex(folder, kind));
    return std::optional(layout);
  }
  const std::vector<std::string> names = ListFiles(folder, kind);
  if (names.empty()) return std::optional<Layout>();
  if (names.size() > 1) {
    return DataError(folder + ": has several " + kind.suffix + " files, but no " + kind.index +
                     " that says which belong to the model: fetch it");
  }
  layout.files.insert(names[0]);
  return std::optional(layout);
}

/// Copies the elements in row-major order. No dimension is zero, and there is at least one.
void Gather(const StoredTensor& t, size_t element_size, uint8_t* out) {
  const size_t rank = t.dims.size();
  std::vector<int64_t> index(rank, 0);
  const int64_t width = t.dims[rank - 1], step = t.strides[rank - 1];
  while (true) {
    int64_t start = 0;
    for (size_t i = 0; i + 1 < rank; i++) start += index[i] * t.strides[i];
    const uint8_t* in = t.data + static_cast<size_t>(start) * element_size;
    for (int64_t x = 0; x < width; x++, out += element_size) {
      std::memcpy(out, in + static_cast<size_t>(x * step) * element_size, element_size);
    }
    size_t i = rank - 1;
    while (i > 0 && ++index[i - 1] == t.dims[i - 1]) index[--i] = 0;
    if (i == 0) return;
  }
}

}  // namespace

bool StoredTensor::contiguous() const {
  int64_t expected = 1;
  bool dense = true;
  for (size_t i = dims.size(); i-- > 0;) {
    if (dims[i] == 0) return true;
    if (dims[i] == 1) continue;  // its stride is never used
    dense = dense && strides[i] == expected;
    if (dense) expected *= dims[i];
  }
  return dense;
}

Result<TensorView> Materialise(const std::string& name, const StoredTensor& stored, Tensor* owner) {
  const std::string who = stored.file + ": tensor '" + Printable(name) + "' ";
  if (!stored.loadable)
    return DataError(who + "has type " + stored.type + "; f32, f16 and bf16 can be loaded");
  if (stored.dims.size() > Shape::kMaxRank) {
    return DataError(who + "has " + std::to_string(stored.dims.size()) + " dimensions; at most 4 make sense");
  }
  Shape shape;
  for (int64_t d : stored.dims) shape.Append(d);
  const size_t element_size = SizeOf(stored.dtype);
  const bool contiguous = stored.contiguous();
  if (contiguous && reinterpret_cast<uintptr_t>(stored.data) % element_size == 0) {
    return TensorView{stored.data, stored.dtype, shape};
  }
  *owner = Tensor(stored.dtype, shape);
  if (contiguous) {
    std::memcpy(owner->data(), stored.data, owner->bytes());
  } else {
    Gather(stored, element_size, static_cast<uint8_t*>(owner->data()));
  }
  return owner->view();
}

Result<Checkpoint> Checkpoint::Open(const std::string& folder, Prefer prefer) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) return DataError(folder + ": not a folder; give a model's folder");
  const bool pytorch_first = prefer == Prefer::kPytorch;
  const FileKind* kind = pytorch_first ? &kPytorchKind : &kSafetensorsKind;
  BIFRONS_TRY(std::optional<Layout> layout, FindLayout(folder, *kind));
  if (!layout) {
    kind = pytorch_first ? &kSafetensorsKind : &kPytorchKind;
    BIFRONS_TRY(layout, FindLayout(folder, *kind));
  }
  if (!layout)
    return DataError(folder +
                     ": has neither *.safetensors nor pytorch_model*.bin; fetch the model's weights");

  Checkpoint checkpoint;
  for (const std::string& name : layout->files) {
    const std::string path = (fs::path(folder) / name).string();
    if (!layout->index.empty() && !fs::exists(path, error)) {
      return DataError(path + ": missing, though " + layout->index + " lists it: fetch it");
    }
    BIFRONS_TRY(MappedFile file, MappedFile::Open(path));
    BIFRONS_TRY(TensorMap tensors, kind->read(file.bytes(), path));
    for (auto& [tensor, stored] : tensors) {
      const auto [it, inserted] = checkpoint.tensors_.emplace(tensor, std::move(stored));
      if (!inserted) {
        return DataError(path + ": tensor '" + Printable(tensor) + "' stands in " + it->second.file + " too");
      }
    }
    checkpoint.files_.push_back(std::move(file));
    checkpoint.paths_.push_back(path);
  }
  for (const auto& [tensor, name] : layout->promised) {
    const StoredTensor* stored = checkpoint.Find(tensor);
    if (!stored || fs::path(stored->file).filename() != name) {
      return DataError((fs::path(folder) / name).string() + ": tensor '" + Printable(tensor) +
                       "' is missing, though " + layout->index + " promises it: fetch both again");
    }
  }
  return checkpoint;
}

const StoredTensor* Checkpoint::Find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

}  // namespace bifrons
