// What is not a picture, or lies about being one: an error of one line, never a crash, a hang or half a
// picture.
#include <zlib.h>

#include <catch2/catch.hpp>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>

#include "tests/bitmap_golden.h"
#include "tests/file_bytes.h"
#include "tests/image_golden.h"
#include "vision/data_uri.h"
#include "vision/exif.h"
#include "vision/image_file.h"
#include "vision/orientation.h"

using namespace bifrons;
using namespace std::string_literals;

namespace {

std::string Deflated(const std::string& raw) {
  uLongf size = compressBound(static_cast<uLong>(raw.size()));
  std::string packed(size, '\0');
  compress2(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(raw.data()),
            static_cast<uLong>(raw.size()), 9);
  packed.resize(size);
  return packed;
}

std::string Png(uint32_t width, uint32_t height, const std::string& data) {
  return "\x89PNG\r\n\x1a\n" + Chunk("IHDR", Big(width, 4) + Big(height, 4) + "\x08\x02\0\0\0"s) + data;
}

// The message, after a look at its form.
std::string Refused(const std::vector<uint8_t>& bytes, const ImageOptions& options = {}) {
  const auto image = DecodeImage(bytes, "folder/x", options);
  REQUIRE(!image.ok());
  const std::string& message = image.error().message;
  CHECK(image.error().kind == ErrorKind::kBadData);
  CHECK(message.rfind("folder/x: ", 0) == 0);
  CHECK(message.find('\n') == std::string::npos);
  CHECK(message.back() != '.');
  return message;
}

bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

const std::vector<std::string>& GoldenNames() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> found;
    for (const std::string folder : {"", "../photos/"}) {
      for (const auto& entry : std::filesystem::directory_iterator(ImageFolder() + folder)) {
        const std::string name = entry.path().filename();
        const bool expected =
            name.ends_with(".drop.png") || name.ends_with(".white.png") || name.ends_with(".black.png");
        if (!name.ends_with(".tsv") && !expected) found.push_back(folder + name);
      }
    }
    return found;
  }();
  return names;
}

}  // namespace

TEST_CASE("a truncated file is an error, or only lacks what no pixel needs") {
  for (const std::string& name : GoldenNames()) {
    const std::vector<uint8_t> whole = FileBytes(name);
    const Image expected = DecodeImage(whole, name).value();
    size_t refused = 0;
    for (size_t size = 0; size < whole.size(); size += size < 64 || whole.size() - size < 64 ? 1 : 29) {
      const auto image = DecodeImage(std::span(whole).first(size), "folder/x");
      if (!image.ok()) {
        refused = size;
        CHECK(image.error().kind == ErrorKind::kBadData);
        CHECK(image.error().message.rfind("folder/x: ", 0) == 0);
        continue;
      }
      INFO(name << " cut to " << size << " of " << whole.size() << " bytes");
      ImageOptions as_stored;  // EXIF data may lie behind the pixels
      as_stored.orientation = false;
      const bool same = DecodeImage(std::span(whole).first(size), name, as_stored)->rgb ==
                        DecodeImage(whole, name, as_stored)->rgb;
      REQUIRE(same);
    }
    INFO(name << ": the longest that was refused has " << refused << " of " << whole.size() << " bytes");
    if (!Has(name, "animated") && !Has(name, "pages")) CHECK(whole.size() - refused < 256);
  }
  CHECK(Has(Refused([] {
              auto bytes = FileBytes("420.jpg");
              bytes.resize(bytes.size() - 40);
              return bytes;
            }()),
            "truncated"));
  for (const char* name :
       {"rgb.png", "rgba16_interlaced.png", "lossless.webp", "palette.gif", "rgb.bmp", "rgb.ppm"}) {
    INFO(name);
    auto bytes = FileBytes(name);
    bytes.resize(bytes.size() / 2);
    CHECK(Has(Refused(bytes), "truncated"));
  }
}

