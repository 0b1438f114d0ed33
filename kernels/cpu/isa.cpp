#include "kernels/cpu/isa.h"

#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace bifrons::cpu {
namespace {

#if defined(__x86_64__)
struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers CpuId(unsigned leaf, unsigned subleaf) {
  Registers r;
  if (!__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d)) return {};
  return r;
}

bool Bit(unsigned word, int bit) { return (word >> bit) & 1; }

// XCR0: which register files the operating system saves. Instructions whose registers it does not save fault.
uint64_t SavedRegisters() {
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

constexpr uint64_t kYmmState = 0x6, kZmmState = 0xE6, kTileState = 0x60000;

// Linux gives tiles to a process only on request: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
bool RequestTiles() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

std::vector<Isa> Detect() {
  std::vector<Isa> isas = {Isa::kBaseline};
  const Registers one = CpuId(1, 0), seven = CpuId(7, 0), seven_one = CpuId(7, 1);
  const bool fma = Bit(one.c, 12), xsave = Bit(one.c, 27), avx = Bit(one.c, 28), f16c = Bit(one.c, 29);
  if (!xsave) return isas;
  const uint64_t saved = SavedRegisters();
  if (!(avx && fma && f16c && Bit(seven.b, 5) && (saved & kYmmState) == kYmmState)) return isas;
  isas.push_back(Isa::kAvx2);

  const bool f = Bit(seven.b, 16), dq = Bit(seven.b, 17), bw = Bit(seven.b, 30), vl = Bit(seven.b, 31);
  const bool vnni = Bit(seven.c, 11), bf16 = Bit(seven_one.a, 5);
  if (!(f && dq && bw && vl && vnni && bf16 && (saved & kZmmState) == kZmmState)) return isas;
  isas.push_back(Isa::kAvx512);

  const bool amx_bf16 = Bit(seven.d, 22), amx_tile = Bit(seven.d, 24), amx_int8 = Bit(seven.d, 25);
  if (!(amx_bf16 && amx_tile && amx_int8 && (saved & kTileState) == kTileState && RequestTiles()))
    return isas;
  isas.push_back(Isa::kAmx);
  return isas;
}
#else
std::vector<Isa> Detect() {
  std::vector<Isa> isas = {Isa::kNeon};
#if defined(__linux__)
  if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) isas.push_back(Isa::kDotprod);
#endif
  return isas;
}
#endif

constexpr Isa kAll[] = {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512, Isa::kAmx, Isa::kNeon, Isa::kDotprod};

}  // namespace

const char* NameOf(Isa isa) {
  switch (isa) {
    case Isa::kBaseline:
      return "baseline";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAmx:
      return "amx";
    case Isa::kNeon:
      return "neon";
    case Isa::kDotprod:
      return "dotprod";
  }
  return "?";
}

std::optional<Isa> IsaFromName(std::string_view name) {
  for (Isa isa : kAll) {
    if (name == NameOf(isa)) return isa;
  }
  return std::nullopt;
}

const std::vector<Isa>& SupportedIsas() {
  static const std::vector<Isa> isas = Detect();
  return isas;
}

}  // namespace bifrons::cpu
