#include "vision/orientation.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "vision/exif.h"
#include "vision/xmp.h"

namespace bifrons {

int OrientationOfFile(std::span<const uint8_t> file) {
  const auto orientation = OrientationOf(ExifData(file));
  return orientation ? *orientation : XmpOrientation(XmpPacket(file)).value_or(1);
}

// EXIF 2.3, 4.6.4: the orientation says on which side of the scene row 0 and column 0 lie.
//   1 top, left    2 top, right    3 bottom, right   4 bottom, left
//   5 left, top    6 right, top    7 right, bottom   8 left, bottom
void ApplyOrientation(int orientation, Image* image) {
  if (orientation <= 1 || orientation > 8) return;
  const bool swapped = orientation >= 5;
  // Whether the scene's right (bottom) edge is where the file's rows or columns start.
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  const int64_t width = swapped ? image->height : image->width;
  const int64_t height = swapped ? image->width : image->height;
  std::vector<uint8_t> turned(image->rgb.size());
  // The source is at base + x · across + y · down.
  const int64_t column = 3, row = image->width * 3;
  const int64_t across = (swapped ? row : column) * (from_right ? -1 : 1);
  const int64_t down = (swapped ? column : row) * (from_bottom ? -1 : 1);
  const int64_t base = (from_right ? -across * (width - 1) : 0) + (from_bottom ? -down * (height - 1) : 0);
  // In tiles, because one of the two pictures is walked against its rows.
  constexpr int64_t kTile = 32;
  for (int64_t top = 0; top < height; top += kTile) {
    for (int64_t left = 0; left < width; left += kTile) {
      for (int64_t y = top; y < std::min(top + kTile, height); y++) {
        for (int64_t x = left; x < std::min(left + kTile, width); x++) {
          std::memcpy(&turned[static_cast<size_t>((y * width + x) * 3)],
                      &image->rgb[static_cast<size_t>(base + x * across + y * down)], 3);
        }
      }
    }
  }
  *image = {width, height, std::move(turned)};
}

}  // namespace bifrons