TEST_CASE("a truncated file of an old format is an error, or only lacks what no pixel needs") {
  for (const Bitmap& bitmap : Bitmaps()) {
    const bool plain = bitmap.bytes[0] == 'P' && bitmap.bytes[1] >= '1' && bitmap.bytes[1] <= '3';
    const size_t size = bitmap.bytes.size();
    for (size_t length = 0; length < size; length += length < 150 || size - length < 70 ? 1 : 37) {
      INFO(bitmap.name << " cut to " << length << " of " << size << " bytes");
      // Of its own, so that a sanitizer sees what is read beyond it.
      const std::vector<uint8_t> part(bitmap.bytes.begin(),
                                      bitmap.bytes.begin() + static_cast<ptrdiff_t>(length));
      const auto image = DecodeImage(part, "folder/x");
      if (!image.ok()) {
        CHECK(image.error().kind == ErrorKind::kBadData);
        CHECK(image.error().message.rfind("folder/x: ", 0) == 0);
      } else if (!plain) {  // where half of the last number is a number
        REQUIRE(Sha(*image) == bitmap.drop);
      }
    }
  }
}

TEST_CASE("flipped bytes of old formats are an error or another picture") {
  const std::vector<Bitmap> bitmaps = Bitmaps();
  for (size_t i = 0; i < bitmaps.size(); i += 3) {
    std::vector<uint8_t> bytes = bitmaps[i].bytes;
    ImageOptions options;
    options.max_pixels = 1 << 18;
    options.alpha = AlphaMode::kWhite;
    for (size_t at = 0; at < bytes.size(); at += at < 70 ? 1 : 41) {
      for (const uint8_t flip : {0x01, 0x80, 0xFF}) {
        bytes[at] ^= flip;
        const auto image = DecodeImage(bytes, "x", options);
        if (image.ok()) {
          REQUIRE(image->rgb.size() == static_cast<size_t>(image->width * image->height * 3));
        }
        bytes[at] ^= flip;
      }
    }
  }
}

TEST_CASE("flipped bytes are an error or another picture") {
  for (const std::string& name : GoldenNames()) {
    std::vector<uint8_t> bytes = FileBytes(name);
    ImageOptions options;
    options.max_pixels = 1 << 22;
    for (size_t at = 0; at < bytes.size(); at += at < 200 ? 1 : 17) {
      for (const uint8_t flip : {0x01, 0x80, 0xFF}) {
        bytes[at] ^= flip;
        const auto image = DecodeImage(bytes, "x", options);
        if (image.ok()) {
          REQUIRE(image->rgb.size() == static_cast<size_t>(image->width * image->height * 3));
        }
        bytes[at] ^= flip;
      }
    }
  }
}

TEST_CASE("what is no picture is said to be none") {
  CHECK(Has(Refused({}), "empty"));
  for (const std::string& text :
       {"x"s, "\0"s,
        "A shopping list:\nmilk, eggs, flour, a cake tin, and some patience for the rest of it.\n"s,
        std::string(1000, 'A'), std::string(1000, '\0'), std::string(100, '\xFF'),
        "{\"model_type\": \"janus\"}"s, "RIFF\x24\0\0\0WAVEfmt "s, "P8\nWIDTH 1\n"s, "BM"s, "P"s, "GIF8"s,
        "\x89PNG"s}) {
    INFO(text.substr(0, 20));
    CHECK(Has(Refused(Bytes(text)), "not a picture"));
  }
  CHECK(Has(Refused(Bytes("\0\0\0\x18"
                          "ftypheic\0\0\0\0"s)),
            "HEIC"));
  CHECK(Has(Refused(Bytes("II*\0\x08\0\0\0"s)), "TIFF"));
  CHECK(Has(Refused(Bytes("%PDF-1.7\n"s)), "PDF"));
  // Starts without a rest.
  for (const std::string& start : {"\xFF\xD8\xFF"s, "\x89PNG\r\n\x1a\n"s, "RIFF\0\0\0\0WEBP"s, "GIF89a"s,
                                   "P6"s, "P5 1 "s, "#?RADIANCE\n"s, "8BPS\0\1"s}) {
    INFO(start);
    Refused(Bytes(start));
  }
}

