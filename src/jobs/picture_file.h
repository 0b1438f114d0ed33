// Pictures as files: PNG, JPEG or WebP with the settings inside, resampled to the size that is asked for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/engine/metadata.h"
#include "vision/image.h"

namespace bifrons {

/// In pixels.
struct PictureSize {
  int64_t width = 0, height = 0;
  bool operator==(const PictureSize&) const = default;
  /// "512x256"
  std::string ToString() const { return std::to_string(width) + "x" + std::to_string(height); }
};

enum class PictureFormat { kPng, kJpeg, kWebp };

/// "png", "jpg" or "jpeg", "webp". Errors: kUsage.
Result<PictureFormat> ParsePictureFormat(const std::string& name);
/// "png", "jpg", "webp": also the extension.
const char* NameOf(PictureFormat format);

/// The file's bytes. `parameters` (empty: none) is where A1111 has it: a PNG's tEXt or iTXt `parameters`, the
/// EXIF UserComment of the others. The same input gives the same bytes. PNG keeps every bit; JPEG and WebP
/// are lossy (vision/image_encoders.h). Errors (kUsage), with the numbers: sides that the format cannot have;
/// for JPEG, more than 32 737 UTF-16 units of text.
Result<std::vector<uint8_t>> EncodePicture(const Image& image, PictureFormat format,
                                           const std::string& parameters);

/// What EncodePicture took as `parameters`, from a file of any of the formats. Errors (kBadData): another
/// format, a damaged PNG, no such text.
Result<std::string> ReadPictureParameters(const std::string& path);

/// Lanczos resampling to `factor` (2 or 4) times the size, Pillow's to the bit: more pixels, no more detail.
Image Upscale(const Image& image, int factor);

/// A picture as it was drawn → as it is written: upscaled, or cropped and resampled to the settings' own
/// size.
Image Resampled(Image image, const PictureSettings& settings);

}  // namespace bifrons
