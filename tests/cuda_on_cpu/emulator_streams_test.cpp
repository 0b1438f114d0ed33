// The emulator's streams and memory: what CUDA promises holds under every seed, and what it does not promise
// is seen to fail under some.
#include <algorithm>
#include <cmath>
#include <csignal>
#include <set>

#include "tests/cuda_on_cpu/numbers.h"

namespace bifrons::cuda {
namespace {

constexpr size_t kNumbers = 96;

__global__ void Set(float* out, float value) { out[blockIdx.x * blockDim.x + threadIdx.x] = value; }
__global__ void CopyNumbers(const float* in, float* out) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = in[i];
}

void Give(cudaStream_t stream, const Numbers<float>& numbers, float value) {
  Launch(Set, kNumbers / 32, 32, 0, stream, numbers.data(), value);
}

class Event {
 public:
  Event() { Check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "an event"); }
  ~Event() { cudaEventDestroy(event_); }
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

constexpr float kPoison = -999;

float Of(const std::vector<float>& numbers) {
  for (const float each : numbers) {
    if (std::isnan(each) != std::isnan(numbers[0]) || (!std::isnan(each) && each != numbers[0]))
      FAIL("numbers of two kinds");
  }
  return std::isnan(numbers[0]) ? kPoison : numbers[0];
}

// What `read` gives under many seeds.
template <class Read>
std::set<float> Seen(const Read& read) {
  std::set<float> seen;
  for (uint64_t seed = 0; seed < 40; seed++) {
    cuda_emulator::Set({.seed = seed});
    seen.insert(read());
  }
  return seen;
}

TEST_CASE("a stream's work is done in order, when somebody waits") {
  const Numbers<float> numbers(kNumbers);
  const Stream stream;
  const uint64_t before = cuda_emulator::LaunchedKernels();
  Give(stream, numbers, 1);
  Give(stream, numbers, 2);
  CHECK(cuda_emulator::LaunchedKernels() == before);
  CHECK(Of(numbers.Fetch(stream)) == 2);
  CHECK(cuda_emulator::LaunchedKernels() == before + 2);
}

TEST_CASE("streams without an event between them are seen to have no order") {
  for (const bool ordered : {false, true}) {
    CHECK(Seen([&] {
            const Numbers<float> numbers(kNumbers);
            const Stream a, b;
            const Event event;
            Give(a, numbers, 1);
            cudaEventRecord(event, a);
            if (ordered) cudaStreamWaitEvent(b, event);
            return Of(numbers.Fetch(b));
          }) == (ordered ? std::set<float>{1} : std::set<float>{kPoison, 1}));
    CHECK(Seen([&] {
            const Numbers<float> numbers(kNumbers), copy(kNumbers);
            const Stream a, b;
            const Event event;
            Give(a, numbers, 1);
            Check(cudaStreamSynchronize(a), "a");
            Launch(CopyNumbers, kNumbers / 32, 32, 0, a, numbers.data(), copy.data());
            cudaEventRecord(event, a);
            if (ordered) cudaStreamWaitEvent(b, event);
            Give(b, numbers, 2);
            cudaStreamSynchronize(b);
            return Of(copy.Fetch(a));
          }) == (ordered ? std::set<float>{1} : std::set<float>{1, 2}));
  }
}

TEST_CASE("an event stands for its latest record, and outlives its handle") {
  CHECK(Seen([] {
          const Numbers<float> numbers(kNumbers);
          const Stream a, b;
          {
            const Event event;
            cudaEventRecord(event, a);
            Give(a, numbers, 1);
            cudaEventRecord(event, a);
            cudaStreamWaitEvent(b, event);
          }
          return Of(numbers.Fetch(b));
        }) == std::set<float>{1});
  // One that was never recorded is past.
  const Stream stream;
  const Event never;
  cudaStreamWaitEvent(stream, never);
  CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
  CHECK(cudaEventQuery(never) == cudaSuccess);
}

TEST_CASE("who asks an event again and again is told in the end, and the error is remembered") {
  const Numbers<float> numbers(kNumbers);
  const Stream stream;
  const Event event;
  for (int i = 0; i < 5; i++) Give(stream, numbers, 1);
  cudaEventRecord(event, stream);
  int asked = 0;
  while (cudaEventQuery(event) == cudaErrorNotReady) asked++;
  CHECK(asked >= 5);
  CHECK(cudaGetLastError() == cudaErrorNotReady);
  CHECK(cudaGetLastError() == cudaSuccess);
}

TEST_CASE("copies are done late, whatever memory of the host's they are from") {
  std::vector<float> pageable(kNumbers, 1);
  float* pinned = nullptr;
  REQUIRE(cudaMallocHost(&pinned, kNumbers * sizeof(float)) == cudaSuccess);
  CHECK(std::isnan(pinned[0]));
  const Numbers<float> a(kNumbers), b(kNumbers);
  const Stream stream;
  std::fill_n(pinned, kNumbers, 1.0f);
  cudaMemcpyAsync(a.data(), pinned, kNumbers * sizeof(float), cudaMemcpyHostToDevice, stream);
  cudaMemcpyAsync(b.data(), pageable.data(), kNumbers * sizeof(float), cudaMemcpyHostToDevice, stream);
  std::fill_n(pinned, kNumbers, 2.0f);
  std::fill_n(pageable.begin(), kNumbers, 3.0f);
  CHECK(Of(a.Fetch(stream)) == 2);
  CHECK(Of(b.Fetch(stream)) == 3);
  cudaFreeHost(pinned);
}

TEST_CASE("lines of a copy are as far apart as they are said to be") {
  std::vector<float> values(12);
  for (size_t i = 0; i < 12; i++) values[i] = static_cast<float>(i);
  const Numbers<float> numbers(std::vector<float>(20, -1));
  const Stream stream;
  cudaMemcpy2DAsync(numbers.data() + 1, 5 * sizeof(float), values.data(), 3 * sizeof(float),
                    3 * sizeof(float), 4, cudaMemcpyHostToDevice, stream);
  const std::vector<float> out = numbers.Fetch(stream);
  for (size_t line = 0; line < 4; line++) {
    for (size_t i = 0; i < 5; i++)
      CHECK(out[line * 5 + i] == (i >= 1 && i <= 3 ? values[line * 3 + i - 1] : -1.0f));
  }
}

TEST_CASE("memory of a stream's own is there and gone at its moments") {
  CHECK(Seen([] {
          const Numbers<float> copy(kNumbers);
          const Stream a;
          float* numbers = nullptr;
          cudaMallocAsync(&numbers, kNumbers * sizeof(float), a);
          Launch(Set, kNumbers / 32, 32, 0, a, numbers, 4.0f);
          Launch(CopyNumbers, kNumbers / 32, 32, 0, a, static_cast<const float*>(numbers), copy.data());
          cudaFreeAsync(numbers, a);
          return Of(copy.Fetch(a));
        }) == std::set<float>{4});
  // Another stream, without an event, writes it too early.
  const auto written = Seen([] {
    const Stream a, b;
    float* numbers = nullptr;
    cudaMallocAsync(&numbers, kNumbers * sizeof(float), a);
    Launch(Set, kNumbers / 32, 32, 0, b, numbers, 4.0f);
    cudaStreamSynchronize(b);
    std::vector<float> out(kNumbers);
    cudaMemcpyAsync(out.data(), numbers, kNumbers * sizeof(float), cudaMemcpyDeviceToHost, a);
    cudaStreamSynchronize(a);
    cudaFreeAsync(numbers, a);
    cudaStreamSynchronize(a);
    return Of(out);
  });
  CHECK(written == std::set<float>{kPoison, 4});
}

TEST_CASE("memory is full when it is full, and what comes back can be had again") {
  cuda_emulator::Set({.memory_bytes = 1 << 20});
  size_t free = 0, total = 0;
  REQUIRE(cudaMemGetInfo(&free, &total) == cudaSuccess);
  CHECK((free == 1 << 20 && total == 1 << 20));
  const Stream stream;
  void *a = nullptr, *b = nullptr;
  REQUIRE(cudaMallocAsync(&a, 700 << 10, stream) == cudaSuccess);
  CHECK(cudaMallocAsync(&b, 700 << 10, stream) == cudaErrorMemoryAllocation);
  CHECK_THROWS_AS(Check(cudaMalloc(&b, 700 << 10), "memory"), std::bad_alloc);
  CHECK(cudaGetLastError() == cudaSuccess);
  cudaFreeAsync(a, stream);
  CHECK(cudaMallocAsync(&b, 700 << 10, stream) == cudaSuccess);
  cudaFreeAsync(b, stream);
  cudaStreamSynchronize(stream);
  cuda_emulator::Set({});
}

// ---- faults ----------------------------------------------------------------------------------------------

TEST_CASE("the host can neither read nor write the device's memory") {
  for (const bool used : {false, true}) {
    const auto prepared = [used](const auto& touch) {
      return [used, touch] {
        const Numbers<float> numbers(kNumbers);
        const Stream stream;
        Give(stream, numbers, 1);
        if (used) cudaStreamSynchronize(stream);
        touch(numbers.data());
      };
    };
    CHECK(DeathOf(prepared([](float* p) {
            static_cast<void>(*const_cast<const volatile float*>(p));
          })).signal == SIGSEGV);
    CHECK(DeathOf(prepared([](float* p) { *const_cast<volatile float*>(p) = 1; })).signal == SIGSEGV);
    CHECK(DeathOf(prepared([](float*) {})).signal == 0);
  }
}

struct WithPointer {
  int64_t number;
  const float* in;
};
__global__ void FromStruct(WithPointer from, float* out) {
  out[threadIdx.x] = from.in[threadIdx.x] + static_cast<float>(from.number);
}

TEST_CASE("kernels may use pinned memory, and no other of the host's") {
  float* pinned = nullptr;
  REQUIRE(cudaMallocHost(&pinned, 32 * sizeof(float)) == cudaSuccess);
  std::fill_n(pinned, 32, 2.0f);
  const Numbers<float> out(32);
  const Stream stream;
  Launch(FromStruct, 1, 32, 0, stream, WithPointer{1, pinned}, out.data());
  CHECK(Of(out.Fetch(stream)) == 3);
  cudaFreeHost(pinned);
  std::vector<float> registered(32, 5);
  REQUIRE(cudaHostRegister(registered.data(), 32 * sizeof(float), cudaHostRegisterMapped) == cudaSuccess);
  Launch(FromStruct, 1, 32, 0, stream, WithPointer{1, registered.data()}, out.data());
  CHECK(Of(out.Fetch(stream)) == 6);
  cudaHostUnregister(registered.data());
  const std::string line = "memory that only the host has";
  CheckAborts(
      [&] {
        Launch(FromStruct, 1, 32, 0, stream, WithPointer{1, registered.data()}, out.data());
      },
      line);
  CheckAborts([&] { Launch(CopyNumbers, 1, 32, 0, stream, registered.data(), out.data()); }, line);
  const auto freed_too_early = [&](const auto& use) {
    return [&, use] {
      float* early = nullptr;
      cudaMallocHost(&early, 32 * sizeof(float));
      use(early);
      cudaFreeHost(early);
      cudaMallocHost(&early, 32 * sizeof(float));  // in its place, even
      cudaStreamSynchronize(stream);
    };
  };
  const std::string freed = "pinned memory was freed before the work on it was done";
  CheckAborts(freed_too_early([&](float* p) { Launch(CopyNumbers, 1, 32, 0, stream, p, out.data()); }),
              freed);
  CheckAborts(
      freed_too_early([&](float* p) { cudaMemcpyAsync(out.data(), p, 32, cudaMemcpyHostToDevice, stream); }),
      freed);
}

TEST_CASE("memory that was freed, or that is too small, is told of") {
  const auto with = [](const auto& use) {
    return [use] {
      const Stream stream;
      float* numbers = nullptr;
      cudaMalloc(&numbers, kNumbers * sizeof(float));
      use(numbers, stream);
      cudaStreamSynchronize(stream);
    };
  };
  CheckAborts(with([](float* p, cudaStream_t stream) {
                cudaFree(p);
                Launch(Set, 1, 32, 0, stream, p, 1.0f);
              }),
              "device memory that was freed or never taken");
  CheckAborts(with([](float* p, cudaStream_t stream) {
                Launch(Set, 1, 32, 0, stream, p, 1.0f);
                cudaFree(p);
              }),
              "device memory was freed before the work on it was done");
  // Not even when other memory stands in its place.
  CheckAborts(with([](float* p, cudaStream_t stream) {
                Launch(Set, 1, 32, 0, stream, p, 1.0f);
                cudaFree(p);
                cudaMalloc(&p, kNumbers * sizeof(float));
              }),
              "device memory was freed before the work on it was done");
  CheckAborts(with([](float* p, cudaStream_t) { cudaFree(p + 1), cudaFree(p + 1); }),
              "device memory that was freed or never taken");
  CheckAborts(with([](float* p, cudaStream_t stream) {
                cudaMemsetAsync(p + 1, 0, kNumbers * sizeof(float), stream);
              }),
              "more than the device memory that was taken");
#ifdef __SANITIZE_ADDRESS__
  const char* const beyond = "use-after-poison";
#else
  const char* const beyond = "a write beyond device memory of 384 bytes";
#endif
  CheckAborts(with([](float* p, cudaStream_t stream) {
                Launch(Set, 1, 32, 0, stream, p + kNumbers - 31, 1.0f);
                cudaStreamSynchronize(stream);
                cudaFree(p);
              }),
              beyond);
}

TEST_CASE("a graph does again what was captured, with the arguments of that time") {
  const Numbers<float> from(kNumbers), to(kNumbers);
  const Stream stream;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  Give(stream, from, 1);
  Give(stream, to, 0);
  Check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "a capture");
  Launch(CopyNumbers, kNumbers / 32, 32, 0, stream, from.data(), to.data());
  Check(cudaStreamEndCapture(stream, &graph), "a capture");
  Check(cudaGraphInstantiate(&exec, graph, 0), "a graph");
  Check(cudaGraphDestroy(graph), "a graph");
  CHECK(Of(to.Fetch(stream)) == 0);  // nothing was done yet
  for (const float value : {2.0f, 3.0f}) {
    Give(stream, from, value);
    Check(cudaGraphLaunch(exec, stream), "a graph");
    CHECK(Of(to.Fetch(stream)) == value);
  }
  CheckAborts([&] { cudaGraphDestroy(graph); }, "a graph that was never made or is destroyed is used");
  const auto captured = [&](const auto& call) {
    return [&] {
      cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
      call();
    };
  };
  const char* const kCaptured = "a stream is waited for, or meets an event, while it is captured";
  CheckAborts(captured([&] { cudaStreamSynchronize(stream); }), kCaptured);
  CheckAborts(captured([&] { cudaEventRecord(Event(), stream); }), kCaptured);
  CheckAborts(captured([&] { cudaGraphLaunch(exec, stream); }), kCaptured);
  CheckAborts(
      [&] {
        cudaFree(from.data());
        cudaGraphLaunch(exec, stream);
        cudaStreamSynchronize(stream);
      },
      "device memory was freed before the work on it was done");
  Check(cudaGraphExecDestroy(exec), "a graph");
}

