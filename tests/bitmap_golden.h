// What tests/goldens/make_bitmaps.py wrote: small files of the formats without compression worth the name.
#pragma once

#include <string>
#include <vector>

#include "tests/image_golden.h"
#include "vision/data_uri.h"

namespace bifrons {

struct Bitmap {
  std::string name, source;  // "pillow" or "format"
  int64_t width = 0, height = 0;
  std::string drop, white, black;  // SHA-256 of the RGB bytes with each alpha mode
  std::vector<uint8_t> bytes;
};

inline std::vector<Bitmap> Bitmaps() {
  std::vector<Bitmap> bitmaps;
  for (auto& row : GoldenRows("../bitmaps.tsv")) {
    Bitmap b;
    std::string base64;
    row >> b.name >> b.source >> b.width >> b.height >> b.drop >> b.white >> b.black >> base64;
    if (b.white == "=") b.white = b.drop;
    if (b.black == "=") b.black = b.white;
    b.bytes = DecodeDataUri("data:;base64," + base64, 1 << 20).value();
    bitmaps.push_back(std::move(b));
  }
  return bitmaps;
}

}  // namespace bifrons
