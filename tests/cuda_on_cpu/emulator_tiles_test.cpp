// What the emulator makes of tensor cores' products and of copies beside the work; faults of their use,
// planted, are seen.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/cuda/intrinsics.cuh"
#include "kernels/cuda/numerics.cuh"
#include "tests/cuda_on_cpu/emulator.h"
#include "tests/cuda_on_cpu/numbers.h"

namespace bifrons::cuda {
namespace {

using cuda_emulator::Order;

constexpr Order kOrders[] = {Order::kForward, Order::kReverse, Order::kRandom, Order::kOtherRandom};

// out [16, 8] = c + a [16, 16] · b [16, 8], by the layouts of PTX's manual for mma.m16n8k16, .bf16: of a its
// register i / 2 holds row groupID + 8 · (i / 2 % 2), column pair + 8 · (i / 4) + i % 2.
__global__ void OneTile(const uint16_t* a, const uint16_t* b, const float* c, float* out) {
  const int lane = static_cast<int>(threadIdx.x), group = lane / 4, pair = lane % 4 * 2;
  uint32_t words[6];
  for (int w = 0; w < 4; w++) {
    const uint16_t* at = a + (group + w % 2 * 8) * 16 + pair + w / 2 * 8;
    words[w] = at[0] | uint32_t{at[1]} << 16;
  }
  for (int w = 0; w < 2; w++) {
    const uint16_t* at = b + (pair + w * 8) * 8 + group;
    words[4 + w] = at[0] | uint32_t{at[8]} << 16;
  }
  float sums[4];
  for (int i = 0; i < 4; i++) sums[i] = c[(group + i / 2 * 8) * 8 + pair + i % 2];
  MultiplyTile(sums, make_uint4(words[0], words[1], words[2], words[3]), make_uint2(words[4], words[5]));
  for (int i = 0; i < 4; i++) out[(group + i / 2 * 8) * 8 + pair + i % 2] = sums[i];
}

TEST_CASE("a product of tiles is the product of two matrices") {
  std::mt19937 random(1);
  const auto bf16 = [&](size_t n) {
    std::vector<uint16_t> numbers(n);
    for (uint16_t& x : numbers) x = ToBF16(static_cast<float>(random() % 17) - 8).bits;
    return numbers;
  };
  for (const Order order : kOrders) {
    cuda_emulator::Set({.order = order});
    const std::vector<uint16_t> a = bf16(256), b = bf16(128);
    std::vector<float> c(128), wanted(128);
    for (float& x : c) x = static_cast<float>(random() % 100);
    for (size_t i = 0; i < 128; i++) {  // all of them exact
      wanted[i] = c[i];
      for (size_t k = 0; k < 16; k++)
        wanted[i] += Widen(BF16{a[i / 8 * 16 + k]}) * Widen(BF16{b[k * 8 + i % 8]});
    }
    const Numbers<uint16_t> a_there(a), b_there(b);
    const Numbers<float> c_there(c), out(128);
    const Stream stream;
    Launch(OneTile, 1, 32, 0, stream, a_there.data(), b_there.data(), c_there.data(), out.data());
    CHECK(out.Fetch(stream) == wanted);
  }
}

// Rows of four matrices at odd places; every lane writes the words it got.
template <bool kTransposed>
__global__ void Matrices(uint32_t* out) {
  SHARED_ARRAY(uint4, rows, 64);
  const auto lane = threadIdx.x;
  const auto row = lane * 5 % 64;
  rows[row] = make_uint4(4 * lane, 4 * lane + 1, 4 * lane + 2, 4 * lane + 3);
  __syncthreads();
  const uint4 v = kTransposed ? LoadMatricesTransposed(rows + row) : LoadMatrices(rows + row);
  StoreUint4(out + 4 * lane, v);
}

TEST_CASE("four matrices are loaded by the addresses of their rows") {
  const Numbers<uint32_t> out(128);
  const Stream stream;
  Launch(Matrices<false>, 1, 32, 0, stream, out.data());
  const std::vector<uint32_t> got = out.Fetch(stream);
  for (uint32_t lane = 0; lane < 32; lane++) {
    for (uint32_t matrix = 0; matrix < 4; matrix++)
      CHECK(got[4 * lane + matrix] == 4 * (8 * matrix + lane / 4) + lane % 4);
  }
  // Of a row's eight halves of words the even ones are the words, the odd ones zero.
  Launch(Matrices<true>, 1, 32, 0, stream, out.data());
  const std::vector<uint32_t> transposed = out.Fetch(stream);
  for (uint32_t lane = 0; lane < 32; lane++) {
    const uint32_t column = lane / 4, row = lane % 4 * 2;
    const auto number = [&](uint32_t r) { return column % 2 == 0 ? 4 * r + column / 2 : 0; };
    for (uint32_t matrix = 0; matrix < 4; matrix++) {
      const uint32_t first = 8 * matrix + row;
      CHECK(transposed[4 * lane + matrix] == (number(first) | number(first + 1) << 16));
    }
  }
}

// Stages of 16 bytes per thread, each with its own numbers; kLeft groups may be on their way when one is
// used.
template <int kLeft>
__global__ void Stages(const float4* in, int stages, float* out) {
  SHARED_ARRAY(float4, stage, 3 * 64);
  const int thread = static_cast<int>(threadIdx.x);
  const auto bring = [&](int number) {
    if (number < stages) CopyAsync(stage + number % 3 * 64 + thread, in + number * 64 + thread, thread != 7);
    GroupCopies();
  };
  bring(0);
  bring(1);
  float sum = 0;
  for (int number = 0; number < stages; number++) {
    WaitForCopies<kLeft>();
    __syncthreads();
    bring(number + 2);
    sum += stage[number % 3 * 64 + 63 - thread].y;
  }
  out[thread] = sum;
}

TEST_CASE("copies are there after the wait for them, and not before") {
  constexpr int kStages = 7;
  std::vector<float> in(kStages * 256);
  for (size_t i = 0; i < in.size(); i++) in[i] = static_cast<float>(i);
  std::vector<float> wanted(64);
  for (int thread = 0; thread < 64; thread++) {
    for (int number = 0; number < kStages; number++)
      wanted[thread] += thread == 63 - 7 ? 0 : static_cast<float>((number * 64 + 63 - thread) * 4 + 1);
  }
  for (const Order order : kOrders) {
    cuda_emulator::Set({.order = order});
    const Numbers<float> in_there(in), out(64);
    const Stream stream;
    const auto* vectors = reinterpret_cast<const float4*>(in_there.data());
    Launch(Stages<1>, 1, 64, 0, stream, vectors, kStages, out.data());
    CHECK(out.Fetch(stream) == wanted);
    Launch(Stages<2>, 1, 64, 0, stream, vectors, kStages, out.data());  // one group too early
    const std::vector<float> early = out.Fetch(stream);
    CHECK(std::any_of(early.begin(), early.end(), [](float x) { return std::isnan(x); }));
  }
}

}  // namespace
}  // namespace bifrons::cuda
