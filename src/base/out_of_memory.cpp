#include "src/base/out_of_memory.h"

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>

namespace bifrons {
namespace {

std::string WithAdvice(std::string text, Memory memory = Memory::kHost) {
  return std::move(text) + "; use a smaller --batch, a smaller model" +
         (memory == Memory::kGpu ? ", a GPU with more memory or --device cpu"
                                 : " or a machine with more memory");
}

Error Described() {
  try {
    throw;
  } catch (const OutOfMemory& e) {
    return Failure(WithAdvice(e.what(), e.memory()));
  } catch (const std::bad_alloc&) {
    return Failure(WithAdvice("out of memory"));
  } catch (const std::length_error&) {  // a container asked for more than there can be
    return Failure(WithAdvice("out of memory"));
  } catch (const std::system_error& e) {  // std::thread's
    return Failure(std::string("cannot start a thread, most likely for want of memory: ") + e.what());
  } catch (const std::exception& e) {  // a library's; ours are Results
    return Failure(e.what());
  } catch (...) {
    return Failure("an exception of an unknown type");
  }
}

}  // namespace

OutOfMemory::OutOfMemory(size_t bytes, const char* what_for, Memory memory) noexcept : memory_(memory) {
  std::snprintf(text_, sizeof text_, "out of %smemory: %.1f MB for %s",
                memory == Memory::kGpu ? "the GPU's " : "", static_cast<double>(bytes) / 1e6, what_for);
}

Error CaughtError() noexcept {
  try {
    return Described();
  } catch (...) {
    return Failure("out of memory");  // so short that a string needs no memory for it
  }
}

}  // namespace bifrons
