#include "kernels/op_matrix/op_matrix.h"

#include <algorithm>
#include <chrono>

#include "kernels/op_matrix/case.h"
#include "src/base/stop.h"

namespace bifrons {
namespace {

using op_matrix::Case;
using op_matrix::Cases;

Cases Selected(const OpSelection& selection) {
  Cases cases;
  op_matrix::AddCopyCases(cases);
  op_matrix::AddMultiplyCases(cases);
  op_matrix::AddExactProductCases(cases);
  op_matrix::AddBlockProductCases(cases);
  op_matrix::AddOwnLayoutCases(cases);
  op_matrix::AddNormedProductCases(cases);
  op_matrix::AddNormCases(cases);
  op_matrix::AddAttentionCases(cases);
  op_matrix::AddPageCases(cases);
  op_matrix::AddFullAttentionCases(cases);
  op_matrix::AddSampleCases(cases);
  op_matrix::AddConvolutionCases(cases);
  op_matrix::AddMapCases(cases);
  std::erase_if(cases, [&](const std::unique_ptr<Case>& one) {
    return !(one->published ? selection.published : selection.odd) ||
           (one->op + " " + one->shape).find(selection.text) == std::string::npos;
  });
  return cases;
}

template <class Result, class Of>
std::vector<Result> ForEach(const OpSelection& selection, const std::function<void(const Result&)>& report,
                            const Of& result_of) {
  std::vector<Result> results;
  for (const auto& one : Selected(selection)) {
    if (StopRequested()) break;
    results.push_back(result_of(*one));
    if (report) report(results.back());
  }
  return results;
}

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

OpSpeed Measure(Device& device, const Case& one, double least_seconds) {
  op_matrix::Stage stage(device);
  one.Place(stage);
  Queue& queue = stage.queue();
  // So many runs that the clock and the waiting do not count.
  const auto seconds_of = [&](int runs) {
    const double start = Now();
    for (int i = 0; i < runs; i++) stage.op(queue);
    queue.Wait(queue.Record());
    return (Now() - start) / runs;
  };
  constexpr double kSample = 1e-3;
  constexpr size_t kSamples = 5;
  seconds_of(1);  // memory is touched and kernels are made
  const int runs = static_cast<int>(std::clamp(kSample / seconds_of(1), 1.0, 1000.0));
  std::vector<double> samples;
  for (const double start = Now(); samples.size() < kSamples || Now() - start < least_seconds;)
    samples.push_back(seconds_of(runs));
  const auto middle = samples.begin() + std::ssize(samples) / 2;
  std::nth_element(samples.begin(), middle, samples.end());
  return {one.op, one.shape, *middle, one.bytes, one.macs};
}

}  // namespace

size_t CountOps(const OpSelection& selection) { return Selected(selection).size(); }

std::vector<OpResult> CheckOps(Device& tested, Device& reference, const OpSelection& selection,
                               const std::function<void(const OpResult&)>& report) {
  return ForEach<OpResult>(selection, report, [&](const Case& one) -> OpResult {
    const op_matrix::Outcome outcome = RunOn(tested, one);
    return {one.op, one.shape, one.WorstShare(outcome.results, reference), outcome.intact};
  });
}

std::vector<OpResult> CheckSameBits(Device& device, std::span<Device* const> others,
                                    const OpSelection& selection,
                                    const std::function<void(const OpResult&)>& report) {
  return ForEach<OpResult>(selection, report, [&](const Case& one) {
    const op_matrix::Outcome a = RunOn(device, one);
    OpResult result{one.op, one.shape, 0, a.intact};
    for (Device* other : others) {
      const op_matrix::Outcome b = RunOn(*other, one);
      result.intact &= b.intact;
      for (size_t i = 0; i < a.results.size(); i++) {
        result.worst_share =
            std::max(result.worst_share, op_matrix::SameBytes(a.results[i].view(), b.results[i].view()));
      }
    }
    return result;
  });
}

std::vector<OpSpeed> MeasureOps(Device& device, const OpSelection& selection, double least_seconds,
                                const std::function<void(const OpSpeed&)>& report) {
  return ForEach<OpSpeed>(selection, report,
                          [&](const Case& one) { return Measure(device, one, least_seconds); });
}

}  // namespace bifrons
