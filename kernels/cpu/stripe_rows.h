// The rows of a stripe, wherever the parts that are packed hold them.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "kernels/cpu/row_kernels.h"
#include "src/base/tensor.h"

namespace bifrons::cpu {

/// Pointers to the numbers, or to the blocks, of its rows; null beyond the last.
template <class T>
using StripeRows = std::array<const T*, kStripe>;

/// Rows [32·stripe, …) of `parts` [out_i, in], stacked, which hold numbers or blocks T.
template <class T>
StripeRows<T> RowsOfStripe(std::span<const TensorView> parts, int64_t stripe) {
  StripeRows<T> rows{};
  int64_t first = 0;  // of the part
  for (const TensorView& part : parts) {
    const size_t row_bytes = BytesOf(part.dtype, part.shape[1]);
    for (int64_t c = 0; c < kStripe; c++) {
      const int64_t row = stripe * kStripe + c - first;
      if (row >= 0 && row < part.shape[0]) {
        rows[static_cast<size_t>(c)] = reinterpret_cast<const T*>(static_cast<const uint8_t*>(part.data) +
                                                                  static_cast<size_t>(row) * row_bytes);
      }
    }
    first += part.shape[0];
  }
  return rows;
}

}  // namespace bifrons::cpu
