// "data:" URIs (RFC 2397): pictures inside a text.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

/// Whether a source is one; the scheme's case does not matter.
bool IsDataUri(std::string_view source);

/// data:[type][;parameter…][;base64],… The type is not looked at: pictures are told apart by their contents.
/// Base64 may be percent-encoded, wrapped, and without its '=' at the end. Errors (kBadData): no comma, a
/// character that is not base64, an incomplete end or escape, more than `max_bytes`.
Result<std::vector<uint8_t>> DecodeDataUri(std::string_view uri, int64_t max_bytes);

}  // namespace bifrons
