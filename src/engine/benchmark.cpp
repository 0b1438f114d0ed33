#include "src/engine/benchmark.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>

#include "kernels/limits.h"
#include "src/base/available_memory.h"
#include "src/base/stop.h"
#include "src/engine/prefill.h"
#include "src/engine/scheduler.h"

namespace bifrons {
namespace {

template <class Body>
double MedianSeconds(int repeats, const Body& body) {
  body();  // first use allocates buffers and lets libraries choose kernels
  std::vector<double> times;
  for (int i = 0; i < repeats; i++) {
    const auto start = std::chrono::steady_clock::now();
    body();
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + repeats / 2, times.end());
  return times[static_cast<size_t>(repeats / 2)];
}

// Multiplications of one row by all layers' matrices.
double LayerMacs(const LlamaConfig& c) {
  const double attention = static_cast<double>((2 * c.heads + 2 * c.kv_heads) * c.head_dim * c.hidden);
  return static_cast<double>(c.layers) * (attention + 3.0 * static_cast<double>(c.hidden * c.intermediate));
}

double HeadMacs(const JanusConfig& c) {
  return static_cast<double>(c.gen_head_hidden * (c.llama.hidden + c.vq.codebook_size));
}

DecodeMeasurement MeasureDecode(Janus& janus, int64_t rows, const BenchmarkSettings& settings) {
  const JanusConfig& config = janus.config();
  const int64_t pictures = (rows + 1) / 2;
  std::vector<KvCache> caches;
  std::vector<SequenceSpan> spans;
  for (int64_t r = 0; r < rows; r++)
    caches.emplace_back(config.llama, janus.kv_type(), settings.position + 1);
  // What stands in the caches does not matter for time, but it must be numbers: subnormals and NaNs are slow.
  for (KvCache& cache : caches) {
    cache.Reserve(settings.position + 1);
    for (uint8_t* page : cache.layer(0).pages) {
      std::memset(page, 0x3C, cache.pool()->page_bytes());  // about 0.011 in either type
    }
    spans.push_back({&cache, settings.position, 1, RowClass::kDecode});
  }
  std::vector<int32_t> codes(static_cast<size_t>(pictures));
  for (size_t i = 0; i < codes.size(); i++)
    codes[i] = static_cast<int32_t>((7919 * i) % static_cast<size_t>(config.vq.codebook_size));
  Tensor embedded(DType::kF32, {pictures, config.llama.hidden}), x(DType::kF32, {rows, config.llama.hidden});
  Tensor logits(DType::kF32, {rows, config.vq.codebook_size});

  DecodeMeasurement m;
  m.rows = rows;
  m.seconds = MedianSeconds(settings.repeats, [&] {
    janus.EmbedImageTokens(codes, embedded.as<float>());
    for (int64_t r = 0; r < rows; r++) {
      std::memcpy(x.as<float>() + r * config.llama.hidden, embedded.as<float>() + r / 2 * config.llama.hidden,
                  static_cast<size_t>(config.llama.hidden) * sizeof(float));
    }
    janus.llama().Forward(spans, x.as<float>());
    janus.ImageLogits(x.as<float>(), rows, logits.as<float>());
  });
  m.bytes = static_cast<double>(janus.step_bytes()) +
            static_cast<double>(rows) *
                static_cast<double>(KvCache::Bytes(config.llama, janus.kv_type(), settings.position + 1));
  m.macs = static_cast<double>(rows) * (LayerMacs(config.llama) + HeadMacs(config));
  return m;
}

void MeasureImage(Janus& janus, const BenchmarkSettings& settings, BenchmarkResult& result) {
  const SiglipConfig& vision = janus.config().vision;
  const ProjectorConfig& aligner = janus.config().aligner;
  Tensor pixels(DType::kF32, {3, vision.image_size, vision.image_size});
  for (int64_t i = 0; i < pixels.shape().elements(); i++)
    pixels.as<float>()[i] = static_cast<float>((7919 * i) % 256) / 127.5f - 1;
  result.image_seconds = MedianSeconds(
      settings.repeats, [&] { janus.AlignFeatures(janus.siglip().Encode(janus.pool(), pixels.view())); });
  const int64_t row = aligner.input * aligner.output + (aligner.depth - 1) * aligner.output * aligner.output;
  result.image_macs = static_cast<double>(janus.siglip().Macs() + vision.patches() * row);
}

}  // namespace

BenchmarkResult RunBenchmark(Janus& janus, const BenchmarkSettings& settings) {
  const JanusConfig& config = janus.config();
  BenchmarkResult result;
  result.bandwidth = MeasureBandwidth(janus.pool());
  result.mac_rate = MeasureMacRate(janus.pool(), janus.ops(), janus.compute());

  const std::vector<int32_t> ids(static_cast<size_t>(settings.prompt_tokens), 1);
  KvCache cache(config.llama, janus.kv_type(), settings.prompt_tokens);
  std::vector<float> last(static_cast<size_t>(config.llama.hidden));
  result.prefill_seconds =
      MedianSeconds(settings.repeats, [&] { Prefill(janus, ids, {}, 0, cache, last.data()); });
  result.prefill_macs = static_cast<double>(settings.prompt_tokens) * LayerMacs(config.llama);

  for (const int rows : settings.rows) result.decode.push_back(MeasureDecode(janus, rows, settings));

  std::vector<int32_t> codes(static_cast<size_t>(config.vq.tokens()));
  for (size_t i = 0; i < codes.size(); i++)
    codes[i] = static_cast<int32_t>((7919 * i) % static_cast<size_t>(config.vq.codebook_size));
  result.vq_seconds = MedianSeconds(settings.repeats, [&] {
    const auto pixels = janus.vq().Decode(janus.pool(), codes);
    BIFRONS_CHECK(pixels.ok());
  });
  result.vq_macs = static_cast<double>(janus.vq().ConvolutionMacs());
  if (janus.parts().understanding) MeasureImage(janus, settings, result);
  return result;
}

Result<DrawingMeasurement> MeasureDrawing(Janus& janus, int64_t pictures) {
  Sampling sampling;
  sampling.guidance = janus.config().guidance_default;
  std::vector<DrawRequest> requests;
  for (int64_t i = 0; i < pictures; i++)
    requests.push_back(
        {"a lighthouse in a storm, number " + std::to_string(i), static_cast<uint64_t>(i), sampling});
  SchedulerOptions options;
  options.pictures = pictures;
  const auto start = std::chrono::steady_clock::now();
  Scheduler scheduler(janus, options);
  const auto progress = [](const DrawProgress&) { return !StopRequested(); };
  BIFRONS_RETURN_IF_ERROR(
      DrawEach(scheduler, requests, progress, [](size_t, const DrawnPicture&) { return Status(); }));
  DrawingMeasurement m;
  m.pictures = pictures;
  m.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const SchedulerStats stats = scheduler.stats();
  m.decode_seconds = stats.decode_seconds, m.vq_seconds = stats.vq_seconds;
  m.rows_per_step = stats.rows_per_step();
  m.bytes = static_cast<double>(stats.bytes_read);
  m.cache_bytes = stats.most_cache_bytes, m.resident_bytes = MostResidentMemory();
  return m;
}

}  // namespace bifrons
