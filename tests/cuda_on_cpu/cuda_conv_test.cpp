// A convolution's numbers do not depend on how it is cut into tiles, nor on how many of them are loaded and
// stored at once: which is chosen by the map's size and by its address. Nor, here, on whether tensor cores
// make it: the emulator's add up products in the order of fused multiply-adds, which a GPU's do not. Where
// several warps share a sum it has another order: there numbers are small and whole, which all orders give
// alike.
#include <catch2/catch.hpp>
#include <cstring>

#include "kernels/cuda/conv.cuh"
#include "kernels/cuda/conv_tiles.cuh"
#include "kernels/cuda/device.h"
#include "kernels/cuda/memory.h"
#include "kernels/op_matrix/numbers.h"
#include "tests/cuda_on_cpu/emulator.h"

namespace bifrons {
namespace {

using op_matrix::Normals;
using op_matrix::Numbers;

Numbers Wholes(DType type, Shape shape, uint64_t seed) {
  op_matrix::Random random(seed);
  return {type, shape, [&](int64_t) { return static_cast<float>(random.Below(9) - 4); }};
}

Numbers Make(bool whole, DType type, Shape shape, uint64_t seed) {
  return whole ? Wholes(type, shape, seed) : Normals(type, shape, seed);
}

class Gpu {
 public:
  Gpu() : stream_(memory_.MakeStream()) {}
  ~Gpu() { memory_.EndStream(stream_); }
  cudaStream_t stream() const { return stream_; }

  /// The numbers, `offset` bytes from the block's beginning.
  std::unique_ptr<cuda::CudaBuffer> Brought(const TensorView& numbers, size_t offset = 0) {
    auto buffer = std::make_unique<cuda::CudaBuffer>(memory_, offset + numbers.bytes());
    memory_.Bring(numbers.data, numbers.bytes(), buffer->data() + offset);
    return buffer;
  }
  /// Once all that was launched is done.
  std::vector<uint8_t> Fetch(const cuda::CudaBuffer& buffer, size_t offset) {
    std::vector<uint8_t> bytes(buffer.bytes() - offset);
    cuda::Check(
        cudaMemcpyAsync(bytes.data(), buffer.data() + offset, bytes.size(), cudaMemcpyDeviceToHost, stream_),
        "a copy");
    cuda::Check(cudaStreamSynchronize(stream_), "a wait");
    return bytes;
  }

 private:
  cuda::DeviceMemory memory_{0};
  cudaStream_t stream_;
};

struct Dims {
  int height, width, in_channels, out_channels, kernel, stride;
};

cuda::ConvSizes SizesOf(const Dims& d) {
  const int out_height = d.height / d.stride, out_width = d.width / d.stride;
  return {.height = d.height,
          .width = d.width,
          .in_channels = d.in_channels,
          .out_width = out_width,
          .out_channels = d.out_channels,
          .kernel = d.kernel,
          .stride = d.stride,
          .padding = d.stride == 1 ? d.kernel / 2 : 0,
          .pixels = int64_t{out_height} * out_width,
          .depth = (d.kernel * d.kernel * d.in_channels + 63) / 64 * 64,
          .weight_columns = 256};
}

template <class In, class Weight, class Out>
struct Convolution {
  cuda::ConvSizes sizes;
  Numbers in, weight, bias, residual;
  bool may_be_wide;

  explicit Convolution(const Dims& dims, bool whole = false)
      : sizes(SizesOf(dims)),
        in(Make(whole, DTypeOf<In>(), {sizes.height, sizes.width, sizes.in_channels}, 1)),
        weight(Make(whole, DTypeOf<Weight>(), {sizes.depth, sizes.weight_columns}, 2)),
        bias(Make(whole, DType::kF32, {sizes.weight_columns}, 3)),
        residual(Make(whole, DTypeOf<Out>(), {sizes.pixels, sizes.out_channels}, 4)),
        may_be_wide(sizes.out_channels % 4 == 0) {}