TEST_CASE("launches and copies that CUDA refuses end the process with a line") {
  const Numbers<float> numbers(kNumbers);
  const Stream stream;
  const auto launch = [&](dim3 blocks, dim3 threads, size_t shared, cudaStream_t on) {
    return
        [&, blocks, threads, shared, on] { Launch(Set, blocks, threads, shared, on, numbers.data(), 1.0f); };
  };
  CheckAborts(launch(0, 32, 0, stream), "no blocks");
  CheckAborts(launch({1, 65536}, 32, 0, stream), "too many blocks");
  CheckAborts(launch(1, 2048, 0, stream), "too many threads of a block");
  CheckAborts(launch(1, 33, 0, stream), "a block that is no multiple of 32 threads");
  CheckAborts(launch(1, 32, (48 << 10) + 1, stream), "more shared memory than the kernel was allowed");
  CheckAborts(launch(1, 32, 0, nullptr), "the default stream is used");
  for (const auto& [capability, most] : {std::pair{75, 64 << 10}, {80, 99 << 10}}) {
    cuda_emulator::Set({.capability = capability});
    AllowShared(Set, most);
    CHECK(DeathOf(launch(1, 32, most, stream)).signal == 0);
    CHECK_THROWS_WITH(AllowShared(Set, most + 1), "CUDA: a kernel's shared memory: invalid argument");
  }
  cuda_emulator::Set({});
  float host[4] = {};
  CheckAborts([&] { cudaMemcpyAsync(numbers.data(), host, 16, cudaMemcpyDeviceToHost, stream); },
              "an address of the device's for one of the host's");
  CheckAborts([&] { cudaMemcpyAsync(host, host + 2, 8, cudaMemcpyHostToDevice, stream); },
              "an address of the host's for one of the device's");
  CheckAborts(
      [&] {
        const Event event;
        Stream other;
        cudaStreamDestroy(other);
        cudaEventRecord(event, other);
      },
      "a stream that was never made or is destroyed is used");
}

TEST_CASE("without a driver every call says so") {
  for (const cudaError_t error : {cudaErrorNoDevice, cudaErrorInsufficientDriver}) {
    cuda_emulator::Set({.driver = error});
    int count = -1;
    CHECK((cudaGetDeviceCount(&count) == error && count == 0));
    void* memory = nullptr;
    CHECK(cudaMalloc(&memory, 1) == error);
    CHECK(cudaGetLastError() == error);
  }
  cuda_emulator::Set({});
}

}  // namespace
}  // namespace bifrons::cuda
