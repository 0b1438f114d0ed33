// PNG files: what we write is what we and libpng read; what Pillow writes (tests/goldens/make_png.py) is what
// we read.
#include "vision/png.h"

#include <png.h>
#include <zlib.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>

#include "src/base/atomic_file.h"
#include "src/base/mapped_file.h"

using namespace bifrons;

namespace {

const std::string kLatin = "a café at night\nSteps: 576, Seed: 7";
const std::string kUnicode = "雪の中の猫 🐈, très joli";

std::vector<uint8_t> Picture(int64_t width, int64_t height) {
  std::vector<uint8_t> rgb(static_cast<size_t>(width * height * 3));
  for (size_t i = 0; i < rgb.size(); i++) rgb[i] = static_cast<uint8_t>(i * 37 + i / 7);
  return rgb;
}

bool Contains(const std::vector<uint8_t>& bytes, const std::string& part) {
  return std::string(bytes.begin(), bytes.end()).find(part) != std::string::npos;
}

std::vector<uint8_t> DecodeRgb(const std::vector<uint8_t>& bytes, int64_t width, int64_t height) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  REQUIRE(png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()));
  REQUIRE(image.width == width);
  REQUIRE(image.height == height);
  CHECK(image.format == PNG_FORMAT_RGB);
  std::vector<uint8_t> rgb(PNG_IMAGE_SIZE(image));
  REQUIRE(png_image_finish_read(&image, nullptr, rgb.data(), 0, nullptr));
  return rgb;
}

}  // namespace

TEST_CASE("pixels and texts come back") {
  const PngText text = {{"parameters", kUnicode},
                        {"beyond Latin-1", "ł"},
                        {"latin", kLatin},
                        {"empty", ""},
                        {"long", std::string(100000, 'x')}};
  for (const auto& [width, height] : {std::pair{1, 1}, {7, 3}, {64, 65}}) {
    const auto rgb = Picture(width, height);
    auto bytes = EncodePng(width, height, rgb, text);
    REQUIRE(bytes.ok());
    CHECK(DecodeRgb(*bytes, width, height) == rgb);
    auto read = ReadPngText(*bytes, "memory");
    REQUIRE(read.ok());
    CHECK(*read == text);
    CHECK(*EncodePng(width, height, rgb, text) == *bytes);
  }
}

TEST_CASE("Latin-1 goes into tEXt, everything else into iTXt") {
  const auto latin = *EncodePng(2, 2, Picture(2, 2), {{"parameters", kLatin}});
  CHECK(Contains(latin, "tEXtparameters"));
  CHECK(Contains(latin, "caf\xE9"));
  CHECK(!Contains(latin, "iTXt"));
  const auto unicode = *EncodePng(2, 2, Picture(2, 2), {{"parameters", kUnicode}});
  CHECK(Contains(unicode, "iTXtparameters"));
  CHECK(Contains(unicode, kUnicode));
  CHECK(!Contains(unicode, "tEXt"));
}

TEST_CASE("Pillow's texts are read") {
  const std::string folder = std::string(BIFRONS_TEST_DIR) + "/goldens/";
  auto plain = ReadPngText(folder + "pillow.png");
  REQUIRE(plain.ok());
  CHECK(*plain == PngText{{"parameters", kLatin}, {"prompt", kUnicode}, {"empty", ""}});
  auto compressed = ReadPngText(folder + "pillow_compressed.png");
  REQUIRE(compressed.ok());
  CHECK(*compressed == PngText{{"parameters", kLatin}, {"prompt", kUnicode}});
}

TEST_CASE("texts that PNG cannot hold are errors") {
  const auto rgb = Picture(2, 2);
  for (const PngText& text :
       {PngText{{"", "x"}}, PngText{{std::string(80, 'k'), "x"}}, PngText{{"a\nb", "x"}},
        PngText{{" a", "x"}}, PngText{{"a  b", "x"}}, PngText{{"k", "\xFF\xFE"}}, PngText{{"k", "\xC0\x80"}},
        PngText{{"k", std::string("a\0b", 3)}}}) {
    auto bytes = EncodePng(2, 2, rgb, text);
    REQUIRE(!bytes.ok());
    CHECK(bytes.error().kind == ErrorKind::kUsage);
  }
}

