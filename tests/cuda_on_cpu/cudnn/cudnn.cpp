// Stands in for NVIDIA's libcudnn.so.9 on the emulated GPU: the calls that kernels/cuda makes, as version 9
// documents them, done by plain loops with sums in f32, those of 1 × 1 in bf16 as 9.19.0 has them on an H200:
// rounded before the residual is added. What is documented as wrong, or is otherwise than we use it, ends the
// process with a line. Calls are given to their stream, like kernels.
//
// $CUDNN_STANDIN makes it worse: "version N" (it is another), "wrong" (numbers are), "residual" or "bias"
// (every convolution of bf16 is rounded before that is added), "bf16" (it has no f32), "greedy" (it asks for
// a workspace that nobody has), "later" (convolutions fail with every handle but the first), or "cudnn… N":
// from that call's N-th time on (from 1) it fails.
//
// Built twice: the second lacks cudnnSetConvolutionMathType.
#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/dtype.h"
#include "tests/cuda_on_cpu/emulator.h"

namespace {

using bifrons::BF16;
using cuda_emulator::Die;

// cudnn_graph.h, cudnn_ops.h, cudnn_cnn.h
enum Status : int {
  kSuccess = 0,
  kBadParam = 2000,
  kNotSupported = 3000,
  kExecutionFailed = 5000,
};
constexpr int kFloat = 0, kBFloat16 = 9, kNhwc = 1, kCrossCorrelation = 1, kTensorOp = 1, kFma = 3,
              kImplicitPrecompGemm = 1, kIdentity = 5, kPropagateNan = 1;

struct Handle {
  bool is_first = false;  // of the process
  cudaStream_t stream = nullptr;
};
struct Tensor {
  int type = -1, n = 0, c = 0, h = 0, w = 0;
  size_t elements() const { return size_t(n) * size_t(c) * size_t(h) * size_t(w); }
  size_t bytes() const { return elements() * (type == kBFloat16 ? 2 : 4); }
};
struct Convolution {
  int pad_h = -1, pad_w = -1, math = 0;
};
struct Activation {
  bool set = false;
};

void Require(bool right, const char* call, const char* what) {
  if (!right) Die("%s: %s", call, what);
}

std::string_view Fault() {
  const char* fault = std::getenv("CUDNN_STANDIN");
  return fault != nullptr ? fault : "";
}

// Of "call N".
bool Fails(std::string_view call, std::atomic<int>& made) {
  const std::string_view fault = Fault();
  const int number = ++made;
  return fault.starts_with(call) && fault.substr(call.size()).starts_with(' ') &&
         number >= std::atoi(fault.data() + call.size() + 1);
}

#define MAY_FAIL(call)             \
  static std::atomic<int> made{0}; \
  if (Fails(call, made)) return kExecutionFailed

void CheckTypes(const char* call, const Tensor& tensor) {
  Require(tensor.type == kFloat || tensor.type == kBFloat16, call, "a descriptor that was never set");
}

// What the algorithm can do: y has x's type, and tensor cores want whole octets of channels.
bool Can(const char* call, const Tensor& x, const Tensor& w, const Convolution& convolution, const Tensor& y,
         int algorithm) {
  for (const Tensor* each : {&x, &w, &y}) CheckTypes(call, *each);
  Require(convolution.pad_h >= 0, call, "a descriptor that was never set");
  Require(algorithm == kImplicitPrecompGemm, call, "another algorithm");
  Require(x.n == 1 && y.n == 1 && x.c == w.c && y.c == w.n, call, "shapes that do not fit");
  Require(y.h == x.h + 2 * convolution.pad_h - w.h + 1 && y.w == x.w + 2 * convolution.pad_w - w.w + 1, call,
          "an output of another size");
  Require(w.type == x.type, call, "weights of another type");
  Require(convolution.math == (x.type == kBFloat16 ? kTensorOp : kFma), call, "other arithmetic");
  if (Fault() == "bf16" && x.type == kFloat) return false;
  return y.type == x.type && (x.type == kFloat || (x.c % 8 == 0 && y.c % 8 == 0));
}

// Some for every pixel, an odd number.
size_t Workspace(const Tensor& y) {
  if (Fault() == "greedy") return size_t{1} << 40;
  return size_t(y.h) * size_t(y.w) * 4 + 3;
}

std::vector<float> Widened(const void* numbers, int type, size_t count) {
  std::vector<float> wide(count);
  for (size_t i = 0; i < count; i++)
    wide[i] = type == kFloat ? static_cast<const float*>(numbers)[i]
                             : bifrons::ToFloat(static_cast<const BF16*>(numbers)[i]);
  return wide;
}

struct Pointers {
  const void *x, *w, *z, *bias;
  void *workspace, *y;
  size_t workspace_bytes;
  float alpha2;
};

// What y becomes before it is stored; without a residual bf16 is rounded once in any case.
float Joined(const Tensor& y, int taps, float sum, float bias, const float* residual) {
  if (residual == nullptr) return sum + bias;
  const auto rounded = [](float x) { return bifrons::ToFloat(bifrons::ToBF16(x)); };
  const bool is_bf16 = y.type == kBFloat16;
  if (is_bf16 && Fault() == "bias") return rounded(sum + *residual) + bias;
  if (is_bf16 && (taps == 1 || Fault() == "residual")) return rounded(sum + bias) + *residual;
  return sum + bias + *residual;
}

// Channels of the output side by side, whose sums do not wait for each other.
void Convolve(const Tensor& x, const Tensor& w, const Convolution& conv, const Tensor& y, const Pointers& p) {
  std::memset(p.workspace, 0xFF, p.workspace_bytes);
  const std::vector<float> in = Widened(p.x, x.type, x.elements()),
                           stored = Widened(p.w, w.type, w.elements());
  const std::vector<float> bias = Widened(p.bias, y.type, size_t(y.c));
  std::vector<float> added;
  if (p.alpha2 != 0) added = Widened(p.z, y.type, y.elements());
  const size_t channels = size_t(y.c), terms = stored.size() / channels;
  std::vector<float> weight(stored.size());
  for (size_t k = 0; k < channels; k++) {
    for (size_t t = 0; t < terms; t++) weight[t * channels + k] = stored[k * terms + t];
  }
  const float error = Fault() == "wrong" ? 1 : 0;
  std::vector<float> sums(channels);
  for (int line = 0; line < y.h; line++) {
    for (int column = 0; column < y.w; column++) {
      std::fill(sums.begin(), sums.end(), 0.0f);
      for (int tap = 0; tap < w.h * w.w; tap++) {
        const int h = line + tap / w.w - conv.pad_h, at = column + tap % w.w - conv.pad_w;
        if (h < 0 || h >= x.h || at < 0 || at >= x.w) continue;
        const float* const pixel = &in[(size_t(h) * size_t(x.w) + size_t(at)) * size_t(x.c)];
        for (int c = 0; c < x.c; c++) {
          const float* const column_weights = &weight[(size_t(tap) * size_t(x.c) + size_t(c)) * channels];
          for (size_t k = 0; k < channels; k++) sums[k] += column_weights[k] * pixel[c];
        }
      }
      for (size_t k = 0; k < channels; k++) {
        const size_t i = (size_t(line) * size_t(y.w) + size_t(column)) * channels + k;
        const float result =
            Joined(y, w.h * w.w, sums[k], bias[k], added.empty() ? nullptr : &added[i]) + error;
        if (y.type == kFloat) {
          static_cast<float*>(p.y)[i] = result;
        } else {
          static_cast<BF16*>(p.y)[i] = bifrons::ToBF16(result);
        }
      }
    }
  }
}

bool Overlap(const void* a, size_t a_bytes, const void* b, size_t b_bytes) {
  const auto* const p = static_cast<const uint8_t*>(a);
  const auto* const q = static_cast<const uint8_t*>(b);
  return p < q + b_bytes && q < p + a_bytes;
}

template <class T>
Status Make(T** made) {
  *made = new T;
  return kSuccess;
}

template <class T>
Status Drop(T* made) {
  delete made;
  return kSuccess;
}

}  // namespace

