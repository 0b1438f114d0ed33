// What kernels/cuda/cudnn.h declares, beside NVIDIA's own header where there is one: compiling this is the
// test.
#if __has_include(<cudnn.h>)
#include <cudnn.h>

#include "kernels/cuda/cudnn.h"

namespace bifrons::cuda::cudnn {
namespace {

// Whether a caller passes both in the same way.
template <class Ours, class Theirs>
constexpr bool IsPassedAlike() {
  if constexpr (std::is_pointer_v<Ours> || std::is_pointer_v<Theirs>) {
    return std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>;
  } else if constexpr (std::is_floating_point_v<Ours> || std::is_floating_point_v<Theirs>) {
    return std::is_same_v<Ours, Theirs>;
  } else {
    return sizeof(Ours) == sizeof(Theirs);
  }
}

template <class Return, class... Ours, class TheirReturn, class... Theirs>
constexpr bool IsCalledAlike(Return (*Calls::*)(Ours...), TheirReturn (*)(Theirs...)) {
  if constexpr (sizeof...(Ours) != sizeof...(Theirs)) {
    return false;
  } else {
    return IsPassedAlike<Return, TheirReturn>() && (IsPassedAlike<Ours, Theirs>() && ...);
  }
}

static_assert(IsCalledAlike(&Calls::version, cudnnGetVersion));
static_assert(IsCalledAlike(&Calls::error_string, cudnnGetErrorString));
static_assert(IsCalledAlike(&Calls::create, cudnnCreate));
static_assert(IsCalledAlike(&Calls::destroy, cudnnDestroy));
static_assert(IsCalledAlike(&Calls::set_stream, cudnnSetStream));
static_assert(IsCalledAlike(&Calls::create_tensor, cudnnCreateTensorDescriptor));
static_assert(IsCalledAlike(&Calls::destroy_tensor, cudnnDestroyTensorDescriptor));
static_assert(IsCalledAlike(&Calls::set_tensor, cudnnSetTensor4dDescriptor));
static_assert(IsCalledAlike(&Calls::create_filter, cudnnCreateFilterDescriptor));
static_assert(IsCalledAlike(&Calls::destroy_filter, cudnnDestroyFilterDescriptor));
static_assert(IsCalledAlike(&Calls::set_filter, cudnnSetFilter4dDescriptor));
static_assert(IsCalledAlike(&Calls::create_convolution, cudnnCreateConvolutionDescriptor));
static_assert(IsCalledAlike(&Calls::destroy_convolution, cudnnDestroyConvolutionDescriptor));
static_assert(IsCalledAlike(&Calls::set_convolution, cudnnSetConvolution2dDescriptor));
static_assert(IsCalledAlike(&Calls::set_math, cudnnSetConvolutionMathType));
static_assert(IsCalledAlike(&Calls::create_activation, cudnnCreateActivationDescriptor));
static_assert(IsCalledAlike(&Calls::destroy_activation, cudnnDestroyActivationDescriptor));
static_assert(IsCalledAlike(&Calls::set_activation, cudnnSetActivationDescriptor));
static_assert(IsCalledAlike(&Calls::workspace_size, cudnnGetConvolutionForwardWorkspaceSize));
static_assert(IsCalledAlike(&Calls::forward, cudnnConvolutionBiasActivationForward));

template <class Ours, class Theirs>
constexpr bool IsSame(Ours ours, Theirs theirs) {
  return static_cast<int>(ours) == static_cast<int>(theirs);
}
static_assert(IsSame(Status::kSuccess, CUDNN_STATUS_SUCCESS));
static_assert(IsSame(Status::kExecutionFailed, CUDNN_STATUS_EXECUTION_FAILED));
static_assert(IsSame(Status::kNoHostMemory, CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED));
static_assert(IsSame(Status::kNoDeviceMemory, CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED));
static_assert(IsSame(DataType::kFloat, CUDNN_DATA_FLOAT));
static_assert(IsSame(DataType::kBFloat16, CUDNN_DATA_BFLOAT16));
static_assert(IsSame(Format::kNhwc, CUDNN_TENSOR_NHWC));
static_assert(IsSame(Mode::kCrossCorrelation, CUDNN_CROSS_CORRELATION));
static_assert(IsSame(MathType::kTensorOp, CUDNN_TENSOR_OP_MATH));
static_assert(IsSame(MathType::kFma, CUDNN_FMA_MATH));
static_assert(IsSame(Algorithm::kImplicitPrecompGemm, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM));
static_assert(IsSame(ActivationMode::kIdentity, CUDNN_ACTIVATION_IDENTITY));
static_assert(IsSame(NanPropagation::kPropagate, CUDNN_PROPAGATE_NAN));

}  // namespace
}  // namespace bifrons::cuda::cudnn
#else
#warning "no cudnn.h here"
#endif
