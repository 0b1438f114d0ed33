// The op matrix on the emulated device, case by case: check_ops [text] [order] [seed]
// text: of the cases' "op shape"; order: 0…3 (cuda_emulator::Order), or 4 for the same bits in all four.
#include <array>
#include <cstdio>
#include <cstdlib>

#include "kernels/cuda/device.h"
#include "kernels/op_matrix/op_matrix.h"
#include "kernels/ref/ref.h"
#include "tests/cuda_on_cpu/ordered_device.h"

namespace bifrons {
namespace {

int wrong = 0;

void Print(const OpResult& result) {
  std::printf("%s %.3g %s %s%s\n", result.passed() ? "ok   " : "WRONG", result.worst_share, result.op.c_str(),
              result.shape.c_str(), result.intact ? "" : ": wrote where it may not");
  std::fflush(stdout);
  wrong += !result.passed();
}

int Main(int count, char** arguments) {
  const OpSelection selection{.text = count > 1 ? arguments[1] : ""};
  const int order = count > 2 ? std::atoi(arguments[2]) : 0;
  const uint64_t seed = count > 3 ? std::strtoull(arguments[3], nullptr, 10) : 1;
  using cuda_emulator::Order;
  const auto ordered = [&](int number) {
    return OrderedDevice(cuda::MakeCudaDevice(0), {{.order = static_cast<Order>(number), .seed = seed}});
  };
  if (order < 4) {
    OrderedDevice device = ordered(order);
    CheckOps(device, *ref::MakeRefDevice(2), selection, Print);
  }
  if (order == 4) {
    OrderedDevice forward = ordered(0), reverse = ordered(1), random = ordered(2), other = ordered(3);
    CheckSameBits(forward, std::array<Device*, 3>{&reverse, &random, &other}, selection, Print);
  }
  return wrong > 0;
}

}  // namespace
}  // namespace bifrons

int main(int count, char** arguments) { return bifrons::Main(count, arguments); }
