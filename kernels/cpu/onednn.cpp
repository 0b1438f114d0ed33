#include "kernels/cpu/onednn.h"

#include <omp.h>
#include <sys/mman.h>

#include <cstdlib>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>

namespace bifrons::cpu {
namespace {

dnnl::cpu_isa MaxIsa(Isa isa) {
  switch (isa) {
    case Isa::kBaseline:
      return dnnl::cpu_isa::sse41;  // the lowest cap there is; without SSE4.1 oneDNN has reference code
    case Isa::kAvx2:
      return dnnl::cpu_isa::avx2;
    case Isa::kAvx512:
      return dnnl::cpu_isa::avx512_core_bf16;
    case Isa::kAmx:
#if defined(__SANITIZE_ADDRESS__)
      // Making an AMX convolution, oneDNN 2.6.3 reads the element behind the last of a table of its own
      // (brgemm's skipped_bd_mask) and makes no use of it. malloc always has bytes there, ASan's pages may
      // end.
      return dnnl::cpu_isa::avx512_core_bf16;
#else
      return dnnl::cpu_isa::avx512_core_amx;
#endif
    case Isa::kNeon:
    case Isa::kDotprod:
      break;  // the cap knows x86 only
  }
  return dnnl::cpu_isa::all;
}

}  // namespace

Status CapOneDnn(Isa isa) {
  static std::mutex mutex;
  static std::optional<Isa> capped;
  const std::lock_guard lock(mutex);
  if (capped == isa) return {};
  if (capped) {
    return UsageError(std::string("instruction set ") + NameOf(isa) +
                      " asked for, but this process already uses " + NameOf(*capped) +
                      ", and oneDNN's set is chosen once per process; start another process");
  }
  const dnnl::cpu_isa cap = MaxIsa(isa);
  if (cap != dnnl::cpu_isa::all && dnnl::set_max_cpu_isa(cap) != dnnl::status::success) {
    return Failure(std::string("oneDNN was used before its instruction set could be capped to ") +
                   NameOf(isa));
  }
  capped = isa;
  return {};
}

const dnnl::engine& OneDnnEngine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::stream& OneDnnStream() {
  thread_local dnnl::stream stream(OneDnnEngine());
  return stream;
}

void ThrowOneDnnError(const dnnl::error& error) {
  if (error.status == dnnl_out_of_memory) throw std::bad_alloc();
  throw std::runtime_error(std::string("oneDNN: ") + error.what());
}

void CheckRoomForCode() {
  CheckRoomForObjects();
  // A kernel's buffer is 256 KB and doubles when it is full; a convolution had five on AVX-512, one on
  // others.
  constexpr size_t kRoom = size_t{16} << 20;
  void* const room = mmap(nullptr, kRoom, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) throw OutOfMemory(kRoom, "compiled convolutions and products");
  munmap(room, kRoom);
}

void CheckRoomForObjects() {
  // Less than malloc maps apart, so that it stays with this thread's heap; objects have some hundred bytes
  // each.
  constexpr size_t kRoom = size_t{64} << 10;
  void* room = nullptr;
  if (posix_memalign(&room, 64, kRoom) != 0) throw OutOfMemory(kRoom, "convolutions and products");
  std::free(room);
}

SingleThreaded::SingleThreaded() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
SingleThreaded::~SingleThreaded() { omp_set_num_threads(before_); }

}  // namespace bifrons::cpu
