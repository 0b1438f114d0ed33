// The EXIF UserComment: where JPEG and WebP files carry the text that a PNG file has in its `parameters`.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

/// EXIF data (from their "Exif\0\0" on) that hold nothing but this comment: UTF-16 after the word UNICODE, in
/// big-endian order throughout, as A1111's piexif writes and reads them. Errors (kUsage): no UTF-8.
Result<std::vector<uint8_t>> MakeExifComment(const std::string& text);

/// The comment of EXIF data, with or without their "Exif\0\0", in UTF-8; nothing where there is none in
/// UTF-16 or ASCII, or where the data are malformed. Half surrogates become U+FFFD.
std::optional<std::string> ExifComment(std::span<const uint8_t> exif);

}  // namespace bifrons