extern "C" {

size_t cudnnGetVersion() {
  constexpr std::string_view kVersion = "version ";
  if (!Fault().starts_with(kVersion)) return 91900;
  return static_cast<size_t>(std::atoi(Fault().data() + kVersion.size()));
}

const char* cudnnGetErrorString(Status status) {
  switch (status) {
    case kSuccess:
      return "CUDNN_STATUS_SUCCESS";
    case kBadParam:
      return "CUDNN_STATUS_BAD_PARAM";
    case kNotSupported:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    case kExecutionFailed:
      return "CUDNN_STATUS_EXECUTION_FAILED";
  }
  Die("cudnnGetErrorString: status %d", status);
}

Status cudnnCreate(Handle** handle) {
  MAY_FAIL("cudnnCreate");
  *handle = new Handle{made == 1};
  return kSuccess;
}
// Who destroys a handle has its stream still.
Status cudnnDestroy(Handle* handle) {
  if (handle->stream != nullptr && cudaStreamSynchronize(handle->stream) != cudaSuccess)
    return kExecutionFailed;
  return Drop(handle);
}
Status cudnnSetStream(Handle* handle, cudaStream_t stream) {
  MAY_FAIL("cudnnSetStream");
  handle->stream = stream;
  return kSuccess;
}

Status cudnnCreateTensorDescriptor(Tensor** made) { return Make(made); }
Status cudnnDestroyTensorDescriptor(Tensor* made) { return Drop(made); }
Status cudnnSetTensor4dDescriptor(Tensor* tensor, int format, int type, int n, int c, int h, int w) {
  MAY_FAIL("cudnnSetTensor4dDescriptor");
  Require(format == kNhwc && (type == kFloat || type == kBFloat16), "cudnnSetTensor4dDescriptor",
          "another format or type");
  if (n <= 0 || c <= 0 || h <= 0 || w <= 0) return kBadParam;
  *tensor = {type, n, c, h, w};
  return kSuccess;
}

Status cudnnCreateFilterDescriptor(Tensor** made) { return Make(made); }
Status cudnnDestroyFilterDescriptor(Tensor* made) { return Drop(made); }
Status cudnnSetFilter4dDescriptor(Tensor* filter, int type, int format, int k, int c, int h, int w) {
  Require(format == kNhwc && (type == kFloat || type == kBFloat16), "cudnnSetFilter4dDescriptor",
          "another format or type");
  if (k <= 0 || c <= 0 || h <= 0 || w <= 0) return kBadParam;
  *filter = {type, k, c, h, w};
  return kSuccess;
}

Status cudnnCreateConvolutionDescriptor(Convolution** made) { return Make(made); }
Status cudnnDestroyConvolutionDescriptor(Convolution* made) { return Drop(made); }
Status cudnnSetConvolution2dDescriptor(Convolution* convolution, int pad_h, int pad_w, int stride_h,
                                       int stride_w, int dilation_h, int dilation_w, int mode, int compute) {
  Require(stride_h == 1 && stride_w == 1 && dilation_h == 1 && dilation_w == 1 && mode == kCrossCorrelation &&
              compute == kFloat,
          "cudnnSetConvolution2dDescriptor", "another kind of convolution");
  if (pad_h < 0 || pad_w < 0) return kBadParam;
  convolution->pad_h = pad_h, convolution->pad_w = pad_w;
  return kSuccess;
}
#ifndef CUDNN_STANDIN_INCOMPLETE
Status cudnnSetConvolutionMathType(Convolution* convolution, int math) {
  Require(math == kTensorOp || math == kFma, "cudnnSetConvolutionMathType", "another type");
  convolution->math = math;
  return kSuccess;
}
#endif

Status cudnnCreateActivationDescriptor(Activation** made) { return Make(made); }
Status cudnnDestroyActivationDescriptor(Activation* made) { return Drop(made); }
Status cudnnSetActivationDescriptor(Activation* activation, int mode, int nan, double) {
  Require(mode == kIdentity && nan == kPropagateNan, "cudnnSetActivationDescriptor", "another activation");
  activation->set = true;
  return kSuccess;
}

Status cudnnGetConvolutionForwardWorkspaceSize(Handle* handle, const Tensor* x, const Tensor* w,
                                               const Convolution* convolution, const Tensor* y, int algorithm,
                                               size_t* bytes) {
  MAY_FAIL("cudnnGetConvolutionForwardWorkspaceSize");
  constexpr const char* kCall = "cudnnGetConvolutionForwardWorkspaceSize";
  Require(handle != nullptr, kCall, "no handle");
  if (!Can(kCall, *x, *w, *convolution, *y, algorithm)) return kNotSupported;
  *bytes = Workspace(*y);
  return kSuccess;
}

Status cudnnConvolutionBiasActivationForward(Handle* handle, const void* alpha1, const Tensor* x_shape,
                                             const void* x, const Tensor* w_shape, const void* w,
                                             const Convolution* convolution, int algorithm, void* workspace,
                                             size_t workspace_bytes, const void* alpha2,
                                             const Tensor* z_shape, const void* z, const Tensor* bias_shape,
                                             const void* bias, const Activation* activation,
                                             const Tensor* y_shape, void* y) {
  MAY_FAIL("cudnnConvolutionBiasActivationForward");
  if (Fault() == "later" && !handle->is_first) return kExecutionFailed;
  constexpr const char* kCall = "cudnnConvolutionBiasActivationForward";
  if (!Can(kCall, *x_shape, *w_shape, *convolution, *y_shape, algorithm)) return kNotSupported;
  Require(handle->stream != nullptr && activation->set, kCall, "no stream or no activation");
  Require(z_shape->type == y_shape->type && z_shape->c == y_shape->c && z_shape->h == y_shape->h &&
              z_shape->w == y_shape->w,
          kCall, "a map to add of another shape");
  Require(bias_shape->type == y_shape->type && bias_shape->c == y_shape->c &&
              bias_shape->elements() == size_t(y_shape->c),
          kCall, "a bias of another shape");
  for (const void* each : {x, w, z, bias, static_cast<const void*>(y)})
    Require(reinterpret_cast<uintptr_t>(each) % 16 == 0, kCall, "memory that is not 16-byte aligned");
  Require(workspace_bytes >= Workspace(*y_shape), kCall, "too small a workspace");
  Require(!Overlap(x, x_shape->bytes(), y, y_shape->bytes()), kCall, "an output in the input's place");
  Require(z == y || !Overlap(z, z_shape->bytes(), y, y_shape->bytes()), kCall, "maps that overlap");
  for (const auto& [map, bytes] : {std::pair{x, x_shape->bytes()}, std::pair{z, z_shape->bytes()},
                                   std::pair{static_cast<const void*>(y), y_shape->bytes()}})
    Require(!Overlap(map, bytes, workspace, workspace_bytes), kCall, "a map in the workspace");
  Require(*static_cast<const float*>(alpha1) == 1, kCall, "another scale");
  const float share = *static_cast<const float*>(alpha2);
  Require(share == 0 || share == 1, kCall, "another scale");

  const cuda_emulator::DeviceRange memory[] = {{x, x_shape->bytes()}, {w, w_shape->bytes()},
                                               {z, z_shape->bytes()}, {bias, bias_shape->bytes()},
                                               {y, y_shape->bytes()}, {workspace, workspace_bytes}};
  const Pointers pointers{x, w, z, bias, workspace, y, workspace_bytes, share};
  cuda_emulator::GiveWork(handle->stream, kCall, memory,
                          [x = *x_shape, w = *w_shape, c = *convolution, y = *y_shape, pointers] {
                            Convolve(x, w, c, y, pointers);
                          });
  return kSuccess;
}

}  // extern "C"
