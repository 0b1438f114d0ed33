#include "src/model/checkpoint/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "src/base/printable.h"
#include "src/model/checkpoint/adapter.h"
#include "src/model/checkpoint/gguf.h"
#include "src/model/checkpoint/index_json.h"
#include "src/model/checkpoint/model_file.h"
#include "src/model/checkpoint/pytorch_zip.h"
#include "src/model/checkpoint/safetensors.h"
#include "src/model/checkpoint/wrapper_prefix.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

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

/// What there is to read.
struct Layout {
  std::vector<std::string> files;    // names, in ascending order
  std::optional<WeightIndex> index;  // says who holds what
  std::string index_path;
};

/// Names in ascending order.
std::vector<std::string> ListFiles(const std::string& folder, const FileKind& kind) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (IsAdapterWeights(name)) continue;
    if (name.starts_with(kind.prefix) && name.ends_with(kind.suffix)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool IsEmptyFile(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && fs::file_size(path, error) == 0 && !error;
}

Result<Layout> ReadIndex(const std::string& folder, const FileKind& kind) {
  Layout layout;
  layout.index_path = (fs::path(folder) / kind.index).string();
  BIFRONS_TRY(const MappedFile file, OpenModelFile(layout.index_path));
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  BIFRONS_TRY(layout.index, ParseIndex(text, layout.index_path));
  layout.files = layout.index->files();
  std::sort(layout.files.begin(), layout.files.end());
  return layout;
}

/// Nothing when the folder has no files of this kind, or empty ones alone.
Result<std::optional<Layout>> FindLayout(const std::string& folder, const FileKind& kind) {
  std::error_code error;
  Layout layout;
  const fs::path single = fs::path(folder) / kind.single;
  if (fs::exists(single, error) && !IsEmptyFile(single)) {
    layout.files.push_back(kind.single);
    return std::optional(layout);
  }
  if (fs::exists(fs::path(folder) / kind.index, error)) {
    BIFRONS_TRY(layout, ReadIndex(folder, kind));
    return std::optional(layout);
  }
  layout.files = ListFiles(folder, kind);
  std::erase_if(layout.files, [&](const std::string& name) { return IsEmptyFile(fs::path(folder) / name); });
  if (layout.files.empty()) return std::optional<Layout>();
  if (layout.files.size() > 1) {
    return DataError(folder + ": has several " + kind.suffix + " files, but no " + kind.index +
                     " that says which belong to the model: fetch it");
  }
  return std::optional(layout);
}

/// What a pointer to elements of that type has to be a multiple of. Blocks begin with an f16.
size_t AlignmentOf(DType type) { return IsQuantized(type) ? sizeof(F16) : BlockOf(type).bytes; }

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
  if (strides.empty()) return true;
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

bool StoredTensor::in_place() const {
  return contiguous() && reinterpret_cast<uintptr_t>(data) % AlignmentOf(dtype) == 0;
}

std::span<const uint8_t> StoredTensor::extent() const {
  int64_t last = 0;
  for (size_t i = 0; i < dims.size(); i++) {
    if (dims[i] == 0) return {};
    last += (dims[i] - 1) * stride(i);
  }
  return {data, BytesOf(dtype, last + 1)};
}

int64_t StoredTensor::stride(size_t i) const {
  if (!strides.empty()) return strides[i];
  int64_t product = 1;
  while (++i < dims.size()) {
    // Overflow needs a zero among the dimensions; then no stride is ever used.
    if (__builtin_mul_overflow(product, dims[i], &product)) return 0;
  }
  return product;
}

Result<TensorView> Materialise(const std::string& name, const StoredTensor& stored, Tensor* owner) {
  const std::string who = *stored.file + ": tensor '" + Printable(name) + "' ";
  if (!stored.loadable)
    return DataError(who + "has type " + stored.type + "; f32, f16 and bf16 can be loaded");
  if (stored.dims.size() > Shape::kMaxRank) {
    return DataError(who + "has " + std::to_string(stored.dims.size()) + " dimensions; at most 4 make sense");
  }
  Shape shape;
  for (int64_t d : stored.dims) shape.Append(d);
  const size_t element_size = BlockOf(stored.dtype).bytes;
  if (stored.in_place()) return TensorView{stored.data, stored.dtype, shape};
  *owner = Tensor(stored.dtype, shape);
  if (stored.contiguous()) {
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
  Checkpoint checkpoint;
  for (const FileKind& each : {kSafetensorsKind, kPytorchKind}) {
    for (const std::string& name : ListFiles(folder, each)) {
      if (IsEmptyFile(fs::path(folder) / name)) checkpoint.empty_files_.push_back(name);
    }
  }
  if (!layout) {
    if (HasAdapter(folder)) return AdapterAlone(folder);
    if (!checkpoint.empty_files_.empty())
      return DataError((fs::path(folder) / checkpoint.empty_files_[0]).string() + ": empty; fetch it again");
    return DataError(folder +
                     ": has neither *.safetensors nor pytorch_model*.bin; fetch the model's weights");
  }

  for (const std::string& name : layout->files) {
    const std::string path = (fs::path(folder) / name).string();
    if (layout->index && !fs::exists(path, error)) {
      return DataError(path + ": missing, though " + layout->index_path + " lists it: fetch it");
    }
    if (IsEmptyFile(path))
      return DataError(path + ": empty, though " + layout->index_path + " lists it: fetch it again");
    BIFRONS_TRY(MappedFile file, OpenModelFile(path));
    BIFRONS_TRY(TensorMap tensors, kind->read(file.bytes(), path));
    checkpoint.tensors_.merge(tensors);
    if (!tensors.empty()) {
      const std::string& twice = tensors.begin()->first;
      return DataError(path + ": tensor '" + Printable(twice) + "' stands in " +
                       *checkpoint.Find(twice)->file + " too");
    }
    checkpoint.files_.push_back(std::move(file));
    checkpoint.paths_.push_back(path);
  }
  if (layout->index) {
    BIFRONS_RETURN_IF_ERROR(checkpoint.CheckPromises(folder, *layout->index, layout->index_path));
  }
  BIFRONS_RETURN_IF_ERROR(checkpoint.DropWrappers(folder));
  return checkpoint;
}

Result<Checkpoint> Checkpoint::OpenGguf(const std::string& path) {
  BIFRONS_TRY(MappedFile file, OpenModelFile(path));
  BIFRONS_TRY(Gguf gguf, ReadGguf(file.bytes(), path));
  Checkpoint checkpoint;
  checkpoint.tensors_ = std::move(gguf.tensors);
  checkpoint.files_.push_back(std::move(file));
  checkpoint.paths_.push_back(path);
  return checkpoint;
}

Status Checkpoint::DropWrappers(const std::string& folder) {
  const std::string prefix = WrapperPrefixOf(tensors_);
  if (prefix.empty()) return {};
  TensorMap named;
  while (!tensors_.empty()) {
    auto node = tensors_.extract(tensors_.begin());
    const std::string wrapped = node.key();
    if (wrapped.starts_with(prefix)) node.key().erase(0, prefix.size());
    if (const auto inserted = named.insert(std::move(node)); !inserted.inserted) {
      return DataError(folder + ": tensor '" + Printable(inserted.position->first) + "' stands there as '" +
                       Printable(wrapped) + "' too");
    }
  }
  tensors_ = std::move(named);
  return {};
}

Status Checkpoint::CheckPromises(const std::string& folder, const WeightIndex& index,
                                 const std::string& index_path) const {
  std::vector<std::string> paths;
  for (const std::string& file : index.files()) paths.push_back((fs::path(folder) / file).string());
  for (size_t i = 0; i < index.size(); i++) {
    const std::string& path = paths[index.file_of(i)];
    const auto stored = tensors_.find(index.tensor(i));
    if (stored == tensors_.end() || *stored->second.file != path) {
      return DataError(path + ": tensor '" + Printable(index.tensor(i)) + "' is missing, though " +
                       index_path + " promises it: fetch both again");
    }
  }
  return {};
}

void Checkpoint::DropPages(const StoredTensor& tensor) const {
  const std::span<const uint8_t> extent = tensor.extent();
  for (const MappedFile& file : files_) {
    if (file.path() == *tensor.file) file.DropPages(extent);
  }
}

void Checkpoint::DropPages() const {
  for (const MappedFile& file : files_) file.DropPages(file.bytes());
}

const StoredTensor* Checkpoint::Find(std::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

}  // namespace bifrons
