// How a TIFF picture's samples are stored, as libtiff read it from the first directory, and which of the many
// ways are read here: those that Pillow shows, which are what scanners and cameras write.
#pragma once

#ifdef BIFRONS_TIFF
#include <tiffio.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

struct TiffLayout {
  enum class Colours { kGrey, kInvertedGrey, kPalette, kRgb, kCmyk, kYcbcr };

  int64_t width = 0, height = 0;
  Colours colours = Colours::kGrey;
  int bits = 1;             // of a sample: 1, 2, 4, 8 or 16
  int samples = 1;          // of a pixel, extra ones included
  int alpha = -1;           // which of them is alpha; -1: none
  bool multiplied = false;  // colours are multiplied with alpha already
  bool separate = false;    // each sample in a plane of its own
  bool tiled = false;
  int64_t tile_width = 0, tile_height = 0;
  int64_t strip_rows = 0;
  // YCbCr that libjpeg does not convert: how many pixels share a colour, across and down.
  int share_across = 1, share_down = 1;
  bool compressed = false;
  std::vector<std::array<uint8_t, 3>> palette;

  int colour_samples() const {
    return colours == Colours::kCmyk ? 4 : colours == Colours::kRgb || colours == Colours::kYcbcr ? 3 : 1;
  }
  /// Samples that lie side by side in a row.
  int stored() const { return separate ? 1 : samples; }
};

/// Width and height; errors: none in the file.
Status ReadTiffSize(TIFF* tiff, const std::string& name, TiffLayout* layout);

/// All the rest. `tells_extra_samples`: whether the file has the tag ExtraSamples, which libtiff makes up
/// where it is missing. Errors name what is not read.
Status ReadTiffLayout(TIFF* tiff, bool tells_extra_samples, const std::string& name, TiffLayout* layout);

}  // namespace bifrons
#endif
