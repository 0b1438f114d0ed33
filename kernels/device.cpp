#include "kernels/device.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "kernels/cpu/device.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/onednn.h"
#ifdef BIFRONS_CUDA
#include "kernels/cuda/open.h"
#endif
#include "kernels/ref/ref.h"

namespace bifrons {
namespace {

std::string Joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// Of "cuda" and "cuda:N"; none of other names.
std::optional<int> GpuNumber(std::string_view name) {
  constexpr std::string_view kGpu = "cuda";
  if (!name.starts_with(kGpu)) return std::nullopt;
  name.remove_prefix(kGpu.size());
  if (name.empty()) return 0;
  int number = 0;
  const auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), number);
  const bool whole = name[0] == ':' && name.size() > 1 && name[1] != '-' && end == name.data() + name.size();
  return whole && error == std::errc() ? std::optional(number) : std::nullopt;
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

bool IsDeviceName(std::string_view name) { return name == "cpu" || name == "ref" || GpuNumber(name); }

Result<std::unique_ptr<Device>> MakeDevice(std::string_view name, std::string_view isa, int threads) {
  if (name != "cpu" && !isa.empty() && !(name == "ref" && isa == "scalar")) {
    return UsageError("device " + std::string(name) + " has no instruction set '" + std::string(isa) +
                      "'; leave --isa out");
  }
  if (name == "ref") return ref::MakeRefDevice(threads);
  if (const auto gpu = GpuNumber(name)) {
#ifdef BIFRONS_CUDA
    return cuda::OpenGpu(*gpu);
#else
    return UsageError("this build has no CUDA: build where nvcc is found (README.md), or use --device cpu");
#endif
  }
  if (name != "cpu") {
    return UsageError("no device '" + std::string(name) + "'; there are: cpu, cuda, cuda:N, ref");
  }
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

}  // namespace bifrons
