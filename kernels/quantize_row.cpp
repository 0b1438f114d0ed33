#include "kernels/quantize_row.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bifrons {

void QuantizeRow(const float* x, int64_t n, int8_t* q, float* scales) {
  for (int64_t first = 0; first < n; first += kQuantizedGroup) {
    float largest = 0;
    bool finite = true;
    for (int64_t i = first; i < first + kQuantizedGroup; i++) {
      largest = std::max(largest, std::fabs(x[i]));
      finite &= std::isfinite(x[i]);
    }
    const bool counts = finite && largest >= kLeastQuantized;
    const float inverse = counts ? 127 / largest : 0;
    *scales++ = !finite ? std::numeric_limits<float>::quiet_NaN() : counts ? largest / 127 : 0;
    for (int64_t i = first; i < first + kQuantizedGroup; i++)
      q[i] = counts ? static_cast<int8_t>(std::nearbyint(x[i] * inverse)) : int8_t{0};
  }
}

}  // namespace bifrons
