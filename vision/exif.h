// The one thing in EXIF data that changes what a picture shows: which way up it is.
#pragma once

#include <cstdint>
#include <span>

#include "vision/image.h"

namespace bifrons {

/// The orientation, 1 to 8, of a JPEG (APP1), PNG (eXIf) or WebP (EXIF chunk) file; 1 where there is none, or
/// where the data are malformed: a picture is worth more than its metadata. Follows no offset but the first
/// directory's, so nothing can loop.
int ExifOrientation(std::span<const uint8_t> file);

/// The same from EXIF data alone, with or without their "Exif\0\0".
int OrientationOf(std::span<const uint8_t> exif);

/// Turns and mirrors so that the picture stands upright.  [PIL/ImageOps.py: exif_transpose]
void ApplyOrientation(int orientation, Image* image);

}  // namespace bifrons
