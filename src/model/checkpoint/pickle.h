// The tensors that a pickle of torch.save describes. Nothing of the pickle is ever run.
// Opcodes: CPython's Lib/pickletools.py; globals: torch/_utils.py (_rebuild_tensor_v2 and its kin).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/dtype.h"
#include "src/base/result.h"

namespace bifrons {

/// A view of a storage, both as the pickle claims them: nothing here has been compared with any bytes. Counts
/// are not negative. Texts point into the pickle.
struct PickledTensor {
  std::string_view name;
  std::string_view type;  // "BFloat16Storage", or torch's dtype when the storage has no type: "uint16"
  bool loadable = false;  // type is one of f32, bf16, f16: `dtype` holds
  DType dtype = DType::kF32;
  uint64_t element_size = 0;  // bytes; 0: of a type that we do not know
  std::string_view storage;   // its key: entry data/<key> of the archive
  uint64_t storage_bytes = 0;
  int64_t offset = 0;  // in elements
  std::vector<int64_t> dims;
  std::vector<int64_t> strides;  // in elements
};

/// Larger pickles are refused. A model of 10,000 tensors needs 2 MB.
constexpr size_t kMaxPickleBytes = size_t{32} << 20;
/// More than that are refused; a model of 10,000 tensors makes 0.2 million.
constexpr size_t kMaxPickleObjects = 1'000'000;
/// More than that are refused.
constexpr size_t kMaxPickledTensors = 100'000;

/// Reads protocols 2 to 5. The outermost object must be a dict of tensors, or a dict that holds one under
/// "state_dict", "model" or "module"; values that are no tensors are skipped. A global that is not part of a
/// tensor is an error that names it. What the pickle references twice is shared, so that time is bounded by
/// its length, and memory by four bytes for every one of it and 100 MB for as many objects as there may be.
/// Messages begin with `file`.
Result<std::vector<PickledTensor>> ReadPickledTensors(std::span<const uint8_t> pickle,
                                                      const std::string& file);

}  // namespace bifrons
