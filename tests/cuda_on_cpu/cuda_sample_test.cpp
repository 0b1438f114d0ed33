// Tokens of the cuda device under masks of every kind, against SampleRow: logits with many ties, rows of odd
// lengths, more requests than one launch takes.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/op_matrix/numbers.h"
#include "kernels/sample_row.h"

namespace bifrons {
namespace {

using op_matrix::Numbers;
using op_matrix::Random;

// Multiples of `step`, so that the last token of a mask is one of several.
Numbers Logits(int64_t rows, int64_t n, float step, uint64_t seed) {
  Random random(seed);
  return {DType::kF32, {rows, n}, [&](int64_t) { return std::round(2 * random.Normal() / step) * step; }};
}

Sampling AnySampling(Random& random) {
  Sampling sampling;
  sampling.guidance = random.Uniform(0, 8);
  sampling.temperature = random.Below(8) == 0 ? 0 : random.Uniform(0.1f, 3);
  if (random.Below(2) == 0) sampling.top_k = static_cast<int>(random.Below(200));
  if (random.Below(2) == 0) sampling.top_p = random.Uniform(0, 1);
  if (random.Below(3) == 0) sampling.min_p = random.Uniform(0, 0.3f);
  return sampling;
}

TEST_CASE("every mask leaves the tokens that the host's leaves") {
  const std::unique_ptr<Device> device = cuda::MakeCudaDevice(0);
  const std::unique_ptr<Queue> queue = device->MakeQueue();
  Random random(1);
  for (const int64_t n : {1, 5, 100, 1024, 3001}) {
    for (const float step : {0.01f, 0.5f, 100.0f}) {
      constexpr int64_t kRows = 50, kRequests = 75;
      const Numbers logits = Logits(kRows, n, step, static_cast<uint64_t>(n));
      std::vector<SampleRequest> requests;
      for (int64_t i = 0; i < kRequests; i++) {
        requests.push_back({.row = random.Below(kRows - 1),
                            .paired = random.Below(2) == 0,
                            .sampling = AnySampling(random),
                            .noise = {random.Next(), static_cast<uint32_t>(i), NoiseStream::kText},
                            .to = kRequests - 1 - i});
      }
      const DeviceTensor there = device->PackTensor(logits.view());
      const DeviceTensor tokens = device->NewTensor(DType::kI32, {kRequests});
      queue->Sample(there.view(), requests, tokens.view());
      const Tensor got = queue->Fetch(tokens.view());

      std::vector<float> values(static_cast<size_t>(n));
      std::vector<uint64_t> buckets(kSampleBuckets);
      for (const SampleRequest& r : requests) {
        const float* const row = logits.view().as<float>() + r.row * n;
        const int32_t wanted = SampleRow(row, r.paired ? row + n : nullptr, n, r.sampling, r.noise,
                                         {values.data(), buckets.data()});
        INFO(n << " logits, multiples of " << step << ": top-k " << r.sampling.top_k << ", top-p "
               << r.sampling.top_p << ", min-p " << r.sampling.min_p << ", temperature "
               << r.sampling.temperature);
        CHECK(got.as<int32_t>()[r.to] == wanted);
      }
    }
  }
}

}  // namespace
}  // namespace bifrons
