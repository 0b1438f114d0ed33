#include "kernels/cuda/cudnn_conv.h"

#include <limits>

#include "kernels/cuda/conv.h"
#include "kernels/host/convert.h"
#include "src/base/out_of_memory.h"

namespace bifrons::cuda {
namespace {

// Of all algorithms the one that works with every activation, ours being none, and on maps as they are.
constexpr auto kAlgorithm = cudnn::Algorithm::kImplicitPrecompGemm;

cudnn::DataType TypeOf(DType type) {
  return type == DType::kBF16 ? cudnn::DataType::kBFloat16 : cudnn::DataType::kFloat;
}

// Whether a convolution can be made, before it is: throws only what is no answer to that, no memory and what
// went wrong on the GPU.
bool IsSupported(const Cudnn& cudnn, cudnn::Status status, const char* what) {
  const bool failed = status >= cudnn::Status::kExecutionFailed;
  if (failed || status == cudnn::Status::kNoHostMemory || status == cudnn::Status::kNoDeviceMemory)
    cudnn.Check(status, what);
  return status == cudnn::Status::kSuccess;
}

// What a convolution of 3 × 3 must be, all f32.
Tensor Convolved(const ConvShape& shape, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  Tensor y(DType::kF32, shape.out());
  for (int64_t i = 0; i < y.shape().elements(); i++) {
    const int64_t o = i % shape.out_channels, pixel = i / shape.out_channels;
    float sum = bias.as<float>()[o];
    for (int64_t t = 0; t < 9; t++) {
      const int64_t line = pixel / shape.width + t / 3 - 1, column = pixel % shape.width + t % 3 - 1;
      if (line < 0 || line >= shape.height || column < 0 || column >= shape.width) continue;
      for (int64_t c = 0; c < shape.in_channels; c++) {
        sum += weight.as<float>()[(o * shape.in_channels + c) * 9 + t] *
               x.as<float>()[(line * shape.width + column) * shape.in_channels + c];
      }
    }
    y.as<float>()[i] = sum;
  }
  return y;
}

// Weights [out, in, taps] with the input channels last, as f32.
Tensor ChannelsLast(const ConvShape& shape, const TensorView& weight) {
  const int64_t taps = int64_t{shape.kernel} * shape.kernel;
  Tensor packed = Tensor::Zeros(DType::kF32, {shape.out_channels, taps, shape.in_channels});
  for (int64_t o = 0; o < shape.out_channels; o++) {
    for (int64_t c = 0; c < shape.in_channels; c++) {
      for (int64_t t = 0; t < taps; t++) {
        packed.as<float>()[(o * taps + t) * shape.in_channels + c] =
            ElementAt(weight, (o * shape.in_channels + c) * taps + t);
      }
    }
  }
  return packed;
}

std::unique_ptr<CudaBuffer> Brought(DeviceMemory& memory, const TensorView& numbers, DType type,
                                    const char* what_for) {
  Tensor converted(type, numbers.shape);
  host::Convert(numbers, type, converted.data());
  auto buffer = std::make_unique<CudaBuffer>(memory, converted.bytes(), what_for);
  memory.Bring(converted.data(), converted.bytes(), buffer->data());
  return buffer;
}

// A null residual is none.
cudnn::Status Forward(const CudnnHandle& handle, const CudnnConv& conv, const uint8_t* in,
                      const uint8_t* residual, uint8_t* workspace, uint8_t* out) {
  const float one = 1, share = residual != nullptr ? 1 : 0;
  // What is added has to be some map, also when its share is 0: then it is not read.
  return conv.cudnn.calls().forward(handle.get(), &one, conv.in.get(), in, conv.filter.get(),
                                    conv.weight->data(), conv.convolution.get(), kAlgorithm, workspace,
                                    conv.workspace_bytes, &share, conv.out.get(),
                                    residual != nullptr ? residual : out, conv.biases.get(),
                                    conv.bias->data(), conv.activation.get(), conv.out.get(), out);
}

}  // namespace

CudnnConv::CudnnConv(const Cudnn& library, const ConvShape& conv_shape)
    : cudnn(library),
      in(cudnn.Make(cudnn.calls().create_tensor, cudnn.calls().destroy_tensor, "a map")),
      out(cudnn.Make(cudnn.calls().create_tensor, cudnn.calls().destroy_tensor, "a map")),
      biases(cudnn.Make(cudnn.calls().create_tensor, cudnn.calls().destroy_tensor, "a bias")),
      filter(cudnn.Make(cudnn.calls().create_filter, cudnn.calls().destroy_filter, "weights")),
      convolution(
          cudnn.Make(cudnn.calls().create_convolution, cudnn.calls().destroy_convolution, "a convolution")),
      activation(
          cudnn.Make(cudnn.calls().create_activation, cudnn.calls().destroy_activation, "an activation")) {
  shape = conv_shape;
  const cudnn::Calls& calls = cudnn.calls();
  const auto height = static_cast<int>(shape.height), width = static_cast<int>(shape.width);
  const auto from = static_cast<int>(shape.in_channels), to = static_cast<int>(shape.out_channels);
  const int padding = shape.padding();
  const cudnn::DataType type = TypeOf(shape.type);
  constexpr auto kNhwc = cudnn::Format::kNhwc;
  cudnn.Check(calls.set_tensor(in.get(), kNhwc, type, 1, from, height, width), "a map");
  cudnn.Check(calls.set_tensor(out.get(), kNhwc, type, 1, to, height, width), "a map");
  cudnn.Check(calls.set_tensor(biases.get(), kNhwc, type, 1, to, 1, 1), "a bias");
  cudnn.Check(calls.set_filter(filter.get(), type, kNhwc, to, from, shape.kernel, shape.kernel), "weights");
  cudnn.Check(calls.set_convolution(convolution.get(), padding, padding, 1, 1, 1, 1,
                                    cudnn::Mode::kCrossCorrelation, cudnn::DataType::kFloat),
              "a convolution");
  // By default f32 would be rounded to TF32.
  const auto math = shape.type == DType::kBF16 ? cudnn::MathType::kTensorOp : cudnn::MathType::kFma;
  cudnn.Check(calls.set_math(convolution.get(), math), "a convolution's arithmetic");
  cudnn.Check(calls.set_activation(activation.get(), cudnn::ActivationMode::kIdentity,
                                   cudnn::NanPropagation::kPropagate, 0),
              "an activation");
}

Result<std::unique_ptr<CudnnConvolutions>> CudnnConvolutions::Open(DeviceMemory& memory, bool has_bf16,
                                                                   const char* file) {
  BIFRONS_TRY(std::unique_ptr<const Cudnn> cudnn, Cudnn::Load(file));
  return Guarded([&]() -> Result<std::unique_ptr<CudnnConvolutions>> {
    memory.MakeCurrent();
    std::unique_ptr<CudnnConvolutions> opened(new CudnnConvolutions(memory, has_bf16, std::move(cudnn)));
    BIFRONS_TRY(opened->has_f32_, opened->Try(DType::kF32));
    if (has_bf16) {
      BIFRONS_TRY(opened->has_bf16_, opened->Try(DType::kBF16));
    }
    if (!opened->has_f32_ && !opened->has_bf16_)
      return Failure(opened->name() + " has no convolution of f32" + (has_bf16 ? " or bf16" : ""));
    return Result<std::unique_ptr<CudnnConvolutions>>(std::move(opened));
  });
}

// Whole numbers whose sums f32 holds: whatever the order, there is one result. bf16 holds few of the sums.
// The residual leaves what it lacks of them, and the biases are as large: who rounds before the last of the
// three is added gets something else.
Result<bool> CudnnConvolutions::Try(DType type) {
  const ConvShape shape{.in_channels = 16,
                        .out_channels = 24,
                        .height = 5,
                        .width = 6,
                        .kernel = 3,
                        .type = type,
                        .output_type = type};
  const auto numbers = [](Shape dims, const auto& number) {
    Tensor tensor(DType::kF32, dims);
    for (int64_t i = 0; i < dims.elements(); i++) tensor.as<float>()[i] = static_cast<float>(number(i));
    return tensor;
  };
  const Tensor weight =
      numbers({shape.out_channels, shape.in_channels, 3, 3}, [](int64_t i) { return i * 7 % 11 % 3 - 1; });
  const Tensor x = numbers(shape.in(), [](int64_t i) { return i * 3 % 61 - 20; });
  const Tensor bias = numbers({shape.out_channels}, [](int64_t i) { return 300 + 8 * i; });
  const Tensor sums = Convolved(shape, x, weight, bias);
  const auto rounded = [](float sum) { return ToFloat(ToBF16(sum)); };
  const Tensor residual = numbers(shape.out(), [&](int64_t i) { return -rounded(sums.as<float>()[i]); });
  const auto conv = Pack(shape, weight.view(), bias.view());
  if (conv == nullptr) return false;

  const auto in = Brought(memory_, x.view(), type, "trying cuDNN");
  const auto out = Brought(memory_, residual.view(), type, "trying cuDNN");
  const CudaBuffer workspace(memory_, conv->workspace_bytes, "trying cuDNN");
  // With what is in `out` added, and without a look at it: then it is NaN.
  for (const bool adds : {true, false}) {
    if (!adds) {
      cuda::Check(cudaMemsetAsync(out->data(), 0xFF, out->bytes(), stream_.get()), "trying cuDNN");
    }
    cudnn_->Check(
        Forward(handle_, *conv, in->data(), adds ? out->data() : nullptr, workspace.data(), out->data()),
        "a convolution");
    Tensor got(type, shape.out());
    cuda::Check(cudaMemcpyAsync(got.data(), out->data(), got.bytes(), cudaMemcpyDeviceToHost, stream_.get()),
                "a download");
    cuda::Check(cudaStreamSynchronize(stream_.get()), "a convolution of cuDNN");
    for (int64_t i = 0; i < shape.out().elements(); i++) {
      const float sum = sums.as<float>()[i] + (adds ? residual.as<float>()[i] : 0);
      if (ElementAt(got.view(), i) != (type == DType::kBF16 ? rounded(sum) : sum))
        return Failure(name() + " computes a wrong convolution of " + NameOf(type));
    }
  }
  return true;
}

std::unique_ptr<CudnnConv> CudnnConvolutions::Pack(const ConvShape& shape, TensorView weight,
                                                   TensorView bias) {
  // It pads a map on opposite sides alike, and gives what has the input's type.
  if (shape.stride != 1 || shape.type != shape.output_type) return nullptr;
  // Of 1 × 1 in bf16 9.19.0 rounds twice: before it adds the residual, or the bias, and after.
  if (shape.type == DType::kBF16 && shape.kernel == 1) return nullptr;
  // Its weights and biases have the maps' type, and ours are never rounded.
  if (shape.type == DType::kF32 && !has_f32_) return nullptr;
  if (shape.type == DType::kBF16 && !(has_bf16_ && Bf16Holds(weight) && (bias.empty() || Bf16Holds(bias))))
    return nullptr;
  // It counts numbers in int.
  constexpr int64_t kMost = std::numeric_limits<int>::max();
  if (shape.in().elements() > kMost || shape.out().elements() > kMost) return nullptr;

  memory_.MakeCurrent();
  auto conv = std::make_unique<CudnnConv>(*cudnn_, shape);
  const Tensor packed = ChannelsLast(shape, weight);
  const Tensor zeros = Tensor::Zeros(DType::kF32, {shape.out_channels});
  conv->weight = Brought(memory_, packed.view(), shape.type, "convolutions' weights");
  conv->bias = Brought(memory_, bias.empty() ? zeros.view() : bias, shape.type, "convolutions' weights");
  conv->bytes = conv->weight->bytes() + conv->bias->bytes();
  return Works(*conv) ? std::move(conv) : nullptr;
}

// The size that it asks for is a plain convolution's; whether it has one with bias and residual, too, shows
// when it is run, on whatever is in new memory.
bool CudnnConvolutions::Works(CudnnConv& conv) {
  const std::lock_guard lock(mutex_);
  if (!IsSupported(*cudnn_,
                   cudnn_->calls().workspace_size(handle_.get(), conv.in.get(), conv.filter.get(),
                                                  conv.convolution.get(), conv.out.get(), kAlgorithm,
                                                  &conv.workspace_bytes),
                   "a convolution's workspace") ||
      conv.workspace_bytes > kMostWorkspace)
    return false;
  const CudaBuffer in(memory_, BytesOf(conv.shape.type, conv.shape.in()), "trying cuDNN");
  const CudaBuffer out(memory_, BytesOf(conv.shape.type, conv.shape.out()), "trying cuDNN");
  const CudaBuffer workspace(memory_, conv.workspace_bytes, "trying cuDNN");
  for (const uint8_t* residual :
       {static_cast<const uint8_t*>(nullptr), static_cast<const uint8_t*>(out.data())}) {
    if (!IsSupported(*cudnn_, Forward(handle_, conv, in.data(), residual, workspace.data(), out.data()),
                     "a convolution"))
      return false;
  }
  cuda::Check(cudaStreamSynchronize(stream_.get()), "a convolution of cuDNN");
  return true;
}

void Convolve(const CudnnHandle& handle, const CudnnConv& conv, const View& in, const View& residual,
              const View& out, uint8_t* workspace) {
  BIFRONS_CHECK(Aligned16(Bytes(in)) && Aligned16(Bytes(residual)) && Aligned16(Bytes(out)));
  conv.cudnn.Check(Forward(handle, conv, Bytes(in), Bytes(residual), workspace, Bytes(out)), "a convolution");
}

}  // namespace bifrons::cuda
