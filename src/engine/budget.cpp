#include "src/engine/budget.h"

#include <algorithm>

#include "src/model/kv_pool.h"
#include "src/model/memory_plan.h"

namespace bifrons {

Admission::Limits PlanLimits(const JanusConfig& config, Precision precision, const ModelParts& parts,
                             const SchedulerOptions& options, uint64_t available) {
  const uint64_t memory = options.memory > 0 ? options.memory : WithoutSpare(available);
  // The request of the plan that CheckMemory looks at.
  const uint64_t picture =
      parts.drawing ? PictureCacheBytes(config.llama, precision.kv, kPlannedPromptTokens, config.vq.tokens())
                    : 0;
  const uint64_t answer = parts.understanding ? PlannedAnswerCacheBytes(config, precision.kv) : 0;
  const uint64_t one = std::max(picture, answer + (answer > 0 ? FeatureBytes(config) : 0));

  Admission::Limits limits{.pictures = options.pictures, .answers = options.answers};
  const auto working = [&] {
    const WorkingMemory all =
        PlanWorkingMemory(config, precision.compute, parts, limits.pictures, limits.answers);
    return options.memory > 0 ? all.rows : all.total();
  };
  while ((limits.pictures > 1 || limits.answers > 1) && working() + one > memory) {
    limits.pictures = std::max<int64_t>(1, limits.pictures / 2);
    limits.answers = std::max<int64_t>(1, limits.answers / 2);
  }
  limits.bytes = memory - std::min(memory, working());
  if (parts.understanding && parts.drawing) limits.kept_for_answers = std::min(limits.bytes / 4, answer);
  return limits;
}

}  // namespace bifrons
