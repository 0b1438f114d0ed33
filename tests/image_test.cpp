// Image files of every format and mode against Pillow (tests/goldens/make_images.py).
#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <set>

#include "tests/image_golden.h"
#include "vision/data_uri.h"
#include "vision/image_file.h"
#include "vision/orientation.h"
#include "vision/preprocess.h"

using namespace bifrons;

namespace {

std::string Base64(const std::vector<uint8_t>& bytes) {
  const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t three = 0;
    for (size_t k = 0; k < 3; k++) three = three << 8 | (i + k < bytes.size() ? bytes[i + k] : 0);
    for (size_t k = 0; k < 4; k++) {
      text += i + k <= bytes.size() ? digits[three >> (18 - 6 * k) & 63] : '=';
    }
  }
  return text;
}

std::string Escaped(const std::vector<uint8_t>& bytes) {
  std::string text;
  for (const uint8_t byte : bytes) {
    text += '%';
    text += "0123456789ABCDEF"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

}  // namespace

TEST_CASE("files decode and preprocess to Pillow's bytes") {
  std::set<std::string> names;
  for (auto& row : GoldenRows("files.tsv")) {
    std::string name, mode, rgb, square;
    int64_t width, height;
    REQUIRE(row >> name >> mode >> width >> height >> rgb >> square);
    INFO(name << ", alpha " << mode);
    names.insert(name);
    ImageOptions options;
    options.alpha = mode == "white"   ? AlphaMode::kWhite
                    : mode == "black" ? AlphaMode::kBlack
                                      : AlphaMode::kDrop;
    const auto image = LoadImage(ImageFolder() + name, options);
    if (!image.ok()) FAIL(image.error().message);
    CHECK(image->width == width);
    CHECK(image->height == height);
    CHECK(Sha(*image) == rgb);
    ImageProcessorConfig config;
    config.image_size = 384;
    CHECK(Sha(ResizeAndPad(*image, config)) == square);
  }
  CHECK(names.size() > 90);
}

TEST_CASE("a picture is turned as its EXIF data say, unless that is unwanted") {
  ImageOptions as_stored;
  as_stored.orientation = false;
  const Image upright = LoadImage(ImageFolder() + "turned1.png").value();
  for (int orientation = 1; orientation <= 8; orientation++) {
    for (const char* extension : {".png", ".jpg", ".webp"}) {
      const std::string name = "turned" + std::to_string(orientation) + extension;
      INFO(name);
      CHECK(OrientationOfFile(FileBytes(name)) == orientation);
      const Image stored = LoadImage(ImageFolder() + name, as_stored).value();
      CHECK(stored.width == 19);
      CHECK(stored.height == 11);
      Image turned = stored;
      ApplyOrientation(orientation, &turned);
      CHECK(turned.rgb == LoadImage(ImageFolder() + name).value().rgb);
      if (extension != std::string(".jpg")) CHECK(stored.rgb == upright.rgb);
    }
  }
}

TEST_CASE("every orientation puts the corners where EXIF says") {
  // Row by row: 0 1 2 / 3 4 5. What stands upright, row by row, from EXIF 2.3's table.
  const std::map<int, std::vector<int>> upright = {
      {1, {0, 1, 2, 3, 4, 5}}, {2, {2, 1, 0, 5, 4, 3}}, {3, {5, 4, 3, 2, 1, 0}}, {4, {3, 4, 5, 0, 1, 2}},
      {5, {0, 3, 1, 4, 2, 5}}, {6, {3, 0, 4, 1, 5, 2}}, {7, {5, 2, 4, 1, 3, 0}}, {8, {2, 5, 1, 4, 0, 3}}};
  for (const auto& [orientation, order] : upright) {
    INFO(orientation);
    Image image{3, 2, {}};
    for (int i = 0; i < 6; i++)
      image.rgb.insert(image.rgb.end(), {uint8_t(i), uint8_t(i + 10), uint8_t(i + 20)});
    ApplyOrientation(orientation, &image);
    CHECK(image.width == (orientation < 5 ? 3 : 2));
    CHECK(image.height == (orientation < 5 ? 2 : 3));
    for (size_t i = 0; i < 6; i++) {
      CHECK(image.rgb[3 * i] == order[i]);
      CHECK(image.rgb[3 * i + 2] == order[i] + 20);
    }
  }
  // Larger than the tiles it is walked in: turning four times changes nothing.
  const Image original = Formula(101, 67);
  Image image = original;
  for (int i = 0; i < 4; i++) ApplyOrientation(6, &image);
  CHECK(image.rgb == original.rgb);
  ApplyOrientation(6, &image);
  ApplyOrientation(8, &image);
  CHECK(image.rgb == original.rgb);
  for (const int mirrored : {2, 3, 4, 5, 7}) {
    ApplyOrientation(mirrored, &image);
    CHECK(image.rgb != original.rgb);
    ApplyOrientation(mirrored, &image);
    CHECK(image.rgb == original.rgb);
  }
}

TEST_CASE("data: URIs hold pictures too") {
  const auto bytes = FileBytes("rgb.png");
  const Image expected = LoadImage(ImageFolder() + "rgb.png").value();
  const std::string base64 = Base64(bytes);
  std::string wrapped = base64;
  for (size_t at = 76; at < wrapped.size(); at += 78) wrapped.insert(at, "\r\n");
  std::string url_safe = base64, escaped;
  for (char& c : url_safe) c = c == '+' ? '-' : c == '/' ? '_' : c;
  for (const char c : base64)
    escaped += c == '+' ? "%2B" : c == '/' ? "%2f" : c == '=' ? "%3D" : std::string(1, c);
  std::string bare = base64;
  while (bare.back() == '=') bare.pop_back();
  for (const std::string& uri :
       {"data:image/png;base64," + base64, "DATA:;BASE64," + base64, "data:image/jpeg;x=1;base64," + wrapped,
        "data:;base64," + url_safe, "data:;base64," + escaped, "data:;base64," + bare,
        "data:image/png," + Escaped(bytes), "data:," + Escaped(bytes)}) {
    INFO(uri.substr(0, 60));
    const auto image = LoadImage(uri);
    if (!image.ok()) FAIL(image.error().message);
    CHECK(image->rgb == expected.rgb);
  }
  for (const std::string text : {"", "f", "fo", "foo", "foob", "fooba", "foobar"}) {
    const std::vector<uint8_t> raw(text.begin(), text.end());
    CHECK(DecodeDataUri("data:;base64," + Base64(raw), 100).value() == raw);
    CHECK(DecodeDataUri("data:," + text, 100).value() == raw);
  }
}

TEST_CASE("standard input holds a picture") {
  const int saved = dup(STDIN_FILENO);
  const int file = open((ImageFolder() + "420.jpg").c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(dup2(file, STDIN_FILENO) == STDIN_FILENO);
  close(file);
  ImageOptions options;
  options.pipes = true;
  const auto image = LoadImage("-", options);
  const auto again = LoadImage("-", options);  // at its end: empty
  dup2(saved, STDIN_FILENO);
  close(saved);
  REQUIRE(image.ok());
  CHECK(image->rgb == LoadImage(ImageFolder() + "420.jpg").value().rgb);
  REQUIRE(!again.ok());
  CHECK(again.error().message.rfind("standard input: ", 0) == 0);
}

TEST_CASE("Radiance HDR is shown as its gamma says") {
  // 8 × 1 pixels, flat: mantissas 128, exponent 129 are 1.0, and 2^(-1/2.2) · 255 is 186.
  std::string text = "#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 2\n";
  text += std::string("\x80\x80\x80\x81\x80\x80\x80\x80", 8);
  const auto image = DecodeImage(std::vector<uint8_t>(text.begin(), text.end()), "light.hdr");
  if (!image.ok()) FAIL(image.error().message);
  CHECK(image->width == 2);
  CHECK(image->rgb == std::vector<uint8_t>{255, 255, 255, 186, 186, 186});
}
