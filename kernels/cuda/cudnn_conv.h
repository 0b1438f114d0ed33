// Convolutions of the cuda device by way of cuDNN. One algorithm for all of them, so that a result depends on
// its shape, the library's version and the GPU, and on no measurement.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/memory.h"
#include "kernels/weights.h"

namespace bifrons::cuda {

inline constexpr const char* kCudnnFile = "libcudnn.so.9";

/// Bytes of the GPU's memory that a convolution may ask for while it works. What the algorithm notes of a map
/// is a few MB; who asks for more copies whole maps.
constexpr size_t kMostWorkspace = size_t{64} << 20;

/// Weights and the library's descriptions of one shape.
struct CudnnConv : Conv2d {
  CudnnConv(const Cudnn& cudnn, const ConvShape& shape);

  const Cudnn& cudnn;
  cudnn::Owned<cudnn::Tensor> in, out, biases;
  cudnn::Owned<cudnn::Filter> filter;
  cudnn::Owned<cudnn::Convolution> convolution;
  cudnn::Owned<cudnn::Activation> activation;
  size_t workspace_bytes = 0;
  // Of the maps' type: [out_channels, kernel, kernel, in_channels] and [out_channels].
  std::unique_ptr<CudaBuffer> weight, bias;
};

/// The library for one GPU, found to work there. From any thread.
class CudnnConvolutions {
 public:
  /// Loads `file` and tries it on a small convolution of each type; `has_bf16`: whether the GPU's tensor
  /// cores have that. Errors: Cudnn::Load's, and kFailure where a call fails, a number is wrong, or it has
  /// convolutions of neither type.
  static Result<std::unique_ptr<CudnnConvolutions>> Open(DeviceMemory& memory, bool has_bf16,
                                                         const char* file = kCudnnFile);

  /// "cuDNN 9.19.0"
  const std::string& name() const { return cudnn_->name(); }
  /// Device::PackConv, or nothing where the library has no such convolution: of a type or a shape; of a map
  /// that is halved, of bf16 to f32 or of 1 × 1, with weights that bf16 does not hold, and where it says so.
  /// Throws std::bad_alloc.
  std::unique_ptr<CudnnConv> Pack(const ConvShape& shape, TensorView weight, TensorView bias);

 private:
  CudnnConvolutions(DeviceMemory& memory, bool has_bf16, std::unique_ptr<const Cudnn> cudnn)
      : memory_(memory),
        has_bf16_(has_bf16),
        cudnn_(std::move(cudnn)),
        stream_(memory),
        handle_(*cudnn_, stream_.get()) {}
  /// Whether the library has convolutions of this type, all that are tried being right.
  Result<bool> Try(DType type);
  bool Works(CudnnConv& conv);

  DeviceMemory& memory_;
  bool has_f32_ = true, has_bf16_;
  const std::unique_ptr<const Cudnn> cudnn_;
  // For trying what is packed.
  std::mutex mutex_;
  const OwnStream stream_;
  const CudnnHandle handle_;
};

/// Queue::Convolve, for what CudnnConvolutions packed. Maps are 16-byte aligned; `workspace` has conv's
/// workspace_bytes, for this convolution alone until it is done.
void Convolve(const CudnnHandle& handle, const CudnnConv& conv, const View& in, const View& residual,
              const View& out, uint8_t* workspace);

}  // namespace bifrons::cuda
