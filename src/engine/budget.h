// The memory that a scheduler shares out, and how many requests it lets run at once.
#pragma once

#include <cstdint>

#include "src/engine/admission.h"
#include "src/engine/scheduler.h"
#include "src/model/memory_plan.h"

namespace bifrons {

/// What admission may give to requests, of `available` bytes that are left once the model is loaded:
///
///   available                the device's free memory
///   − 1/kSpareShare of it    for what no plan knows of (memory_plan.h)
///   − working memory         rows' buffers, feature maps, pictures that wait to be taken, images looked at
///                            ahead: PlanWorkingMemory of the requests that may run at once
///   = bytes                  for keys and values, in use or kept, and the features of questions' images
///
/// Fewer requests may run at once than the options say where their working memory would leave too little
/// for one: whatever CheckMemory admitted before loading can run. `options.memory`, if set, is taken as it is
/// for keys, values and rows' buffers, in place of what is available.
Admission::Limits PlanLimits(const JanusConfig& config, Precision precision, const ModelParts& parts,
                             const SchedulerOptions& options, uint64_t available);

}  // namespace bifrons
