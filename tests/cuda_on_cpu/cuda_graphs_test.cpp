// A decoder layer's ops as they are given for every token: how many kernels they are, and that what a queue
// keeps of them does what giving them again would do.
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/op_matrix/numbers.h"
#include "src/base/blocks.h"
#include "tests/cuda_on_cpu/emulator.h"

namespace bifrons {
namespace {

constexpr int64_t kPositions = 512;

struct Sizes {
  int64_t heads = 2, dim = 32, inner = 96;
  DType stored = DType::kBF16;  // of weights
  int64_t width() const { return heads * dim; }
};

// Numbers that differ, around 0.
std::vector<float> Values(int64_t count, int64_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); i++)
    values[i] = static_cast<float>((i * 37 + static_cast<size_t>(seed) * 101) % 64) / 64 - 0.5f;
  return values;
}

// A layer with its weights, its buffers and the keys and values of some sequences.
class Layer {
 public:
  Layer(Device& device, DType compute, int64_t rows, const Sizes& sizes = {})
      : device_(device), queue_(device.MakeQueue()), rows_(rows), width_(sizes.width()), inner_(sizes.inner) {
    const int64_t half = sizes.dim / 2;
    const auto pack = [&](int64_t out, int64_t in) {
      const std::vector<float> values = Values(out * in, out);
      Tensor weight(sizes.stored, {out, in});
      if (IsQuantized(sizes.stored)) {
        Quantize(values.data(), out * in, sizes.stored, weight.data());
      } else {
        for (int64_t i = 0; i < out * in; i++)
          op_matrix::SetElement(weight.data(), sizes.stored, i, values[static_cast<size_t>(i)]);
      }
      const TensorView part = weight.view();
      auto linear = device.PackLinear({&part, 1}, {}, compute);
      weight_bytes += linear->bytes;
      return linear;
    };
    qkv = pack(3 * width_, width_), o = pack(width_, width_);
    gate_up = pack(2 * inner_, width_), down = pack(width_, inner_);
    norm = device.PackVector(std::vector<float>(static_cast<size_t>(width_), 0.5f));
    const std::vector<float> angles = Values(kPositions * half, 9);
    cos = device.PackTensor({angles.data(), DType::kF32, {kPositions, half}});
    sin = device.PackTensor({angles.data(), DType::kF32, {kPositions, half}});
    pages_ = device.MakeKvPages(
        {.layers = 1, .kv_heads = sizes.heads, .head_dim = sizes.dim, .page_positions = 64, .type = compute});
    pages_->Grow(rows * kPositions / 64);
    Allocate();
    repetition_ = queue_->MakeRepetition();
    // What the steps find there.
    const DeviceTensor past = device.NewTensor(DType::kF32, {kPositions, width_});
    const std::vector<float> values = Values(kPositions * width_, 3);
    queue_->Upload({values.data(), DType::kF32, {kPositions, width_}}, past.view());
    for (int64_t r = 0; r < rows; r++) {
      const std::vector<int32_t> own = PagesOf(r, kPositions - 1);
      const KvSpan span{kPositions, 0, own};
      queue_->StoreKv(past.view(), past.view(), *queue_->MakeBatch(*pages_, {&span, 1}), 0);
    }
  }

  // Of a sequence, up to a position.
  std::vector<int32_t> PagesOf(int64_t row, int64_t position) const {
    std::vector<int32_t> pages;
    for (int64_t p = 0; p <= position / 64; p++) pages.push_back(static_cast<int32_t>(p * rows_ + row));
    return pages;
  }

  // New buffers for what the ops work on.
  void Allocate() {
    x = device_.NewTensor(DType::kF32, {rows_, width_}),
    all = device_.NewTensor(DType::kF32, {rows_, 3 * width_});
    attended = device_.NewTensor(DType::kF32, {rows_, width_}),
    inner = device_.NewTensor(DType::kF32, {rows_, inner_});
  }

  // One token of every sequence, at `position` of the first and one less of each next; what it gives.
  // `again`: as ops that repeat.
  std::vector<float> Step(int64_t position, bool again) {
    std::vector<std::vector<int32_t>> numbers;
    std::vector<KvSpan> spans;
    numbers.reserve(static_cast<size_t>(rows_));
    for (int64_t r = 0; r < rows_; r++) {
      const int64_t own_position = position - r;
      numbers.push_back(PagesOf(r, own_position));
      spans.push_back({1, own_position, numbers.back()});
    }
    const auto batch = queue_->MakeBatch(*pages_, spans);
    const std::vector<float> values = Values(rows_ * width_, position);
    queue_->Upload({values.data(), DType::kF32, {rows_, width_}}, x.view());
    const auto give = [&] {
      given++;
      const View q = all.view().Columns(0, width_), k = all.view().Columns(width_, width_),
                 v = all.view().Columns(2 * width_, width_);
      constexpr RowClass kDecode = RowClass::kDecode;
      queue_->MultiplyNormed(*qkv, x.view(), norm.view(), 1e-6f, kDecode, Epilogue::kNone, all.view());
      queue_->RopeStoreKv(q, k, v, *batch, cos.view(), sin.view(), 0);
      queue_->Attend(q, *batch, 0, attended.view());
      queue_->Multiply(*o, attended.view(), kDecode, Epilogue::kAdd, x.view());
      queue_->MultiplyNormed(*gate_up, x.view(), norm.view(), 1e-6f, kDecode, Epilogue::kSiluMul,
                             inner.view());
      queue_->Multiply(*down, inner.view(), kDecode, Epilogue::kAdd, x.view());
    };
    queue_->Wait(queue_->Record());
    const uint64_t launched = cuda_emulator::LaunchedKernels(), touched = cuda_emulator::TouchedBytes();
    if (again) {
      queue_->Repeat(*repetition_,
                     std::array{x.view(), all.view(), attended.view(), inner.view(), cos.view(), sin.view()},
                     *batch, give);
    } else {
      give();
    }
    const Tensor y = queue_->Fetch(x.view());
    launches = cuda_emulator::LaunchedKernels() - launched;
    bytes = cuda_emulator::TouchedBytes() - touched;
    cache_bytes = pages_->shape().Bytes(batch->positions_read());
    return {y.as<float>(), y.as<float>() + y.shape().elements()};
  }

