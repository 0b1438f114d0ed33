// The measurements behind `bench`: stages of drawing and seeing, and the limits of the machine they run on.
#pragma once

#include <cstdint>
#include <vector>

#include "src/base/result.h"
#include "src/model/janus.h"

namespace bifrons {

struct BenchmarkSettings {
  std::vector<int> rows;  // of decode steps
  int64_t position = 0;   // cached positions before the step
  int64_t prompt_tokens = 0;
  int repeats = 1;  // the median counts
};

struct DecodeMeasurement {
  int64_t rows = 0;
  double seconds = 0;  // one step: embedding, layers, generation head
  double bytes = 0;    // weights and caches read
  double macs = 0;
};

struct BenchmarkResult {
  double bandwidth = 0;  // bytes/s read from memory
  double mac_rate = 0;   // MAC/s of the arithmetic used
  double prefill_seconds = 0, prefill_macs = 0;
  std::vector<DecodeMeasurement> decode;
  double vq_seconds = 0, vq_macs = 0;
  double image_seconds = 0, image_macs = 0;  // vision tower and aligner; 0 without the understanding half
};

BenchmarkResult RunBenchmark(Janus& janus, const BenchmarkSettings& settings);

/// Whole pictures through the scheduler, from prompts to pixels.
struct DrawingMeasurement {
  int64_t pictures = 0;                       // drawn at once
  double seconds = 0;                         // of all of them, VQ decoding included
  double decode_seconds = 0, vq_seconds = 0;  // of these: steps, VQ decoding beside and after them
  double rows_per_step = 0;
  double bytes = 0;           // weights and caches read by the steps
  size_t cache_bytes = 0;     // keys and values at most
  size_t resident_bytes = 0;  // the process's, at most so far
};

/// Draws so many pictures of different prompts at once.
Result<DrawingMeasurement> MeasureDrawing(Janus& janus, int64_t pictures);

}  // namespace bifrons
