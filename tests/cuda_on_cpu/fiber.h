// Threads of a block as fibers: stacks that one thread of the host switches between.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cuda_emulator {

/// Where a fiber, or the thread of the host itself, stopped, and on which stack.
struct Context {
  void* stack_pointer = nullptr;
  // For ASan: the stack's lowest byte and size, and what it keeps of a stopped fiber.
  const void* stack = nullptr;
  size_t stack_bytes = 0;
  void* sanitizer = nullptr;
};

/// Memory for one fiber; what runs over its end hits a page that nobody can touch.
class Stack {
 public:
  Stack();
  ~Stack();
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  /// A fiber that begins with entry(), which never returns.
  Context Begin(void (*entry)()) const;

 private:
  uint8_t* memory_;
  size_t unused_;  // bytes at its top
};

/// The calling thread of the host, to switch away from.
Context ThisThread();
/// Goes on with `to`; returns when somebody switches to `from`.
void Switch(Context& from, Context& to);
/// As Switch from a fiber that is done.
[[noreturn]] void SwitchForever(Context& to);
/// What a fiber's entry calls first.
void Entered();

}  // namespace cuda_emulator