  // Scratch for that many rows of logits, of the queue's own: more than before stands elsewhere.
  void GrowScratch(int64_t rows) {
    const DeviceTensor logits = device_.NewTensor(DType::kF32, {rows, 4096}),
                       tokens = device_.NewTensor(DType::kI32, {rows});
    queue_->Fill(logits.view(), 1);
    std::vector<SampleRequest> requests;
    for (int64_t i = 0; i < rows; i++)
      requests.push_back({.row = i, .paired = false, .sampling = {}, .noise = {}, .to = i});
    queue_->Sample(logits.view(), requests, tokens.view());
  }

  int given = 0;
  uint64_t launches = 0, bytes = 0;          // of the last step
  size_t weight_bytes = 0, cache_bytes = 0;  // that a step must read

 private:
  Device& device_;
  std::unique_ptr<Queue> queue_;
  int64_t rows_, width_, inner_;
  std::unique_ptr<Linear> qkv, o, gate_up, down;
  DeviceTensor norm, cos, sin, x, all, attended, inner;
  std::unique_ptr<KvPages> pages_;
  std::unique_ptr<Repetition> repetition_;
};

TEST_CASE("what is kept of a step's ops does what giving them does") {
  for (const auto& [compute, stored] :
       {std::pair{DType::kF32, DType::kBF16}, {DType::kBF16, DType::kBF16}, {DType::kBF16, DType::kQ8_0}}) {
    for (uint64_t seed = 0; seed < 4; seed++) {
      cuda_emulator::Set({.order = static_cast<cuda_emulator::Order>(seed), .seed = seed});
      const auto device = cuda::MakeCudaDevice(0);
      Layer kept(*device, compute, 3, {.stored = stored}), told(*device, compute, 3, {.stored = stored});
      int64_t position = 120;
      const auto step = [&](int given) {
        INFO("position " << position);
        const int before = kept.given;
        CHECK((kept.Step(position, true) == told.Step(position, false)));
        CHECK(kept.given - before == given);
        position++;
      };
      // Once by itself, once to be captured.
      kept.GrowScratch(4);
      step(1), step(1), step(0), step(0);
      position = 128;  // positions of one more span: another grid
      step(1), step(1), step(0);
      position = 120;  // as before
      step(0);
      kept.Allocate();
      step(1), step(1), step(0);
      kept.GrowScratch(64);
      step(1), step(1), step(0);
    }
  }
  cuda_emulator::Set({});
}

TEST_CASE("a step is done where its ops cannot be captured, and beside threads that free memory") {
  for (const bool spoils : {true, false}) {
    cuda_emulator::Set({.spoils_captures = spoils});
    const auto device = cuda::MakeCudaDevice(0);
    Layer kept(*device, DType::kBF16, 2), told(*device, DType::kBF16, 2);
    std::atomic<bool> done = false;
    std::thread other([&] {
      while (!done) device->NewTensor(DType::kF32, {64});
    });
    for (int64_t position = 10; position < 30; position++)
      CHECK((kept.Step(position, true) == told.Step(position, false)));
    done = true;
    other.join();
    CHECK(kept.given == (spoils ? 1 + 2 * 19 : 2));
  }
  cuda_emulator::Set({});
}

TEST_CASE("a layer is six kernels, whatever the rows and the arithmetic") {
  const auto device = cuda::MakeCudaDevice(0);
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    for (const int64_t rows : {1, 2, 9, 32}) {
      Layer layer(*device, compute, rows);
      layer.Step(200, false);
      INFO(rows << " rows");
      CHECK(layer.launches == 6);
    }
  }
}

// Rows become small integers before each product.
TEST_CASE("a layer with weights in blocks is ten kernels") {
  const auto device = cuda::MakeCudaDevice(0);
  for (const DType stored : {DType::kQ8_0, DType::kQ4_0}) {
    for (const int64_t rows : {1, 2, 9}) {
      Layer layer(*device, DType::kBF16, rows, {.stored = stored});
      layer.Step(200, false);
      CHECK(layer.launches == 10);
    }
  }
}

// A layer of Janus-Pro 1B for a guidance pair, in whole pages of 4 KB: which is why the more rows end within
// one, the more is counted.
TEST_CASE("a step moves its weights and its cache, and hardly anything else") {
  cuda_emulator::Set({.counts_bytes = true});
  const auto device = cuda::MakeCudaDevice(0);
  for (const DType stored : {DType::kBF16, DType::kQ4_0}) {
    Layer layer(*device, DType::kBF16, 2, {.heads = 16, .dim = 128, .inner = 5632, .stored = stored});
    for (const bool again : {false, true, true, true}) {
      layer.Step(300, again);
      const double must = static_cast<double>(layer.weight_bytes + layer.cache_bytes);
      CHECK(static_cast<double>(layer.bytes) >= must);
      CHECK(static_cast<double>(layer.bytes) <= (stored == DType::kBF16 ? 1.03 : 1.06) * must);
    }
  }
  cuda_emulator::Set({});
}

}  // namespace
}  // namespace bifrons
