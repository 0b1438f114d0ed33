#include "kernels/cpu/weight_memory.h"

#include <sys/mman.h>

#include "src/base/out_of_memory.h"

namespace bifrons::cpu {

WeightMemory::WeightMemory(size_t bytes) {
  constexpr size_t kHugePage = size_t{2} << 20;
  // Below a few huge pages the rounding would waste more than it brings.
  const size_t unit = bytes >= 4 * kHugePage ? kHugePage : 4096;
  const size_t size = (bytes + unit - 1) / unit * unit;
  // A mapping may start anywhere on a 4 KB page: map one unit more and give back what is beside the aligned
  // part.
  const size_t slack = unit == kHugePage ? kHugePage : 0;
  void* p = mmap(nullptr, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw OutOfMemory(size, "weights");
  data_ = static_cast<uint8_t*>(p);
  mapped_ = size;
  if (slack != 0) {
    const size_t head = (kHugePage - reinterpret_cast<uintptr_t>(p) % kHugePage) % kHugePage;
    if (head != 0) munmap(data_, head);
    if (head != slack) munmap(data_ + head + size, slack - head);
    data_ += head;
    madvise(data_, size, MADV_HUGEPAGE);  // a wish: without it the program is right, only slower
  }
}

WeightMemory::~WeightMemory() {
  if (data_ != nullptr) munmap(data_, mapped_);
}

}  // namespace bifrons::cpu
