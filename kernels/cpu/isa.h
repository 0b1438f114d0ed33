// Instruction sets of the cpu backend. Each one is a whole table of kernels, chosen once at start.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace bifrons::cpu {

enum class Isa : uint8_t {
  kBaseline,  // x86-64 with nothing but SSE2
  kAvx2,      // AVX2, FMA and F16C
  kAvx512,    // AVX-512 F/BW/VL/DQ with VNNI and BF16; a processor without the last two takes kAvx2
  kAmx,       // kAvx512 and AMX tiles (int8, bf16) that the kernel lets this process use
  kNeon,      // arm64
  kDotprod,   // kNeon with sums of four products of bytes (Armv8.2-A's FEAT_DotProd): weights in blocks
};

/// "baseline", "avx2", "avx512", "amx", "neon", "dotprod": the names of --isa.
const char* NameOf(Isa);

/// The set of that name, whether or not this processor has it.
std::optional<Isa> IsaFromName(std::string_view name);

/// What processor and operating system can run, worst first; never empty.
const std::vector<Isa>& SupportedIsas();

/// Whether products of two bf16 values are native (kAvx512, kAmx).
constexpr bool MultipliesBF16(Isa isa) { return isa == Isa::kAvx512 || isa == Isa::kAmx; }

}  // namespace bifrons::cpu
