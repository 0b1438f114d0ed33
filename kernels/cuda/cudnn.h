// NVIDIA's cuDNN, found when the program runs: neither building nor starting it takes the library or its
// header.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>
#include <string>
#include <type_traits>

#include "src/base/result.h"

namespace bifrons::cuda {

/// The part of the library's C interface that we call, as its headers of version 9 have it (cudnn_graph.h,
/// cudnn_ops.h, cudnn_cnn.h); enumerators have their numbers.
namespace cudnn {

using Handle = struct Context*;
using Tensor = struct TensorStruct*;
using Filter = struct FilterStruct*;
using Convolution = struct ConvolutionStruct*;
using Activation = struct ActivationStruct*;

enum class Status : int {
  kSuccess = 0,
  kNoHostMemory = 4003,
  kNoDeviceMemory = 4004,
  kExecutionFailed = 5000,  // and all behind it
};
enum class DataType : int { kFloat = 0, kBFloat16 = 9 };
enum class Format : int { kNhwc = 1 };  // of filters: output channel, line, column, input channel
enum class Mode : int { kCrossCorrelation = 1 };
enum class MathType : int { kTensorOp = 1, kFma = 3 };
enum class Algorithm : int { kImplicitPrecompGemm = 1 };
enum class ActivationMode : int { kIdentity = 5 };
enum class NanPropagation : int { kPropagate = 1 };

struct Calls {
  size_t (*version)();
  const char* (*error_string)(Status);
  Status (*create)(Handle*);
  Status (*destroy)(Handle);
  Status (*set_stream)(Handle, cudaStream_t);

  Status (*create_tensor)(Tensor*);
  Status (*destroy_tensor)(Tensor);
  Status (*set_tensor)(Tensor, Format, DataType, int n, int c, int h, int w);
  Status (*create_filter)(Filter*);
  Status (*destroy_filter)(Filter);
  Status (*set_filter)(Filter, DataType, Format, int k, int c, int h, int w);
  Status (*create_convolution)(Convolution*);
  Status (*destroy_convolution)(Convolution);
  Status (*set_convolution)(Convolution, int pad_h, int pad_w, int stride_h, int stride_w, int dilation_h,
                            int dilation_w, Mode, DataType compute);
  Status (*set_math)(Convolution, MathType);
  Status (*create_activation)(Activation*);
  Status (*destroy_activation)(Activation);
  Status (*set_activation)(Activation, ActivationMode, NanPropagation, double coefficient);

  Status (*workspace_size)(Handle, Tensor x, Filter w, Convolution, Tensor y, Algorithm, size_t* bytes);
  /// y = activation(alpha1 · (w ∗ x) + alpha2 · z + bias); the alphas are the host's floats.
  Status (*forward)(Handle, const void* alpha1, Tensor, const void* x, Filter, const void* w, Convolution,
                    Algorithm, void* workspace, size_t workspace_bytes, const void* alpha2, Tensor,
                    const void* z, Tensor, const void* bias, Activation, Tensor, void* y);
};

/// A handle or a descriptor that is destroyed when it goes.
template <class T>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, Status (*)(T)>;

}  // namespace cudnn

/// The library, once it has been loaded, until the process ends.
class Cudnn {
 public:
  /// Where the system's loader finds `file`: in $LD_LIBRARY_PATH, the system's folders. Errors: kUsage where
  /// it cannot be loaded, kFailure where it is another version, or lacks a part of its own or a call.
  static Result<std::unique_ptr<const Cudnn>> Load(const char* file);

  /// "cuDNN 9.19.0"
  const std::string& name() const { return name_; }
  const cudnn::Calls& calls() const { return calls_; }
  /// Nothing for success; throws std::bad_alloc when there was no memory, else std::runtime_error with one
  /// line: "cuDNN 9.19.0: <what>: <the library's words>".
  void Check(cudnn::Status status, const char* what) const;
  template <class T>
  cudnn::Owned<T> Make(cudnn::Status (*create)(T*), cudnn::Status (*destroy)(T), const char* what) const {
    T made = nullptr;
    Check(create(&made), what);
    return {made, destroy};
  }

 private:
  Cudnn() = default;
  Status Resolve(void* library, const char* file);

  cudnn::Calls calls_ = {};
  std::string name_;
};

/// What calls for one stream are given with; used by one thread at a time.
class CudnnHandle {
 public:
  CudnnHandle(const Cudnn& cudnn, cudaStream_t stream)
      : handle_(cudnn.Make(cudnn.calls().create, cudnn.calls().destroy, "a handle")) {
    cudnn.Check(cudnn.calls().set_stream(get(), stream), "a handle's stream");
  }
  cudnn::Handle get() const { return handle_.get(); }

 private:
  cudnn::Owned<cudnn::Handle> handle_;
};

}  // namespace bifrons::cuda
