// The op matrix on the emulated GPU: every op against ref or f64, and the same bits in every order of lanes,
// warps, blocks and streams' work.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/ref/ref.h"
#include "tests/cuda_on_cpu/ordered_device.h"
#include "tests/op_results.h"

namespace bifrons {
namespace {

using cuda_emulator::Order;

OrderedDevice InOrder(Order order, uint64_t seed) {
  return OrderedDevice(cuda::MakeCudaDevice(0), {.order = order, .seed = seed});
}

TEST_CASE("every op of the cuda device is right") {
  OrderedDevice device = InOrder(Order::kForward, 1);
  const auto reference = ref::MakeRefDevice(2);
  for (const char* op : kOps) {
    DYNAMIC_SECTION(op) { CheckAll(CheckOps(device, *reference, {.text = op})); }
  }
}

TEST_CASE("products are right on a GPU without tensor cores for bf16") {
  cuda_emulator::Set({.capability = 75});
  const auto old = cuda::MakeCudaDevice(0);
  CHECK(old->default_compute() == DType::kF32);
  CheckAll(CheckOps(*old, *ref::MakeRefDevice(2), {.text = "bf16 · bf16"}));
  cuda_emulator::Set({});
  CHECK(cuda::MakeCudaDevice(0)->default_compute() == DType::kBF16);
}

// In all four orders, beside the first.
void CheckOrders(std::span<const char* const> ops) {
  OrderedDevice forward = InOrder(Order::kForward, 1), reverse = InOrder(Order::kReverse, 2),
                random = InOrder(Order::kRandom, 3), other_random = InOrder(Order::kOtherRandom, 4);
  const std::array<Device*, 3> others = {&reverse, &random, &other_random};
  for (const char* op : ops) {
    DYNAMIC_SECTION(op) { CheckAll(CheckSameBits(forward, others, {.text = op})); }
  }
}

TEST_CASE("every op has the same bits in every order") {
  // Of 825 products those of one shape, with all types, classes, epilogues and numbers of rows.
  std::vector<const char*> ops(std::begin(kOps), std::end(kOps));
  std::replace_if(
      ops.begin(), ops.end(), [](const char* op) { return op == std::string_view("Multiply"); },
      "Multiply 97×130");
  CheckOrders(ops);
}

TEST_CASE("every product has the same bits in every order", "[.long]") {
  CheckOrders(std::array{"Multiply"});
}

}  // namespace
}  // namespace bifrons
