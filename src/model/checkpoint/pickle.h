// The tensors that a pickle of torch.save describes. Nothing of the pickle is ever run.
// Opcodes: CPython's Lib/pickletools.py; globals: torch/_utils.py (_rebuild_tensor_v2 and its kin).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/base/dtype.h"
#include "src/base/result.h"

namespace bifrons {

/// A view of a storage, both as the pickle claims them: nothing here has been compared with any bytes. Counts
/// are not negative.
struct PickledTensor {
  std::string name;
  std::string type;       // "BFloat16Storage", or torch's dtype when the storage has no type: "uint16"
  bool loadable = false;  // type is one of f32, bf16, f16: `dtype` holds
  DType dtype = DType::kF32;
  uint64_t element_size = 0;  // bytes; 0: of a type that we do not know
  std::string storage;        // its key: entry data/<key> of the archive
  uint64_t storage_bytes = 0;
  int64_t offset = 0;  // in elements
  std::vector<int64_t> dims;
  std::vector<int64_t> strides;  // in elements
};

/// Reads protocols 2 to 5. The outermost object must be a dict of tensors, or a dict that holds one under
/// "state_dict", "model" or "module"; values that are no tensors are skipped. A global that is not part of a
/// tensor is an error that names it. Memory and time are bounded by the pickle's length: what it references
/// twice is shared. Messages begin with `file`.
Result<std::vector<PickledTensor>> ReadPickledTensors(std::span<const uint8_t> pickle,
                                                      const std::string& file);

}  // namespace bifrons
