#include "src/engine/benchmark.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "src/base/available_memory.h"
#include "src/base/seconds_since.h"
#include "src/base/stop.h"
#include "src/engine/image_codes.h"
#include "src/engine/prefill.h"
#include "src/engine/scheduler.h"

namespace bifrons {
namespace {

// Of what `body` gives to `queue`.
template <class Body>
double MedianSeconds(int repeats, Queue& queue, const Body& body) {
  const auto run = [&] {
    body();
    queue.Wait(queue.Record());
  };
  run();  // first use allocates buffers and lets libraries choose kernels
  std::vector<double> times;
  for (int i = 0; i < repeats; i++) {
    const auto start = std::chrono::steady_clock::now();
    run();
    times.push_back(SecondsSince(start));
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

// Codes all over the codebook.
std::vector<int32_t> SomeCodes(Janus& janus, int64_t count) {
  std::vector<int32_t> codes(static_cast<size_t>(count));
  for (size_t i = 0; i < codes.size(); i++)
    codes[i] = static_cast<int32_t>((7919 * i) % static_cast<size_t>(janus.config().vq.codebook_size));
  return codes;
}

// What stands in the caches does not matter for time, but it must be numbers: subnormals and NaNs are slow.
void FillCache(Janus& janus, KvCache& cache, int64_t positions) {
  const LlamaConfig& config = janus.config().llama;
  Queue& queue = janus.steps();
  const DeviceTensor numbers =
      janus.device().NewTensor(DType::kF32, {positions, config.kv_heads * config.head_dim});
  queue.Fill(numbers.view(), 0.011f);
  cache.PrepareWrite(0, positions);
  const KvSpan span{positions, 0, cache.pages()};
  const auto batch = queue.MakeBatch(cache.pool()->pages(), {&span, 1});
  for (int64_t l = 0; l < config.layers; l++) queue.StoreKv(numbers.view(), numbers.view(), *batch, l);
}

DecodeMeasurement MeasureDecode(Janus& janus, int64_t rows, const BenchmarkSettings& settings) {
  const JanusConfig& config = janus.config();
  const int64_t pictures = (rows + 1) / 2, hidden = config.llama.hidden;
  Queue& queue = janus.steps();
  const auto pool = janus.MakeKvPool();
  std::vector<KvCache> caches;
  std::vector<SequenceSpan> spans;
  for (int64_t r = 0; r < rows; r++) caches.emplace_back(pool, settings.position + 1);
  for (KvCache& cache : caches) {
    FillCache(janus, cache, settings.position + 1);
    spans.push_back({&cache, settings.position, 1, RowClass::kDecode});
  }
  std::vector<int32_t> picture_of(static_cast<size_t>(rows));
  for (size_t r = 0; r < picture_of.size(); r++) picture_of[r] = static_cast<int32_t>(r / 2);
  const auto floats = [&](int64_t n, int64_t width) {
    return janus.device().NewTensor(DType::kF32, {n, width});
  };
  const DeviceTensor codes = Uploaded(janus, queue, SomeCodes(janus, pictures));
  const DeviceTensor embedded = floats(pictures, hidden), x = floats(rows, hidden);
  const DeviceTensor logits = floats(rows, config.vq.codebook_size);

  DecodeMeasurement m;
  m.rows = rows;
  m.seconds = MedianSeconds(settings.repeats, queue, [&] {
    janus.EmbedImageTokens(queue, codes.view(), embedded.view());
    queue.CopyRows(embedded.view(), picture_of, x.view());
    janus.llama().Forward(queue, spans, x.view());
    janus.ImageLogits(queue, x.view(), logits.view());
  });
  m.bytes =
      static_cast<double>(janus.step_bytes()) +
      static_cast<double>(rows) * static_cast<double>(pool->pages().shape().Bytes(settings.position + 1));
  m.macs = static_cast<double>(rows) * (LayerMacs(config.llama) + HeadMacs(config));
  return m;
}

void MeasureImage(Janus& janus, const BenchmarkSettings& settings, BenchmarkResult& result) {
  const SiglipConfig& vision = janus.config().vision;
  const ProjectorConfig& aligner = janus.config().aligner;
  Tensor pixels(DType::kF32, {3, vision.image_size, vision.image_size});
  for (int64_t i = 0; i < pixels.shape().elements(); i++)
    pixels.as<float>()[i] = static_cast<float>((7919 * i) % 256) / 127.5f - 1;
  result.image_seconds = MedianSeconds(settings.repeats, janus.images(),
                                       [&] { janus.AlignFeatures(janus.SeePixels(pixels.view()).view()); });
  const int64_t row = aligner.input * aligner.output + (aligner.depth - 1) * aligner.output * aligner.output;
  result.image_macs = static_cast<double>(janus.siglip().Macs() + vision.patches() * row);
}

}  // namespace

BenchmarkResult RunBenchmark(Janus& janus, const BenchmarkSettings& settings) {
  const JanusConfig& config = janus.config();
  BenchmarkResult result;
  result.bandwidth = janus.device().MeasureBandwidth();
  result.mac_rate = janus.device().MeasureMacRate(janus.compute());

  const std::vector<int32_t> ids(static_cast<size_t>(settings.prompt_tokens), 1);
  KvCache cache(janus.MakeKvPool(), settings.prompt_tokens);
  const DeviceTensor last = janus.device().NewTensor(DType::kF32, {1, config.llama.hidden});
  result.prefill_seconds =
      MedianSeconds(settings.repeats, janus.steps(), [&] { Prefill(janus, ids, {}, 0, cache, last.view()); });
  result.prefill_macs = static_cast<double>(settings.prompt_tokens) * LayerMacs(config.llama);

  for (const int rows : settings.rows) result.decode.push_back(MeasureDecode(janus, rows, settings));

  const DeviceTensor codes = Uploaded(janus, janus.images(), SomeCodes(janus, config.vq.tokens()));
  result.vq_seconds =
      MedianSeconds(settings.repeats, janus.images(), [&] { DecodePixels(janus, codes.view()); });
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
  m.seconds = SecondsSince(start);
  const SchedulerStats stats = scheduler.stats();
  m.decode_seconds = stats.decode_seconds, m.vq_seconds = stats.vq_seconds;
  m.rows_per_step = stats.rows_per_step();
  m.bytes = static_cast<double>(stats.bytes_read);
  m.cache_bytes = stats.most_cache_bytes, m.resident_bytes = MostResidentMemory();
  return m;
}

}  // namespace bifrons
