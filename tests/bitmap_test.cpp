// BMP, TGA, PNM and PSD files of every form against Pillow, or against the format where Pillow does not read
// them (tests/goldens/make_bitmaps.py), and what is refused by name.
#include <catch2/catch.hpp>
#include <set>

#include "tests/bitmap_golden.h"
#include "tests/file_bytes.h"
#include "vision/image_file.h"

using namespace bifrons;
using namespace std::string_literals;

namespace {

std::string Refused(const std::string& file) {
  const auto image = DecodeImage(Bytes(file), "x");
  REQUIRE(!image.ok());
  CHECK(image.error().kind == ErrorKind::kBadData);
  return image.error().message;
}

bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// A BMP file of 2 × 2 pixels.
std::string Bmp(uint32_t header_size, int bits, uint32_t compression, const std::string& masks = "",
                uint32_t colours = 0) {
  std::string header = Little(header_size, 4) + Little(2, 4) + Little(2, 4) + Little(1, 2) +
                       Little(static_cast<uint32_t>(bits), 2) + Little(compression, 4) + Little(0, 4) +
                       std::string(8, '\0') + Little(colours, 4) + Little(0, 4) + masks;
  header.resize(std::max(header.size(), size_t{header_size}));
  const auto at = static_cast<uint32_t>(14 + header.size() + 1024);
  return "BM" + Little(0, 4) + Little(0, 4) + Little(at, 4) + header + std::string(1024 + 64, '\0');
}

std::string Psd(uint32_t mode, uint32_t bits, uint32_t channels, const std::string& compression = "\0\0"s,
                uint32_t version = 1) {
  return "8BPS" + Big(version, 2) + std::string(6, '\0') + Big(channels, 2) + Big(2, 4) + Big(2, 4) +
         Big(bits, 2) + Big(mode, 2) + std::string(12, '\0') + compression + std::string(200, '\0');
}

}  // namespace

TEST_CASE("old formats decode to the pixels that they were made of") {
  std::set<std::string> formats;
  size_t from_pillow = 0;
  for (const Bitmap& bitmap : Bitmaps()) {
    INFO(bitmap.name << ", pixels of " << bitmap.source);
    formats.insert(bitmap.name.substr(bitmap.name.rfind('.')));
    from_pillow += bitmap.source == "pillow";
    for (const auto& [mode, sha] : {std::pair(AlphaMode::kDrop, bitmap.drop),
                                    {AlphaMode::kWhite, bitmap.white},
                                    {AlphaMode::kBlack, bitmap.black}}) {
      ImageOptions options;
      options.alpha = mode;
      const auto image = DecodeImage(bitmap.bytes, bitmap.name, options);
      if (!image.ok()) {
        CHECK(image.error().message == "");
        break;
      }
      CHECK(image->width == bitmap.width);
      CHECK(image->height == bitmap.height);
      CHECK(Sha(*image) == sha);
    }
  }
  CHECK(formats == std::set<std::string>{".bmp", ".dib", ".pbm", ".pgm", ".ppm", ".psd", ".tga"});
  CHECK(from_pillow > 600);
}

TEST_CASE("what is not read is refused by name") {
  const std::string empty(16, '\0');
  for (const auto& [file, what] : std::vector<std::pair<std::string, std::string>>{
           {Bmp(41, 24, 0), "41 bytes"},
           {Bmp(40, 3, 0), "3 bits"},
           {Bmp(40, 0, 0), "0 bits"},
           {Bmp(40, 24, 4), "compression 4"},
           {Bmp(40, 32, 5), "compression 5"},
           {Bmp(40, 32, 11), "compression 11"},
           {Bmp(64, 1, 3), "compression 3"},   // OS/2's Huffman
           {Bmp(64, 24, 4), "compression 4"},  // OS/2's RLE24
           {Bmp(40, 4, 1), "compression 1 of 4 bits"},
           {Bmp(40, 8, 2), "compression 2 of 8 bits"},
           {Bmp(40, 8, 3), "compression 3 of 8 bits"},
           {Bmp(40, 8, 0, "", 65537), "65537 colours"},
           {Bmp(40, 16, 3, empty), "bit fields"},
           {Bmp(40, 16, 3, Little(0xF0F, 4) + Little(0xF0, 4) + Little(0xF000, 4)), "bit fields"},
           {Bmp(40, 16, 3, Little(0x1F, 4) + Little(0x7E0, 4) + Little(0x1F0000, 4)), "bit fields"},
           {Psd(0, 1, 1), "1 bit per pixel"},
           {Psd(9, 8, 3), "Lab"},
           {Psd(5, 8, 3), "mode 5"},
           {Psd(3, 32, 3), "32 bits"},
           {Psd(3, 8, 2), "2 channels"},
           {Psd(2, 8, 1), "palette"},
           {Psd(3, 8, 3, "\0\2"s), "compression 2"},
           {Psd(3, 8, 3, "\0\0"s, 2), "PSB"},
           {"P7\nWIDTH 2\n", "a PAM file"},
           {"PF\n2 2\n-1.0\n", "a PFM file"},
           {"Pf\n2 2\n-1.0\n", "a PFM file"},
           {"P2 2 1 255 3 256", "0 to 255"},
           {"P2 2 1 255 3 -1", "0 to 255"},
           {"P2 2 1 255 3 x", "0 to 255"},
           {"P3 1 1 9 3 10 1", "0 to 9"},
           {"P1 2 1 0 2", "0 to 1"},
           {"P5 2 1 0 aaaa", "header"},
           {"P5 2 1 65536 aaaa", "header"},
           {"P5 2 1 x aaaa", "header"},
           {"P5 2 -1 255 aaaa", "header"},
           {"P2 2 1 255 3", "truncated"},
           {"P1 9 1 0101", "truncated"},
           {"P4 9 2 0", "truncated"},
           {"#?RADIANCE\nFORMAT=32-bit_rle_xyze\n\n-Y 1 +X 1\nabcd", "FORMAT"},
           {"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n+Y 1 +X 1\nabcd", "top left"},
           {"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 2\nabcd", "truncated"},
           {"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 9\n\2\2\0\x9"s + std::string(99, '\xFF'),
            "run lengths"}}) {
    INFO(what);
    const std::string message = Refused(file);
    INFO(message);
    CHECK(Has(message, what));
  }
}