  // The output, in the residual's place. launch(stream, in, weights, results)
  template <class Launches>
  std::vector<uint8_t> Run(const TensorView& weights, bool wide, size_t offset,
                           const Launches& launch) const {
    Gpu gpu;
    const auto x = gpu.Brought(in.view(), offset), w = gpu.Brought(weights), b = gpu.Brought(bias.view()),
               y = gpu.Brought(residual.view(), offset);
    Out* const out = reinterpret_cast<Out*>(y->data() + offset);
    launch(gpu.stream(), reinterpret_cast<const In*>(x->data() + offset), w->data(),
           cuda::ConvResults<Out>{
               .bias = reinterpret_cast<const float*>(b->data()), .residual = out, .wide = wide, .out = out});
    return gpu.Fetch(*y, offset);
  }
  template <int kCount, class Tile>
  std::vector<uint8_t> Multiplied(bool wide) const {
    return Run(weight.view(), wide, 0,
               [&](cudaStream_t stream, const In* x, const void* w, const auto& results) {
                 const dim3 grid(cuda::Blocks(sizes.pixels, Tile::kPixels),
                                 cuda::Blocks(sizes.out_channels, Tile::kChannels));
                 cuda::Launch(cuda::ConvKernel<In, Weight, Out, kCount, Tile>, grid, Tile::kThreads, 0,
                              stream, sizes, x, static_cast<const Weight*>(w), results);
               });
  }
  // `apart`: the maps stand at addresses that are no multiples of 16.
  template <class Tile>
  std::vector<uint8_t> OnTensorCores(bool wide, bool apart) const {
    const int64_t depth = sizes.depth, columns = sizes.weight_columns;
    Tensor packed(DType::kBF16, {columns, depth});
    for (int64_t i = 0; i < depth * columns; i++) {
      packed.as<BF16>()[cuda::ConvWeightIndex(i % columns, i / columns, depth)] =
          weight.view().template as<BF16>()[i];
    }
    return Run(packed.view(), wide, apart ? sizeof(Out) : 0,
               [&](cudaStream_t stream, const BF16* x, const void* w, const auto& results) {
                 const unsigned blocks = cuda::Blocks(sizes.pixels, Tile::kPixels) *
                                         cuda::Blocks(sizes.out_channels, Tile::kChannels);
                 cuda::Launch(
                     apart ? cuda::ConvTilesKernel<Out, Tile, false> : cuda::ConvTilesKernel<Out, Tile, true>,
                     blocks, Tile::kThreads, 0, stream, sizes, x, static_cast<const uint4*>(w), results);
               });
  }

