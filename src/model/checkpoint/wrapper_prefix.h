// What training programs put before every tensor's name.
#pragma once

#include <string>

#include "src/model/checkpoint/checkpoint.h"

namespace bifrons {

/// The prefix, as a rule empty, that all names have from wrappers around the model, one or several within
/// each other: "_orig_mod." (torch.compile), "module." (DistributedDataParallel, AveragedModel),
/// "base_model.model." (PEFT). Tensors without dimensions, which are a wrapper's own counters, may lack it.
std::string WrapperPrefixOf(const TensorMap& tensors);

}  // namespace bifrons
