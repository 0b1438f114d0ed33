#include "src/model/choose_device.h"

#include <cstdio>

#include "src/base/thread_pool.h"

namespace bifrons {
namespace {

Status ChooseConvolutions(const LoadOptions& options, Device& device) {
  if (options.convolutions != Convolutions::kCudnn) return {};
  const Status used = device.UseCudnn();
  if (used.ok() || device.backend() != "cuda") return used;
  return Error{used.error().kind, used.error().message + "; --conv own does without cuDNN"};
}

Result<std::unique_ptr<Device>> Named(const LoadOptions& options, std::string_view name) {
  BIFRONS_TRY(auto device,
              MakeDevice(name, options.isa, options.threads > 0 ? options.threads : AvailableThreads()));
  BIFRONS_RETURN_IF_ERROR(ChooseConvolutions(options, *device));
  return device;
}

}  // namespace

Result<std::unique_ptr<Device>> ChooseDevice(const LoadOptions& options) {
  if (options.device != kAutoDevice) return Named(options, options.device);
  if (!options.isa.empty()) return Named(options, "cpu");
  if (options.convolutions == Convolutions::kCudnn) return Named(options, "cuda");  // which is a GPU's alone
  auto gpu = Named(options, "cuda");
  if (gpu.ok()) return gpu;
  if (gpu.error().kind != ErrorKind::kUsage) return FallBackToCpu(options, gpu.error());
  if (options.tell_device) std::fprintf(stderr, "bifrons: device cpu: %s\n", gpu.error().message.c_str());
  return Named(options, "cpu");
}

Result<std::unique_ptr<Device>> FallBackToCpu(const LoadOptions& options, const Error& reason) {
  std::fprintf(stderr, "bifrons: warning: not on the GPU: %s\n", reason.message.c_str());
  return Named(options, "cpu");
}

}  // namespace bifrons
