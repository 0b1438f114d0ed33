// An input as the lines of a file, as LineVisitor is told about them.
#pragma once

#include <cstdint>
#include <string_view>

#include "src/base/line_file.h"

namespace bifrons {

/// Until the visitor refuses one. A last line without a line break counts as well.
inline void VisitLines(std::string_view text, const LineVisitor& visit) {
  int64_t number = 1;
  for (size_t at = 0; at < text.size(); number++) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (end > at && !visit(text.substr(at, end - at), number, static_cast<int64_t>(at)).ok()) return;
    at = end + 1;
  }
}

}  // namespace bifrons
