#include "tests/cuda_on_cpu/fiber.h"

#include <cuda_runtime.h>
#include <pthread.h>
#include <sys/mman.h>

#include <atomic>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

// void cuda_emulator_switch(void** stopped, void* to): the callee-saved registers go onto this stack, whose
// pointer goes to *stopped, and come from the other.
#if defined(__x86_64__)
asm(R"(
  .text
  .globl cuda_emulator_switch
  .type cuda_emulator_switch, @function
cuda_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size cuda_emulator_switch, . - cuda_emulator_switch
)");
#elif defined(__aarch64__)
asm(R"(
  .text
  .globl cuda_emulator_switch
  .type cuda_emulator_switch, %function
cuda_emulator_switch:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x2, sp
  str x2, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
  .size cuda_emulator_switch, . - cuda_emulator_switch
)");
#else
#error "fibers are written for x86-64 and arm64"
#endif
extern "C" void cuda_emulator_switch(void** stopped, void* to);

namespace cuda_emulator {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kColour = 7 * 64;  // bytes, whole lines: about what a stopped fiber uses
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kStackBytes = 256 << 10;  // of frames with red zones
#else
constexpr size_t kStackBytes = 64 << 10;
#endif

#ifdef __SANITIZE_ADDRESS__
void Leave(void** kept, const Context& to) { __sanitizer_start_switch_fiber(kept, to.stack, to.stack_bytes); }
void Arrive(void* kept) { __sanitizer_finish_switch_fiber(kept, nullptr, nullptr); }
#else
void Leave(void**, const Context&) {}
void Arrive(void*) {}
#endif

}  // namespace

Stack::Stack() {
  void* memory = mmap(nullptr, kPage + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kPage, PROT_NONE) != 0) Die("no memory for a thread's stack");
  memory_ = static_cast<uint8_t*>(memory);
  // Stacks that all began at the same place in a page would share a few lines of the first cache.
  static std::atomic<size_t> count{0};
  unused_ = count++ * kColour % kPage;
}

Stack::~Stack() { munmap(memory_, kPage + kStackBytes); }

Context Stack::Begin(void (*entry)()) const {
  Context context;
  context.stack = memory_ + kPage;
  context.stack_bytes = kStackBytes;
  auto* top = reinterpret_cast<uintptr_t*>(memory_ + kPage + kStackBytes - unused_);
#if defined(__x86_64__)
  // Six registers, the address that `ret` goes to, and one for the caller's that never comes: so that the
  // stack is aligned as after a call.
  uintptr_t* frame = top - 8;
  std::fill_n(frame, 8, uintptr_t{0});
  frame[6] = reinterpret_cast<uintptr_t>(entry);
#else
  uintptr_t* frame = top - 20;
  std::fill_n(frame, 20, uintptr_t{0});
  frame[11] = reinterpret_cast<uintptr_t>(entry);  // x30, which `ret` goes to
#endif
  context.stack_pointer = frame;
  return context;
}

Context ThisThread() {
#ifdef __SANITIZE_ADDRESS__
  // The main thread's is read from a file of the system's.
  static thread_local const Context found = [] {
    Context context;
    pthread_attr_t attributes;
    void* stack = nullptr;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0 ||
        pthread_attr_getstack(&attributes, &stack, &context.stack_bytes) != 0) {
      Die("a thread's stack cannot be found");
    }
    pthread_attr_destroy(&attributes);
    context.stack = stack;
    return context;
  }();
  return found;
#else
  return {};
#endif
}

void Switch(Context& from, Context& to) {
  Leave(&from.sanitizer, to);
  cuda_emulator_switch(&from.stack_pointer, to.stack_pointer);
  Arrive(from.sanitizer);
}

void SwitchForever(Context& to) {
  Leave(nullptr, to);
  void* nobody = nullptr;
  cuda_emulator_switch(&nobody, to.stack_pointer);
  __builtin_unreachable();
}

void Entered() { Arrive(nullptr); }

}  // namespace cuda_emulator
