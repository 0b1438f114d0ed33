// One decoder per format, for image_file.cpp and nobody else. Each checks the size that the header claims
// before it asks for memory, and reads the first frame only.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "src/base/result.h"
#include "vision/image.h"
#include "vision/image_file.h"

namespace bifrons {

Result<Image> DecodeJpeg(std::span<const uint8_t> bytes, const std::string& name,
                         const ImageOptions& options);
Result<Image> DecodePng(std::span<const uint8_t> bytes, const std::string& name, const ImageOptions& options);
Result<Image> DecodeWebp(std::span<const uint8_t> bytes, const std::string& name,
                         const ImageOptions& options);
Result<Image> DecodeGif(std::span<const uint8_t> bytes, const std::string& name, const ImageOptions& options);
/// Windows' and OS/2's bitmaps.
Result<Image> DecodeBmp(std::span<const uint8_t> bytes, const std::string& name, const ImageOptions& options);
/// Whether the bytes are one without the file's header (DIB), as clipboards hold it: if its own is possible.
bool LooksLikeDib(std::span<const uint8_t> bytes);
/// PBM, PGM and PPM, plain and raw (P1 to P6).
Result<Image> DecodePnm(std::span<const uint8_t> bytes, const std::string& name, const ImageOptions& options);
/// Whether the bytes start with the header of one: two letters alone are found in any text.
bool LooksLikePnm(std::span<const uint8_t> bytes);
/// Photoshop's merged picture, not its layers.
Result<Image> DecodePsd(std::span<const uint8_t> bytes, const std::string& name, const ImageOptions& options);
/// Radiance's RGBE.
Result<Image> DecodeHdr(std::span<const uint8_t> bytes, const std::string& name, const ImageOptions& options);
Result<Image> DecodeTga(std::span<const uint8_t> bytes, const std::string& name, const ImageOptions& options);
/// A TGA file has no mark at its start: whether its header is possible throughout.
bool LooksLikeTga(std::span<const uint8_t> bytes);
/// HEIC and AVIF, where the program was built with libheif; videos, which share their start, are named.
Result<Image> DecodeHeif(std::span<const uint8_t> bytes, const std::string& name,
                         const ImageOptions& options);
/// TIFF, where the program was built with libtiff, turned as its own orientation says.
Result<Image> DecodeTiff(std::span<const uint8_t> bytes, const std::string& name,
                         const ImageOptions& options);

/// Empty sides and what exceeds the limits are errors, with the numbers.
Status CheckImageSize(int64_t width, int64_t height, const std::string& name, const ImageOptions& options);

/// What a decoder says when the system has no more.
Error NoMemory(const std::string& name);

/// An Image of zeros; an Error where the memory is missing.
Result<Image> NewImage(int64_t width, int64_t height, const std::string& name);

/// An Image that has room for its rows, and none yet: AddRow appends them. What a truncated file never gets
/// to is never touched.
Result<Image> NewImageWithoutRows(int64_t width, int64_t height, const std::string& name);

/// The next row of such an Image, of zeros: width · 3 bytes.
inline uint8_t* AddRow(Image* image) {
  const size_t stride = static_cast<size_t>(image->width) * 3;
  image->rgb.resize(image->rgb.size() + stride);
  return image->rgb.data() + image->rgb.size() - stride;
}

/// One pixel of RGB with alpha, as `mode` wants it, to out[3]. Rounds like Pillow's paste with a mask.
inline void PutPixel(uint8_t r, uint8_t g, uint8_t b, uint8_t alpha, AlphaMode mode, uint8_t* out) {
  const uint8_t colours[3] = {r, g, b};
  const uint32_t background = mode == AlphaMode::kWhite ? 255 : 0;
  for (int c = 0; c < 3; c++) {
    // (x + 127) / 255 without a division, exact for the products of two bytes.
    const uint32_t sum = background * (255u - alpha) + uint32_t{colours[c]} * alpha + 128;
    out[c] = mode == AlphaMode::kDrop ? colours[c] : static_cast<uint8_t>((sum + (sum >> 8)) >> 8);
  }
}

}  // namespace bifrons
