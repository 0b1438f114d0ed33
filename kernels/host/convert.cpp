#include "kernels/host/convert.h"

#include <algorithm>
#include <array>

#include "src/base/blocks.h"

namespace bifrons::host {
namespace {

template <class From>
void ConvertFrom(const From* from, int64_t n, DType type, void* to) {
  if (type == DType::kBF16) {
    std::transform(from, from + n, static_cast<BF16*>(to), [](From x) { return ToBF16(ToFloat(x)); });
  } else {
    BIFRONS_CHECK(type == DType::kF32);
    std::transform(from, from + n, static_cast<float*>(to), [](From x) { return ToFloat(x); });
  }
}

void ConvertBlocks(TensorView from, DType type, void* to) {
  const Block block = BlockOf(from.dtype);
  const auto* bytes = static_cast<const uint8_t*>(from.data);
  auto* result = static_cast<uint8_t*>(to);
  std::array<float, 256> numbers;
  BIFRONS_CHECK(block.values <= std::ssize(numbers));
  for (int64_t i = 0; i < from.shape.elements(); i += block.values) {
    Dequantize(bytes, from.dtype, block.values, numbers.data());
    ConvertFrom(numbers.data(), block.values, type, result);
    bytes += block.bytes, result += BytesOf(type, block.values);
  }
}

}  // namespace

void Convert(TensorView from, DType type, void* to) {
  const int64_t n = from.shape.elements();
  if (IsQuantized(type)) return Quantize(from.as<float>(), n, type, to);
  switch (from.dtype) {
    case DType::kF32:
      return ConvertFrom(from.as<float>(), n, type, to);
    case DType::kBF16:
      return ConvertFrom(from.as<BF16>(), n, type, to);
    case DType::kF16:
      return ConvertFrom(from.as<F16>(), n, type, to);
    case DType::kQ8_0:
    case DType::kQ4_0:
    case DType::kQ4_K:
      return ConvertBlocks(from, type, to);
    case DType::kI32:
    case DType::kU8:
      BIFRONS_CHECK(false, "integers are not converted");
  }
}

}  // namespace bifrons::host
