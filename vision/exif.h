// EXIF data in picture files, and the one thing in them that changes what a picture shows: which way up it
// is.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace bifrons {

/// The EXIF data of a JPEG (APP1), PNG (eXIf, or ImageMagick's text "Raw profile type exif") or WebP (EXIF
/// chunk) file, with their "Exif\0\0" where the file has it; empty where there are none.
std::vector<uint8_t> ExifData(std::span<const uint8_t> file);

/// What follows the "Exif\0\0", if they begin with it.
std::span<const uint8_t> WithoutMark(std::span<const uint8_t> exif);

/// The orientation, 1 to 8, that EXIF data tell, with or without their "Exif\0\0"; 1 where they tell none of
/// these, nothing where they do not mention it or are malformed.
std::optional<int> OrientationOf(std::span<const uint8_t> exif);

}  // namespace bifrons
