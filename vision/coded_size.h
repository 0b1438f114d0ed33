// The size of a picture as its codec's own header says it, before anything is decoded.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace bifrons {

struct CodedSize {
  uint64_t width = 0, height = 0;  // pixels
  bool operator==(const CodedSize&) const = default;
};

/// Of the sequence parameter set in the contents of a box "hvcC" (ISO 14496-15, 8.3.3), less what its
/// conformance window crops. Time is linear. Nothing where there is none.
std::optional<CodedSize> HevcCodedSize(std::span<const uint8_t> configuration);

/// Of the sequence header among the first of these OBUs of AV1. Time is constant. Nothing where there is
/// none.
std::optional<CodedSize> Av1CodedSize(std::span<const uint8_t> obus);

}  // namespace bifrons
