// bifrons bench: measure, and print against the limits measured in the same run.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "kernels/device.h"
#include "src/cli/commands.h"
#include "src/engine/benchmark.h"

namespace bifrons {
namespace {

// The type of the matrices that a step reads, as nearly all of them have it.
const char* WeightsOf(const Janus& janus) { return NameOf(janus.source().TypeOf("llama.layers.0.q")); }

Result<int> BenchPictures(const BenchOptions& options) {
  BIFRONS_TRY(const std::unique_ptr<Janus> janus, Janus::Load(options.load));
  const double bandwidth = janus->device().MeasureBandwidth();
  nlohmann::json all = nlohmann::json::array();
  if (!options.json) {
    std::printf("%s; %s in %s, %s, %s, %d threads; %.1f GB/s\n\n", janus->device().name().c_str(),
                janus->name().c_str(), WeightsOf(*janus), janus->device().isa().c_str(),
                NameOf(janus->compute()), janus->device().threads(), bandwidth / 1e9);
    std::printf("%9s %10s %11s %9s %8s %9s %12s %11s\n", "pictures", "rows/step", "pictures/s", "tokens/s",
                "GB/s", "VQ s each", "keys+values", "resident");
  }
  for (const int pictures : options.pictures) {
    BIFRONS_TRY(const DrawingMeasurement m, MeasureDrawing(*janus, pictures));
    const auto count = static_cast<double>(m.pictures);
    const double tokens = count * static_cast<double>(janus->config().vq.tokens());
    const double read = m.bytes / m.decode_seconds / 1e9;
    if (options.json) {
      all.push_back({{"pictures", m.pictures},
                     {"seconds", m.seconds},
                     {"pictures_per_second", count / m.seconds},
                     {"image_tokens_per_second", tokens / m.seconds},
                     {"rows_per_step", m.rows_per_step},
                     {"decode_seconds", m.decode_seconds},
                     {"vq_seconds", m.vq_seconds},
                     {"gbs", read},
                     {"cache_bytes", m.cache_bytes},
                     {"resident_bytes", m.resident_bytes}});
      continue;
    }
    std::printf("%9d %10.1f %11.4f %9.1f %8.1f %9.2f %9.2f GB %8.2f GB\n", pictures, m.rows_per_step,
                count / m.seconds, tokens / m.seconds, read, m.vq_seconds / count,
                static_cast<double>(m.cache_bytes) / 1e9, static_cast<double>(m.resident_bytes) / 1e9);
    std::fflush(stdout);
  }
  if (options.json) {
    const nlohmann::json json = {{"processor", janus->device().name()},  {"isa", janus->device().isa()},
                                 {"threads", janus->device().threads()}, {"model", janus->name()},
                                 {"weights", WeightsOf(*janus)},         {"dtype", NameOf(janus->compute())},
                                 {"bandwidth_gbs", bandwidth / 1e9},     {"drawing", all}};
    std::printf("%s\n", json.dump(2).c_str());
  }
  return 0;
}

}  // namespace

Result<int> RunBench(const BenchOptions& options) {
  if (!options.pictures.empty()) return BenchPictures(options);
  LoadOptions load = options.load;
  load.parts.understanding = true;
  load.skip_missing_parts = true;
  BIFRONS_TRY(const std::unique_ptr<Janus> janus, Janus::Load(load));
  const int64_t limit = janus->config().llama.max_positions;
  if (options.position >= limit || options.prompt_tokens > limit) {
    return UsageError("bench: --position and --prompt-tokens must stay below the model's " +
                      std::to_string(limit) + " positions");
  }
  const BenchmarkResult r =
      RunBenchmark(*janus, {options.rows, options.position, options.prompt_tokens, options.repeats});
  const auto percent = [](double rate, double most) { return 100 * rate / most; };
  const double prefill_rate = r.prefill_macs / r.prefill_seconds, vq_rate = r.vq_macs / r.vq_seconds;

  if (options.json) {
    nlohmann::json json = {{"processor", janus->device().name()},
                           {"device", janus->device().backend()},
                           {"isa", janus->device().isa()},
                           {"threads", janus->device().threads()},
                           {"model", janus->name()},
                           {"weights", WeightsOf(*janus)},
                           {"dtype", NameOf(janus->compute())},
                           {"weight_bytes", janus->step_bytes()},
                           {"bandwidth_gbs", r.bandwidth / 1e9},
                           {"gmacs_limit", r.mac_rate / 1e9},
                           {"position", options.position}};
    json["prefill"] = {{"tokens", options.prompt_tokens},
                       {"ms", 1e3 * r.prefill_seconds},
                       {"gmacs", prefill_rate / 1e9},
                       {"percent", percent(prefill_rate, r.mac_rate)}};
    json["decode"] = nlohmann::json::array();
    for (const DecodeMeasurement& d : r.decode) {
      json["decode"].push_back({{"rows", d.rows},
                                {"ms", 1e3 * d.seconds},
                                {"gbs", d.bytes / d.seconds / 1e9},
                                {"percent", percent(d.bytes / d.seconds, r.bandwidth)},
                                {"gmacs", d.macs / d.seconds / 1e9},
                                {"gmacs_percent", percent(d.macs / d.seconds, r.mac_rate)}});
    }
    json["vq_decode_ms"] = 1e3 * r.vq_seconds;
    json["vq_decode"] = {
        {"ms", 1e3 * r.vq_seconds}, {"gmacs", vq_rate / 1e9}, {"percent", percent(vq_rate, r.mac_rate)}};
    if (r.image_seconds > 0) {
      const double rate = r.image_macs / r.image_seconds;
      json["image"] = {
          {"ms", 1e3 * r.image_seconds}, {"gmacs", rate / 1e9}, {"percent", percent(rate, r.mac_rate)}};
    }
    std::printf("%s\n", json.dump(2).c_str());
    return 0;
  }

  std::printf("%s; %s in %s, %s, %s, %d threads\n", janus->device().name().c_str(), janus->name().c_str(),
              WeightsOf(*janus), janus->device().isa().c_str(), NameOf(janus->compute()),
              janus->device().threads());
  std::printf("limits measured in this run: %.1f GB/s over %.2f GB, %.0f GMAC/s\n\n", r.bandwidth / 1e9,
              static_cast<double>(janus->step_bytes()) / 1e9, r.mac_rate / 1e9);
  std::printf("%-28s %10s %10s %10s\n", "stage", "ms", "rate", "of limit");
  std::printf("%-28s %10.2f %5.0f GMAC/s %6.0f %%\n",
              ("prefill, " + std::to_string(options.prompt_tokens) + " tokens").c_str(),
              1e3 * r.prefill_seconds, prefill_rate / 1e9, percent(prefill_rate, r.mac_rate));
  for (const DecodeMeasurement& d : r.decode) {
    std::printf("%-28s %10.2f %5.1f GB/s   %6.0f %%   %.0f GMAC/s, %.0f %%\n",
                ("decode step, " + std::to_string(d.rows) + " rows").c_str(), 1e3 * d.seconds,
                d.bytes / d.seconds / 1e9, percent(d.bytes / d.seconds, r.bandwidth),
                d.macs / d.seconds / 1e9, percent(d.macs / d.seconds, r.mac_rate));
  }
  std::printf("%-28s %10.2f %5.0f GMAC/s %6.0f %%\n", "VQ decode, one picture", 1e3 * r.vq_seconds,
              vq_rate / 1e9, percent(vq_rate, r.mac_rate));
  if (r.image_seconds > 0) {
    const double rate = r.image_macs / r.image_seconds;
    std::printf("%-28s %10.2f %5.0f GMAC/s %6.0f %%\n", "seeing, one image", 1e3 * r.image_seconds,
                rate / 1e9, percent(rate, r.mac_rate));
  }
  return 0;
}

}  // namespace bifrons
