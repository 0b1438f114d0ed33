// Picture files: what is written reads back, pixels by our decoders and texts where other programs look for
// them; and resampling against Pillow (tests/goldens/make_images.py, make_fitted.py).
#include "src/jobs/picture_file.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>

#include "src/base/atomic_file.h"
#include "tests/image_golden.h"
#include "tests/run_program.h"
#include "vision/exif.h"
#include "vision/exif_comment.h"
#include "vision/image_file.h"
#include "vision/png.h"
#include "vision/resize.h"

namespace bifrons {
namespace {

constexpr PictureFormat kFormats[] = {PictureFormat::kPng, PictureFormat::kJpeg, PictureFormat::kWebp};

const std::string kText = "雪の中の猫 🐈, très joli\nSteps: 576, Sampler: Gumbel-max, Seed: 7";

// Soft, as a drawn picture is: what a lossy format keeps.
Image Soft(int64_t width, int64_t height) {
  Image image{width, height, {}};
  for (int64_t y = 0; y < height; y++) {
    for (int64_t x = 0; x < width; x++) {
      for (const int64_t v : {x * 255 / width, y * 255 / height, 255 - (x + y) * 255 / (width + height)}) {
        image.rgb.push_back(static_cast<uint8_t>(v));
      }
    }
  }
  return image;
}

int LargestDifference(const Image& a, const Image& b) {
  REQUIRE(a.rgb.size() == b.rgb.size());
  int largest = 0;
  for (size_t i = 0; i < a.rgb.size(); i++) largest = std::max(largest, std::abs(a.rgb[i] - b.rgb[i]));
  return largest;
}

std::string Saved(const TemporaryFolder& folder, const std::vector<uint8_t>& bytes) {
  const std::string path = folder / "picture";
  REQUIRE(WriteFileAtomically(path, bytes).ok());
  return path;
}

TEST_CASE("formats have names") {
  for (const PictureFormat format : kFormats) CHECK(*ParsePictureFormat(NameOf(format)) == format);
  CHECK(*ParsePictureFormat("jpeg") == PictureFormat::kJpeg);
  for (const char* name : {"", "gif", "PNG", ".png"}) {
    const auto format = ParsePictureFormat(name);
    REQUIRE_FALSE(format.ok());
    CHECK(format.error().kind == ErrorKind::kUsage);
  }
}

TEST_CASE("pixels come back, the same bytes every time") {
  for (const auto& [width, height] : {std::pair{1, 1}, {7, 3}, {17, 16}, {96, 97}}) {
    const Image image = Soft(width, height);
    for (const PictureFormat format : kFormats) {
      INFO(NameOf(format) << ", " << width << "x" << height);
      const auto bytes = EncodePicture(image, format, kText);
      REQUIRE(bytes.ok());
      CHECK(*EncodePicture(image, format, kText) == *bytes);
      const auto read = DecodeImage(*bytes, "memory");
      REQUIRE(read.ok());
      CHECK(read->width == width);
      CHECK(read->height == height);
      if (format == PictureFormat::kPng) CHECK(read->rgb == image.rgb);
      // Small pictures are all edge; WebP halves their colours' resolution.
      if (width > 90) CHECK(LargestDifference(*read, image) <= (format == PictureFormat::kJpeg ? 4 : 12));
    }
  }
}

TEST_CASE("texts are where other programs look for them") {
  const Image image = Soft(16, 16);
  const auto png = *EncodePicture(image, PictureFormat::kPng, kText);
  CHECK(*ReadPngText(png, "memory") == PngText{{"parameters", kText}});
  CHECK(png == *EncodePng(16, 16, image.rgb, {{"parameters", kText}}));
  for (const PictureFormat format : {PictureFormat::kJpeg, PictureFormat::kWebp}) {
    const auto exif = ExifData(*EncodePicture(image, format, kText));
    CHECK(ExifComment(exif) == kText);
    // WebP's container says that it is EXIF, JPEG's segment does not.
    const std::string mark = format == PictureFormat::kJpeg ? std::string("Exif\0\0MM", 8) : "MM";
    CHECK(std::equal(mark.begin(), mark.end(), exif.begin()));
  }
}

TEST_CASE("texts come back from files") {
  TemporaryFolder folder;
  for (const PictureFormat format : kFormats) {
    INFO(NameOf(format));
    for (const std::string& text : {kText, std::string("x"), std::string(32'737, 'x')}) {
      const auto read = ReadPictureParameters(Saved(folder, *EncodePicture(Soft(8, 8), format, text)));
      REQUIRE(read.ok());
      CHECK(*read == text);
    }
    const auto none = ReadPictureParameters(Saved(folder, *EncodePicture(Soft(8, 8), format, "")));
    REQUIRE_FALSE(none.ok());
    CHECK(none.error().kind == ErrorKind::kBadData);
    CHECK(none.error().message.find("does not say how it was drawn") != std::string::npos);
  }
  for (const std::string bytes : {"", "RIFF", "GIF89a and more of it", "\xFF\xD8", "\x89PNG"}) {
    INFO(bytes);
    WriteText(folder / "picture", bytes);
    const auto read = ReadPictureParameters(folder / "picture");
    REQUIRE_FALSE(read.ok());
    CHECK(read.error().kind == ErrorKind::kBadData);
  }
  CHECK_FALSE(ReadPictureParameters(folder / "no such file").ok());
}

TEST_CASE("a picture without text has nothing but the picture") {
  const Image image = Soft(16, 16);
  CHECK(ReadPngText(*EncodePicture(image, PictureFormat::kPng, ""), "memory")->empty());
  for (const PictureFormat format : {PictureFormat::kJpeg, PictureFormat::kWebp}) {
    CHECK(ExifData(*EncodePicture(image, format, "")).empty());
  }
}

TEST_CASE("JPEG files are baseline, with colours at full resolution") {
  const auto bytes = *EncodePicture(Soft(33, 21), PictureFormat::kJpeg, kText);
  // ITU T.81, B.2.2: SOF0, length, precision, height, width, components of id, sampling, table.
  const std::string text(bytes.begin(), bytes.end());
  const std::string frame("\xFF\xC0\0\x11\x08\0\x15\0\x21\x03\x01\x11", 12);
  CHECK(text.find(frame) != std::string::npos);
}

TEST_CASE("what a format cannot hold is an error with the numbers") {
  const Image small = Soft(2, 2);
  const auto error = [](const Result<std::vector<uint8_t>>& result) {
    REQUIRE_FALSE(result.ok());
    CHECK(result.error().kind == ErrorKind::kUsage);
    return result.error().message;
  };
  const std::string long_text(32'738, 'x'), emoji = [] {
    std::string text;
    for (int i = 0; i < 16'369; i++) text += "🐈";  // two units each
    return text;
  }();
  for (const std::string& text : {long_text, emoji}) {
    CHECK(error(EncodePicture(small, PictureFormat::kJpeg, text)).find("65533") != std::string::npos);
    CHECK(EncodePicture(small, PictureFormat::kPng, text).ok());
    CHECK(EncodePicture(small, PictureFormat::kWebp, text).ok());
  }
  for (const PictureFormat format : kFormats) error(EncodePicture(small, format, "a\xFF"));

  const auto line = [](int64_t length, bool wide) {
    return Image{wide ? length : 1, wide ? 1 : length,
                 std::vector<uint8_t>(static_cast<size_t>(length) * 3, 99)};
  };
  for (const bool wide : {true, false}) {
    CHECK(error(EncodePicture(line(16'384, wide), PictureFormat::kWebp, "")).find("16383") !=
          std::string::npos);
    CHECK(error(EncodePicture(line(65'501, wide), PictureFormat::kJpeg, "")).find("65500") !=
          std::string::npos);
    CHECK(error(EncodePicture(line(1'000'001, wide), PictureFormat::kPng, "")).find("1000000") !=
          std::string::npos);
    CHECK(EncodePicture(line(16'383, wide), PictureFormat::kWebp, "").ok());
    CHECK(EncodePicture(line(65'500, wide), PictureFormat::kJpeg, "").ok());
  }
}

TEST_CASE("upscaled pictures are Pillow's") {
  int count = 0;
  for (auto& row : GoldenRows("upscaled.tsv")) {
    int64_t width, height;
    int factor;
    std::string sha;
    REQUIRE(row >> width >> height >> factor >> sha);
    INFO(width << "x" << height << " by " << factor);
    const Image large = Upscale(Formula(width, height), factor);
    CHECK(large.width == width * factor);
    CHECK(large.height == height * factor);
    CHECK(Sha(large) == sha);
    count++;
  }
  CHECK(count == 12);
}

TEST_CASE("pictures of other sizes and aspects are Pillow's") {
  int count = 0;
  for (auto& row : GoldenRows("../fitted.tsv")) {
    int64_t width, height, to_width, to_height;
    std::string sha;
    REQUIRE(row >> width >> height >> to_width >> to_height >> sha);
    INFO(width << "x" << height << " to " << to_width << "x" << to_height);
    const Image fitted = FitLanczos(Formula(width, height), to_width, to_height);
    CHECK(fitted.width == to_width);
    CHECK(fitted.height == to_height);
    CHECK(Sha(fitted) == sha);
    count++;
  }
  CHECK(count == 120);
}

}  // namespace
}  // namespace bifrons
