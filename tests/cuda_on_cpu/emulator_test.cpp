// The emulator itself: each word of kernels means what CUDA says, and each fault that it is there to catch,
// planted, is caught. What dies does so in a process of its own.
#include "tests/cuda_on_cpu/emulator.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "tests/cuda_on_cpu/numbers.h"

namespace bifrons::cuda {
namespace {

using cuda_emulator::Order;

constexpr Order kOrders[] = {Order::kForward, Order::kReverse, Order::kRandom, Order::kOtherRandom};

// What a kernel of one block of 64 threads leaves in `count` numbers.
template <class T, class... Parameters, class... Arguments>
std::vector<T> Run(void (*kernel)(T*, Parameters...), size_t count, Arguments... arguments) {
  const Numbers<T> out(count);
  const Stream stream;
  Launch(kernel, 1, 64, 0, stream, out.data(), arguments...);
  return out.Fetch(stream);
}

// ---- words -----------------------------------------------------------------------------------------------

__global__ void Places(uint32_t* out) {
  const uint32_t block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const uint32_t thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const uint32_t i = block * blockDim.x * blockDim.y * blockDim.z + thread;
  out[i] = i;
}

TEST_CASE("every thread of every block has its place") {
  const dim3 blocks(3, 5, 2), threads(8, 4, 3);
  constexpr size_t kCount = 3 * 5 * 2 * 8 * 4 * 3;
  std::vector<uint32_t> expected(kCount);
  std::iota(expected.begin(), expected.end(), 0u);
  for (const Order order : kOrders) {
    cuda_emulator::Set({.order = order});
    const Numbers<uint32_t> out(kCount);
    const Stream stream;
    Launch(Places, blocks, threads, 0, stream, out.data());
    CHECK(out.Fetch(stream) == expected);
  }
}

template <class T>
__global__ void Shuffles(T* out) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const T v = static_cast<T>(threadIdx.x) + static_cast<T>(100);
  out[threadIdx.x] = Shuffle(v, (lane + 5) % kWarp);
  out[64 + threadIdx.x] = ShuffleXor(v, 9);
  out[128 + threadIdx.x] = ShuffleDown(v, 7);
}

template <class T>
void CheckShuffles() {
  const std::vector<T> out = Run(Shuffles<T>, 192);
  bool right = true;
  for (int i = 0; i < 64; i++) {
    const int warp = i / kWarp * kWarp, lane = i % kWarp;
    const auto of = [&](int other) { return static_cast<T>(100 + warp + other); };
    right &= out[i] == of((lane + 5) % kWarp) && out[64 + i] == of(lane ^ 9) &&
             out[128 + i] == of(lane + 7 < kWarp ? lane + 7 : lane);
  }
  CHECK(right);
}

TEST_CASE("shuffles bring what the other lane has") {
  for (const Order order : kOrders) {
    cuda_emulator::Set({.order = order});
    CheckShuffles<float>();
    CheckShuffles<int32_t>();
    CheckShuffles<double>();
    CheckShuffles<unsigned long long>();
  }
}

__global__ void Ballots(uint32_t* out) { out[threadIdx.x] = Ballot(threadIdx.x % 3 == 1); }

TEST_CASE("a ballot has every lane's bit") {
  const std::vector<uint32_t> out = Run(Ballots, 64);
  uint32_t expected[2] = {};
  for (uint32_t i = 0; i < 64; i++) expected[i / 32] |= static_cast<uint32_t>(i % 3 == 1) << i % 32;
  for (size_t i = 0; i < 64; i++) CHECK(out[i] == expected[i / 32]);
}

__global__ void Atomics(unsigned long long* out, uint32_t* words, int32_t* integers) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(&out[0], static_cast<unsigned long long>(i) << 20);
  atomicMax(&out[1], static_cast<unsigned long long>(i * 7919 % 1000));
  atomicAdd(&words[0], i);
  atomicMax(&words[1], i * 7919 % 1000);
  atomicAdd(&integers[0], -static_cast<int32_t>(i));
  atomicMax(&integers[1], -1 - static_cast<int32_t>(i));
  if (atomicCAS(&words[2], 0u, i + 1) == 0u) atomicAdd(&words[3], 1u);
}