TEST_CASE("pictures of formats that are not read are told from other files") {
  const std::string entry = std::string("\x20\x20\0\0\1\0\x20\0", 8) + Little(9, 4) + Little(22, 4);
  const std::vector<std::pair<std::string, std::string>> files = {
      {"an ICO or CUR", std::string("\0\0\1\0\1\0", 6) + entry + "\x89PNG"},
      {"an ICO or CUR", std::string("\0\0\2\0\1\0", 6) + entry + "\x28"},
      {"an OpenEXR", "\x76\x2F\x31\x01"},
      {"an Olympus ORF", "IIRO"},
      {"an Olympus ORF", "IIRS"},
      {"an Olympus ORF", "MMOR"},
      {"a Panasonic RW2", std::string("IIU\0", 4)},
      {"a Fujifilm RAF", "FUJIFILMCCD-RAW 0201"},
      {"a JPEG XR", "II\xBC\x01"},
      {"a DDS", std::string("DDS \x7C\0\0\0", 8)},
      {"a QOI", "qoif" + Big(7, 4) + Big(5, 4) + "\3"},
      {"a QOI", "qoif" + Big(7, 4) + Big(5, 4) + "\4"},
      {"an XCF", "gimp xcf v011"},
      {"an ICNS", "icns" + Big(400, 4)},
      {"a DjVu", "AT&TFORM" + Big(400, 4) + "DJVU"},
      {"a DjVu", "AT&TFORM" + Big(400, 4) + "DJVM"},
      {"a FLIF", "FLIF44"},
      {"an MNG", "\x8AMNG\r\n\x1A\n"},
  };
  for (const auto& [name, start] : files) {
    INFO(name);
    const std::string file = start + std::string(40, '\1');
    const std::vector<uint8_t> bytes(file.begin(), file.end());
    CHECK(KindOfFile(bytes) == FileKind::kUnreadPicture);
    CHECK(Refused(bytes).find(name + " file, which is not read") != std::string::npos);
  }
  // Texts that begin alike, and icons without a picture.
  for (const std::string& text :
       {std::string("qoif and others"), std::string("icns and others"), std::string("DDS and others"),
        std::string("AT&TFORM and others"), std::string("\0\0\1\0\0\0", 6) + entry + "x",
        std::string("\0\0\1\0\2\0", 6) + entry + "x", std::string("\0\0\1\0\1\0", 6)}) {
    const std::vector<uint8_t> bytes(text.begin(), text.end());
    CHECK(KindOfFile(bytes) == FileKind::kOther);
  }
}

TEST_CASE("sizes are looked at before anything is unpacked") {
  const std::string side = "60000";
  const std::map<std::string, std::string> files = {
      {"PNG", Png(60000, 60000, Chunk("IDAT", Deflated("x")))},
      {"JPEG", "\xFF\xD8\xFF\xC0\0\x11\x08"s + Big(60000, 2) + Big(60000, 2) + "\3\1\x22\0\2\x11\0\3\x11\0"s +
                   "\xFF\xDA\0\x0C\3\1\0\2\0\3\0\0\x3F\0"s},
      {"WebP", "RIFF"s + Little(22, 4) + "WEBPVP8X"s + Little(10, 4) + "\0\0\0\0"s + Little(59999, 3) +
                   Little(59999, 3)},
      {"GIF", "GIF89a"s + Little(60000, 2) + Little(60000, 2) + "\0\0\0,\0\0\0\0"s + Little(60000, 2) +
                  Little(60000, 2) + "\0\2"s},
      {"BMP", "BM"s + std::string(8, '\0') + Little(54, 4) + Little(40, 4) + Little(60000, 4) +
                  Little(60000, 4) + Little(1, 2) + Little(24, 2) + std::string(24, '\0')},
      {"PSD", "8BPS\0\1"s + std::string(6, '\0') + Big(3, 2) + Big(60000, 4) + Big(60000, 4) + Big(8, 2) +
                  Big(3, 2) + std::string(14, '\0')},
      {"PPM", "P6 60000 60000 255\n"s},
      {"HDR", "#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 60000 +X 60000\n"s},
  };
  const std::clock_t start = std::clock();
  for (const auto& [format, file] : files) {
    INFO(format);
    const std::string message = Refused(Bytes(file));
    INFO(message);
    CHECK(Has(message, "60000 × 60000"));
    CHECK(Has(message, "178956970"));
  }
  CHECK(std::clock() - start < 5 * CLOCKS_PER_SEC);  // of processor time; a sanitizer makes it slow
  CHECK(Has(Refused(Bytes(Png(0x7FFFFFFF, 0x7FFFFFFF, Chunk("IDAT", "")))), "2147483647"));
  CHECK(Has(Refused(Bytes(Png(2'000'000, 1, Chunk("IDAT", "")))), "1000000"));
  CHECK(Has(Refused(Bytes("P5 9999999999 9999999999 255\n")), "9999999999"));
  Refused(Bytes(Png(0, 5, Chunk("IDAT", ""))));

  ImageOptions options;
  options.max_pixels = 37 * 23;
  CHECK(DecodeImage(FileBytes("rgb.png"), "x", options).ok());
  options.max_pixels--;
  for (const std::string& name : GoldenNames()) {
    if (Has(name, "turned") || Has(name, "xmp") || Has(name, "raw_profile")) continue;  // smaller
    INFO(name);
    CHECK(Has(Refused(FileBytes(name), options), std::to_string(options.max_pixels)));
  }
  options = {};
  options.max_side = 36;
  CHECK(Has(Refused(FileBytes("rgb.png"), options), "36"));
  options = {};
  options.max_file_bytes = static_cast<int64_t>(FileBytes("rgb.png").size()) - 1;
  CHECK(Has(Refused(FileBytes("rgb.png"), options), std::to_string(options.max_file_bytes)));
}