TEST_CASE("damaged files are errors") {
  auto good = *EncodePng(9, 9, Picture(9, 9), {{"parameters", kLatin}, {"u", kUnicode}});
  // Every truncation, even within the final chunk.
  for (size_t size = 0; size < good.size(); size++) {
    INFO(size);
    auto read = ReadPngText(std::span(good).first(size), "cut.png");
    REQUIRE(!read.ok());
    CHECK(read.error().kind == ErrorKind::kBadData);
    CHECK(read.error().message.rfind("cut.png: ", 0) == 0);
  }
  // Every flipped byte.
  for (size_t i = 0; i < good.size(); i++) {
    for (const uint8_t flip : {0x01, 0x20, 0x80, 0xFF}) {
      INFO(i);
      good[i] ^= flip;
      CHECK(!ReadPngText(good, "flipped.png").ok());
      good[i] ^= flip;
    }
  }
  REQUIRE(ReadPngText(good, "whole again").ok());
  CHECK(!ReadPngText(std::string(BIFRONS_TEST_DIR) + "/no such file.png").ok());
}

TEST_CASE("malformed texts are errors") {
  const auto file = [](const std::string& chunk) {
    std::string bytes = "\x89PNG\r\n\x1a\n";
    for (const std::string& body : {chunk, std::string("IEND")}) {
      for (int shift = 24; shift >= 0; shift -= 8)
        bytes += static_cast<char>((body.size() - 4) >> shift & 255);
      const auto sum = crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
      bytes += body;
      for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(sum >> shift & 255);
    }
    return std::vector<uint8_t>(bytes.begin(), bytes.end());
  };
  using namespace std::string_literals;
  REQUIRE(ReadPngText(file("tEXtk\0v"s), "m").ok());
  REQUIRE(ReadPngText(file("iTXtk\0\0\0\0\0v"s), "m").ok());
  for (const std::string& chunk :
       {"tEXt"s, "tEXtkeyword"s, "tEXt\0v"s, "tEXt"s + std::string(80, 'k') + "\0v"s, "zTXtk\0"s,
        "zTXtk\0\1v"s, "zTXtk\0\0v"s, "zTXtk\0\0"s, "iTXtk\0"s, "iTXtk\0\0"s, "iTXtk\0\0\0"s,
        "iTXtk\0\0\0\0"s, "iTXtk\0\2\0\0\0v"s, "iTXtk\0\1\1\0\0v"s, "iTXtk\0\0\0\0\0\xFF"s}) {
    INFO(chunk);
    CHECK(!ReadPngText(file(chunk), "m").ok());
  }
}

TEST_CASE("a bomb of a text stays small") {
  // 40 MB of spaces in a zTXt of 40 KB.
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  std::vector<uint8_t> bytes;
  png_set_write_fn(
      png, &bytes,
      [](png_structp p, png_bytep data, size_t size) {
        auto* out = static_cast<std::vector<uint8_t>*>(png_get_io_ptr(p));
        out->insert(out->end(), data, data + size);
      },
      nullptr);
  png_set_IHDR(png, info, 1, 1, 8, PNG_COLOR_TYPE_RGB, 0, 0, 0);
  std::string key = "bomb", value(40'000'000, ' ');
  png_text text{};
  text.compression = PNG_TEXT_COMPRESSION_zTXt;
  text.key = key.data(), text.text = value.data(), text.text_length = value.size();
  png_set_text(png, info, &text, 1);
  png_write_info(png, info);
  const uint8_t row[3] = {};
  png_write_row(png, row);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  CHECK(bytes.size() < 100'000);
  auto read = ReadPngText(bytes, "bomb.png");
  REQUIRE(!read.ok());
  CHECK(read.error().kind == ErrorKind::kBadData);
}

TEST_CASE("the texts of a file are read") {
  const auto folder = std::filesystem::temp_directory_path() / "bifrons_png_test";
  std::filesystem::create_directories(folder);
  const std::string path = folder / "picture.png";
  const auto bytes = EncodePng(4, 4, Picture(4, 4), {{"parameters", "x"}});
  REQUIRE(bytes.ok());
  CHECK(!ReadPngText(path).ok());
  REQUIRE(WriteFileAtomically(path, *bytes).ok());
  auto text = ReadPngText(path);
  REQUIRE(text.ok());
  CHECK(*text == PngText{{"parameters", "x"}});
  std::filesystem::remove_all(folder);
}
