#include "kernels/cuda/conv.cuh"

#include <bit>

#include "kernels/cuda/conv.h"
#include "kernels/cuda/conv_tiles.cuh"
#include "src/base/check.h"

namespace bifrons::cuda {
namespace {

// Packed weights are a multiple of these: of what a step takes of the depth, and of the channels of every
// tile but the large one. Those of tensor cores have deeper steps.
constexpr int64_t kDepth = 16, kColumns = 64;
static_assert(kDepth % LargeConvTile::kDepth == 0 && kDepth % SmallConvTile::kDepth == 0 &&
              kDepth % ThinConvTile::kDepth == 0);
static_assert(kColumns % SmallConvTile::kChannels == 0 && kColumns % ThinConvTile::kChannels == 0);
constexpr int64_t kTileDepth = 64;
static_assert(kTileDepth % LargeConvStages::kDepth == 0 && kTileDepth % SmallConvStages::kDepth == 0 &&
              kTileDepth % ThinConvStages::kDepth == 0);
static_assert(kColumns % SmallConvStages::kChannels == 0 && kColumns % ThinConvStages::kChannels == 0);

// The large tiles read least, where there are enough of them for the multiprocessors of a large GPU: on
// tensor cores for several rounds, so that its last, in which some have nothing to do, counts little.
constexpr int64_t kEnoughTiles = 128, kEnoughStages = 400;

struct CudaConv : Conv2d {
  // f32 or bf16 [depth, columns], depth by tap, then by input channel; or bf16 as ConvWeightIndex says.
  std::unique_ptr<CudaBuffer> weight;
  std::unique_ptr<CudaBuffer> bias;  // f32 [columns]
  DType weight_type = DType::kF32;
  bool is_tiles = false;  // for tensor cores
  int64_t depth = 0, columns = 0;
};

int64_t RoundedUp(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

ConvSizes SizesOf(const CudaConv& conv) {
  const ConvShape& shape = conv.shape;
  return {.height = static_cast<int>(shape.height),
          .width = static_cast<int>(shape.width),
          .in_channels = static_cast<int>(shape.in_channels),
          .out_width = static_cast<int>(shape.out_width()),
          .out_channels = static_cast<int>(shape.out_channels),
          .kernel = shape.kernel,
          .stride = shape.stride,
          .padding = shape.padding(),
          .pixels = shape.out_height() * shape.out_width(),
          .depth = conv.depth,
          .weight_columns = conv.columns};
}

template <class Out>
ConvResults<Out> ResultsOf(const CudaConv& conv, const View& residual, const View& out) {
  return {.bias = reinterpret_cast<const float*>(conv.bias->data()),
          .residual = At<Out>(residual),
          .wide = conv.shape.out_channels % 4 == 0 && Aligned16(Bytes(out)) && Aligned16(Bytes(residual)),
          .out = At<Out>(out)};
}

// ---- by fused multiply-adds -------------------------------------------------------------------------------

template <class In, class Weight, class Out, int kCount, class Tile>
void LaunchConv(cudaStream_t stream, const CudaConv& conv, const View& in, const View& residual,
                const View& out) {
  const ConvSizes sizes = SizesOf(conv);
  const dim3 grid(Blocks(sizes.pixels, Tile::kPixels), Blocks(sizes.out_channels, Tile::kChannels));
  Launch(ConvKernel<In, Weight, Out, kCount, Tile>, grid, Tile::kThreads, 0, stream, sizes, At<In>(in),
         reinterpret_cast<const Weight*>(conv.weight->data()), ResultsOf<Out>(conv, residual, out));
}

template <class In, class Weight, class Out>
void LaunchStored(cudaStream_t stream, const CudaConv& conv, const View& in, const View& residual,
                  const View& out) {
  constexpr int kCount = kPerVector<In>;
  const ConvShape& shape = conv.shape;
  const int64_t large_tiles = (shape.out_height() * shape.out_width() + LargeConvTile::kPixels - 1) /
                              LargeConvTile::kPixels * shape.out_channels / LargeConvTile::kChannels;
  if (shape.in_channels % kCount != 0 || !Aligned16(Bytes(in))) {
    LaunchConv<In, Weight, Out, 1, SmallConvTile>(stream, conv, in, residual, out);
  } else if (shape.out_channels <= ThinConvTile::kChannels) {
    LaunchConv<In, Weight, Out, kCount, ThinConvTile>(stream, conv, in, residual, out);
  } else if (shape.out_channels % LargeConvTile::kChannels == 0 && large_tiles >= kEnoughTiles) {
    LaunchConv<In, Weight, Out, kCount, LargeConvTile>(stream, conv, in, residual, out);
  } else {
    LaunchConv<In, Weight, Out, kCount, SmallConvTile>(stream, conv, in, residual, out);
  }
}

template <class In, class Out>
void LaunchTyped(cudaStream_t stream, const CudaConv& conv, const View& in, const View& residual,
                 const View& out) {
  if (conv.weight_type == DType::kBF16) {
    LaunchStored<In, BF16, Out>(stream, conv, in, residual, out);
  } else {
    LaunchStored<In, float, Out>(stream, conv, in, residual, out);
  }
}

// ---- on tensor cores --------------------------------------------------------------------------------------

template <class Out, class Tile>
void LaunchStages(cudaStream_t stream, const CudaConv& conv, const View& in, const View& residual,
                  const View& out) {
  const ConvSizes sizes = SizesOf(conv);
  const unsigned blocks = Blocks(sizes.pixels, Tile::kPixels) * Blocks(sizes.out_channels, Tile::kChannels);
  const auto* const weights = reinterpret_cast<const uint4*>(conv.weight->data());
  Launch(Aligned16(Bytes(in)) ? ConvTilesKernel<Out, Tile, true> : ConvTilesKernel<Out, Tile, false>, blocks,
         Tile::kThreads, 0, stream, sizes, At<BF16>(in), weights, ResultsOf<Out>(conv, residual, out));
}

template <class Out>
void LaunchTiles(cudaStream_t stream, const CudaConv& conv, const View& in, const View& residual,
                 const View& out) {
  using Large = LargeConvStages;
  const int64_t pixels = conv.shape.out_height() * conv.shape.out_width();
  const int64_t large_tiles = int64_t{Blocks(pixels, Large::kPixels)} * (conv.columns / Large::kChannels);
  if (conv.shape.out_channels <= ThinConvStages::kChannels) {
    LaunchStages<Out, ThinConvStages>(stream, conv, in, residual, out);
  } else if (conv.columns % Large::kChannels == 0 && large_tiles >= kEnoughStages) {
    LaunchStages<Out, Large>(stream, conv, in, residual, out);
  } else {
    LaunchStages<Out, SmallConvStages>(stream, conv, in, residual, out);
  }
}

}  // namespace

bool Bf16Holds(const TensorView& numbers) {
  if (numbers.dtype == DType::kBF16) return true;
  for (int64_t i = 0; i < numbers.shape.elements(); i++) {
    const float x = ElementAt(numbers, i);
    if (std::bit_cast<uint32_t>(ToFloat(ToBF16(x))) != std::bit_cast<uint32_t>(x)) return false;
  }
  return true;
}

std::unique_ptr<Conv2d> PackConv(DeviceMemory& memory, bool has_tiles, const ConvShape& shape,
                                 TensorView weight, TensorView bias) {
  constexpr int64_t kMaxChannels = kMaxGridYz * ThinConvTile::kChannels;
  const int64_t taps = int64_t{shape.kernel} * shape.kernel;
  BIFRONS_CHECK(shape.kernel == 1 || shape.kernel == 3);
  BIFRONS_CHECK(shape.stride == 1 || (shape.stride == 2 && shape.kernel == 3));
  BIFRONS_CHECK(shape.type == shape.output_type || shape.output_type == DType::kF32);
  BIFRONS_CHECK(shape.out_height() > 0 && shape.out_width() > 0 && shape.out_channels <= kMaxChannels);
  BIFRONS_CHECK(weight.shape.elements() == shape.out_channels * shape.in_channels * taps);
  BIFRONS_CHECK(bias.empty() || bias.shape.elements() == shape.out_channels);

  auto conv = std::make_unique<CudaConv>();
  conv->shape = shape;
  conv->weight_type = Bf16Holds(weight) ? DType::kBF16 : DType::kF32;
  conv->is_tiles = has_tiles && shape.type == DType::kBF16 && conv->weight_type == DType::kBF16 &&
                   shape.in_channels % kConvVector == 0;
  conv->depth = RoundedUp(taps * shape.in_channels, conv->is_tiles ? kTileDepth : kDepth);
  conv->columns = RoundedUp(shape.out_channels, kColumns);
  Tensor packed = Tensor::Zeros(conv->weight_type, {conv->depth, conv->columns});
  for (int64_t o = 0; o < shape.out_channels; o++) {
    for (int64_t c = 0; c < shape.in_channels; c++) {
      for (int64_t t = 0; t < taps; t++) {
        const float x = ElementAt(weight, (o * shape.in_channels + c) * taps + t);
        const int64_t term = t * shape.in_channels + c;
        const int64_t at = conv->is_tiles ? ConvWeightIndex(o, term, conv->depth) : term * conv->columns + o;
        if (conv->weight_type == DType::kBF16) {
          packed.as<BF16>()[at] = ToBF16(x);
        } else {
          packed.as<float>()[at] = x;
        }
      }
    }
  }
  Tensor biases = Tensor::Zeros(DType::kF32, {conv->columns});
  for (int64_t o = 0; o < shape.out_channels && !bias.empty(); o++)
    biases.as<float>()[o] = ElementAt(bias, o);

  const auto bring = [&memory](const Tensor& tensor) {
    auto buffer = std::make_unique<CudaBuffer>(memory, tensor.bytes(), "convolutions' weights");
    memory.Bring(tensor.data(), tensor.bytes(), buffer->data());
    return buffer;
  };
  conv->weight = bring(packed);
  conv->bias = bring(biases);
  conv->bytes = packed.bytes() + biases.bytes();
  return conv;
}

void Convolve(cudaStream_t stream, const Conv2d& packed, const View& in, const View& residual,
              const View& out) {
  const auto& conv = static_cast<const CudaConv&>(packed);
  if (conv.is_tiles && conv.shape.output_type == DType::kBF16) {
    LaunchTiles<BF16>(stream, conv, in, residual, out);
  } else if (conv.is_tiles) {
    LaunchTiles<float>(stream, conv, in, residual, out);
  } else if (conv.shape.type == DType::kF32) {
    LaunchTyped<float, float>(stream, conv, in, residual, out);
  } else if (conv.shape.output_type == DType::kBF16) {
    LaunchTyped<BF16, BF16>(stream, conv, in, residual, out);
  } else {
    LaunchTyped<BF16, float>(stream, conv, in, residual, out);
  }
}

}  // namespace bifrons::cuda
