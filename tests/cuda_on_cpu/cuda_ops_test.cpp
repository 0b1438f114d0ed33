// The op matrix on the emulated GPU: every op against ref or f64, and the same bits in every order of lanes,
// warps, blocks and streams' work: case by case in one other of the four, in the long tests in each.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <iterator>
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
  return {cuda::MakeCudaDevice(0), {{.order = order, .seed = seed}}};
}

// Every op; of the many hundred products those of an odd shape and of one that has tiles, with all types,
// classes, epilogues and numbers of rows, and all of weights in blocks. With sanitizers also of the
// convolutions one shape: cuda_conv_test has more.
std::vector<const char*> OpsOfFewShapes() {
  std::vector<const char*> ops = {"Multiply 97×130", "Multiply 96×112", "MultiplyNormed 96×64", "blocks"};
  std::copy_if(std::begin(kOps), std::end(kOps), std::back_inserter(ops),
               [](const char* op) { return op != std::string_view("Multiply"); });
#ifdef __SANITIZE_ADDRESS__
  for (const char*& op : ops) op = op == std::string_view("Convolve") ? "Convolve 7→33" : op;
#endif
  return ops;
}

TEST_CASE("every op of the cuda device is right") {
  OrderedDevice device = InOrder(Order::kForward, 1);
  const auto reference = ref::MakeRefDevice(2);
  for (const char* op : OpsOfFewShapes()) {
    DYNAMIC_SECTION(op) { CheckAll(CheckOps(device, *reference, {.text = op})); }
  }
}

TEST_CASE("products of every shape are right") {
  OrderedDevice device = InOrder(Order::kForward, 1);
  CheckAll(CheckOps(device, *ref::MakeRefDevice(2), {.text = "Multiply"}));
}

TEST_CASE("everything is right on a GPU without tensor cores for bf16") {
  cuda_emulator::Set({.capability = 75});
  const auto old = cuda::MakeCudaDevice(0);
  CHECK(old->default_compute() == DType::kF32);
  const auto reference = ref::MakeRefDevice(2);
  for (const char* ops : {"bf16 · bf16", "bf16 stored bf16", "AttendAll"})
    CheckAll(CheckOps(*old, *reference, {.text = ops}));
  cuda_emulator::Set({});
  CHECK(cuda::MakeCudaDevice(0)->default_compute() == DType::kBF16);
}

void CheckOrders(std::span<Device* const> others, std::span<const char* const> ops) {
  OrderedDevice forward = InOrder(Order::kForward, 1);
  for (const char* op : ops) {
    DYNAMIC_SECTION(op) { CheckAll(CheckSameBits(forward, others, {.text = op})); }
  }
}

TEST_CASE("every op has the same bits in another order") {
  OrderedDevice other(cuda::MakeCudaDevice(0), {{.order = Order::kReverse, .seed = 2},
                                                {.order = Order::kRandom, .seed = 3},
                                                {.order = Order::kOtherRandom, .seed = 4}});
  CheckOrders(std::array<Device*, 1>{&other}, OpsOfFewShapes());
}

TEST_CASE("every op has the same bits in every order", "[.long]") {
  OrderedDevice reverse = InOrder(Order::kReverse, 2), random = InOrder(Order::kRandom, 3),
                other_random = InOrder(Order::kOtherRandom, 4);
  CheckOrders(std::array<Device*, 3>{&reverse, &random, &other_random}, kOps);
}

}  // namespace
}  // namespace bifrons
