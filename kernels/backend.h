// Choosing a backend and an instruction set, once, at start.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernels/ops.h"
#include "src/base/result.h"

namespace bifrons {

/// Instruction sets of the cpu backend that this processor can run, worst first ("baseline", "avx2", …;
/// "neon" on arm64).
std::vector<std::string> AvailableIsas();

/// The table for backend "cpu" or "ref". isa "" means the best available; otherwise one of AvailableIsas()
/// (cpu only). Also caps oneDNN's instruction set, which works once per process, before its first use: asking
/// for a second, different set in one process is an error.
Result<const Ops*> ChooseOps(std::string_view backend, std::string_view isa);

/// bf16 where the instruction set multiplies bf16 natively, else f32.
DType DefaultCompute(const Ops&);

/// "AMD EPYC 9654 96-Core Processor", as the processor names itself.
std::string ProcessorName();

}  // namespace bifrons
