#include "src/engine/divergence.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "kernels/sample_row.h"
#include "src/base/stop.h"
#include "src/engine/scheduler.h"
#include "src/engine/trace.h"

namespace bifrons {
namespace {

// Of the whole time, about: drawing is one run of the reference, and then both run over each picture.
constexpr double kDrawingShare = 1.0 / 3;

// The logarithm of the sum of all e^x, the largest taken out, in f64.
double LogSumExp(std::span<const float> x) {
  const double most = *std::ranges::max_element(x);
  double sum = 0;
  for (const float value : x) sum += std::exp(value - most);
  return most + std::log(sum);
}

class Meter {
 public:
  explicit Meter(int64_t codebook)
      : codebook_(codebook), values_(new float[codebook]), buckets_(new uint64_t[kSampleBuckets]) {}

  Status Add(const DrawRequest& request, const Trace& reference, const Trace& model, int64_t tokens) {
    for (int64_t i = 0; i < tokens; i++) {
      const Row a = RowOf(reference, i), b = RowOf(model, i);
      const double kl = KullbackLeibler(a.conditional, b.conditional);
      const int32_t drawn = Draw(a, request, i), also = Draw(b, request, i);
      if (std::isnan(kl) || drawn == kNoToken || also == kNoToken)
        return DataError("the logits of image token " + std::to_string(i) + " are not numbers");
      kl_.push_back(kl);
      same_top_ += Likeliest(a) == Likeliest(b);
      same_drawn_ += drawn == also;
    }
    return {};
  }

  Divergence Take() {
    Divergence d;
    d.tokens = std::ssize(kl_);
    if (d.tokens == 0) return d;
    const auto count = static_cast<double>(d.tokens);
    for (const double kl : kl_) d.mean_kl += kl / count;
    const auto at = kl_.begin() + (d.tokens * 99 + 99) / 100 - 1;
    std::ranges::nth_element(kl_, at);
    d.kl_99 = *at;
    d.top_1 = static_cast<double>(same_top_) / count;
    d.drawn = static_cast<double>(same_drawn_) / count;
    return d;
  }

 private:
  struct Row {
    std::span<const float> conditional, unconditional;  // [codebook]
  };

  Row RowOf(const Trace& trace, int64_t i) const {
    const auto row = [&](const Tensor& logits) {
      return std::span(logits.as<float>() + i * codebook_, static_cast<size_t>(codebook_));
    };
    return {row(trace.logits_conditional), row(trace.logits_unconditional)};
  }
  static int64_t Likeliest(const Row& row) {
    return std::ranges::max_element(row.conditional) - row.conditional.begin();
  }
  int32_t Draw(const Row& row, const DrawRequest& request, int64_t i) {
    return SampleRow(row.conditional.data(), row.unconditional.data(), codebook_, request.sampling,
                     {.seed = request.seed, .position = static_cast<uint32_t>(i)},
                     {.values = values_.get(), .buckets = buckets_.get()});
  }

  int64_t codebook_;
  std::unique_ptr<float[]> values_;
  std::unique_ptr<uint64_t[]> buckets_;
  std::vector<double> kl_;
  int64_t same_top_ = 0, same_drawn_ = 0;
};

}  // namespace

Status CheckComparable(const Janus& reference, const Janus& model) {
  const VqConfig &a = reference.config().vq, &b = model.config().vq;
  if (a.codebook_size == b.codebook_size && a.tokens() == b.tokens()) return {};
  return UsageError(model.name() + " draws " + std::to_string(b.tokens()) + " tokens of a codebook of " +
                    std::to_string(b.codebook_size) + ", " + reference.name() + " " +
                    std::to_string(a.tokens()) + " of " + std::to_string(a.codebook_size) +
                    ": they cannot be compared");
}

double KullbackLeibler(std::span<const float> p, std::span<const float> q) {
  const double all_p = LogSumExp(p), all_q = LogSumExp(q);
  double kl = 0;
  for (size_t i = 0; i < p.size(); i++) {
    const double log_p = p[i] - all_p, share = std::exp(log_p);
    if (share != 0) kl += share * (log_p - (q[i] - all_q));  // what never comes costs nothing; NaN is not 0
  }
  return kl < 0 ? 0 : kl;  // which only rounding makes it
}

Result<Divergence> MeasureDivergence(Janus& reference, Janus& model, std::span<const DrawRequest> requests,
                                     const std::function<bool(double share)>& progress) {
  BIFRONS_RETURN_IF_ERROR(CheckComparable(reference, model));
  std::vector<std::vector<int32_t>> codes;
  {
    Scheduler scheduler(reference, {});
    const Status drawn = DrawEach(
        scheduler, requests, [&](const DrawProgress& p) { return progress(kDrawingShare * p.share()); },
        [&](size_t, DrawnPicture picture) -> Status {
          codes.push_back(std::move(picture.codes));
          return {};
        });
    if (StopRequested()) return Interrupted();
    BIFRONS_RETURN_IF_ERROR(drawn);
  }
  Meter meter(reference.config().vq.codebook_size);
  for (size_t i = 0; i < requests.size(); i++) {
    BIFRONS_TRY(const Trace expected, TraceCodes(reference, requests[i].prompt, codes[i]));
    BIFRONS_TRY(const Trace found, TraceCodes(model, requests[i].prompt, codes[i]));
    BIFRONS_RETURN_IF_ERROR(meter.Add(requests[i], expected, found, std::ssize(codes[i])));
    const double share = static_cast<double>(i + 1) / static_cast<double>(requests.size());
    if (!progress(kDrawingShare + (1 - kDrawingShare) * share)) return Interrupted();
  }
  return meter.Take();
}

}  // namespace bifrons
