// The cuda device's queues on the emulated GPU: their order, and what they keep of what they were given,
// under many orders of the streams' work. What ops compute is cuda_ops_test's.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/op_matrix/numbers.h"
#include "tests/cuda_on_cpu/emulator.h"

namespace bifrons {
namespace {

using op_matrix::Normals;
using op_matrix::Numbers;

constexpr int64_t kNumbers = 96;

// A device with two queues and some numbers, whose streams' work is done in the order of a seed.
struct Gpu {
  explicit Gpu(uint64_t seed) { cuda_emulator::Set({.seed = seed}); }
  ~Gpu() { cuda_emulator::Set({}); }
  std::unique_ptr<Device> device = cuda::MakeCudaDevice(0);
  std::unique_ptr<Queue> steps = device->MakeQueue(), images = device->MakeQueue();
  DeviceTensor numbers = device->NewTensor(DType::kF32, {kNumbers});
};

bool All(const Tensor& tensor, float value) {
  for (int64_t i = 0; i < tensor.shape().elements(); i++) {
    if (tensor.as<float>()[i] != value) return false;
  }
  return true;
}

template <class Body>
void UnderSeeds(const Body& body) {
  for (uint64_t seed = 0; seed < 12; seed++) {
    INFO("seed " << seed);
    Gpu gpu(seed);
    body(gpu);
  }
}

TEST_CASE("numbers come and go however many they are, and however far apart") {
  struct Case {
    Shape shape;
    int64_t stride;
  };
  // More than a queue's pinned memory holds, in one piece, in long rows and in short ones.
  for (const Case& c : {Case{{3'000'000}, 1}, Case{{3, 800'000}, 800'001}, Case{{70'000, 33}, 40}}) {
    Gpu gpu(1);
    const Numbers values = Normals(DType::kF32, c.shape, 1);
    const int64_t rows = c.shape[0];
    const DeviceTensor room = gpu.device->NewTensor(DType::kF32, {rows * c.stride});
    View view = room.view();
    view.shape = c.shape, view.stride = c.stride;
    gpu.steps->Upload(values.view(), view);
    const Tensor got = gpu.steps->Fetch(view);
    CHECK(std::memcmp(got.data(), values.view().data, got.bytes()) == 0);
  }
}

TEST_CASE("a number is there when its ticket was waited for, by any queue, and not before") {
  UnderSeeds([](Gpu& gpu) {
    gpu.steps->Fill(gpu.numbers.view(), 3);
    std::vector<float> out(kNumbers, -1);
    const Ticket there = gpu.steps->Download(gpu.numbers.view(), out.data());
    CHECK(out[0] == -1);
    gpu.images->Wait(there);
    CHECK(gpu.images->Done(there));
    CHECK(out == std::vector<float>(kNumbers, 3));
  });
  UnderSeeds([](Gpu& gpu) {
    gpu.steps->Fill(gpu.numbers.view(), 3);
    std::vector<float> out(kNumbers, -1);
    const Ticket there = gpu.steps->Download(gpu.numbers.view(), out.data());
    while (!gpu.steps->Done(there)) continue;
    CHECK(out == std::vector<float>(kNumbers, 3));
  });
}

TEST_CASE("a queue goes on after another's ticket, also by way of a third") {
  UnderSeeds([](Gpu& gpu) {
    gpu.images->Fill(gpu.numbers.view(), 1);
    gpu.images->Fill(gpu.numbers.view(), 2);
    const auto third = gpu.device->MakeQueue();
    third->After(gpu.images->Record());
    gpu.steps->After(third->Record());
    gpu.images->Fill(gpu.device->NewTensor(DType::kF32, {1}).view(), 9);
    CHECK(All(gpu.steps->Fetch(gpu.numbers.view()), 2));
  });
}

TEST_CASE("what was given may go at once: numbers, buffers, batches and queues") {
  UnderSeeds([](Gpu& gpu) {
    {
      std::vector<float> values(kNumbers, 6);
      const DeviceTensor from = gpu.device->NewTensor(DType::kF32, {kNumbers});
      gpu.steps->Upload({values.data(), DType::kF32, {kNumbers}}, from.view());
      std::fill(values.begin(), values.end(), 1.0f);
      gpu.images->After(gpu.steps->Record());
      gpu.images->Copy(from.view(), gpu.numbers.view());
    }
    // Its place is not taken before the work is done.
    const DeviceTensor next = gpu.device->NewTensor(DType::kF32, {kNumbers});
    gpu.steps->Fill(next.view(), 9);
    CHECK(All(gpu.images->Fetch(gpu.numbers.view()), 6));
    CHECK(All(gpu.steps->Fetch(next.view()), 9));
    gpu.images->Fill(gpu.numbers.view(), 7);
    gpu.images = nullptr;
    CHECK(All(gpu.steps->Fetch(gpu.numbers.view()), 7));

    const auto pages = gpu.device->MakeKvPages({1, 1, 4, 32, DType::kF32});
    pages->Grow(1);
    const int32_t page = 0;
    const DeviceTensor y = gpu.device->NewTensor(DType::kF32, {1, 4});
    {
      const KvSpan writes{5, 0, {&page, 1}}, reads{1, 4, {&page, 1}};
      const auto written = gpu.steps->MakeBatch(*pages, {&writes, 1}),
                 read = gpu.steps->MakeBatch(*pages, {&reads, 1});
      const DeviceTensor kv = gpu.device->NewTensor(DType::kF32, {5, 4});
      gpu.steps->Fill(kv.view(), 5);
      gpu.steps->StoreKv(kv.view(), kv.view(), *written, 0);
      gpu.steps->Attend(kv.view().Rows(0, 1), *read, 0, y.view());
    }
    CHECK(All(gpu.steps->Fetch(y.view()), 5));
  });
}

TEST_CASE("a device that is full says for what, and has room again when a buffer goes") {
  cuda_emulator::Set({.memory_bytes = size_t{32} << 20});
  {
    const auto device = cuda::MakeCudaDevice(0);
    const auto queue = device->MakeQueue();
    auto large = device->Allocate(size_t{20} << 20);
    CHECK_THROWS_WITH(device->Allocate(size_t{20} << 20), "out of memory: 21.0 MB for buffers");
    const auto pages = device->MakeKvPages({24, 16, 128, 64, DType::kF32});
    CHECK_THROWS_WITH(pages->Grow(1), Catch::Contains("for keys and values"));
    large = nullptr;
    large = device->Allocate(size_t{20} << 20);
  }
  cuda_emulator::Set({});
}

TEST_CASE("every op is reported with its time when a later ticket was waited for") {
  Gpu gpu(1);
  Profile profile;
  gpu.steps->ReportTo(profile, "steps");
  gpu.steps->Fill(gpu.numbers.view(), 1);
  gpu.steps->Fill(gpu.numbers.view(), 2);
  gpu.steps->Fetch(gpu.numbers.view());
  gpu.steps->Wait(gpu.steps->Record());
  int64_t fills = 0, downloads = 0;
  for (const Profile::Row& row : profile.Rows()) {
    if (row.place.zone == Zone::kFill) fills += row.calls;
    if (row.place.zone == Zone::kDownload) downloads += row.calls;
    CHECK(row.seconds >= 0);
  }
  CHECK(fills == 2);
  CHECK(downloads == 1);
}

TEST_CASE("rates are measured") {
  Gpu gpu(1);
  CHECK(gpu.device->MeasureBandwidth() > 0);
  CHECK(gpu.device->MeasureMacRate(DType::kF32) > 0);
}

}  // namespace
}  // namespace bifrons
