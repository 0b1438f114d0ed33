// bifrons bench: measure, and print against the limits measured in the same run.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "kernels/device.h"
#include "src/base/counted.h"
#include "src/cli/bench_stages.h"
#include "src/cli/commands.h"
#include "src/engine/benchmark.h"
#include "src/model/quantized_weights.h"

namespace bifrons {
namespace {

nlohmann::json Describe(Janus& janus, double bandwidth) {
  return {{"processor", janus.device().name()},
          {"device", janus.device().backend()},
          {"isa", janus.device().isa()},
          {"threads", janus.device().threads()},
          {"model", janus.name()},
          {"weights", WeightsName(janus.source())},
          {"dtype", NameOf(janus.compute())},
          {"kv", NameOf(janus.kv_type())},
          {"bandwidth_gbs", bandwidth / 1e9}};
}

void PrintHeading(Janus& janus) {
  std::printf("%s; %s in %s, %s, %s, keys and values in %s, %s\n", janus.device().name().c_str(),
              janus.name().c_str(), WeightsName(janus.source()).c_str(), janus.device().isa().c_str(),
              NameOf(janus.compute()), NameOf(janus.kv_type()),
              Counted(janus.device().threads(), "thread").c_str());
}

// "   before 71.20 ms, 1.08 times as fast"
std::string Beside(const EarlierRun* before, const std::string& stage, double ms) {
  if (!before) return "";
  const auto then = before->MsOf(stage);
  if (!then) return "   not measured before";
  char text[96];
  std::snprintf(text, sizeof text, "   before %.2f ms, now %.2f times as fast", *then, *then / ms);
  return text;
}

void PrintStages(const std::vector<Stage>& stages, const EarlierRun* before) {
  std::printf("%-28s %10s %10s %10s\n", "stage", "ms", "rate", "of limit");
  for (const Stage& stage : stages) {
    const bool reads = stage.gbs > 0;  // what reads the weights is bound by that
    std::printf("%-28s %10.2f %5.*f %-7s %5.0f %%", stage.name.c_str(), stage.ms, reads ? 1 : 0,
                reads ? stage.gbs : stage.gmacs, reads ? "GB/s" : "GMAC/s", stage.percent);
    if (reads) std::printf("   %.0f GMAC/s", stage.gmacs);
    std::printf("%s\n", Beside(before, stage.name, stage.ms).c_str());
  }
  const auto beyond = [](const Stage& stage) { return std::lround(stage.percent) > 100; };
  if (std::ranges::any_of(stages, beyond)) std::fputs(kBeyondLimits, stdout);
}

void PrintPicturesHeading() {
  std::printf("%9s %10s %11s %9s %8s %9s %12s %11s\n", "pictures", "rows/step", "pictures/s", "tokens/s",
              "GB/s", "VQ s each", "keys+values", "resident");
}

// `drawing` is an element of the document's "drawing".
void PrintPictures(const nlohmann::json& drawing, const EarlierRun* before) {
  const auto at = [&](const char* key) { return drawing[key].get<double>(); };
  const Stage stage = StagesOf({{"drawing", {drawing}}})[0];
  std::printf("%9.0f %10.1f %11.4f %9.1f %8.1f %9.2f %9.2f GB %8.2f GB%s\n", at("pictures"),
              at("rows_per_step"), at("pictures_per_second"), at("image_tokens_per_second"), at("gbs"),
              at("vq_seconds") / at("pictures"), at("cache_bytes") / 1e9, at("resident_bytes") / 1e9,
              Beside(before, stage.name, stage.ms).c_str());
  std::fflush(stdout);
}

nlohmann::json ToJson(const DrawingMeasurement& m, int64_t tokens_of_picture) {
  const auto count = static_cast<double>(m.pictures);
  return {{"pictures", m.pictures},
          {"seconds", m.seconds},
          {"pictures_per_second", count / m.seconds},
          {"image_tokens_per_second", count * static_cast<double>(tokens_of_picture) / m.seconds},
          {"rows_per_step", m.rows_per_step},
          {"decode_seconds", m.decode_seconds},
          {"vq_seconds", m.vq_seconds},
          {"gbs", m.bytes / m.decode_seconds / 1e9},
          {"cache_bytes", m.cache_bytes},
          {"resident_bytes", m.resident_bytes}};
}

// Each is told when it is there: they take minutes.
Result<nlohmann::json> MeasurePictures(const BenchOptions& options, Janus& janus, const EarlierRun* before) {
  nlohmann::json json = Describe(janus, janus.device().MeasureBandwidth());
  json["drawing"] = nlohmann::json::array();
  const bool tells = !options.json && !options.csv;
  if (tells) {
    PrintHeading(janus);
    std::printf("memory measured in this run: %.1f GB/s\n\n", json["bandwidth_gbs"].get<double>());
    PrintPicturesHeading();
  }
  for (const int pictures : options.pictures) {
    BIFRONS_TRY(const DrawingMeasurement m, MeasureDrawing(janus, pictures));
    json["drawing"].push_back(ToJson(m, janus.config().vq.tokens()));
    if (tells) PrintPictures(json["drawing"].back(), before);
  }
  return json;
}

nlohmann::json MeasureStages(const BenchOptions& options, Janus& janus) {
  const BenchmarkResult r =
      RunBenchmark(janus, {options.rows, options.position, options.prompt_tokens, options.repeats});
  nlohmann::json json = Describe(janus, r.bandwidth);
  json["weight_bytes"] = janus.step_bytes();
  json["gmacs_limit"] = r.mac_rate / 1e9;
  json["position"] = options.position;
  const auto of_arithmetic = [&](double seconds, double macs) -> nlohmann::json {
    return {{"ms", 1e3 * seconds},
            {"gmacs", macs / seconds / 1e9},
            {"percent", 100 * macs / seconds / r.mac_rate}};
  };
  json["prefill"] = of_arithmetic(r.prefill_seconds, r.prefill_macs);
  json["prefill"]["tokens"] = options.prompt_tokens;
  json["decode"] = nlohmann::json::array();
  for (const DecodeMeasurement& d : r.decode) {
    json["decode"].push_back({{"rows", d.rows},
                              {"ms", 1e3 * d.seconds},
                              {"gbs", d.bytes / d.seconds / 1e9},
                              {"percent", 100 * d.bytes / d.seconds / r.bandwidth},
                              {"gmacs", d.macs / d.seconds / 1e9},
                              {"gmacs_percent", 100 * d.macs / d.seconds / r.mac_rate}});
  }
  json["vq_decode_ms"] = 1e3 * r.vq_seconds;
  json["vq_decode"] = of_arithmetic(r.vq_seconds, r.vq_macs);
  if (r.image_seconds > 0) json["image"] = of_arithmetic(r.image_seconds, r.image_macs);
  return json;
}

// The earlier run's times beside today's.
nlohmann::json Comparison(const EarlierRun& before, const std::vector<Stage>& stages) {
  nlohmann::json all = nlohmann::json::array();
  for (const Stage& stage : stages) {
    if (const auto ms = before.MsOf(stage.name))
      all.push_back({{"stage", stage.name}, {"ms_before", *ms}, {"times_as_fast", *ms / stage.ms}});
  }
  return all;
}

}  // namespace

Result<int> RunBench(const BenchOptions& options) {
  std::optional<EarlierRun> earlier;
  if (!options.compare.empty()) {
    BIFRONS_TRY(earlier, EarlierRun::Read(options.compare));
  }
  const EarlierRun* const before = earlier ? &*earlier : nullptr;
  const bool whole = !options.pictures.empty();
  LoadOptions load = options.load;
  if (!whole) load.parts.understanding = true, load.skip_missing_parts = true;
  BIFRONS_TRY(const std::unique_ptr<Janus> janus, Janus::Load(load));
  const int64_t limit = janus->config().llama.max_positions;
  if (!whole && (options.position >= limit || options.prompt_tokens > limit)) {
    return UsageError("bench: --position and --prompt-tokens must stay below the model's " +
                      std::to_string(limit) + " positions");
  }
  nlohmann::json json;
  if (whole) {
    BIFRONS_TRY(json, MeasurePictures(options, *janus, before));
  } else {
    json = MeasureStages(options, *janus);
  }
  if (options.csv) {
    std::fputs(ToCsv(json, before).c_str(), stdout);
    return 0;
  }
  const std::vector<Stage> stages = StagesOf(json);
  if (options.json) {
    if (before) json["compared"] = Comparison(*before, stages);
    std::printf("%s\n", json.dump(2).c_str());
    return 0;
  }
  if (!whole) {
    PrintHeading(*janus);
    std::printf("limits measured in this run: %.1f GB/s over %.2f GB, %.0f GMAC/s\n\n",
                json["bandwidth_gbs"].get<double>(), static_cast<double>(janus->step_bytes()) / 1e9,
                json["gmacs_limit"].get<double>());
    PrintStages(stages, before);
  }
  if (const std::string other = before ? before->Differences(json) : ""; !other.empty())
    std::printf("\n%s differs from this run in: %s\n", options.compare.c_str(), other.c_str());
  return 0;
}

}  // namespace bifrons