__global__ void Dots(int* out, uint32_t a, uint32_t b) {
  out[threadIdx.x] = DotBytes(a + threadIdx.x, b, 1000 * static_cast<int>(threadIdx.x));
}

TEST_CASE("products of bytes are of signed ones, and all are added") {
  const std::vector<int> dots = Run(Dots, 64, 0x80FF7F10u, 0x80027F03u);  // -128 -1 127 16; -128 2 127 3
  for (int i = 0; i < 64; i++)
    CHECK(dots[static_cast<size_t>(i)] == 128 * 128 - 2 + 127 * 127 + 3 * (16 + i) + 1000 * i);
}

TEST_CASE("atomics of all threads are all done") {
  for (const Order order : kOrders) {
    cuda_emulator::Set({.order = order});
    const Numbers<unsigned long long> out(std::vector<unsigned long long>{0, 0});
    const Numbers<uint32_t> words(std::vector<uint32_t>{0, 0, 0, 0});
    const Numbers<int32_t> integers(std::vector<int32_t>{0, INT32_MIN});
    const Stream stream;
    constexpr unsigned kBlocks = 64, kThreads = 256;
    constexpr uint64_t kSum = uint64_t{kBlocks * kThreads} * (kBlocks * kThreads - 1) / 2;
    Launch(Atomics, kBlocks, kThreads, 0, stream, out.data(), words.data(), integers.data());
    CHECK(out.Fetch(stream) == std::vector<unsigned long long>{kSum << 20, 999});
    const std::vector<uint32_t> w = words.Fetch(stream);
    CHECK((w[0] == static_cast<uint32_t>(kSum) && w[1] == 999 && w[2] != 0 && w[3] == 1));
    CHECK(integers.Fetch(stream) == std::vector<int32_t>{-static_cast<int32_t>(kSum), -1});
  }
}

// Sums of 64 numbers by way of both kinds of shared memory.
__global__ void SharedSum(float* out, int count) {
  SHARED_ARRAY(float, ones, 64);
  DYNAMIC_SHARED(float, twos);
  ones[threadIdx.x] = 1;
  twos[threadIdx.x] = 2;
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < count; i++) sum += ones[i] + twos[i];
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

TEST_CASE("shared memory is the block's, and NaN before it is written") {
  for (const Order order : kOrders) {
    cuda_emulator::Set({.order = order});
    const Numbers<float> out(640);
    const Stream stream;
    Launch(SharedSum, 10, 64, 64 * sizeof(float), stream, out.data(), 64);
    CHECK(out.Fetch(stream) == std::vector<float>(640, 192));
    // The last number but one is written by nobody.
    Launch(SharedSum, 10, 32, 64 * sizeof(float), stream, out.data(), 33);
    CHECK(std::isnan(out.Fetch(stream)[0]));
  }
}

__global__ void VectorLoads(float* out, const float* in) {
  StoreFloat4(out + 4 * threadIdx.x, LoadFloat4(in + 4 * threadIdx.x));
}

TEST_CASE("vectors are four numbers") {
  std::vector<float> values(256);
  std::iota(values.begin(), values.end(), 0.0f);
  const Numbers<float> in(values);
  CHECK(Run(VectorLoads, 256, static_cast<const float*>(in.data())) == values);
  CHECK(BitsOf(1.0f) == 0x3F800000u);
  CHECK(FloatOf(0x40490FDBu) == 3.14159274f);
}

// ---- orders ----------------------------------------------------------------------------------------------

