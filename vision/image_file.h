// Image files → RGB bytes, as Pillow's Image.open(…).convert("RGB") gives them (the reference's way in:
// janus/utils/io.py), with bounds on everything that an untrusted file can ask for.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "src/base/result.h"
#include "vision/image.h"

namespace bifrons {

/// What becomes of transparency. The reference drops it: the colours that a transparent pixel stores show.
enum class AlphaMode {
  kDrop,
  kWhite,  // over a white background
  kBlack,  // over a black background
};

struct ImageOptions {
  AlphaMode alpha = AlphaMode::kDrop;
  /// Turn the picture as its EXIF or XMP data or TIFF tag say (Pillow: ImageOps.exif_transpose). The
  /// reference turns TIFF files only; who photographs with a phone expects it of all. HEIC and AVIF files say
  /// it as a part of the picture, which is always obeyed.
  bool orientation = true;
  /// width · height, looked at before anything is unpacked. Pillow's limit, beyond which it raises
  /// DecompressionBombError: 2 · 2^30 / 4 / 3.
  int64_t max_pixels = 178'956'970;
  /// The longer side; libpng's own default.
  int64_t max_side = 1'000'000;
  /// Of the file, or of what a data: URI decodes to.
  int64_t max_file_bytes = int64_t{256} << 20;
  /// Whether a path may lead to a pipe or a terminal, and "-" is standard input: for pictures that a person
  /// names. To wait for one ends with Interrupted() when a stop is requested.
  bool pipes = false;
};

/// What a file is, told by its contents.
enum class FileKind {
  kPicture,        // of a format that DecodeImage reads
  kUnreadPicture,  // of one that it knows by name alone
  kOther,
};
FileKind KindOfFile(std::span<const uint8_t> bytes);

/// JPEG, PNG, WebP (its first frame), GIF (its first frame), BMP, PNM (P1 to P6), TGA, PSD, Radiance HDR,
/// TIFF (its first page), HEIC and AVIF (their primary picture), told apart by their contents; the last three
/// where the program was built with libtiff and libheif. 16-bit channels keep their high byte; Pillow clips
/// 16-bit grey to 255 instead. Errors (kBadData) start with `name`: empty, not an image, too large (with the
/// numbers), truncated, damaged. Beside the file itself at most 8 bytes per pixel are held at any time, by
/// libheif up to 14.
Result<Image> DecodeImage(std::span<const uint8_t> bytes, const std::string& name,
                          const ImageOptions& options = {});

/// `source` is a "data:" URI (base64 or percent-encoded) or a path: of a regular file, unless options.pipes.
Result<Image> LoadImage(const std::string& source, const ImageOptions& options = {});

}  // namespace bifrons
