// A convolution's numbers do not depend on how it is cut into tiles, nor on how many of them are loaded and
// stored at once: which is chosen by the map's size and by its address.
#include <catch2/catch.hpp>
#include <cstring>

#include "kernels/cuda/conv.cuh"
#include "kernels/cuda/memory.h"
#include "kernels/op_matrix/numbers.h"

namespace bifrons {
namespace {

using op_matrix::Normals;
using op_matrix::Numbers;

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

  explicit Convolution(const Dims& dims)
      : sizes(SizesOf(dims)),
        in(Normals(DTypeOf<In>(), {sizes.height, sizes.width, sizes.in_channels}, 1)),
        weight(Normals(DTypeOf<Weight>(), {sizes.depth, sizes.weight_columns}, 2)),
        bias(Normals(DType::kF32, {sizes.weight_columns}, 3)),
        residual(Normals(DTypeOf<Out>(), {sizes.pixels, sizes.out_channels}, 4)),
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
  void CheckMultiplied() const {
    constexpr int kCount = cuda::kPerVector<In>;
    const std::vector<uint8_t> wanted = Multiplied<1, cuda::SmallConvTile>(false);
    CHECK(Multiplied<kCount, cuda::SmallConvTile>(may_be_wide) == wanted);
    CHECK(Multiplied<kCount, cuda::LargeConvTile>(may_be_wide) == wanted);
    CHECK(Multiplied<kCount, cuda::ThinConvTile>(may_be_wide) == wanted);
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

}  // namespace
}  // namespace bifrons
