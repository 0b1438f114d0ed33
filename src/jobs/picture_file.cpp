#include "src/jobs/picture_file.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "src/base/mapped_file.h"
#include "vision/exif.h"
#include "vision/exif_comment.h"
#include "vision/image_encoders.h"
#include "vision/png.h"
#include "vision/resize.h"

namespace bifrons {
namespace {

// The longest side of PNG is libpng's own default.
constexpr int64_t kMaxPngSide = 1'000'000;

constexpr const char* kKeyword = "parameters";

Status CheckSides(const Image& image, int64_t longest, const char* format) {
  if (std::max(image.width, image.height) <= longest) return {};
  return UsageError("a picture of " + std::to_string(image.width) + "x" + std::to_string(image.height) +
                    " pixels is too large for a " + format + " file, whose sides are at most " +
                    std::to_string(longest));
}

Result<std::vector<uint8_t>> ExifOf(const std::string& parameters) {
  if (parameters.empty()) return std::vector<uint8_t>();
  return MakeExifComment(parameters);
}

}  // namespace

Result<PictureFormat> ParsePictureFormat(const std::string& name) {
  if (name == "png") return PictureFormat::kPng;
  if (name == "jpg" || name == "jpeg") return PictureFormat::kJpeg;
  if (name == "webp") return PictureFormat::kWebp;
  return UsageError("there is no picture format '" + name + "'; use png, jpg or webp");
}

const char* NameOf(PictureFormat format) {
  return format == PictureFormat::kPng ? "png" : format == PictureFormat::kJpeg ? "jpg" : "webp";
}

Result<std::vector<uint8_t>> EncodePicture(const Image& image, PictureFormat format,
                                           const std::string& parameters) {
  if (format == PictureFormat::kPng) {
    BIFRONS_RETURN_IF_ERROR(CheckSides(image, kMaxPngSide, "PNG"));
    PngText text;
    if (!parameters.empty()) text.emplace_back(kKeyword, parameters);
    return EncodePng(image.width, image.height, image.rgb, text);
  }
  BIFRONS_TRY(const std::vector<uint8_t> exif, ExifOf(parameters));
  if (format == PictureFormat::kWebp) {
    BIFRONS_RETURN_IF_ERROR(CheckSides(image, kMaxWebpSide, "WebP"));
    return EncodeWebp(image, exif);
  }
  BIFRONS_RETURN_IF_ERROR(CheckSides(image, kMaxJpegSide, "JPEG"));
  if (exif.size() > kMaxJpegExif) {
    return UsageError("the picture's settings take " + std::to_string(exif.size()) +
                      " bytes, a JPEG file holds at most " + std::to_string(kMaxJpegExif) +
                      "; use png or webp, or a shorter prompt");
  }
  return EncodeJpeg(image, exif);
}

Result<std::string> ReadPictureParameters(const std::string& path) {
  BIFRONS_TRY(const MappedFile file, MappedFile::Open(path));
  const std::span<const uint8_t> bytes = file.bytes();
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()),
                               std::min<size_t>(bytes.size(), 16));
  const bool jpeg = start.starts_with("\xFF\xD8\xFF");
  const bool webp = start.starts_with("RIFF") && start.size() >= 12 && start.substr(8, 4) == "WEBP";
  if (jpeg || webp) {
    if (auto comment = ExifComment(ExifData(bytes))) return std::move(*comment);
    return DataError(path + ": has no EXIF comment, so it does not say how it was drawn");
  }
  if (!start.starts_with("\x89PNG")) return DataError(path + ": neither a PNG nor a JPEG nor a WebP file");
  BIFRONS_TRY(const PngText texts, ReadPngText(bytes, path));
  for (const auto& [keyword, text] : texts) {
    if (keyword == kKeyword) return text;
  }
  return DataError(path + ": has no `parameters` text, so it does not say how it was drawn");
}

Image Upscale(const Image& image, int factor) {
  BIFRONS_CHECK(factor == 2 || factor == 4);
  return ResizeLanczos(image, image.width * factor, image.height * factor);
}

Image Resampled(Image image, const PictureSettings& settings) {
  if (settings.resized_width > 0) return FitLanczos(image, settings.resized_width, settings.resized_height);
  if (settings.upscale != 1) return Upscale(image, settings.upscale);
  return image;
}

}  // namespace bifrons