TEST_CASE("bombs stay small") {
  // 100 MB of zeros behind a picture of 8 × 8, and as a text.
  const std::string zeros(100'000'000, '\0');
  const std::string packed = Deflated(zeros);
  const std::clock_t start = std::clock();
  const auto image = DecodeImage(Bytes(Png(8, 8, Chunk("IDAT", packed) + Chunk("IEND", ""))), "x");
  if (image.ok()) CHECK(image->rgb == std::vector<uint8_t>(8 * 8 * 3));
  const std::string text = Chunk("zTXt", "k\0\0"s + packed) + Chunk("iCCP", "k\0\0"s + packed);
  const auto with_text =
      DecodeImage(Bytes(Png(1, 1, text + Chunk("IDAT", Deflated("\0abc"s)) + Chunk("IEND", ""))), "x");
  REQUIRE(with_text.ok());
  CHECK(with_text->rgb == Bytes("abc"));
  CHECK(std::clock() - start < 5 * CLOCKS_PER_SEC);  // of processor time; a sanitizer makes it slow
  // Rows that are not there.
  CHECK(Has(
      Refused(Bytes(Png(9999, 9999, Chunk("IDAT", Deflated(zeros.substr(0, 50000))) + Chunk("IEND", "")))),
      "PNG"));
}

