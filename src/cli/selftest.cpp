// bifrons selftest: what is right, what is wrong and how fast it is, in one block for a report.
#include "src/engine/selftest.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "src/base/counted.h"
#include "src/base/progress.h"
#include "src/base/thread_pool.h"
#include "src/cli/bench_stages.h"
#include "src/cli/commands.h"
#include "src/model/choose_device.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

constexpr size_t kMostWrongOps = 20;  // that are listed; one mistake may show in hundreds

std::string Now() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", std::gmtime(&now));
  return text;
}

nlohmann::json ToJson(const Agreement& a) { return {{"steps", a.steps}, {"agreed", a.agreed}}; }

nlohmann::json ToJson(const OpsCheck& ops) {
  nlohmann::json wrong = nlohmann::json::array();
  for (const OpResult& one : ops.wrong) {
    wrong.push_back({{"op", one.op}, {"shape", one.shape}, {"intact", one.intact}});
    wrong.back()["share_of_allowed"] = one.worst_share;  // null where it is infinite
  }
  return {{"passed", ops.passed()},
          {"cases", ops.cases},
          {"wrong", wrong},
          {"seconds", ops.seconds},
          {"error", ops.error}};
}

nlohmann::json ToJson(const ModelCheck& model) {
  nlohmann::json comparisons = nlohmann::json::array();
  for (const ModelComparison& c : model.comparisons) {
    comparisons.push_back({{"dtype", NameOf(c.compute)},
                           {"passed", c.passed()},
                           {"codes", ToJson(c.codes)},
                           {"tokens", ToJson(c.tokens)},
                           {"pixels_apart", c.most_apart},
                           {"description", c.description},
                           {"seconds", c.seconds},
                           {"other_seconds", c.other_seconds}});
  }
  return {{"passed", model.passed()},
          {"other", model.other},
          {"comparisons", comparisons},
          {"error", model.error}};
}

nlohmann::json ToJson(const Roofline& r) {
  nlohmann::json points = nlohmann::json::array();
  for (const RooflinePoint& p : r.points) {
    points.push_back({{"op", p.speed.op},
                      {"shape", p.speed.shape},
                      {"dtype", NameOf(p.compute)},
                      {"ms", 1e3 * p.speed.seconds},
                      {"gbs", p.speed.gigabytes_per_second()},
                      {"gmacs", p.speed.gigamacs_per_second()}});
  }
  return {{"bandwidth_gbs", r.bandwidth / 1e9},
          {"gmacs_f32", r.f32_mac_rate / 1e9},
          {"gmacs_bf16", r.bf16_mac_rate / 1e9},
          {"points", points},
          {"seconds", r.seconds},
          {"error", r.error}};
}

void PrintError(const std::string& error) {
  if (!error.empty()) std::printf("  WRONG: ended early: %s\n", OneLine(error).c_str());
}

void Print(const OpsCheck& ops) {
  std::printf("ops: %lld cases beside ref, %zu wrong; %.1f s\n", static_cast<long long>(ops.cases),
              ops.wrong.size(), ops.seconds);
  for (size_t i = 0; i < ops.wrong.size() && i < kMostWrongOps; i++) {
    const OpResult& one = ops.wrong[i];
    std::printf("  WRONG: %s %s: %.3g of the error that is allowed%s\n", one.op.c_str(), one.shape.c_str(),
                one.worst_share, one.intact ? "" : ", and it wrote where it may not");
  }
  if (ops.wrong.size() > kMostWrongOps)
    std::printf("  WRONG: %zu more (--json has all)\n", ops.wrong.size() - kMostWrongOps);
  PrintError(ops.error);
}

