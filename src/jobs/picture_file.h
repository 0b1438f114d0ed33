// Pictures as files: PNG, JPEG or WebP with the settings inside, and whole-number upscaling.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "vision/image.h"

namespace bifrons {

enum class PictureFormat { kPng, kJpeg, kWebp };

/// "png", "jpg" or "jpeg", "webp". Errors: kUsage.
Result<PictureFormat> ParsePictureFormat(const std::string& name);
/// "png", "jpg", "webp": also the extension.
const char* NameOf(PictureFormat format);

/// The file's bytes. `parameters` is where A1111 has it: a PNG's tEXt or iTXt `parameters`, the EXIF UserComment of
/// the others. The same input gives the same bytes.
Result<std::vector<uint8_t>> EncodePicture(const Image& image, PictureFormat format, const std::string& parameters);

/// Lanczos resampling to `factor` (2 or 4) times the size: more pixels, no more detail.
Image Upscale(const Image& image, int factor);

}  // namespace bifrons
