// A decoder layer's ops as they are given for every token: how many kernels they are, and that what a queue
// keeps of them does what giving them again would do.
#include <array>
#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "kernels/cuda/device.h"
#include "tests/cuda_on_cpu/emulator.h"

namespace bifrons {
namespace {

constexpr int64_t kHeads = 2, kDim = 32, kWidth = kHeads * kDim, kInner = 96, kPositions = 512;

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
  Layer(Device& device, DType compute, int64_t rows)
      : device_(device), queue_(device.MakeQueue()), rows_(rows) {
    const auto pack = [&](int64_t out, int64_t in) {
      const std::vector<float> values = Values(out * in, out);
      std::vector<BF16> rounded;
      for (const float value : values) rounded.push_back(ToBF16(value));
      const TensorView part{rounded.data(), DType::kBF16, {out, in}};
      return device.PackLinear({&part, 1}, {}, compute);
    };
    qkv = pack(3 * kWidth, kWidth), o = pack(kWidth, kWidth);
    gate_up = pack(2 * kInner, kWidth), down = pack(kWidth, kInner);
    norm = device.PackVector(std::vector<float>(kWidth, 0.5f));
    const std::vector<float> angles = Values(kPositions * kDim / 2, 9);
    cos = device.PackTensor({angles.data(), DType::kF32, {kPositions, kDim / 2}});
    sin = device.PackTensor({angles.data(), DType::kF32, {kPositions, kDim / 2}});
    pages_ = device.MakeKvPages({.layers = 1, .kv_heads = kHeads, .head_dim = kDim, .page_positions = 64});
    pages_->Grow(rows * kPositions / 64);
    Allocate();
    repetition_ = queue_->MakeRepetition();
    // What the steps find there.
    const DeviceTensor past = device.NewTensor(DType::kF32, {kPositions, kWidth});
    const std::vector<float> values = Values(kPositions * kWidth, 3);
    queue_->Upload({values.data(), DType::kF32, {kPositions, kWidth}}, past.view());
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
    x = device_.NewTensor(DType::kF32, {rows_, kWidth}),
    all = device_.NewTensor(DType::kF32, {rows_, 3 * kWidth});
    attended = device_.NewTensor(DType::kF32, {rows_, kWidth}),
    inner = device_.NewTensor(DType::kF32, {rows_, kInner});
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
    const std::vector<float> values = Values(rows_ * kWidth, position);
    queue_->Upload({values.data(), DType::kF32, {rows_, kWidth}}, x.view());
    const auto give = [&] {
      given++;
      const View q = all.view().Columns(0, kWidth), k = all.view().Columns(kWidth, kWidth),
                 v = all.view().Columns(2 * kWidth, kWidth);
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
    const uint64_t before = cuda_emulator::LaunchedKernels();
    if (again) {
      queue_->Repeat(*repetition_,
                     std::array{x.view(), all.view(), attended.view(), inner.view(), cos.view(), sin.view()},
                     *batch, give);
    } else {
      give();
    }
    const Tensor y = queue_->Fetch(x.view());
    launches = cuda_emulator::LaunchedKernels() - before;
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
  uint64_t launches = 0;

 private:
  Device& device_;
  std::unique_ptr<Queue> queue_;
  int64_t rows_;
  std::unique_ptr<Linear> qkv, o, gate_up, down;
  DeviceTensor norm, cos, sin, x, all, attended, inner;
  std::unique_ptr<KvPages> pages_;
  std::unique_ptr<Repetition> repetition_;
};

TEST_CASE("what is kept of a step's ops does what giving them does") {
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    for (uint64_t seed = 0; seed < 4; seed++) {
      cuda_emulator::Set({.order = static_cast<cuda_emulator::Order>(seed), .seed = seed});
      const auto device = cuda::MakeCudaDevice(0);
      Layer kept(*device, compute, 3), told(*device, compute, 3);
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

TEST_CASE("a layer is six kernels, whatever the rows and the arithmetic") {
  const auto device = cuda::MakeCudaDevice(0);
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    for (const int64_t rows : {1, 2, 9, 32}) {
      Layer layer(*device, compute, rows);
      layer.Step(200, false);
      INFO(rows << " rows");
      CHECK(layer.launches <= 7);
    }
  }
}

}  // namespace
}  // namespace bifrons
