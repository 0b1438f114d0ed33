// The measurements behind `bench`: stages of drawing and seeing, and the limits of the machine they run on.
#pragma once

#include <cstdint>
#include <vector>

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
  double bandwidth = 0;  // bytes/s over an arena as large as a step's weights
  double mac_rate = 0;   // MAC/s of the arithmetic used
  double prefill_seconds = 0, prefill_macs = 0;
  std::vector<DecodeMeasurement> decode;
  double vq_seconds = 0, vq_macs = 0;
  double image_seconds = 0, image_macs = 0;  // vision tower and aligner; 0 without the understanding half
};

BenchmarkResult RunBenchmark(Janus& janus, const BenchmarkSettings& settings);

}  // namespace bifrons
