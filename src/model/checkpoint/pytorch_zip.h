// torch.save's archive since PyTorch 1.6: <name>/data.pkl, <name>/data/<key>, <name>/byteorder.
// torch/serialization.py: _save, _load
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "src/base/result.h"
#include "src/model/checkpoint/checkpoint.h"

namespace bifrons {

/// Tensors point into `bytes`, with no promise of alignment. Every element that sizes and strides can name
/// lies within the tensor's storage. A tensor with more elements than its storage (expanded: stride 0) is
/// kept as not loadable. `file` is for messages.
Result<TensorMap> ReadPytorchZip(std::span<const uint8_t> bytes, const std::string& file);

}  // namespace bifrons
