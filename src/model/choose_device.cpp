#include "src/model/choose_device.h"

#include <cstdio>

#include "src/base/thread_pool.h"

namespace bifrons {
namespace {

Result<std::unique_ptr<Device>> Named(const LoadOptions& options, std::string_view name) {
  return MakeDevice(name, options.isa, options.threads > 0 ? options.threads : AvailableThreads());
}

}  // namespace

Result<std::unique_ptr<Device>> ChooseDevice(const LoadOptions& options) {
  if (options.device != kAutoDevice) return Named(options, options.device);
  if (!options.isa.empty()) return Named(options, "cpu");
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
