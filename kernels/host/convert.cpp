#include "kernels/host/convert.h"

#include <algorithm>

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

}  // namespace

void Convert(TensorView from, DType type, void* to) {
  const int64_t n = from.shape.elements();
  switch (from.dtype) {
    case DType::kF32:
      return ConvertFrom(from.as<float>(), n, type, to);
    case DType::kBF16:
      return ConvertFrom(from.as<BF16>(), n, type, to);
    case DType::kF16:
      return ConvertFrom(from.as<F16>(), n, type, to);
    case DType::kI32:
    case DType::kU8:
      BIFRONS_CHECK(false, "integers are not converted");
  }
}

}  // namespace bifrons::host
