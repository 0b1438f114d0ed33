// Sample against SampleRow on the host: the same token, whatever the device.
#include "kernels/op_matrix/case.h"
#include "kernels/sample_row.h"

namespace bifrons::op_matrix {
namespace {

struct SampleCase : Case {
  int64_t rows, n;

  SampleCase(int64_t r, int64_t size) : rows(r), n(size) {
    op = "Sample";
    shape = std::to_string(Requests().size()) + " tokens from " + std::to_string(rows) + " rows of " +
            std::to_string(n);
    bytes = 4.0 * static_cast<double>(rows * n);
  }

  // The last rows have what a device must also stand: equal logits, infinite ones, NaN.
  Numbers Logits() const {
    Random random(1);
    return {DType::kF32, {rows, n}, [&](int64_t i) -> double {
              const int64_t row = i / n, column = i % n;
              const float x = 3 * random.Normal();
              if (row == rows - 1 && column == n / 2) return NAN;
              if (row == rows - 2) return column == n / 3 ? INFINITY : x;
              if (row == rows - 3) return column % 5 == 0 ? x : -INFINITY;
              if (row == rows - 4) return 1;
              return x;
            }};
  }

  // Every row alone and, where there is one after it, guided; each with another choice of settings. Tokens go
  // anywhere, each to a place of its own.
  std::vector<SampleRequest> Requests() const {
    constexpr Sampling kSettings[] = {{},
                                      {.guidance = 3, .temperature = 0},
                                      {.temperature = 0.7f, .top_k = 5},
                                      {.guidance = 7.5f, .top_p = 0.9f},
                                      {.guidance = 1, .temperature = 2, .min_p = 0.05f},
                                      {.temperature = 1.3f, .top_k = 100, .top_p = 0.5f, .min_p = 0.01f},
                                      {.guidance = 0, .top_p = 1e-6f}};
    std::vector<SampleRequest> requests;
    for (int64_t i = 0; i < 2 * rows - 1; i++) {
      SampleRequest request;
      request.row = i / 2, request.paired = i % 2 == 1;
      request.sampling = kSettings[i % std::ssize(kSettings)];
      request.noise = {static_cast<uint64_t>(1000000007 * i), static_cast<uint32_t>(i),
                       i % 3 == 0 ? NoiseStream::kText : NoiseStream::kImageTokens};
      request.to = 3 * rows - 1 - i;
      requests.push_back(request);
    }
    return requests;
  }

  Numbers Tokens() const {
    return {DType::kI32, {3 * rows}, [](int64_t i) { return -100 - i; }};
  }
  void Place(Stage& stage) const override {
    const View logits = stage.In(Logits().view(), {0, 5}), tokens = stage.InOut(Tokens().view());
    stage.op = [=, requests = Requests()](Queue& queue) { queue.Sample(logits, requests, tokens); };
  }
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    const Numbers logits = Logits(), before = Tokens();
    Tensor wanted(DType::kI32, before.shape());
    for (int64_t i = 0; i < before.shape().elements(); i++)
      wanted.as<int32_t>()[i] = static_cast<int32_t>(before[i]);
    std::vector<float> values(static_cast<size_t>(n));
    std::vector<uint64_t> buckets(kSampleBuckets);
    for (const SampleRequest& r : Requests()) {
      const float* row = logits.view().as<float>() + r.row * n;
      wanted.as<int32_t>()[r.to] = SampleRow(row, r.paired ? row + n : nullptr, n, r.sampling, r.noise,
                                             {values.data(), buckets.data()});
    }
    return SameBytes(got[0].view(), wanted.view());
  }
};

}  // namespace

void AddSampleCases(Cases& cases) {
  for (const int64_t n : {1, 2, 7, 64, 1031, 16384}) cases.push_back(std::make_unique<SampleCase>(9, n));
  for (const int64_t n : {16384, 102400}) {  // codes of pictures, words
    cases.push_back(std::make_unique<SampleCase>(32, n));
    cases.back()->published = true;
  }
}

}  // namespace bifrons::op_matrix
