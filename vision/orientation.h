// Which way up a picture stands.
#pragma once

#include <cstdint>
#include <span>

#include "vision/image.h"

namespace bifrons {

/// The orientation, 1 to 8, that a JPEG, PNG or WebP file's EXIF data tell or, where they do not mention it,
/// its XMP packet; 1 where neither does, or where they are malformed: a picture is worth more than its
/// metadata.
int OrientationOfFile(std::span<const uint8_t> file);

/// Turns and mirrors so that the picture stands upright.  [PIL/ImageOps.py: exif_transpose]
void ApplyOrientation(int orientation, Image* image);

}  // namespace bifrons
