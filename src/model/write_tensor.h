// Tensors' bytes into files.
#pragma once

#include <algorithm>

#include "src/base/atomic_file.h"
#include "src/base/stop.h"
#include "src/base/tensor.h"

namespace bifrons {

/// In pieces. Errors: AtomicFile::Write's, Interrupted().
inline Status WriteTensor(const TensorView& tensor, AtomicFile& file) {
  constexpr size_t kPiece = 8 << 20;  // bytes, written between two looks at whether to stop
  for (size_t at = 0; at < tensor.bytes(); at += kPiece) {
    if (StopRequested()) return Interrupted();
    BIFRONS_RETURN_IF_ERROR(
        file.Write({static_cast<const uint8_t*>(tensor.data) + at, std::min(kPiece, tensor.bytes() - at)}));
  }
  return {};
}

}  // namespace bifrons
