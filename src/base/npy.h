// NumPy's .npy files: how codes, ids and logits leave and enter the program.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "src/base/result.h"
#include "src/base/tensor.h"

namespace bifrons {

/// Reads little-endian int32, int64 (values must fit int32) or float32 in C order, rank 1–4.
Result<Tensor> ReadNpy(const std::string& path);

/// The same from the file's bytes; `path` is for messages.
Result<Tensor> ParseNpy(std::span<const uint8_t> bytes, const std::string& path);

/// Writes f32 or i32, version 1.0, atomically.
Status WriteNpy(const std::string& path, TensorView tensor);

}  // namespace bifrons
