// Memory that cannot be had: an exception that says how much, and the border where exceptions become errors.
#pragma once

#include <cstddef>
#include <new>
#include <utility>

#include "src/base/result.h"

namespace bifrons {

/// Whose memory there is too little of.
enum class Memory { kHost, kGpu };

/// std::bad_alloc with numbers. Its text stands in it, so that throwing needs no memory of its own.
class OutOfMemory : public std::bad_alloc {
 public:
  /// `what_for` goes on after "25.2 MB for ".
  OutOfMemory(size_t bytes, const char* what_for, Memory memory = Memory::kHost) noexcept;
  /// "out of memory: 25.2 MB for keys and values", "out of the GPU's memory: …"
  const char* what() const noexcept override { return text_; }
  Memory memory() const { return memory_; }

 private:
  char text_[96];
  Memory memory_;
};

/// The exception in flight as an Error (kFailure), in one line; for catch blocks. Where not even the line can
/// be had, it is "out of memory".
Error CaughtError() noexcept;

/// What `work` returns, a Result or a Status; what it throws is the error.
template <class Work>
auto Guarded(const Work& work) noexcept -> decltype(work()) {
  try {
    return work();
  } catch (...) {
    return CaughtError();
  }
}

}  // namespace bifrons