__global__ void Turns(uint32_t* out, uint32_t* turn) {
  out[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(turn, 1u);
}

TEST_CASE("lanes, warps and blocks take their turns in four orders") {
  std::set<std::vector<uint32_t>> seen;
  for (const Order order : kOrders) {
    cuda_emulator::Set({.order = order, .threads = 1});
    const Numbers<uint32_t> out(256), turn(std::vector<uint32_t>{0});
    const Stream stream;
    Launch(Turns, 4, 64, 0, stream, out.data(), turn.data());
    seen.insert(out.Fetch(stream));
  }
  CHECK(seen.size() == 4);
  std::vector<uint32_t> forward(256), reverse;
  std::iota(forward.begin(), forward.end(), 0u);
  reverse.assign(forward.rbegin(), forward.rend());
  CHECK(seen.count(forward) == 1);
  CHECK(seen.count(reverse) == 1);
}

// ---- faults of kernels -----------------------------------------------------------------------------------

__global__ void WithoutBarrier(float* out) {
  SHARED_ARRAY(float, numbers, 64);
  numbers[threadIdx.x] = 1;
  out[threadIdx.x] = numbers[63 - threadIdx.x];
}

// Two rounds over the same memory, where the second overwrites what the first may still have to read.
__global__ void WithoutSecondBarrier(float* out) {
  SHARED_ARRAY(float, numbers, 64);
  float sum = 0;
  for (int round = 1; round <= 2; round++) {
    numbers[threadIdx.x] = static_cast<float>(round);
    __syncthreads();
    sum += numbers[63 - threadIdx.x];
  }
  out[threadIdx.x] = sum;
}

TEST_CASE("a missing barrier shows in every order") {
  for (const Order order : kOrders) {
    cuda_emulator::Set({.order = order});
    CHECK(Run(WithoutBarrier, 64) != std::vector<float>(64, 1));
    CHECK(Run(WithoutSecondBarrier, 64) != std::vector<float>(64, 3));
  }
}

__global__ void PartBeforeShuffle(float* out) {
  if (threadIdx.x % 2 == 0) return;
  out[threadIdx.x] = ShuffleXor(1.0f, 2);
}
__global__ void PartBeforeBarrier(float* out) {
  if (threadIdx.x == 17) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}
__global__ void BarrierInTwoPlaces(float* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 1;
}
__global__ void ShuffleAndBarrier(float* out) {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
  } else {
    out[threadIdx.x] = Shuffle(1.0f, 3);
  }
}
__global__ void TwoMeetings(float* out) {
  out[threadIdx.x] = threadIdx.x % 2 == 0 ? Shuffle(1.0f, 3) : static_cast<float>(Ballot(true));
}
__global__ void BeyondStatic(float* out) {
  SHARED_ARRAY(float, numbers, 64);
  float* const first = numbers;  // of which UBSan knows no bound
  first[threadIdx.x + (threadIdx.x == 63)] = 1;
  out[threadIdx.x] = 1;
}
__global__ void BeyondDynamic(float* out) {
  DYNAMIC_SHARED(float, numbers);
  numbers[threadIdx.x] = 1;  // of 63
  out[threadIdx.x] = 1;
}
__global__ void TooMuchStatic(float* out) {
  SHARED_ARRAY(float, numbers, 12 * 1024 + 1);
  numbers[threadIdx.x] = 1;
  out[threadIdx.x] = 1;
}

#ifdef __SANITIZE_ADDRESS__
constexpr const char* kBeyondShared = "use-after-poison";
#else
constexpr const char* kBeyondShared = "a write beyond shared memory";
#endif

TEST_CASE("threads that part, and writes beyond shared memory, end the process with a line") {
  for (const Order order : kOrders) {
    cuda_emulator::Set({.order = order});
    const auto run = [](void (*kernel)(float*), size_t shared = 0) {
      return [kernel, shared] {
        const Numbers<float> out(64);
        const Stream stream;
        Launch(kernel, 1, 64, shared, stream, out.data());
        cudaStreamSynchronize(stream);
      };
    };
    CheckAborts(run(PartBeforeShuffle), "lanes of a warp part before a shuffle or ballot");
    CheckAborts(run(PartBeforeBarrier), "a thread returned before a barrier");
    CheckAborts(run(BarrierInTwoPlaces), "a barrier in two places");
    CheckAborts(run(ShuffleAndBarrier), "lanes of a warp part before a shuffle or ballot");
    CheckAborts(run(TwoMeetings), "lanes of a warp meet at different words");
    CheckAborts(run(BeyondDynamic, 63 * sizeof(float)), kBeyondShared);
    CheckAborts(run(BeyondStatic), kBeyondShared);
    CheckAborts(run(TooMuchStatic), "more shared memory than a block has");
    CHECK(DeathOf(run(WithoutBarrier)).signal == 0);
  }
}

}  // namespace
}  // namespace bifrons::cuda
