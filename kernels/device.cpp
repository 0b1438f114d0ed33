#include "kernels/device.h"

#include <algorithm>
#include <fstream>

#include "kernels/cpu/device.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/onednn.h"
#include "kernels/ref/ref.h"

namespace bifrons {
namespace {

std::string Joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

View Grown(Device& device, DeviceTensor& tensor, int64_t rows, int64_t width) {
  if (tensor.bytes() < BytesOf(DType::kF32, {rows, width})) {
    tensor = {};  // first, so that both never take memory at once
    tensor = device.NewTensor(DType::kF32, {rows, width});
  }
  tensor.Reshape({rows, width});
  return tensor.view();
}

std::vector<std::string> AvailableIsas() {
  std::vector<std::string> names;
  for (cpu::Isa isa : cpu::SupportedIsas()) names.emplace_back(NameOf(isa));
  return names;
}

Result<std::unique_ptr<Device>> MakeDevice(std::string_view backend, std::string_view isa, int threads) {
  if (backend == "ref") {
    if (!isa.empty() && isa != "scalar") {
      return UsageError("the ref backend has no instruction set '" + std::string(isa) + "'; leave --isa out");
    }
    return ref::MakeRefDevice(threads);
  }
  if (backend != "cpu") return UsageError("no backend '" + std::string(backend) + "'; there are: cpu, ref");
  const auto& supported = cpu::SupportedIsas();
  cpu::Isa chosen = supported.back();
  if (!isa.empty()) {
    const auto named = cpu::IsaFromName(isa);
    if (!named || std::find(supported.begin(), supported.end(), *named) == supported.end()) {
      return UsageError((named ? "this processor lacks instruction set '" : "no instruction set '") +
                        std::string(isa) + "'; it has: " + Joined(AvailableIsas()));
    }
    chosen = *named;
  }
  BIFRONS_RETURN_IF_ERROR(cpu::CapOneDnn(chosen));
  return cpu::MakeCpuDevice(chosen, threads);
}

std::string ProcessorName() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
#if defined(__aarch64__)
  return "arm64 processor";
#else
  return "unknown processor";
#endif
}

}  // namespace bifrons
