// Faults of those who use a device, planted one by one: the device that works late catches every one of them,
// and nothing else. What dies does so in a process of its own.
#include "tests/deferred_device.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "kernels/host/kv_pages.h"
#include "tests/death.h"

namespace bifrons {
namespace {

constexpr int64_t kNumbers = 48;
constexpr KvShape kKvShape{.layers = 1, .kv_heads = 1, .head_dim = 4, .page_positions = 32};

// A device with its two queues and some numbers that nobody has written.
struct Late {
  explicit Late(uint64_t seed = 1) : device(MakeDeferredDevice(seed)) {}
  std::unique_ptr<Device> device;
  std::unique_ptr<Queue> steps = device->MakeQueue(), images = device->MakeQueue();
  DeviceTensor numbers = device->NewTensor(DType::kF32, {kNumbers});

  DeviceTensor Made(std::vector<float> values, Shape shape) {
    DeviceTensor tensor = device->NewTensor(DType::kF32, shape);
    steps->Upload({values.data(), DType::kF32, shape}, tensor.view());
    return tensor;
  }
};

constexpr float kPoison = -999;

// What all of the numbers are; kPoison for NaN.
template <class Numbers>
float Of(const Numbers& numbers, int64_t count) {
  const float first = numbers[0];
  for (int64_t i = 0; i < count; i++) {
    if (std::isnan(first) ? !std::isnan(numbers[i]) : numbers[i] != first) FAIL("numbers of two kinds");
  }
  return std::isnan(first) ? kPoison : first;
}
float Of(const Tensor& tensor) { return Of(tensor.as<float>(), tensor.shape().elements()); }

template <class Body>
void CheckAborts(const Body& body, const std::string& line) {
  const Death death = DeathOf(body);
  INFO("expected: " << line);
  CHECK(death.signal == SIGABRT);
  CHECK_THAT(death.err, Catch::Contains(line));
}

TEST_CASE("the host can neither read nor write a device's memory, before, while and after it works") {
  const auto work = [](Late& late, int until) {
    if (until > 0) late.steps->Fill(late.numbers.view(), 3);
    if (until > 1) late.steps->Wait(late.steps->Record());
  };
  for (const int until : {0, 1, 2}) {
    const auto read = [&] {
      Late late;
      work(late, until);
      static_cast<void>(*ArenaOf(*late.device));
    };
    const auto write = [&] {
      Late late;
      work(late, until);
      *const_cast<volatile uint8_t*>(ArenaOf(*late.device)) = 1;
    };
    CHECK(DeathOf(read).signal == SIGSEGV);
    CHECK(DeathOf(write).signal == SIGSEGV);
    CHECK(DeathOf([&] {
            Late late;
            work(late, until);
          }).signal == 0);
  }
  const auto read_keys = [] {
    const Late late;
    const auto pages = late.device->MakeKvPages(kKvShape);
    pages->Grow(1);
    static_cast<void>(*static_cast<const volatile uint8_t*>(static_cast<host::HostKvPages&>(*pages).page(0)));
  };
  CHECK(DeathOf(read_keys).signal == SIGSEGV);
}

TEST_CASE("a number that was not waited for is poison") {
  Late late;
  late.steps->Fill(late.numbers.view(), 3);
  std::vector<float> out(kNumbers, 0);
  const Ticket there = late.steps->Download(late.numbers.view(), out.data());
  CHECK_FALSE(late.steps->Done(there));
  CHECK(Of(out, kNumbers) == kPoison);
  // That other work is waited for is not enough.
  late.images->Fill(late.device->NewTensor(DType::kF32, {1}).view(), 1);
  late.steps->Wait({});
  CHECK(Of(out, kNumbers) == kPoison);
  late.steps->Wait(there);
  CHECK(late.steps->Done(there));
  CHECK(Of(out, kNumbers) == 3);
}

// What `read` gives on devices of many seeds.
template <class Read>
std::set<float> Seen(const Read& read) {
  std::set<float> seen;
  for (uint64_t seed = 0; seed < 40; seed++) {
    Late late(seed);
    seen.insert(read(late));
  }
  return seen;
}

TEST_CASE("two queues without an order are seen to have none") {
  for (const bool ordered : {false, true}) {
    INFO((ordered ? "with" : "without") << " an order");
    const auto follow = [&](Queue& after, Queue& before) {
      if (ordered) after.After(before.Record());
    };
    const auto first_write = Seen([&](Late& late) {
      late.images->Fill(late.numbers.view(), 2);
      follow(*late.steps, *late.images);
      return Of(late.steps->Fetch(late.numbers.view()));
    });
    CHECK(first_write == (ordered ? std::set<float>{2} : std::set<float>{kPoison, 2}));
    const auto write_again = Seen([&](Late& late) {
      late.images->Fill(late.numbers.view(), 1);
      late.images->Wait(late.images->Record());
      late.images->Fill(late.numbers.view(), 2);
      follow(*late.steps, *late.images);
      return Of(late.steps->Fetch(late.numbers.view()));
    });
    CHECK(write_again == (ordered ? std::set<float>{2} : std::set<float>{1, 2}));
    const auto write_what_is_read = Seen([&](Late& late) {
      const DeviceTensor copy = late.device->NewTensor(DType::kF32, {kNumbers});
      late.steps->Fill(late.numbers.view(), 1);
      late.steps->Wait(late.steps->Record());
      late.steps->Copy(late.numbers.view(), copy.view());
      follow(*late.images, *late.steps);
      late.images->Fill(late.numbers.view(), 2);
      return Of(late.steps->Fetch(copy.view()));
    });
    CHECK(write_what_is_read == (ordered ? std::set<float>{1} : std::set<float>{1, 2}));
  }
  // An order goes on through a third queue, without the host.
  CHECK(Seen([](Late& late) {
          const auto third = late.device->MakeQueue();
          late.images->Fill(late.numbers.view(), 2);
          third->After(late.images->Record());
          late.steps->After(third->Record());
          return Of(late.steps->Fetch(late.numbers.view()));
        }) == std::set<float>{2});
}

TEST_CASE("a buffer that was dropped too early is told of, whatever stands in its place") {
  const auto use = [](const auto& op) {
    return [&op] {
      Late late;
      const View gone = late.device->NewTensor(DType::kF32, {kNumbers}).view();
      const DeviceTensor next = late.device->NewTensor(DType::kF32, {kNumbers});
      op(late, gone);
    };
  };
  const std::string line = "a buffer that was dropped is used";
  const auto fill = [](Late& late, View gone) { late.steps->Fill(gone, 1); };
  const auto copy = [](Late& late, View gone) { late.steps->Copy(gone, late.numbers.view()); };
  const auto fetch = [](Late& late, View gone) { late.images->Fetch(gone); };
  CheckAborts(use(fill), line);
  CheckAborts(use(copy), line);
  CheckAborts(use(fetch), line);
}

TEST_CASE(
    "queues that wait for each other, for what is never given, or for a queue that is gone are told of") {
  const auto each_other = [] {
    Late late;
    Ticket later = late.steps->Record();
    later.number += 2;
    late.images->After(later);
    late.steps->After(late.images->Record());
    late.steps->Fill(late.numbers.view(), 1);
    late.steps->Wait(late.steps->Record());
  };
  CheckAborts(each_other, "the queues wait for each other");
  const auto never = [] {
    Late late;
    Ticket later = late.steps->Record();
    later.number++;
    late.steps->Wait(later);
  };
  CheckAborts(never, "the queues wait for each other");
  const auto gone = [] {
    Late late;
    late.images->Fill(late.numbers.view(), 1);
    late.steps->After(late.images->Record());
    late.images = nullptr;
    late.steps->Fetch(late.numbers.view());
  };
  CheckAborts(gone, "a ticket of a queue that is gone is waited for");
}

TEST_CASE("memory that nobody wrote is poison, not zeros and not what stood there before") {
  Late late;
  CHECK(Of(late.steps->Fetch(late.numbers.view())) == kPoison);
  late.steps->Fill(late.numbers.view(), 5);
  late.steps->Wait(late.steps->Record());
  late.numbers = {};
  late.numbers = late.device->NewTensor(DType::kF32, {kNumbers});
  CHECK(Of(late.steps->Fetch(late.numbers.view())) == kPoison);
  const DeviceTensor codes = late.device->NewTensor(DType::kI32, {1});
  CHECK(late.steps->Fetch(codes.view()).as<int32_t>()[0] == -1);
}

// Attention of the last of `rows` rows to all before, when the keys and values of the first `stored` are
// there.
Tensor Attended(Late& late, int64_t rows, int64_t stored) {
  const auto pages = late.device->MakeKvPages(kKvShape);
  pages->Grow(1);
  const int32_t page = 0;
  const DeviceTensor y = late.device->NewTensor(DType::kF32, {1, 4});
  {
    // All that the work is given goes before any of it is done.
    const KvSpan writes{stored, 0, {&page, 1}}, reads{1, rows - 1, {&page, 1}};
    const auto written = late.steps->MakeBatch(*pages, {&writes, 1}),
               read = late.steps->MakeBatch(*pages, {&reads, 1});
    std::vector<float> values(static_cast<size_t>(stored) * 4, 7);
    const DeviceTensor kv = late.Made(values, {stored, 4}), q = late.Made({1, 2, 3, 4}, {1, 4});
    late.steps->StoreKv(kv.view(), kv.view(), *written, 0);
    late.steps->Attend(q.view(), *read, 0, y.view());
  }
  return late.steps->Fetch(y.view());
}

TEST_CASE("keys and values that nobody wrote are poison") {
  Late late;
  CHECK(Of(Attended(late, 5, 5)) == 7);
  CHECK(Of(Attended(late, 5, 4)) == kPoison);
  CheckAborts(
      [] {
        Late lacking;
        const auto pages = lacking.device->MakeKvPages(kKvShape);
        const int32_t page = 0;
        const KvSpan span{1, 0, {&page, 1}};
        lacking.steps->MakeBatch(*pages, {&span, 1});
      },
      "page 0 of 0 slabs");
}

TEST_CASE("views that do not fit their buffer or an op are told of by the op's name") {
  const auto use = [](const auto& op) {
    return [&op] {
      Late late;
      op(late, late.numbers.view());
    };
  };
  const auto beyond = [](Late& late, View v) {
    v.offset = 4;
    late.steps->Fill(v, 1);
  };
  const auto longer = [](Late& late, View v) {
    v.shape = {kNumbers + 1};
    late.steps->Download(v, nullptr);
  };
  const auto wider = [](Late& late, View v) {
    v.shape = {2, kNumbers / 2};
    v.stride = kNumbers / 2 + 1;
    late.steps->RmsNorm(v, v, 1, v);
  };
  const auto other_shape = [](Late& late, View v) {
    late.steps->Copy(v.As({2, kNumbers / 2}), v.As({kNumbers / 2, 2}));
  };
  const auto other_type = [](Late& late, View v) {
    View codes = v;
    codes.type = DType::kI32;
    late.steps->Copy(codes, v);
  };
  const auto no_such_row = [](Late& late, View v) {
    const int32_t row = 4;
    late.steps->CopyRows(v.As({4, 8}), {&row, 1}, v.As({1, 8}));
  };
  const auto nowhere = [](Late& late, View v) {
    late.steps->Sample(v.As({1, kNumbers}), std::vector<SampleRequest>(1), View{});
  };
  CheckAborts(use(beyond), "Fill: f32 [48]");
  CheckAborts(use(longer), "Download: f32 [49]");
  CheckAborts(use(wider), "RmsNorm: f32 [2, 24]");
  CheckAborts(use(other_shape), "Copy: f32 [2, 24], f32 [24, 2]");
  CheckAborts(use(other_type), "Copy: i32 [48], f32 [48]");
  CheckAborts(use(no_such_row), "CopyRows: f32 [4, 8], f32 [1, 8]");
  CheckAborts(use(nowhere), "Sample: f32 [1, 48], f32 []");
  CheckAborts(use([](Late&, View v) { v.Rows(40, 9); }), "begin + count <= rows()");
}

TEST_CASE("what was given may go at once: numbers, buffers and batches") {
  for (uint64_t seed = 0; seed < 10; seed++) {
    Late late(seed);
    {
      std::vector<float> values(kNumbers, 6);
      const DeviceTensor from = late.device->NewTensor(DType::kF32, {kNumbers});
      late.steps->Upload({values.data(), DType::kF32, {kNumbers}}, from.view());
      std::fill(values.begin(), values.end(), 1.0f);
      late.images->After(late.steps->Record());
      late.images->Copy(from.view(), late.numbers.view());
    }
    // Its place is not taken before the work is done.
    const DeviceTensor next = late.device->NewTensor(DType::kF32, {kNumbers});
    late.steps->Fill(next.view(), 9);
    CHECK(Of(late.images->Fetch(late.numbers.view())) == 6);
    CHECK(Of(late.steps->Fetch(next.view())) == 9);
    CHECK(Of(Attended(late, 33 - 1, 32)) == 7);
  }
}

}  // namespace
}  // namespace bifrons
