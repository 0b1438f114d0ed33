// oneDNN within this program: one engine, one stream per thread, one instruction-set cap per process.
//
// Thread rule: oneDNN runs single-threaded inside our pool's threads, on parts that do not depend on the
// thread count (its multi-threaded matrices give other bits with other thread counts, and libgomp's team
// would spin beside ours). Hold SingleThreaded where primitives are made and where they run.
#pragma once

#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/cpu/isa.h"
#include "src/base/out_of_memory.h"
#include "src/base/result.h"

namespace bifrons::cpu {

/// Caps the instructions that oneDNN may use to those of `isa`. Works once per process and before any other
/// use of oneDNN; repeating the same set is fine, another one is a usage error.
Status CapOneDnn(Isa isa);

/// The process's cpu engine.
const dnnl::engine& OneDnnEngine();

/// The calling thread's stream.
dnnl::stream& OneDnnStream();

/// Throws what stands for oneDNN's error: std::bad_alloc, or std::runtime_error with its text.
[[noreturn]] void ThrowOneDnnError(const dnnl::error& error);

/// To be called before a primitive is made. Throws OutOfMemory where there is no room for it or its code:
/// oneDNN 2.6.3 ignores that a buffer for code could not be mapped and writes to it.
void CheckRoomForCode();

/// To be called before primitives run, once for some of them. Throws OutOfMemory where the calling thread's
/// heap has no room for their calls' own objects, whose absence oneDNN 2.6.3 does not see either.
void CheckRoomForObjects();

/// What `work` with oneDNN returns; of dnnl::error nobody outside is to know.
template <class Work>
auto WithOneDnn(const Work& work) -> decltype(work()) {
  try {
    return work();
  } catch (const dnnl::error& error) {
    ThrowOneDnnError(error);
  }
}

/// For its lifetime, libgomp regions that the calling thread opens have one thread.
class SingleThreaded {
 public:
  SingleThreaded();
  ~SingleThreaded();
  SingleThreaded(const SingleThreaded&) = delete;

 private:
  int before_;
};

}  // namespace bifrons::cpu