TEST_CASE("EXIF data cannot loop, and what is wrong with them is not the picture's fault") {
  const auto entry = [](uint32_t tag, uint32_t type, uint32_t count, uint32_t value) {
    return Little(tag, 2) + Little(type, 2) + Little(count, 4) + Little(value, 4);
  };
  const auto tiff = [](const std::string& directory) { return "II*\0"s + Little(8, 4) + directory; };
  const std::string six = entry(0x112, 3, 1, 6);
  CHECK(OrientationOf(Bytes(tiff(Little(1, 2) + six + Little(8, 4)))) ==
        6);  // the next directory is this one
  CHECK(OrientationOf(Bytes("Exif\0\0"s + tiff(Little(1, 2) + six))) == 6);
  CHECK(OrientationOf(Bytes(tiff(Little(65535, 2) + entry(1, 2, 3, 4) + six))) == 6);
  CHECK(OrientationOf(Bytes("MM\0*"s + Big(8, 4) + Big(1, 2) + Big(0x112, 2) + Big(3, 2) + Big(1, 4) +
                            Big(8, 2) + "\0\0"s)) == 8);
  CHECK(OrientationOf(Bytes(tiff(Little(1, 2) + entry(0x112, 4, 1, 3)))) == 3);  // a LONG, as some write
  for (const std::string& exif :
       {""s, "Exif\0\0"s, "II*\0"s, "II*\0\x08\0\0"s, "IM*\0\x08\0\0\0\1\0"s + six,
        "II*\0"s + Little(0xFFFFFFFF, 4) + six, "II*\0"s + Little(9, 4) + "\0"s,
        tiff(Little(1, 2) + six.substr(0, 11)), tiff(Little(0, 2) + six),
        tiff(Little(1, 2) + entry(0x112, 3, 1, 0)), tiff(Little(1, 2) + entry(0x112, 3, 1, 9)),
        tiff(Little(1, 2) + entry(0x112, 3, 2, 6)), tiff(Little(1, 2) + entry(0x112, 7, 1, 6)),
        "II+\0"s + Little(8, 4) + Little(1, 2) + six}) {
    CHECK(OrientationOf(Bytes(exif)).value_or(1) == 1);
  }
  // Within a JPEG: an APP1 that claims more than there is, of no length, and one after the pixels begin.
  const std::vector<uint8_t> plain = FileBytes("420.jpg");
  const auto with = [&](const std::string& segment) {
    std::vector<uint8_t> bytes(plain.begin(), plain.begin() + 2);
    bytes.insert(bytes.end(), segment.begin(), segment.end());
    bytes.insert(bytes.end(), plain.begin() + 2, plain.end());
    return bytes;
  };
  const std::string exif = "Exif\0\0"s + tiff(Little(1, 2) + six);
  const auto turned =
      DecodeImage(with("\xFF\xE1"s + Big(static_cast<uint32_t>(exif.size() + 2), 2) + exif), "x");
  REQUIRE(turned.ok());
  CHECK(turned->width == 23);
  CHECK(OrientationOfFile(with("\xFF\xE1\xFF\xFF"s + exif)) == 1);
  CHECK(OrientationOfFile(with("\xFF\xE1\0\0"s + exif)) == 1);
  std::vector<uint8_t> late = plain;
  late.insert(late.end() - 2, exif.begin(), exif.end());
  CHECK(OrientationOfFile(late) == 1);
}

TEST_CASE("wrong data: URIs say what is wrong") {
  for (const auto& [uri, what] :
       std::vector<std::pair<std::string, std::string>>{{"data:", "comma"},
                                                        {"data:image/png;base64", "comma"},
                                                        {"data:;base64,AAAA*AAA", "base64"},
                                                        {"data:;base64,A", "cut off"},
                                                        {"data:;base64,AAAAA", "cut off"},
                                                        {"data:;base64,AA==AA", "base64"},
                                                        {"data:;base64,AA===", "base64"},
                                                        {"data:;base64,AAA==", "base64"},
                                                        {"data:,%4", "%"},
                                                        {"data:,%", "%"},
                                                        {"data:,%G0", "%"},
                                                        {"data:,", "empty"},
                                                        {"data:;base64,", "empty"},
                                                        {"data:,hello", "not a picture"}}) {
    INFO(uri);
    const auto image = LoadImage(uri);
    REQUIRE(!image.ok());
    CHECK(image.error().kind == ErrorKind::kBadData);
    CHECK(Has(image.error().message, "the data: URI"));
    CHECK(Has(image.error().message, what));
  }
  ImageOptions options;
  options.max_file_bytes = 5;
  CHECK(Has(LoadImage("data:,123456", options).error().message, "more than 5 bytes"));
  CHECK(Has(LoadImage("data:;base64,MTIzNDU2", options).error().message, "more than 5 bytes"));
}

TEST_CASE("files that cannot be opened are errors") {
  CHECK(Has(LoadImage(ImageFolder() + "no such file.png").error().message, "cannot open"));
  CHECK(Has(LoadImage(ImageFolder()).error().message, "not a regular file"));
  CHECK(!LoadImage("").ok());
  const auto path = std::filesystem::temp_directory_path() / "bifrons_empty.png";
  std::ofstream(path).flush();
  CHECK(Has(LoadImage(path).error().message, "empty"));
  std::filesystem::remove(path);
}
