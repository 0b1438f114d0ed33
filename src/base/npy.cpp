#include "src/base/npy.h"

#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "src/base/atomic_file.h"
#include "src/base/mapped_file.h"
#include "src/base/printable.h"

namespace bifrons {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
// NumPy itself reads no more than 10,000 bytes of it unless it is told to trust the file.
constexpr size_t kMaxHeader = 65536;

// The text after `'key':` in the header's Python dictionary, up to its comma or closing bracket.
std::optional<std::string_view> Field(std::string_view header, std::string_view key) {
  const size_t at = header.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view rest = header.substr(at + key.size());
  const size_t colon = rest.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  rest.remove_prefix(colon + 1);
  while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  const size_t end = rest.starts_with('(') ? rest.find(')') : rest.find_first_of(",}");
  if (end == std::string_view::npos) return std::nullopt;
  return rest.substr(0, end);
}

}  // namespace

Result<Tensor> ReadNpy(const std::string& path) {
  BIFRONS_TRY(const MappedFile file, MappedFile::Open(path));
  return ParseNpy(file.bytes(), path);
}

Result<Tensor> ParseNpy(std::span<const uint8_t> bytes, const std::string& path) {
  const auto bad = [&](const std::string& what) {
    return DataError(path + ": not a usable .npy file: " + what);
  };
  if (bytes.size() < 12 || std::memcmp(bytes.data(), kMagic, 6) != 0) return bad("no NUMPY header");
  const int version = bytes[6];
  size_t start = 10, length = bytes[8] | bytes[9] << 8;
  if (version >= 2)
    start = 12, length |= static_cast<size_t>(bytes[10]) << 16 | static_cast<size_t>(bytes[11]) << 24;
#ifndef BIFRONS_PLANTED_BUGS
  if (length > bytes.size() - start) return bad("the header is longer than the file");
#endif
  if (length > kMaxHeader) return bad("its header has " + std::to_string(length) + " bytes");
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + start, length);
  const auto type = Field(header, "'descr'"), order = Field(header, "'fortran_order'"),
             dims = Field(header, "'shape'");
  if (!type || !order || !dims) return bad("the header lacks descr, fortran_order or shape");
  if (!order->starts_with("False")) return bad("Fortran order; save it with numpy.ascontiguousarray");

  Shape shape;
  uint64_t elements = 1;
  for (size_t i = 1; i < dims->size();) {
    if ((*dims)[i] < '0' || (*dims)[i] > '9') {
      i++;
      continue;
    }
    uint64_t d = 0;
    for (; i < dims->size() && (*dims)[i] >= '0' && (*dims)[i] <= '9'; i++) {
      d = d * 10 + static_cast<uint64_t>((*dims)[i] - '0');
      if (d > bytes.size()) return bad("the shape is larger than the file");
    }
    if (shape.rank() == Shape::kMaxRank) return bad("more than four dimensions");
    shape.Append(static_cast<int64_t>(d));
    if (d != 0 && elements > bytes.size() / d) return bad("the shape is larger than the file");
    elements *= d;
  }
  const bool wide = *type == "'<i8'", integer = *type == "'<i4'" || wide;
  if (!integer && *type != "'<f4'")
    return bad("type " + Printable(*type) + "; int32, int64 or float32 is needed");
  const uint8_t* data = bytes.data() + start + length;
  if (bytes.size() - start - length != elements * (wide ? 8 : 4))
    return bad("its size does not match its shape");

  Tensor tensor(integer ? DType::kI32 : DType::kF32, shape);
  if (!wide) {
    std::memcpy(tensor.data(), data, tensor.bytes());
    return tensor;
  }
  for (uint64_t i = 0; i < elements; i++) {
    int64_t v;
    std::memcpy(&v, data + 8 * i, 8);
    if (v < std::numeric_limits<int32_t>::min() || v > std::numeric_limits<int32_t>::max()) {
      return bad("value " + std::to_string(v) + " does not fit 32 bits");
    }
    tensor.as<int32_t>()[i] = static_cast<int32_t>(v);
  }
  return tensor;
}

Status WriteNpy(const std::string& path, TensorView tensor) {
  BIFRONS_CHECK(tensor.dtype == DType::kF32 || tensor.dtype == DType::kI32);
  std::string header = std::string("{'descr': '") + (tensor.dtype == DType::kF32 ? "<f4" : "<i4") +
                       "', 'fortran_order': False, 'shape': (";
  for (int i = 0; i < tensor.shape.rank(); i++) header += std::to_string(tensor.shape[i]) + ",";
  header += "), }";
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::vector<uint8_t> prefix(kMagic, kMagic + 6);
  prefix.insert(prefix.end(),
                {1, 0, static_cast<uint8_t>(header.size() & 255), static_cast<uint8_t>(header.size() >> 8)});
  prefix.insert(prefix.end(), header.begin(), header.end());

  BIFRONS_TRY(AtomicFile file, AtomicFile::Create(path));
  BIFRONS_RETURN_IF_ERROR(file.Write(prefix));
  BIFRONS_RETURN_IF_ERROR(file.Write({static_cast<const uint8_t*>(tensor.data), tensor.bytes()}));
  return file.Commit();
}

}  // namespace bifrons