TEST_CASE("a TGA is only what can be one throughout") {
  const auto tga = [](int id, int map, int type, int map_bits, int bits, int flags, size_t rest,
                      int width = 3) {
    return Little(static_cast<uint32_t>(id), 1) + Little(static_cast<uint32_t>(map), 1) +
           Little(static_cast<uint32_t>(type), 1) + Little(0, 2) + Little(map ? 4 : 0, 2) +
           Little(static_cast<uint32_t>(map_bits), 1) + Little(0, 4) +
           Little(static_cast<uint32_t>(width), 2) + Little(2, 2) + Little(static_cast<uint32_t>(bits), 1) +
           Little(static_cast<uint32_t>(flags), 1) + std::string(rest, '\0');
  };
  CHECK(DecodeImage(Bytes(tga(0, 0, 2, 0, 24, 0, 18)), "x").ok());
  CHECK(DecodeImage(Bytes(tga(5, 0, 2, 0, 24, 0, 23)), "x").ok());
  CHECK(DecodeImage(Bytes(tga(0, 1, 1, 24, 8, 0, 18)), "x").ok());
  for (const std::string& file :
       {tga(0, 2, 2, 0, 24, 0, 18), tga(0, 0, 4, 0, 24, 0, 18), tga(0, 0, 2, 0, 8, 0, 18),
        tga(0, 0, 2, 0, 23, 0, 18), tga(0, 0, 3, 0, 24, 0, 18), tga(0, 0, 11, 0, 1, 0, 18),
        tga(0, 0, 1, 0, 8, 0, 18), tga(0, 1, 1, 12, 8, 0, 40), tga(0, 1, 1, 24, 16, 0, 40),
        tga(0, 0, 2, 0, 24, 0x40, 18), tga(0, 0, 2, 0, 24, 9, 18), tga(0, 0, 2, 0, 24, 0, 18, 0),
        tga(0, 0, 2, 0, 24, 0, 17), tga(0, 0, 2, 0, 24, 0, 99, 9999), tga(5, 0, 2, 0, 24, 0, 22),
        tga(0, 0, 10, 0, 24, 0, 99, 60000), tga(0, 0, 2, 0, 24, 0, 18).substr(0, 17)}) {
    CHECK(Has(Refused(file), "not a picture"));
  }
}

TEST_CASE("two letters make no old picture of a text") {
  for (const char* text :
       {"BMW builds cars and motorcycles.", "P5 is better than P6.", "P1", "P6\nno", "P12 3 4 1 0 1"}) {
    INFO(text);
    CHECK(Has(Refused(text), "not a picture"));
  }
}

TEST_CASE("Radiance's rows of three kinds hold the same pixels") {
  const std::string head = "#?RADIANCE\n# a comment\nFORMAT=32-bit_rle_rgbe\nEXPOSURE=1\n\n-Y 1 +X 12\n";
  std::string flat, old_runs = "\x80\x40\x20\x81\1\1\1\2\x10\x20\x40\x80\1\1\1\x08"s;
  for (int i = 0; i < 3; i++) flat += "\x80\x40\x20\x81";
  for (int i = 0; i < 9; i++) flat += "\x10\x20\x40\x80";
  const std::string runs = "\2\2\0\x0C"s + "\x83\x80\x89\x10"s + "\x83\x40\x01\x20\x88\x20"s +
                           "\3\x20\x20\x20\x89\x40"s + "\x83\x81\x89\x80"s;
  const auto expected = DecodeImage(Bytes(head + flat), "flat");
  if (!expected.ok()) FAIL(expected.error().message);
  CHECK(expected->rgb[0] == 255);  // 1.0, 0.5 and 0.25
  CHECK(expected->rgb[1] == 186);
  CHECK(expected->rgb[2] == 136);
  for (const std::string& row : {old_runs, runs}) {
    const auto image = DecodeImage(Bytes(head + row), "x");
    if (!image.ok()) FAIL(image.error().message);
    CHECK(image->rgb == expected->rgb);
  }
  CHECK(DecodeImage(Bytes("#?RGBE\n" + head.substr(11) + flat), "x").value().rgb == expected->rgb);
}
