#include "src/model/checkpoint/pytorch_zip.h"

#include <algorithm>
#include <string_view>

#include "src/base/printable.h"
#include "src/model/checkpoint/pickle.h"
#include "src/model/checkpoint/zip.h"

namespace bifrons {
namespace {

constexpr size_t kMaxRoot = 255;  // bytes; torch.save takes the file's name

bool StartsWith(std::span<const uint8_t> bytes, std::string_view prefix) {
  return bytes.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), bytes.begin(),
                    [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; });
}

/// What else people have in a file of that name.
Error NotAnArchive(std::span<const uint8_t> bytes, const std::string& file) {
  // A pickle: PyTorch before 1.6 wrote several in a row, the first of which is a magic number.
  if (StartsWith(bytes, "\x80")) {
    return DataError(file +
                     ": written in the format of PyTorch before 1.6: save it again with a newer PyTorch: " +
                     "torch.save(torch.load(path, map_location='cpu'), path)");
  }
  return DataError(file + ": not a PyTorch checkpoint (no zip archive): fetch it again");
}

/// The folder that all entries share, with its slash; empty when there is no data.pkl.
std::string FindRoot(const ZipArchive& zip) {
  constexpr std::string_view kPickle = "/data.pkl";
  for (const auto& [name, entry] : zip.entries()) {
    if (name.ends_with(kPickle) && name.find('/') == name.size() - kPickle.size()) {
      return std::string(name.substr(0, name.size() - kPickle.size() + 1));
    }
  }
  return "";
}

/// Checks sizes, strides and offset against the storage. Returns what is wrong, or nothing. *elements: how
/// many.
std::string CheckView(const PickledTensor& p, int64_t storage_elements, int64_t* elements) {
  *elements = 1;
  for (int64_t d : p.dims) {
    if (__builtin_mul_overflow(*elements, d, elements)) return "has a shape that overflows";
  }
  if (p.offset > storage_elements) return "begins outside its storage";
  if (*elements == 0) return "";
  int64_t last = p.offset;
  for (size_t i = 0; i < p.dims.size(); i++) {
    int64_t span = 0;
    if (__builtin_mul_overflow(p.dims[i] - 1, p.strides[i], &span) ||
        __builtin_add_overflow(last, span, &last)) {
      return "has strides that overflow";
    }
  }
  return last < storage_elements ? "" : "reaches outside its storage";
}

Result<StoredTensor> Resolve(const PickledTensor& p, const ZipArchive& zip, const std::string& root,
                             const std::shared_ptr<const std::string>& path) {
  const std::string& file = *path;
  const std::string who = file + ": tensor '" + Printable(p.name) + "' ";
  const std::string entry_name = root + "data/" + std::string(p.storage);
  const ZipEntry* entry = zip.Find(entry_name);
  if (!entry)
    return DataError(who + "refers to '" + Printable(entry_name) +
                     "', which the archive lacks; fetch it again");
  if (entry->deflated) {
    return DataError(who + "is compressed: save it again with torch.save, which stores tensors as they are");
  }
  if (entry->data.size() != p.storage_bytes) {
    return DataError(who + "needs a storage of " + std::to_string(p.storage_bytes) + " bytes, but '" +
                     Printable(entry_name) + "' has " + std::to_string(entry->data.size()));
  }
  StoredTensor t;
  t.type = p.type;
  t.loadable = p.loadable;
  t.dtype = p.dtype;
  t.dims = p.dims;
  t.strides = p.strides;
  if (t.contiguous()) t.strides = {};
  t.data = entry->data.data();
  t.file = path;
  if (p.element_size == 0) return t;  // never loaded, so only its name matters
  const int64_t storage_elements = static_cast<int64_t>(p.storage_bytes / p.element_size);
  int64_t elements = 0;
  if (std::string problem = CheckView(p, storage_elements, &elements); !problem.empty())
    return DataError(who + problem);
  t.data += static_cast<uint64_t>(p.offset) * p.element_size;
  if (elements > storage_elements) {
    t.loadable = false;
    t.type += " (expanded)";
  }
  return t;
}

}  // namespace

Result<TensorMap> ReadPytorchZip(std::span<const uint8_t> bytes, const std::string& file) {
  if (!StartsWith(bytes, "PK")) return NotAnArchive(bytes, file);
  BIFRONS_TRY(const ZipArchive zip, ZipArchive::Open(bytes, file));
  const std::string root = FindRoot(zip);
  if (root.empty()) return DataError(file + ": the archive has no data.pkl: not written by torch.save");
  if (root.size() > kMaxRoot)
    return DataError(file + ": the archive's folder '" + Printable(root) + "' has a name of " +
                     std::to_string(root.size()) + " bytes: not written by torch.save");

  std::vector<uint8_t> buffer;
  if (zip.Find(root + "byteorder")) {  // older versions write none
    BIFRONS_TRY(const std::span<const uint8_t> order, zip.Contents(root + "byteorder", 16, &buffer));
    if (std::string_view(reinterpret_cast<const char*>(order.data()), order.size()) != "little") {
      return DataError(file + ": written on a big-endian machine: save it again on a little-endian one");
    }
  }
  BIFRONS_TRY(const std::span<const uint8_t> pickle,
              zip.Contents(root + "data.pkl", kMaxPickleBytes, &buffer));
  BIFRONS_TRY(const std::vector<PickledTensor> pickled, ReadPickledTensors(pickle, file));
  const auto path = std::make_shared<const std::string>(file);
  TensorMap tensors;
  for (const PickledTensor& p : pickled) {
    BIFRONS_TRY(StoredTensor tensor, Resolve(p, zip, root, path));
    tensors.emplace(p.name, std::move(tensor));
  }
  return tensors;
}

}  // namespace bifrons