  void CheckMultiplied() const {
    constexpr int kCount = cuda::kPerVector<In>;
    const std::vector<uint8_t> wanted = Multiplied<1, cuda::SmallConvTile>(false);
    CHECK((Multiplied<kCount, cuda::SmallConvTile>(may_be_wide) == wanted));
    CHECK((Multiplied<kCount, cuda::LargeConvTile>(may_be_wide) == wanted));
    CHECK((Multiplied<kCount, cuda::ThinConvTile>(may_be_wide) == wanted));
  }
  template <class Tile>
  void CheckOnTensorCores() const {
    const std::vector<uint8_t> wanted = Multiplied<1, cuda::SmallConvTile>(false);
    CHECK((OnTensorCores<Tile>(may_be_wide, false) == wanted));
    CHECK((OnTensorCores<Tile>(false, true) == wanted));
  }
};

std::string NameOf(const Dims& d) {
  return std::to_string(d.height) + "×" + std::to_string(d.width) + " " + std::to_string(d.in_channels) +
         "→" + std::to_string(d.out_channels) + " k" + std::to_string(d.kernel) + " /" +
         std::to_string(d.stride);
}

TEST_CASE("a convolution's numbers do not depend on its tiles") {
  for (const Dims& d : {Dims{11, 13, 24, 200, 3, 1}, Dims{14, 9, 8, 131, 3, 2}, Dims{1, 130, 40, 64, 1, 1}}) {
    INFO(NameOf(d));
    Convolution<float, float, float>(d).CheckMultiplied();
    Convolution<BF16, BF16, BF16>(d).CheckMultiplied();
    Convolution<BF16, float, float>(d).CheckMultiplied();
  }
}

TEST_CASE("a convolution's numbers on tensor cores do not depend on its tiles, nor on its address") {
  // One pixel, all channels of one tap; taps that end within a stage; the last rows and channels of a tile.
  for (const Dims& d :
       {Dims{1, 1, 8, 5, 3, 1}, Dims{1, 1, 64, 16, 1, 1}, Dims{7, 13, 16, 40, 3, 1}, Dims{9, 7, 24, 72, 3, 2},
        Dims{13, 11, 40, 200, 3, 1}, Dims{17, 9, 72, 131, 1, 1}, Dims{2, 3, 136, 24, 3, 2}}) {
    INFO(NameOf(d));
    Convolution<BF16, BF16, BF16>(d).CheckOnTensorCores<cuda::LargeConvStages>();
    Convolution<BF16, BF16, float>(d).CheckOnTensorCores<cuda::LargeConvStages>();
    Convolution<BF16, BF16, BF16>(d).CheckOnTensorCores<cuda::ThinConvStages>();
    Convolution<BF16, BF16, float>(d).CheckOnTensorCores<cuda::ThinConvStages>();
    Convolution<BF16, BF16, BF16>(d, true).CheckOnTensorCores<cuda::SmallConvStages>();
    Convolution<BF16, BF16, float>(d, true).CheckOnTensorCores<cuda::SmallConvStages>();
  }
}

// By way of the device, which chooses, for a GPU of that capability: alone, and in the residual's place.
std::vector<Tensor> Convolved(int capability, const ConvShape& shape) {
  cuda_emulator::Set({.capability = capability});
  const auto device = cuda::MakeCudaDevice(0);
  const auto queue = device->MakeQueue();
  const Numbers weight =
      Wholes(DType::kBF16, {shape.out_channels, shape.in_channels, shape.kernel, shape.kernel}, 1);
  const auto conv =
      device->PackConv(shape, weight.view(), Wholes(DType::kF32, {shape.out_channels}, 2).view());
  const DeviceTensor in = device->PackTensor(Wholes(DType::kBF16, shape.in(), 3).view());
  const DeviceTensor out = device->NewTensor(shape.output_type, shape.out());
  const DeviceTensor sum = device->PackTensor(Wholes(shape.output_type, shape.out(), 4).view());
  queue->Convolve(*conv, in.view(), {}, out.view());
  queue->Convolve(*conv, in.view(), sum.view(), sum.view());
  std::vector<Tensor> results;
  for (const DeviceTensor* result : {&out, &sum}) results.push_back(queue->Fetch(result->view()));
  cuda_emulator::Set({});
  return results;
}

TEST_CASE("a convolution has the same numbers with tensor cores and without") {
  // On both sides of where tensor cores end: input channels in eights.
  for (const Dims& d : {Dims{1, 1, 8, 8, 3, 1}, Dims{5, 3, 8, 5, 3, 1}, Dims{5, 3, 8, 4, 3, 1},
                        Dims{5, 3, 12, 16, 3, 1}, Dims{7, 9, 16, 24, 3, 2}, Dims{9, 5, 24, 40, 1, 1},
                        Dims{8, 8, 40, 72, 3, 1}, Dims{3, 23, 72, 16, 3, 2}, Dims{227, 226, 8, 128, 1, 1}}) {
    INFO(NameOf(d));
    for (const DType type : {DType::kBF16, DType::kF32}) {
      const ConvShape shape{d.in_channels, d.out_channels, d.height,     d.width,
                            d.kernel,      d.stride,       DType::kBF16, type};
      const std::vector<Tensor> with = Convolved(80, shape), without = Convolved(75, shape);
      for (size_t i = 0; i < with.size(); i++) {
        CHECK(std::memcmp(with[i].data(), without[i].data(), with[i].bytes()) == 0);
      }
    }
  }
}

}  // namespace
}  // namespace bifrons
