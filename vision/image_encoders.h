// One encoder per lossy format; PNG's is in vision/png.h. The bytes depend on the arguments (and on the
// library's version) only: no thread, clock or instruction set shows in them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/base/result.h"
#include "vision/image.h"

namespace bifrons {

/// The longest side that a format can have.
constexpr int64_t kMaxJpegSide = 65'500, kMaxWebpSide = 16'383;

/// What one segment of a JPEG file holds beside its own length.
constexpr size_t kMaxJpegExif = 65'533;

/// Baseline JPEG of quality 95 with colours at full resolution: the eye does not tell it from the picture,
/// and every program reads it. `exif` (at most kMaxJpegExif bytes, from its "Exif\0\0" on; empty: none)
/// becomes APP1.
Result<std::vector<uint8_t>> EncodeJpeg(const Image& image, std::span<const uint8_t> exif);

/// Lossy WebP of quality 90: who wants every bit has PNG. `exif` as above, of any size, becomes the EXIF
/// chunk.
Result<std::vector<uint8_t>> EncodeWebp(const Image& image, std::span<const uint8_t> exif);

}  // namespace bifrons
