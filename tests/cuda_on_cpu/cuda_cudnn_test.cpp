// Convolutions by cuDNN, whose place the stand-in of cudnn/ takes: as right as our own, in the order of
// queues, and refused with a line where the library is not what it should be.
#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>

#include "kernels/cuda/cudnn_conv.h"
#include "kernels/cuda/device.h"
#include "kernels/op_matrix/numbers.h"
#include "kernels/ref/ref.h"
#include "tests/cuda_on_cpu/ordered_device.h"
#include "tests/op_results.h"

namespace bifrons {
namespace {

using cuda::CudnnConv;
using cuda::CudnnConvolutions;
using op_matrix::Normals;
using op_matrix::Numbers;

// What the stand-in does wrong from now on, until this goes.
class Fault {
 public:
  explicit Fault(const char* fault) { ::setenv("CUDNN_STANDIN", fault, 1); }
  ~Fault() { ::unsetenv("CUDNN_STANDIN"); }
  Fault(const Fault&) = delete;
  Fault& operator=(const Fault&) = delete;
};

std::unique_ptr<Device> CudnnDevice() {
  auto device = cuda::MakeCudaDevice(0);
  const Status used = device->UseCudnn();
  INFO((used.ok() ? "" : used.error().message));
  REQUIRE(used.ok());
  CHECK(device->convolution_library() == "cuDNN 9.19.0");
  return device;
}

TEST_CASE("convolutions by cuDNN are right, and ours but for rounding") {
  OrderedDevice device(CudnnDevice(), {{}});
  CheckAll(CheckOps(device, *ref::MakeRefDevice(2), {.text = "Convolve"}));
  OrderedDevice own(cuda::MakeCudaDevice(0), {{}});
  CheckAll(CheckOps(device, own, {.text = "Convolve 96"}));
}

TEST_CASE("convolutions by cuDNN have the same bits in every order") {
  OrderedDevice forward(CudnnDevice(), {{}});
  for (const uint64_t seed : {2, 3, 4}) {
    OrderedDevice other(CudnnDevice(), {{.order = cuda_emulator::Order::kReverse, .seed = seed}});
    const std::array<Device*, 1> others = {&other};
    CheckAll(CheckSameBits(forward, others, {.text = "Convolve 96"}));
  }
}

// 96 → 96 → 96 channels, each by a queue of its own, three times over.
std::vector<float> BetweenQueues(uint64_t seed) {
  OrderedDevice device(CudnnDevice(), {{.seed = seed}});
  const ConvShape shape{.in_channels = 96, .out_channels = 96, .height = 7, .width = 6, .kernel = 3};
  const auto conv = device.PackConv(shape, Normals(DType::kF32, {96, 96, 3, 3}, 1, 0.05f).view(),
                                    Normals(DType::kF32, {96}, 2).view());
  REQUIRE(dynamic_cast<const CudnnConv*>(conv.get()) != nullptr);
  const auto a = device.MakeQueue(), b = device.MakeQueue();
  const DeviceTensor x = device.NewTensor(DType::kF32, shape.in()),
                     y = device.NewTensor(DType::kF32, shape.in());
  a->Upload(Normals(DType::kF32, shape.in(), 3).view(), x.view());
  for (int i = 0; i < 3; i++) {
    a->Convolve(*conv, x.view(), {}, y.view());
    b->After(a->Record());
    b->Convolve(*conv, y.view(), x.view(), x.view());
    a->After(b->Record());
  }
  const Tensor result = a->Fetch(x.view());
  return {result.as<float>(), result.as<float>() + shape.in().elements()};
}

TEST_CASE("queues that share a convolution by cuDNN wait for each other, and have their own workspace") {
  const std::vector<float> wanted = BetweenQueues(1);
  for (uint64_t seed = 2; seed < 8; seed++) CHECK(BetweenQueues(seed) == wanted);
}

TEST_CASE("what cuDNN has not stays our own") {
  cuda::DeviceMemory memory(0);
  const auto cudnn = std::move(*CudnnConvolutions::Open(memory, true, CUDNN_WHOLE));
  constexpr DType kF32 = DType::kF32, kBF16 = DType::kBF16;
  const auto packs = [&](CudnnConvolutions& library, ConvShape shape, DType stored, DType stored_bias) {
    shape.height = shape.width = 8;
    const Shape dims{shape.out_channels, shape.in_channels, shape.kernel, shape.kernel};
    const Numbers bias = Normals(stored_bias, {shape.out_channels}, 2);
    return library.Pack(shape, Normals(stored, dims, 1).view(), bias.view()) != nullptr;
  };
  const ConvShape f32{.in_channels = 8, .out_channels = 16, .kernel = 3};
  ConvShape bf16 = f32, halved = f32, wide = f32, odd = f32, thin = f32;
  bf16.type = bf16.output_type = kBF16;
  halved.stride = 2;
  wide.type = kBF16;
  odd.in_channels = 3;
  thin.kernel = 1;
  CHECK(packs(*cudnn, f32, kF32, kF32));
  CHECK(packs(*cudnn, bf16, kBF16, kBF16));
  CHECK_FALSE(packs(*cudnn, halved, kF32, kF32));
  CHECK_FALSE(packs(*cudnn, wide, kBF16, kBF16));
  CHECK_FALSE(packs(*cudnn, bf16, kF32, kBF16));  // would be rounded
  CHECK_FALSE(packs(*cudnn, bf16, kBF16, kF32));
  CHECK(packs(*cudnn, odd, kF32, kF32));
  CHECK(packs(*cudnn, thin, kF32, kF32));
  thin.type = thin.output_type = kBF16;  // would be rounded twice
  CHECK_FALSE(packs(*cudnn, thin, kBF16, kBF16));
  odd.type = odd.output_type = kBF16;  // the library's own word
  CHECK_FALSE(packs(*cudnn, odd, kBF16, kBF16));
  {
    const Fault fault("greedy");
    CHECK_FALSE(packs(*cudnn, f32, kF32, kF32));
  }
  {
    const Fault fault("bf16");
    const auto other = std::move(*CudnnConvolutions::Open(memory, true, CUDNN_WHOLE));
    CHECK_FALSE(packs(*other, f32, kF32, kF32));
    CHECK(packs(*other, bf16, kBF16, kBF16));
    CHECK_FALSE(CudnnConvolutions::Open(memory, false, CUDNN_WHOLE).ok());
  }
  const auto old = std::move(*CudnnConvolutions::Open(memory, false, CUDNN_WHOLE));
  CHECK(packs(*old, f32, kF32, kF32));
  CHECK_FALSE(packs(*old, bf16, kBF16, kBF16));
}

TEST_CASE("a library that makes none of the convolutions is not named") {
  cuda_emulator::Set({.capability = 75});
  {
    const auto device = CudnnDevice();
    ConvShape shape{.in_channels = 8, .out_channels = 8, .height = 4, .width = 4, .kernel = 1};
    const Numbers weight = Normals(DType::kBF16, {8, 8, 1, 1}, 1);
    shape.type = shape.output_type = DType::kBF16;
    const auto own = device->PackConv(shape, weight.view(), {});
    CHECK(device->convolution_library().empty());
    shape.type = shape.output_type = DType::kF32;
    const auto other = device->PackConv(shape, weight.view(), {});
    CHECK(device->convolution_library() == "cuDNN 9.19.0");
  }
  cuda_emulator::Set({});
}

TEST_CASE("a library that cannot be used is refused with one line") {
  cuda::DeviceMemory memory(0);
  const std::string alone = std::string(CUDNN_WHOLE) + ".alone/libcudnn.so.9";
  std::filesystem::create_directories(std::filesystem::path(alone).parent_path());
  std::filesystem::copy_file(CUDNN_WHOLE, alone, std::filesystem::copy_options::overwrite_existing);
  struct Case {
    const char *file, *fault;
    ErrorKind kind;
    const char* says;
  };
  for (const Case& c :
       {Case{"libcudnn-of-nobody.so.9", "", ErrorKind::kUsage,
             "cuDNN cannot be loaded: libcudnn-of-nobody.so.9"},
        Case{alone.c_str(), "", ErrorKind::kFailure, "is there without its parts: "},
        Case{CUDNN_INCOMPLETE, "", ErrorKind::kFailure, "lacks cudnnSetConvolutionMathType"},
        Case{CUDNN_WHOLE, "version 8907", ErrorKind::kFailure, "is number 8907, and this build knows 9xxxx"},
        Case{CUDNN_WHOLE, "wrong", ErrorKind::kFailure, "cuDNN 9.19.0 computes a wrong convolution of f32"},
        Case{CUDNN_WHOLE, "residual", ErrorKind::kFailure,
             "cuDNN 9.19.0 computes a wrong convolution of bf16"},
        Case{CUDNN_WHOLE, "bias", ErrorKind::kFailure, "cuDNN 9.19.0 computes a wrong convolution of bf16"},
        Case{CUDNN_WHOLE, "greedy", ErrorKind::kFailure, "cuDNN 9.19.0 has no convolution of f32"},
        Case{CUDNN_WHOLE, "cudnnCreate 1", ErrorKind::kFailure,
             "cuDNN 9.19.0: a handle: CUDNN_STATUS_EXECUTION_FAILED"},
        Case{CUDNN_WHOLE, "cudnnSetStream 1", ErrorKind::kFailure, "cuDNN 9.19.0: a handle's stream: "},
        Case{CUDNN_WHOLE, "cudnnSetTensor4dDescriptor 1", ErrorKind::kFailure, "cuDNN 9.19.0: a map: "},
        Case{CUDNN_WHOLE, "cudnnGetConvolutionForwardWorkspaceSize 1", ErrorKind::kFailure,
             "cuDNN 9.19.0: a convolution's workspace: "},
        Case{CUDNN_WHOLE, "cudnnConvolutionBiasActivationForward 1", ErrorKind::kFailure,
             "cuDNN 9.19.0: a convolution: CUDNN_STATUS_EXECUTION_FAILED"}}) {
    INFO(c.file << " " << c.fault);
    const Fault fault(c.fault);
    const auto opened = CudnnConvolutions::Open(memory, true, c.file);
    REQUIRE_FALSE(opened.ok());
    CHECK(opened.error().kind == c.kind);
    CHECK_THAT(opened.error().message, Catch::Contains(c.says));
    CHECK(opened.error().message.find('\n') == std::string::npos);
  }
}

TEST_CASE("a convolution that fails later throws a line") {
  const auto device = CudnnDevice();
  const ConvShape shape{.in_channels = 8, .out_channels = 8, .height = 4, .width = 4, .kernel = 1};
  const auto conv = device->PackConv(shape, Normals(DType::kF32, {8, 8, 1, 1}, 1).view(), {});
  const DeviceTensor x = device->NewTensor(DType::kF32, shape.in()),
                     y = device->NewTensor(DType::kF32, shape.in());
  const auto queue = device->MakeQueue();
  queue->Fill(x.view(), 1);
  queue->Convolve(*conv, x.view(), {}, y.view());
  const Fault fault("cudnnConvolutionBiasActivationForward 1");
  CHECK_THROWS_WITH(queue->Convolve(*conv, x.view(), {}, y.view()),
                    "cuDNN 9.19.0: a convolution: CUDNN_STATUS_EXECUTION_FAILED");
}

}  // namespace
}  // namespace bifrons
