// EXIF data in picture files, and the one thing in them that changes what a picture shows: which way up it
// is.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "vision/image.h"

namespace bifrons {

/// The EXIF data of a JPEG (APP1), PNG (eXIf) or WebP (EXIF chunk) file, with their "Exif\0\0" where the file
/// has it; empty where there are none.
std::vector<uint8_t> ExifData(std::span<const uint8_t> file);

/// What follows the "Exif\0\0", if they begin with it.
std::span<const uint8_t> WithoutMark(std::span<const uint8_t> exif);

/// The orientation, 1 to 8, that the file's EXIF data tell; 1 where there are none, or where they are
/// malformed: a picture is worth more than its metadata.
int ExifOrientation(std::span<const uint8_t> file);

/// The same from EXIF data alone, with or without their "Exif\0\0".
int OrientationOf(std::span<const uint8_t> exif);

/// Turns and mirrors so that the picture stands upright.  [PIL/ImageOps.py: exif_transpose]
void ApplyOrientation(int orientation, Image* image);

}  // namespace bifrons
