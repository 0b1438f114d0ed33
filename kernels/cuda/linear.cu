#include "kernels/cuda/linear.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cuda/products.cuh"

namespace bifrons::cuda {
namespace {

// A part to its rows of the matrix. As it is where it can be, for weights are large; else row by row.
void BringPart(DeviceMemory& memory, const TensorView& part, const CudaLinear& linear, uint8_t* to) {
  if (part.dtype == linear.stored && linear.stride == linear.in) {
    return memory.Bring(part.data, part.bytes(), to);
  }
  constexpr size_t kBytesAtOnce = size_t{4} << 20;
  const size_t size = BytesOf(linear.stored, 1), row_bytes = static_cast<size_t>(linear.stride) * size;
  const auto rows_at_once = static_cast<int64_t>(std::max<size_t>(1, kBytesAtOnce / row_bytes));
  const int64_t rows = part.shape[0], in = linear.in;
  std::vector<uint8_t> padded;
  for (int64_t first = 0; first < rows; first += rows_at_once) {
    const int64_t count = std::min(rows_at_once, rows - first);
    padded.assign(static_cast<size_t>(count) * row_bytes, 0);
    for (int64_t r = 0; r < count; r++) {
      uint8_t* row = padded.data() + static_cast<size_t>(r) * row_bytes;
      const int64_t at = (first + r) * in;
      if (part.dtype == linear.stored) {
        std::memcpy(row, static_cast<const uint8_t*>(part.data) + static_cast<size_t>(at) * size,
                    static_cast<size_t>(in) * size);
      } else {
        for (int64_t i = 0; i < in; i++) reinterpret_cast<float*>(row)[i] = ElementAt(part, at + i);
      }
    }
    memory.Bring(padded.data(), padded.size(), to + static_cast<size_t>(first) * row_bytes);
  }
}

template <class W>
void MultiplyStored(cudaStream_t stream, const CudaLinear& linear, const View& x, RowClass row_class,
                    Epilogue epilogue, const View& y) {
  const bool silu_mul = epilogue == Epilogue::kSiluMul;
  const Product<W> product{
      .weights = reinterpret_cast<const W*>(linear.rows->data()),
      .stride = linear.stride,
      .out = linear.out,
      .in = linear.in,
      .bias = linear.bias ? reinterpret_cast<const float*>(linear.bias->data()) : nullptr,
      .x = At<float>(x),
      .rows = x.rows(),
      .x_aligned = Aligned16(x),
      .round_x = linear.compute == DType::kBF16,
      .epilogue = epilogue,
      .y = At<float>(y)};
  const int64_t columns = silu_mul ? (linear.out / 2 + 1) / 2 * 4 : linear.out;
  const auto blocks = [&](int64_t rows_each, int64_t columns_each) {
    const int64_t row_tiles = (x.rows() + rows_each - 1) / rows_each;
    return static_cast<unsigned>((columns + columns_each - 1) / columns_each * row_tiles);
  };
  if (row_class == RowClass::kPrefill) {
    Launch(PrefillProduct<W>, blocks(kPrefillTile, kPrefillTile), kPrefillThreads, 0, stream, product);
  } else if (x.rows() == 1) {
    Launch(DecodeProduct<W, 1>, blocks(1, kDecodeColumns), kDecodeThreads, 0, stream, product);
  } else if (x.rows() == 2) {
    Launch(DecodeProduct<W, 2>, blocks(2, kDecodeColumns), kDecodeThreads, 0, stream, product);
  } else if (x.rows() <= 4) {
    Launch(DecodeProduct<W, 4>, blocks(4, kDecodeColumns), kDecodeThreads, 0, stream, product);
  } else {
    Launch(DecodeProduct<W, 8>, blocks(8, kDecodeColumns), kDecodeThreads, 0, stream, product);
  }
}

}  // namespace

std::unique_ptr<Linear> PackLinear(DeviceMemory& memory, std::span<const TensorView> parts, TensorView bias,
                                   DType compute) {
  BIFRONS_CHECK(!parts.empty());
  auto linear = std::make_unique<CudaLinear>();
  linear->in = parts[0].shape[1];
  linear->compute = compute;
  linear->stored = parts[0].dtype;
  for (const TensorView& part : parts) {
    BIFRONS_CHECK(part.shape.rank() == 2 && part.shape[1] == linear->in);
    linear->out += part.shape[0];
    if (part.dtype != linear->stored) linear->stored = DType::kF32;
  }
  linear->stride = (linear->in + 7) / 8 * 8;
  const size_t row_bytes = static_cast<size_t>(linear->stride) * BytesOf(linear->stored, 1);
  linear->bytes = static_cast<size_t>(linear->out) * row_bytes;
  linear->rows = std::make_unique<CudaBuffer>(memory, linear->bytes, "weights");
  uint8_t* to = linear->rows->data();
  for (const TensorView& part : parts) {
    BringPart(memory, part, *linear, to);
    to += static_cast<size_t>(part.shape[0]) * row_bytes;
  }
  if (!bias.empty()) {
    BIFRONS_CHECK(bias.shape.elements() == linear->out);
    const std::vector<float> values = ToFloats(bias);
    const size_t bytes = values.size() * sizeof(float);
    linear->bias = std::make_unique<CudaBuffer>(memory, bytes, "weights");
    memory.Bring(values.data(), bytes, linear->bias->data());
    linear->bytes += bytes;
  }
  return linear;
}

void Multiply(cudaStream_t stream, const CudaLinear& linear, const View& x, RowClass row_class,
              Epilogue epilogue, const View& y) {
  switch (linear.stored) {
    case DType::kF32:
      return MultiplyStored<float>(stream, linear, x, row_class, epilogue, y);
    case DType::kBF16:
      return MultiplyStored<BF16>(stream, linear, x, row_class, epilogue, y);
    case DType::kF16:
      return MultiplyStored<F16>(stream, linear, x, row_class, epilogue, y);
    case DType::kI32:
    case DType::kU8:
      BIFRONS_CHECK(false, "a matrix of integers");
  }
}

}  // namespace bifrons::cuda
