// What a build without libheif and libtiff says about their files. Compiled with those two decoders alone,
// as they are where the libraries are missing.
#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <vector>

#include "vision/image_decoders.h"

using namespace bifrons;

TEST_CASE("files that need a missing library name it") {
  const auto read = [](const std::string& name) {
    std::ifstream file(std::string(BIFRONS_TEST_DIR) + "/goldens/photos/" + name, std::ios::binary);
    return std::vector<uint8_t>{std::istreambuf_iterator<char>(file), {}};
  };
  const auto heic = DecodeHeif(read("420.heic"), "a.heic", {});
  REQUIRE(!heic.ok());
  CHECK(heic.error().message.rfind("a.heic: this build has no HEIC", 0) == 0);
  CHECK(heic.error().message.find("libheif-dev") != std::string::npos);
  const auto avif = DecodeHeif(read("444.avif"), "a.avif", {});
  REQUIRE(!avif.ok());
  CHECK(avif.error().message.find("AVIF") != std::string::npos);
  const auto tiff = DecodeTiff(read("cmyk.tif"), "a.tif", {});
  REQUIRE(!tiff.ok());
  CHECK(tiff.error().message.rfind("a.tif: this build has no TIFF", 0) == 0);
  CHECK(tiff.error().message.find("libtiff-dev") != std::string::npos);
}
