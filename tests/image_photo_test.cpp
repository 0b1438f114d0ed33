// Pictures of phones, scanners and editing programs: TIFF and XMP to Pillow's bytes, HEIC and AVIF close to
// pillow-heif's and Pillow's (tests/goldens/make_photos.py).
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "src/base/sha256.h"
#include "vision/image_file.h"

using namespace bifrons;

namespace {

const std::string kFolder = std::string(BIFRONS_TEST_DIR) + "/goldens/photos/";

ImageOptions WithAlpha(const std::string& mode) {
  ImageOptions options;
  options.alpha = mode == "white"   ? AlphaMode::kWhite
                  : mode == "black" ? AlphaMode::kBlack
                                    : AlphaMode::kDrop;
  return options;
}

struct Difference {
  int most = 0;
  double mean = 0;
};

Difference Compare(const Image& a, const Image& b) {
  REQUIRE(a.width == b.width);
  REQUIRE(a.height == b.height);
  Difference difference;
  for (size_t i = 0; i < a.rgb.size(); i++) {
    const int d = std::abs(a.rgb[i] - b.rgb[i]);
    difference.most = std::max(difference.most, d);
    difference.mean += d;
  }
  difference.mean /= static_cast<double>(a.rgb.size());
  return difference;
}

}  // namespace

TEST_CASE("TIFF files and XMP orientation decode to Pillow's bytes") {
  std::ifstream rows(kFolder + "files.tsv");
  std::set<std::string> names;
  for (std::string line; std::getline(rows, line);) {
    std::istringstream row(line);
    std::string name, mode, rgb;
    int64_t width, height;
    REQUIRE(row >> name >> mode >> width >> height >> rgb);
    INFO(name << ", alpha " << mode);
    names.insert(name);
    const auto image = LoadImage(kFolder + name, WithAlpha(mode));
    if (!image.ok()) {
      FAIL_CHECK(image.error().message);
      continue;
    }
    CHECK(image->width == width);
    CHECK(image->height == height);
    CHECK(Sha256::Hex(std::span<const uint8_t>(image->rgb)) == rgb);
  }
  CHECK(names.size() > 100);
}

// Of 255. pillow-heif is another version of the library that we use, and rounds 10 bits to 8 at another
// place. Pillow's libavif interpolates the colours that two or four pixels share; libheif gives each the
// same.
int Tolerance(const std::string& name) {
  const bool shared = name.ends_with(".avif") && name != "444.avif" && name.rfind("grey", 0) != 0 &&
                      name.rfind("turned", 0) != 0;
  return shared ? 10 : 2;
}

TEST_CASE("HEIC and AVIF files decode to what pillow-heif and Pillow show, within a tolerance") {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    const std::string name = entry.path().filename();
    if (entry.path().extension() != ".heic" && entry.path().extension() != ".avif") continue;
    for (const std::string mode : {"drop", "white", "black"}) {
      const std::string golden = kFolder + name + "." + mode + ".png";
      if (!std::filesystem::exists(golden)) continue;
      count++;
      INFO(name << ", alpha " << mode);
      const auto image = LoadImage(kFolder + name, WithAlpha(mode));
      if (!image.ok()) {
        FAIL_CHECK(image.error().message);
        continue;
      }
      const Difference difference = Compare(*image, LoadImage(golden).value());
      INFO("mean " << difference.mean);
      CHECK(difference.most <= Tolerance(name));
      CHECK(difference.mean <= 2.5);
    }
  }
  CHECK(count > 30);
}
