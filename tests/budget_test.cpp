// What admission may give away: all of what is left and never more, and enough for whatever was let in.
#include "src/engine/budget.h"

#include <catch2/catch.hpp>

#include "src/model/memory_plan.h"
#include "src/model/weight_source.h"

namespace bifrons {
namespace {

constexpr uint64_t kGibibyte = uint64_t{1} << 30;

ModelParts BothHalves() {
  ModelParts parts;
  parts.understanding = true;
  return parts;
}

// What CheckMemory needs at least, to a megabyte.
uint64_t LeastMemory(const WeightSource& source, DType compute, const ModelParts& parts, bool keeps_tables) {
  uint64_t refused = 0, admitted = 64 * kGibibyte;
  REQUIRE(CheckMemory(source, compute, parts, admitted, keeps_tables).ok());
  while (admitted - refused > (uint64_t{1} << 20)) {
    const uint64_t middle = refused + (admitted - refused) / 2;
    (CheckMemory(source, compute, parts, middle, keeps_tables).ok() ? admitted : refused) = middle;
  }
  return admitted;
}

TEST_CASE("whatever was let in before loading can run after it, and the sum never exceeds what there is") {
  const char* name = GENERATE("random:janus-pro-1b", "random:janus-pro-7b", "random:janus-1.3b");
  const DType compute = GENERATE(DType::kBF16, DType::kF32);
  const ModelParts parts = GENERATE(ModelParts{}, BothHalves(), kUnderstandingParts);
  const bool keeps_tables = GENERATE(true, false);
  const auto source = OpenWeights(name);
  REQUIRE(source.ok());
  const JanusConfig& config = (*source)->config();
  const MemoryPlan one = PlanMemory(**source, compute, parts, 1);
  const uint64_t loaded = one.weights - (keeps_tables ? 0 : one.tables);
  const uint64_t least = LeastMemory(**source, compute, parts, keeps_tables);
  for (const uint64_t machine :
       {least, least + (uint64_t{1} << 26), least + kGibibyte, 2 * least, 8 * least}) {
    for (const int64_t at_once : {1, 16, 4096}) {
      CAPTURE(name, NameOf(compute), parts.drawing, parts.understanding, keeps_tables, machine, at_once);
      const uint64_t left = machine - loaded;
      const auto limits = PlanLimits(config, compute, parts, {.pictures = at_once, .answers = at_once}, left);
      CHECK(limits.pictures >= 1);
      CHECK(limits.answers >= 1);
      CHECK(limits.pictures <= at_once);
      CHECK(limits.answers <= at_once);
      const uint64_t working =
          PlanWorkingMemory(config, compute, parts, limits.pictures, limits.answers).total();
      CHECK(limits.bytes + working == WithoutSpare(left));
      if (parts.drawing)
        CHECK(limits.bytes >=
              PictureCacheBytes(config.llama, compute, kPlannedPromptTokens, config.vq.tokens()));
      if (parts.understanding)
        CHECK(limits.bytes >= PlannedAnswerCacheBytes(config, compute) + FeatureBytes(config));
    }
  }
}

TEST_CASE("what a loaded model leaves is not halved again") {
  const auto source = OpenWeights("random:janus-pro-7b");
  REQUIRE(source.ok());
  const MemoryPlan plan = PlanMemory(**source, DType::kBF16, {}, 1);
  const uint64_t left = 16 * kGibibyte - plan.weights;
  const auto limits = PlanLimits((*source)->config(), DType::kBF16, {}, {}, left);
  CHECK(limits.bytes > left * 3 / 4);
  CHECK(limits.bytes < left);
}

TEST_CASE("an explicit amount is for keys, values and rows, and few enough requests run to use it") {
  const auto source = OpenWeights("random:janus-pro-1b");
  REQUIRE(source.ok());
  const JanusConfig& config = (*source)->config();
  const auto limits = [&](size_t memory) {
    return PlanLimits(config, DType::kBF16, {}, {.memory = memory}, memory);
  };
  const size_t plenty = size_t{6} << 30;
  CHECK(limits(plenty).bytes ==
        plenty - PlanWorkingMemory(config, DType::kBF16, {}, kDefaultPictures, kDefaultAnswers).rows);
  CHECK(limits(plenty).pictures == kDefaultPictures);
  const uint64_t picture = PictureCacheBytes(config.llama, DType::kBF16, 64, config.vq.tokens());
  const uint64_t rows = PlanWorkingMemory(config, DType::kBF16, {}, 1, 1).rows;
  CHECK(limits(picture + rows).bytes == picture);
  CHECK(limits(picture + rows).pictures == 1);
  CHECK(limits(1).bytes == 0);
}

}  // namespace
}  // namespace bifrons
