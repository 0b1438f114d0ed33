// Beside kernels/device.cpp, which links every device there is.
#include <fstream>

#include "kernels/device.h"

namespace bifrons {

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
