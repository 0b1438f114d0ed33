// oneDNN within this program: one engine, one stream per thread, one instruction-set cap per process.
//
// Thread rule. oneDNN here runs on libgomp, whose team is chosen per calling thread:
//   * matrices run single-threaded inside our pool's threads, on parts that do not depend on the thread count
//     (multi-threaded oneDNN matrices give other bits with other thread counts): hold SingleThreaded inside
//     the ParallelFor body;
//   * convolutions, whose bits do not depend on it, run from the thread that owns the pool, on pool.threads()
//     libgomp threads: hold WithThreads outside of any ParallelFor.
#pragma once

#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/cpu/isa.h"
#include "src/base/result.h"

namespace bifrons::cpu {

/// Caps the instructions that oneDNN may use to those of `isa`. Works once per process and before any other
/// use of oneDNN; repeating the same set is fine, another one is a usage error.
Status CapOneDnn(Isa isa);

/// The process's cpu engine.
const dnnl::engine& OneDnnEngine();

/// The calling thread's stream.
dnnl::stream& OneDnnStream();

/// For its lifetime, libgomp regions that the calling thread opens have `threads` threads.
class WithThreads {
 public:
  explicit WithThreads(int threads);
  ~WithThreads();
  WithThreads(const WithThreads&) = delete;

 private:
  int before_;
};

struct SingleThreaded : WithThreads {
  SingleThreaded() : WithThreads(1) {}
};

}  // namespace bifrons::cpu
