#include "kernels/cuda/cudnn.h"

#include <dlfcn.h>

#include <new>
#include <stdexcept>

namespace bifrons::cuda {
namespace {

// Of the interface above: a number of version 9.19.0 is 91900.
constexpr size_t kOldest = 90000, kTooNew = 100000;

std::string NameOfVersion(size_t number) {
  return "cuDNN " + std::to_string(number / 10000) + "." + std::to_string(number / 100 % 100) + "." +
         std::to_string(number % 100);
}

// Why the loader has just not loaded a file.
std::string LoaderError(const char* file) {
  const char* const why = dlerror();
  return why != nullptr ? why : file;
}

}  // namespace

Result<std::unique_ptr<const Cudnn>> Cudnn::Load(const char* file) {
  // It is never closed: what it has told the driver and the C library to call when the process ends is in it.
  void* const library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return UsageError("cuDNN cannot be loaded: " + LoaderError(file));
  // What its calls would load by themselves, to end the process where there is none.
  const std::string path = file;
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  for (const char* part : {"libcudnn_graph.so.9", "libcudnn_ops.so.9", "libcudnn_cnn.so.9"}) {
    if (dlopen((folder + part).c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr)
      return Failure(path + " is there without its parts: " + LoaderError(part));
  }
  std::unique_ptr<Cudnn> cudnn(new Cudnn);
  BIFRONS_RETURN_IF_ERROR(cudnn->Resolve(library, file));
  const size_t version = cudnn->calls_.version();
  if (version < kOldest || version >= kTooNew)
    return Failure(std::string(file) + " is number " + std::to_string(version) +
                   ", and this build knows 9xxxx");
  cudnn->name_ = NameOfVersion(version);
  return std::unique_ptr<const Cudnn>(std::move(cudnn));
}

Status Cudnn::Resolve(void* library, const char* file) {
  std::string missing;
  const auto find = [&](const char* name, auto& call) {
    call = reinterpret_cast<std::remove_reference_t<decltype(call)>>(dlsym(library, name));
    if (call == nullptr && missing.empty()) missing = name;
  };
  find("cudnnGetVersion", calls_.version);
  find("cudnnGetErrorString", calls_.error_string);
  find("cudnnCreate", calls_.create);
  find("cudnnDestroy", calls_.destroy);
  find("cudnnSetStream", calls_.set_stream);
  find("cudnnCreateTensorDescriptor", calls_.create_tensor);
  find("cudnnDestroyTensorDescriptor", calls_.destroy_tensor);
  find("cudnnSetTensor4dDescriptor", calls_.set_tensor);
  find("cudnnCreateFilterDescriptor", calls_.create_filter);
  find("cudnnDestroyFilterDescriptor", calls_.destroy_filter);
  find("cudnnSetFilter4dDescriptor", calls_.set_filter);
  find("cudnnCreateConvolutionDescriptor", calls_.create_convolution);
  find("cudnnDestroyConvolutionDescriptor", calls_.destroy_convolution);
  find("cudnnSetConvolution2dDescriptor", calls_.set_convolution);
  find("cudnnSetConvolutionMathType", calls_.set_math);
  find("cudnnCreateActivationDescriptor", calls_.create_activation);
  find("cudnnDestroyActivationDescriptor", calls_.destroy_activation);
  find("cudnnSetActivationDescriptor", calls_.set_activation);
  find("cudnnGetConvolutionForwardWorkspaceSize", calls_.workspace_size);
  find("cudnnConvolutionBiasActivationForward", calls_.forward);
  return missing.empty() ? Status() : Failure(std::string(file) + " lacks " + missing);
}

void Cudnn::Check(cudnn::Status status, const char* what) const {
  if (status == cudnn::Status::kSuccess) return;
  if (status == cudnn::Status::kNoHostMemory || status == cudnn::Status::kNoDeviceMemory)
    throw std::bad_alloc();
  throw std::runtime_error(name_ + ": " + what + ": " + calls_.error_string(status));
}

}  // namespace bifrons::cuda