void Print(const ModelCheck& model) {
  for (const ModelComparison& c : model.comparisons) {
    std::printf(
        "%s, janus-mini beside %s: %lld of %lld codes and %lld of %lld tokens agree, pixels within %d "
        "of 255; %.2f s (%.2f s there)\n",
        NameOf(c.compute), model.other.c_str(), static_cast<long long>(c.codes.agreed),
        static_cast<long long>(c.codes.steps), static_cast<long long>(c.tokens.agreed),
        static_cast<long long>(c.tokens.steps), c.most_apart, c.seconds, c.other_seconds);
    std::printf("  it sees \"%s\"\n", OneLine(c.description).c_str());
    if (c.compute == DType::kBF16)
      std::printf("  (not judged: each device rounds to bf16 at places of its own)\n");
    if (!c.passed()) std::printf("  WRONG: 99 %% of all steps have to agree, and pixels within 1\n");
  }
  if (!model.error.empty()) std::printf("janus-mini beside %s\n", model.other.c_str());
  PrintError(model.error);
}

void Print(const Roofline& r) {
  std::printf("limits: %.1f GB/s, %.0f GMAC/s in f32, %.0f in bf16; %.1f s\n", r.bandwidth / 1e9,
              r.f32_mac_rate / 1e9, r.bf16_mac_rate / 1e9, r.seconds);
  if (!r.points.empty()) std::printf("%12s %8s %5s %8s %5s\n", "ms", "GB/s", "", "GMAC/s", "");
  bool beyond = false;
  for (const auto& [speed, compute] : r.points) {
    const double read = 1e11 * speed.gigabytes_per_second() / r.bandwidth;
    const double multiplied = 1e11 * speed.gigamacs_per_second() / r.mac_rate(compute);
    std::printf("%12.3f %8.1f %3.0f %% %8.0f %3.0f %%  %s %s\n", 1e3 * speed.seconds,
                speed.gigabytes_per_second(), read, speed.gigamacs_per_second(), multiplied, speed.op.c_str(),
                speed.shape.c_str());
    beyond = beyond || std::lround(std::max(read, multiplied)) > 100;
  }
  if (beyond) std::fputs(kBeyondLimits, stdout);
  PrintError(r.error);
}

void Print(const Selftest& test, int threads) {
  std::printf("bifrons %s selftest, %s\n", BIFRONS_VERSION, Now().c_str());
  std::printf("%s; %s, %s%s; %.1f GB free\n", test.device.c_str(), test.backend.c_str(), test.isa.c_str(),
              test.convolutions.empty() ? "" : (", " + test.convolutions).c_str(),
              static_cast<double>(test.free_memory) / 1e9);
  std::printf("host: %s, %s\n", ProcessorName().c_str(), Counted(threads, "thread").c_str());
  Print(test.ops);
  Print(test.model);
  Print(test.roofline);
  std::printf("%s; %.0f s\n", test.passed() ? "all right" : "SOMETHING IS WRONG", test.seconds);
}

}  // namespace

Result<int> RunSelftest(const SelftestOptions& options) {
  LoadOptions load = options.load;
  // Once, so that it is said once which device this is, and why.
  load.tell_device = true;
  {
    BIFRONS_TRY(const std::unique_ptr<Device> chosen, ChooseDevice(load));
    if (load.device == kAutoDevice) load.device = chosen->backend();
  }
  const SelftestSettings settings{.ops = options.ops,
                                  .threads = load.threads > 0 ? load.threads : AvailableThreads()};
  ProgressBar bar("testing", !options.quiet);
  BIFRONS_TRY(const Selftest test,
              RunSelftest([&] { return ChooseDevice(load); }, settings,
                          [&](double share, const std::string& what) { bar.Update(share, 1, what); }));
  bar.Hide();
  if (options.json) {
    const nlohmann::json json = {{"version", BIFRONS_VERSION},
                                 {"date", Now()},
                                 {"device", test.device},
                                 {"backend", test.backend},
                                 {"isa", test.isa},
                                 {"convolutions", test.convolutions},
                                 {"host", ProcessorName()},
                                 {"threads", settings.threads},
                                 {"free_bytes", test.free_memory},
                                 {"passed", test.passed()},
                                 {"seconds", test.seconds},
                                 {"ops", ToJson(test.ops)},
                                 {"model", ToJson(test.model)},
                                 {"roofline", ToJson(test.roofline)}};
    std::printf("%s\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else {
    Print(test, settings.threads);
  }
  return test.passed() ? 0 : static_cast<int>(ErrorKind::kBadData);
}

}  // namespace bifrons
