// The cuda device's queues under streams that do their work as late, and in as odd an order, as their events
// allow: what queue.h promises holds under every seed.
#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "kernels/cuda/device.h"
#include "tests/cuda_on_cpu/emulator.h"

namespace bifrons {
namespace {

constexpr int64_t kNumbers = 48;
constexpr uint64_t kSeeds = 12;

// A device with two queues.
struct Cuda {
  explicit Cuda(uint64_t seed) { cuda_emulator::Set({.seed = seed}); }
  std::unique_ptr<Device> device = cuda::MakeCudaDevice(0);
  std::unique_ptr<Queue> steps = device->MakeQueue(), images = device->MakeQueue();

  DeviceTensor Numbers(int64_t count = kNumbers) { return device->NewTensor(DType::kF32, {count}); }
};

// Whether all numbers are this one.
bool All(const Tensor& numbers, float value) {
  const float* first = numbers.as<float>();
  return std::all_of(first, first + numbers.shape().elements(),
                     [value](float each) { return each == value; });
}

TEST_CASE("a queue that waits for another's ticket comes after it, by way of a third too") {
  for (uint64_t seed = 0; seed < kSeeds; seed++) {
    Cuda cuda(seed);
    const DeviceTensor numbers = cuda.Numbers(), copy = cuda.Numbers();
    const auto third = cuda.device->MakeQueue();
    cuda.images->Fill(numbers.view(), 2);
    third->After(cuda.images->Record());
    cuda.steps->After(third->Record());
    cuda.steps->Copy(numbers.view(), copy.view());
    cuda.images->After(cuda.steps->Record());
    cuda.images->Fill(numbers.view(), 3);
    CHECK(All(cuda.steps->Fetch(copy.view()), 2));
    CHECK(All(cuda.images->Fetch(numbers.view()), 3));
  }
}

TEST_CASE("numbers and buffers may go as soon as they are given") {
  for (uint64_t seed = 0; seed < kSeeds; seed++) {
    Cuda cuda(seed);
    const DeviceTensor kept = cuda.Numbers();
    {
      std::vector<float> values(kNumbers, 6);
      const DeviceTensor from = cuda.Numbers();
      cuda.steps->Upload({values.data(), DType::kF32, {kNumbers}}, from.view());
      std::fill(values.begin(), values.end(), 1.0f);
      cuda.images->After(cuda.steps->Record());
      cuda.images->Copy(from.view(), kept.view());
    }
    // Nothing takes its place before the work is done.
    const DeviceTensor next = cuda.Numbers();
    cuda.steps->Fill(next.view(), 9);
    CHECK(All(cuda.images->Fetch(kept.view()), 6));
    CHECK(All(cuda.steps->Fetch(next.view()), 9));
  }
}

TEST_CASE("a batch may go as soon as it is given") {
  constexpr KvShape kShape{.layers = 1, .kv_heads = 1, .head_dim = 4, .page_positions = 32};
  for (uint64_t seed = 0; seed < kSeeds; seed++) {
    Cuda cuda(seed);
    const auto pages = cuda.device->MakeKvPages(kShape);
    pages->Grow(1);
    const int32_t page = 0;
    const DeviceTensor kv = cuda.device->NewTensor(DType::kF32, {5, 4});
    const DeviceTensor y = cuda.device->NewTensor(DType::kF32, {5, 4});
    cuda.steps->Fill(kv.view(), 7);
    {
      const KvSpan span{5, 0, {&page, 1}};
      const auto batch = cuda.steps->MakeBatch(*pages, {&span, 1});
      cuda.steps->StoreKv(kv.view(), kv.view(), *batch, 0);
      cuda.steps->Attend(kv.view(), *batch, 0, y.view());
    }
    const DeviceTensor next = cuda.Numbers();
    cuda.images->Fill(next.view(), 1);
    CHECK(All(cuda.steps->Fetch(y.view()), 7));
  }
}

TEST_CASE("more can be on its way than there is pinned memory for") {
  constexpr int64_t kMany = 3 << 20;  // 12 MB each
  std::vector<float> values(kMany), fetched(kMany);
  for (size_t i = 0; i < values.size(); i++) values[i] = static_cast<float>(i % 8191);
  for (uint64_t seed = 0; seed < 3; seed++) {
    Cuda cuda(seed);
    const DeviceTensor numbers = cuda.Numbers(kMany);
    cuda.steps->Upload({values.data(), DType::kF32, {kMany}}, numbers.view());
    const Ticket there = cuda.steps->Download(numbers.view(), fetched.data());
    cuda.steps->Wait(there);
    CHECK(cuda.steps->Done(there));
    CHECK(fetched == values);
  }
}

TEST_CASE("a ticket that is asked for again and again is done in the end") {
  Cuda cuda(1);
  const DeviceTensor numbers = cuda.Numbers();
  cuda.steps->Fill(numbers.view(), 1);
  const Ticket ticket = cuda.steps->Record();
  int asked = 0;
  while (!cuda.images->Done(ticket)) asked++;
  CHECK(asked > 0);
}

TEST_CASE("memory that there is not is told of, and queues go on") {
  Cuda cuda(1);
  cuda_emulator::Set({.memory_bytes = 64 << 20});
  CHECK_THROWS_AS(cuda.device->Allocate(size_t{100} << 20), std::bad_alloc);
  // Many times what there is, if nothing came back.
  for (int i = 0; i < 20; i++) {
    const DeviceTensor numbers = cuda.Numbers(4 << 20);
    cuda.steps->Fill(numbers.view(), static_cast<float>(i));
    CHECK(All(cuda.steps->Fetch(numbers.view().Rows(0, kNumbers)), static_cast<float>(i)));
  }
  cuda_emulator::Set({});
}

TEST_CASE("a machine without a driver, or with too old a one, has no such device") {
  for (const cudaError_t driver : {cudaErrorNoDevice, cudaErrorInsufficientDriver}) {
    cuda_emulator::Set({.driver = driver});
    CHECK_THROWS_AS(cuda::MakeCudaDevice(0), std::runtime_error);
  }
  cuda_emulator::Set({});
}

}  // namespace
}  // namespace bifrons
