// safetensors: 8 bytes of header length, a JSON header, the tensors' bytes.
// Format: github.com/huggingface/safetensors, README and safetensors/src/tensor.rs (Metadata::validate).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "src/base/result.h"
#include "src/model/checkpoint/checkpoint.h"

namespace bifrons {

/// As strict as the official reader: the tensors cover the data without holes or overlaps, in any order;
/// stricter where it is silent: a name that stands twice is an error. A type it does not know is kept as not
/// loadable. Tensors point into `bytes`, with no promise of alignment. `file` is for messages.
Result<TensorMap> ReadSafetensors(std::span<const uint8_t> bytes, const std::string& file);

}  // namespace bifrons
