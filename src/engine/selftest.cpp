#include "src/engine/selftest.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <span>

#include "src/base/out_of_memory.h"
#include "src/base/seconds_since.h"
#include "src/base/stop.h"
#include "src/engine/scheduler.h"
#include "src/model/model_path.h"

namespace bifrons {
namespace {

constexpr double kLeastAgreement = 0.99;

// Shares of the whole time, about.
constexpr double kOpsShare = 0.7, kModelShare = 0.2;

// The first as one draws it: the model is so sure of itself that even one wrong weight in every matrix leaves
// the codes as they are. The others so hot that what bf16 rounds parts them within a hundred steps, while f32
// does not on any instruction set.
constexpr struct {
  const char* prompt;
  float temperature;
} kPictures[] = {
    {"a dog on a blue background", 1}, {"a red triangle on a purple background", 12}, {"two cats", 12}};
constexpr int64_t kMaxTokens = 64;

// Janus-Pro-1B: a decode step's product and attention of few rows and of many, a prompt's product, the VQ
// decoder's convolutions.
constexpr struct {
  const char* text;
  DType compute;
} kRoofline[] = {
    {"Multiply 11264×2048 bf16 · f32 decode silu· rows 2", DType::kF32},
    {"Multiply 11264×2048 bf16 · bf16 decode silu· rows 2", DType::kBF16},
    {"Multiply 11264×2048 bf16 · bf16 decode silu· rows 32", DType::kBF16},
    {"Multiply 11264×2048 bf16 · f32 prefill silu· rows 128", DType::kF32},
    {"Multiply 11264×2048 bf16 · bf16 prefill silu· rows 128", DType::kBF16},
    {"Attend 2 rows of 2 sequences, 16/16 heads of 128 bf16", DType::kF32},
    {"Attend 32 rows of 32 sequences, 16/16 heads of 128 bf16", DType::kF32},
    {"Convolve 256→256 96×96 k3 /1 f32", DType::kF32},
    {"Convolve 256→256 96×96 k3 /1 bf16", DType::kBF16},
};

class Stopwatch {
 public:
  double seconds() const { return SecondsSince(start_); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

std::string NameOf(const OpResult& result) { return result.op + " " + result.shape; }

OpsCheck CheckAllOps(Device& device, const SelftestSettings& settings, const SelftestProgress& progress) {
  OpsCheck check;
  const Stopwatch watch;
  std::string last;
  const Status status = Guarded([&]() -> Status {
    const OpSelection selection{.text = settings.ops};
    const auto all = static_cast<double>(CountOps(selection));
    BIFRONS_TRY(const auto reference, MakeDevice("ref", "", settings.threads));
    CheckOps(device, *reference, selection, [&](const OpResult& result) {
      check.cases++;
      if (!result.passed()) check.wrong.push_back(result);
      last = NameOf(result);
      progress(kOpsShare * static_cast<double>(check.cases) / all, last);
    });
    return {};
  });
  if (!status.ok()) check.error = (last.empty() ? "" : "after " + last + ": ") + status.error().message;
  check.seconds = watch.seconds();
  return check;
}

// What the bundled model does on one device.
struct ModelRun {
  std::vector<DrawnPicture> pictures;
  std::vector<int32_t> answer;  // −1 where it ended by itself
  std::string description;
  double seconds = 0;  // loading apart
};

// Describes the picture `seen`, or else the first that it draws.
Result<ModelRun> RunModel(std::unique_ptr<Device> device, DType compute, const Image* seen) {
  LoadOptions options;
  BIFRONS_TRY(options.model, BundledModel());
  options.compute = compute;
  options.parts.understanding = true;
  BIFRONS_TRY(const std::unique_ptr<Janus> janus, Janus::Load(options, std::move(device)));
  const Stopwatch watch;
  Scheduler scheduler(*janus, {});
  std::vector<DrawRequest> requests;
  for (const auto& [prompt, temperature] : kPictures) {
    requests.push_back(
        {prompt, 1, {.guidance = janus->config().guidance_default, .temperature = temperature}});
  }
  ModelRun run;
  BIFRONS_TRY(run.pictures, Draw(scheduler, requests, [](const DrawProgress&) { return !StopRequested(); }));
  AnswerRequest question;
  question.turns = {{1, kDefaultQuestion, ""}};
  question.max_tokens = kMaxTokens;
  question.look = [&]() -> Result<std::vector<ImageFeatures>> {
    return std::vector{LookAt(*janus, seen ? *seen : run.pictures[0].image)};
  };
  BIFRONS_TRY(const Answer answer,
              AnswerOne(scheduler, std::move(question), [](const std::string&) { return !StopRequested(); }));
  run.answer = answer.tokens, run.description = answer.text;
  if (answer.complete) run.answer.push_back(-1);
  run.seconds = watch.seconds();
  return run;
}

void Compare(std::span<const int32_t> a, std::span<const int32_t> b, Agreement* agreement) {
  agreement->steps += std::max(std::ssize(a), std::ssize(b));
  agreement->agreed += std::ranges::mismatch(a, b).in1 - a.begin();
}

int MostApart(const Image& a, const Image& b) {
  int most = 0;
  for (size_t i = 0; i < a.rgb.size(); i++) most = std::max(most, std::abs(int{a.rgb[i]} - int{b.rgb[i]}));
  return most;
}

Result<ModelComparison> CompareModels(const DeviceMaker& make, const DeviceMaker& make_other, DType compute) {
  BIFRONS_TRY(auto other_device, make_other());
  BIFRONS_TRY(const ModelRun other, RunModel(std::move(other_device), compute, nullptr));
  BIFRONS_TRY(auto device, make());
  BIFRONS_TRY(const ModelRun tested, RunModel(std::move(device), compute, &other.pictures[0].image));
  ModelComparison result;
  result.compute = compute;
  for (size_t i = 0; i < other.pictures.size(); i++) {
    const DrawnPicture &a = tested.pictures[i], &b = other.pictures[i];
    Compare(a.codes, b.codes, &result.codes);
    if (a.codes == b.codes) result.most_apart = std::max(result.most_apart, MostApart(a.image, b.image));
  }
  Compare(tested.answer, other.answer, &result.tokens);
  result.description = tested.description;
  result.seconds = tested.seconds, result.other_seconds = other.seconds;
  return result;
}

ModelCheck CheckModel(const DeviceMaker& make, const std::string& backend, int threads,
                      const SelftestProgress& progress) {
  ModelCheck check;
  const Status status = Guarded([&]() -> Status {
    const DeviceMaker make_other = [&] { return MakeDevice(backend == "cpu" ? "ref" : "cpu", "", threads); };
    BIFRONS_TRY(const auto other, make_other());
    check.other = other->backend() + " " + other->isa();
    double share = kOpsShare;
    for (const DType compute : {DType::kF32, DType::kBF16}) {
      progress(share, std::string("the bundled model in ") + NameOf(compute));
      BIFRONS_TRY(ModelComparison comparison, CompareModels(make, make_other, compute));
      check.comparisons.push_back(std::move(comparison));
      share += kModelShare / 2;
    }
    return {};
  });
  if (!status.ok()) check.error = status.error().message;
  return check;
}

Roofline MeasureRoofline(const DeviceMaker& make, const SelftestProgress& progress) {
  Roofline roofline;
  const Stopwatch watch;
  const Status status = Guarded([&]() -> Status {
    double share = kOpsShare + kModelShare;
    progress(share, "limits");
    BIFRONS_TRY(const std::unique_ptr<Device> device, make());
    roofline.bandwidth = device->MeasureBandwidth();
    roofline.f32_mac_rate = device->MeasureMacRate(DType::kF32);
    roofline.bf16_mac_rate = device->MeasureMacRate(DType::kBF16);
    if (device->backend() == "ref") return {};
    for (const auto& [text, compute] : kRoofline) {
      progress(share, text);
      const OpSelection selection{.text = text, .odd = false, .published = true};
      for (OpSpeed& speed : MeasureOps(*device, selection))
        roofline.points.push_back({std::move(speed), compute});
      share += (1 - kOpsShare - kModelShare) / static_cast<double>(std::size(kRoofline));
    }
    return {};
  });
  if (!status.ok()) roofline.error = status.error().message;
  roofline.seconds = watch.seconds();
  return roofline;
}

}  // namespace

bool ModelComparison::passed() const {
  const auto steps = static_cast<double>(codes.steps + tokens.steps);
  const auto agreed = static_cast<double>(codes.agreed + tokens.agreed);
  return compute != DType::kF32 || (agreed >= kLeastAgreement * steps && most_apart <= 1);
}

bool ModelCheck::passed() const {
  return error.empty() &&
         std::ranges::all_of(comparisons, [](const ModelComparison& one) { return one.passed(); });
}

Result<Selftest> RunSelftest(const DeviceMaker& make, const SelftestSettings& settings,
                             const SelftestProgress& progress) {
  if (CountOps({.text = settings.ops}) == 0)
    return UsageError("no op's name and shape contain '" + settings.ops + "' (\"Multiply\", \"Attend \", …)");
  Selftest test;
  const Stopwatch watch;
  {
    BIFRONS_TRY(const std::unique_ptr<Device> device, make());
    test.device = device->name(), test.backend = device->backend(), test.isa = device->isa();
    test.convolutions = device->convolution_library();
    test.free_memory = device->FreeMemory();
    test.ops = CheckAllOps(*device, settings, progress);
    if (StopRequested()) return Interrupted();
  }
  test.model = CheckModel(make, test.backend, settings.threads, progress);
  if (StopRequested()) return Interrupted();
  test.roofline = MeasureRoofline(make, progress);
  if (StopRequested()) return Interrupted();
  test.seconds = watch.seconds();
  return test;
}

}  // namespace bifrons
