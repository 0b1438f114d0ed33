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

  std::unique_ptr<cuda::CudaBuffer> Brought(const Numbers& numbers) {
    auto buffer = std::make_unique<cuda::CudaBuffer>(memory_, numbers.view().bytes());
    memory_.Bring(numbers.view().data, buffer->bytes(), buffer->data());
    return buffer;
  }
  /// Once all that was launched is done.
  std::vector<uint8_t> Fetch(const cuda::CudaBuffer& buffer) {
    std::vector<uint8_t> bytes(buffer.bytes());
    cuda::Check(cudaMemcpyAsync(bytes.data(), buffer.data(), bytes.size(), cudaMemcpyDeviceToHost, stream_),
                "a copy");
    cuda::Check(cudaStreamSynchronize(stream_), "a wait");
    return bytes;
  }

 private:
  cuda::DeviceMemory memory_{0};
  cudaStream_t stream_;
};

template <class In, class Weight, class Out>
struct Convolution {
  cuda::ConvSizes sizes;
  Numbers in, weight, bias, residual;

  explicit Convolution(const cuda::ConvSizes& s)
      : sizes(s),
        in(Normals(DTypeOf<In>(), {s.height, s.width, s.in_channels}, 1)),
        weight(Normals(DTypeOf<Weight>(), {s.depth, s.weight_columns}, 2)),
        bias(Normals(DType::kF32, {s.weight_columns}, 3)),
        residual(Normals(DTypeOf<Out>(), {s.pixels, s.out_channels}, 4)) {}

  // The output, in the residual's place.
  template <int kCount, class Tile>
  std::vector<uint8_t> Run(bool wide) const {
    Gpu gpu;
    const auto x = gpu.Brought(in), w = gpu.Brought(weight), b = gpu.Brought(bias), y = gpu.Brought(residual);
    const dim3 grid(static_cast<unsigned>((sizes.pixels + Tile::kPixels - 1) / Tile::kPixels),
                    static_cast<unsigned>((sizes.out_channels + Tile::kChannels - 1) / Tile::kChannels));
    Out* const out = reinterpret_cast<Out*>(y->data());
    cuda::Launch(cuda::ConvKernel<In, Weight, Out, kCount, Tile>, grid, Tile::kThreads, 0, gpu.stream(),
                 sizes, reinterpret_cast<const In*>(x->data()), reinterpret_cast<const Weight*>(w->data()),
                 reinterpret_cast<const float*>(b->data()), out, wide, out);
    return gpu.Fetch(*y);
  }

  void CheckTiles() const {
    constexpr int kCount = cuda::kPerVector<In>;
    const bool may_be_wide = sizes.out_channels % 4 == 0;
    const std::vector<uint8_t> wanted = Run<1, cuda::SmallConvTile>(false);
    CHECK(Run<kCount, cuda::SmallConvTile>(may_be_wide) == wanted);
    CHECK(Run<kCount, cuda::LargeConvTile>(may_be_wide) == wanted);
    CHECK(Run<kCount, cuda::ThinConvTile>(may_be_wide) == wanted);
  }
};

TEST_CASE("a convolution's numbers do not depend on its tiles") {
  struct Dims {
    int height, width, in_channels, out_channels, kernel, stride;
  };
  for (const Dims& d : {Dims{11, 13, 24, 200, 3, 1}, Dims{14, 9, 8, 131, 3, 2}, Dims{1, 130, 40, 64, 1, 1}}) {
    const int out_height = d.height / d.stride, out_width = d.width / d.stride;
    const cuda::ConvSizes sizes{.height = d.height,
                                .width = d.width,
                                .in_channels = d.in_channels,
                                .out_width = out_width,
                                .out_channels = d.out_channels,
                                .kernel = d.kernel,
                                .stride = d.stride,
                                .padding = d.stride == 1 ? d.kernel / 2 : 0,
                                .pixels = int64_t{out_height} * out_width,
                                .depth = (d.kernel * d.kernel * d.in_channels + 15) / 16 * 16,
                                .weight_columns = 256};
    INFO(d.height << "×" << d.width << " " << d.in_channels << "→" << d.out_channels);
    Convolution<float, float, float>(sizes).CheckTiles();
    Convolution<BF16, BF16, BF16>(sizes).CheckTiles();
    Convolution<BF16, float, float>(sizes).CheckTiles();
  }
}

}  // namespace
}  // namespace bifrons
