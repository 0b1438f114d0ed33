// Products, look-ups and norms as launches.
#include "kernels/cuda/blocks.cuh"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/norms.cuh"
#include "kernels/cuda/queue.h"
#include "kernels/cuda/table.h"

namespace bifrons::cuda {
namespace {

template <class Stored, class To>
void LookUpAs(cudaStream_t stream, const CudaTable& table, const View& ids, const View& y) {
  Launch(LookUpRows<Stored, To>, static_cast<unsigned>(y.rows()), kCopyThreads, 0, stream,
         reinterpret_cast<const Stored*>(table.numbers.data()), table.rows, RowsOf<const int32_t>(ids),
         table.width, At<To>(y));
}

template <class B, class To>
void LookUpInBlocks(cudaStream_t stream, const CudaTable& table, const View& ids, const View& y) {
  Launch(LookUpBlocks<B, To>, static_cast<unsigned>(y.rows()), kCopyThreads, 0, stream,
         reinterpret_cast<const B*>(table.numbers.data()), table.rows, RowsOf<const int32_t>(ids),
         table.width, At<To>(y));
}

template <class To>
void LookUpIn(cudaStream_t stream, const CudaTable& table, const View& ids, const View& y) {
  switch (table.stored) {
    case DType::kF32:
      return LookUpAs<float, To>(stream, table, ids, y);
    case DType::kBF16:
      return LookUpAs<BF16, To>(stream, table, ids, y);
    case DType::kF16:
      return LookUpAs<F16, To>(stream, table, ids, y);
    case DType::kQ8_0:
      return LookUpInBlocks<BlockQ8_0, To>(stream, table, ids, y);
    case DType::kQ4_0:
      return LookUpInBlocks<BlockQ4_0, To>(stream, table, ids, y);
    case DType::kQ4_K:
      return LookUpInBlocks<BlockQ4_K, To>(stream, table, ids, y);
    case DType::kI32:
    case DType::kU8:
      BIFRONS_CHECK(false, "a table of integers");
  }
}

RowNorm NormOf(const View& weight, float eps) {
  return {.weight = At<float>(weight), .aligned = Aligned16(Bytes(weight)), .eps = eps};
}

}  // namespace

void CudaQueue::DoMultiply(const Linear& weight, View x, RowClass row_class, Epilogue epilogue, View y) {
  const auto& linear = static_cast<const CudaLinear&>(weight);
  uint8_t* scratch = ScratchBytes(MultiplyScratch(linear, x, {}, row_class, epilogue));
  cuda::Multiply(stream(), linear, x, {}, row_class, epilogue, scratch, y);
}

// Few rows are normed by every block that multiplies them, which costs less than a launch; many once; those
// that become small integers as they do.
void CudaQueue::DoMultiplyNormed(const Linear& weight, View x, View norm, float eps, RowClass row_class,
                                 Epilogue epilogue, View y) {
  const auto& linear = static_cast<const CudaLinear&>(weight);
  const RowNorm row_norm = NormOf(norm, eps);
  const size_t room = MultiplyScratch(linear, x, row_norm, row_class, epilogue);
  if (NormsRows(linear, row_class))
    return cuda::Multiply(stream(), linear, x, row_norm, row_class, epilogue, ScratchBytes(room), y);
  const size_t before = (room + 15) / 16 * 16;
  uint8_t* scratch = ScratchBytes(before + BytesOf(x.type, x.shape.elements()));
  const View normed{
      .buffer = scratch_.get(), .offset = before, .type = x.type, .shape = x.shape, .stride = x.width()};
  DoRmsNorm(x, norm, eps, normed);
  cuda::Multiply(stream(), linear, normed, {}, row_class, epilogue, scratch, y);
}

void CudaQueue::DoLookUp(const Table& base, View ids, View y) {
  const auto& table = static_cast<const CudaTable&>(base);
  if (y.type == DType::kBF16) {
    LookUpIn<BF16>(stream(), table, ids, y);
  } else {
    LookUpIn<float>(stream(), table, ids, y);
  }
}

void CudaQueue::DoRmsNorm(View x, View weight, float eps, View y) {
  const RowNorm norm = NormOf(weight, eps);
  Launch(RmsNormRows, static_cast<unsigned>(x.rows()), kRmsNormThreads, 0, stream(), RowsOf<const float>(x),
         norm, x.width(), norm.aligned && Aligned16(x) && Aligned16(y), RowsOf<float>(y));
}

void CudaQueue::DoLayerNorm(View x, View weight, View bias, float eps, View y) {
  const bool aligned = Aligned16(x) && Aligned16(weight) && Aligned16(bias) && Aligned16(y);
  const auto launch = [&](auto* kernel) {
    Launch(kernel, static_cast<unsigned>(x.rows()), kRowNormThreads, 0, stream(), RowsOf<const float>(x),
           At<float>(weight), At<float>(bias), eps, x.width(), RowsOf<float>(y));
  };
  const int64_t fours = Blocks(x.width(), 4 * kRowNormThreads);  // of a thread
  if (aligned && fours <= 1) {
    launch(LayerNormRows<1>);
  } else if (aligned && fours <= 4) {
    launch(LayerNormRows<4>);
  } else {
    launch(LayerNormRows<0>);
  }
}

}  // namespace bifrons::cuda
