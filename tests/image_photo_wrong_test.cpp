// HEIC, AVIF, TIFF, XMP and films that are not what they say, or say what is not read: an error that names
// it, never a wrong picture.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>

#include "vision/image_file.h"
#include "vision/iso_media.h"
#include "vision/orientation.h"
#include "vision/xmp.h"

using namespace bifrons;
using namespace std::string_literals;

namespace {

const std::string kFolder = std::string(BIFRONS_TEST_DIR) + "/goldens/photos/";

std::string File(const std::string& name) {
  std::ifstream file(kFolder + name, std::ios::binary);
  REQUIRE(file);
  return {std::istreambuf_iterator<char>(file), {}};
}

Result<Image> Decode(const std::string& bytes, const ImageOptions& options = {}) {
  return DecodeImage({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "folder/x", options);
}

// The message, after a look at its form.
std::string Refused(const std::string& bytes, const ImageOptions& options = {}) {
  const auto image = Decode(bytes, options);
  REQUIRE(!image.ok());
  const std::string& message = image.error().message;
  CHECK(image.error().kind == ErrorKind::kBadData);
  CHECK(message.rfind("folder/x: ", 0) == 0);
  CHECK(message.find('\n') == std::string::npos);
  return message;
}

bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string Number(uint64_t value, int size, bool big) {
  std::string text;
  for (int i = 0; i < size; i++) text += static_cast<char>(value >> (8 * (big ? size - 1 - i : i)));
  return text;
}

struct Entry {
  int type = 3;  // SHORT
  std::vector<uint64_t> values;
};
using Entries = std::map<int, Entry>;

// A TIFF file: pixels, then the directory, whose successor is itself.
std::string Tiff(const std::string& pixels, Entries entries, bool big_endian = false, bool big_tiff = false) {
  const auto n = [&](uint64_t value, int size) { return Number(value, size, big_endian); };
  const int offset = big_tiff ? 8 : 4;
  const size_t header = big_tiff ? 16 : 8;
  if (!entries.contains(273) && !entries.contains(324)) entries[273] = {4, {header}};
  if (!entries.contains(279) && !entries.contains(325)) entries[279] = {4, {pixels.size()}};
  std::string data = pixels + std::string(pixels.size() % 2, '\0'), directory;
  for (const auto& [tag, entry] : entries) {
    const int size = entry.type == 3 ? 2 : entry.type == 4 ? 4 : 1;
    std::string values;
    for (const uint64_t value : entry.values) values += n(value, size);
    if (values.size() > static_cast<size_t>(offset)) {
      const std::string at = n(header + data.size(), offset);
      data += values + std::string(values.size() % 2, '\0');
      values = at;
    }
    values.resize(static_cast<size_t>(offset));
    directory += n(static_cast<uint64_t>(tag), 2) + n(static_cast<uint64_t>(entry.type), 2) +
                 n(entry.values.size(), offset) + values;
  }
  const uint64_t at = header + data.size();
  const std::string start = (big_endian ? "MM" : "II") + (big_tiff ? n(43, 2) + n(8, 2) + n(0, 2) : n(42, 2));
  return start + n(at, offset) + data + n(entries.size(), big_tiff ? 8 : 2) + directory + n(at, offset);
}

// 4 × 2 pixels of RGB.
Entries Rgb(uint64_t bits = 8) {
  return {{256, {3, {4}}}, {257, {3, {2}}}, {258, {3, {bits, bits, bits}}}, {259, {3, {1}}}, {262, {3, {2}}},
          {277, {3, {3}}}, {278, {3, {2}}}};
}

Entries With(Entries entries, int tag, Entry entry) {
  entries[tag] = std::move(entry);
  return entries;
}

Entries Grey(uint64_t bits, Entries more = {}) {
  more.merge(With(With(With(Rgb(), 258, {3, {bits}}), 262, {3, {1}}), 277, {3, {1}}));
  return more;
}

std::string Pixels(size_t count) {
  std::string pixels;
  for (size_t i = 0; i < count; i++) pixels += static_cast<char>(i * 37 + 11);
  return pixels;
}

std::string Box(const std::string& name, const std::string& contents) {
  return Number(contents.size() + 8, 4, true) + name + contents;
}

std::string Media(const std::string& brand, const std::string& compatible = "",
                  const std::string& codec = "") {
  const std::string meta =
      codec.empty() ? "" : Box("meta", "\0\0\0\0"s + Box("iprp", Box("ipco", Box(codec, "x"))));
  return Box("ftyp", brand + "\0\0\0\0"s + compatible) + meta + std::string(64, '\0');
}

// What `work` adds to the resident memory of a process of its own.
int64_t PeakBytes(const std::function<void()>& work) {
  int pipes[2];
  REQUIRE(pipe(pipes) == 0);
  const pid_t child = fork();
  if (child == 0) {
    rusage before{}, after{};
    getrusage(RUSAGE_SELF, &before);
    work();
    getrusage(RUSAGE_SELF, &after);
    const int64_t bytes = (after.ru_maxrss - before.ru_maxrss) * 1024;
    _exit(write(pipes[1], &bytes, sizeof(bytes)) == sizeof(bytes) ? 0 : 1);
  }
  int64_t bytes = 0;
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  REQUIRE(read(pipes[0], &bytes, sizeof(bytes)) == sizeof(bytes));
  close(pipes[0]);
  close(pipes[1]);
  return bytes;
}

}  // namespace

TEST_CASE("both byte orders, classic and BigTIFF, and a directory that leads to itself") {
  const std::string pixels = Pixels(24);
  for (const bool big_endian : {false, true}) {
    for (const bool big_tiff : {false, true}) {
      const auto image = Decode(Tiff(pixels, Rgb(), big_endian, big_tiff));
      if (!image.ok()) FAIL(image.error().message);
      CHECK(image->width == 4);
      CHECK(std::string(image->rgb.begin(), image->rgb.end()) == pixels);
      const auto turned = Decode(Tiff(pixels, With(Rgb(), 274, {3, {6}}), big_endian, big_tiff));
      REQUIRE(turned.ok());
      CHECK(turned->width == 2);
    }
  }
  ImageOptions as_stored;
  as_stored.orientation = false;
  CHECK(Decode(Tiff(pixels, With(Rgb(), 274, {3, {6}})), as_stored)->width == 4);
}

TEST_CASE("what TIFF files hold and is not read is named") {
  const std::string pixels = Pixels(4096);
  const std::vector<std::pair<std::string, std::string>> files = {
      {"floating-point", Tiff(pixels, Grey(32, {{339, {3, {3}}}}))},
      {"floating-point", Tiff(pixels, Grey(16, {{339, {3, {3}}}}))},
      {"signed", Tiff(pixels, Grey(16, {{339, {3, {2}}}}))},
      {"signed", Tiff(pixels, Grey(8, {{339, {3, {2}}}}))},
      {"32 bits", Tiff(pixels, Grey(32))},
      {"12 bits", Tiff(pixels, Grey(12))},
      {"3 bits", Tiff(pixels, Grey(3))},
      {"4 bits", Tiff(pixels, Rgb(4))},
      {"10 bits", Tiff(pixels, Rgb(10))},
      {"L*a*b*", Tiff(pixels, With(Rgb(), 262, {3, {8}}))},
      {"sensor", Tiff(pixels, With(Grey(16), 262, {3, {32803}}))},
      {"sensor", Tiff(pixels, With(Rgb(16), 262, {3, {34892}}))},
      {"interpretation 4", Tiff(pixels, With(Grey(1), 262, {3, {4}}))},
      {"old style", Tiff(pixels, With(Rgb(), 259, {3, {6}}))},
      {"compression 34712", Tiff(pixels, With(Rgb(), 259, {3, {34712}}))},
      {"LZMA", Tiff(pixels, With(Rgb(), 259, {3, {34925}}))},
      {"palette", Tiff(pixels, With(Grey(8), 262, {3, {3}}))},
      {"2 samples", Tiff(pixels, With(With(Rgb(), 258, {3, {8, 8}}), 277, {3, {2}}))},
      {"9 samples", Tiff(pixels, With(With(Rgb(), 258, {3, {8, 8, 8, 8, 8, 8, 8, 8, 8}}), 277, {3, {9}}))},
  };
  for (const auto& [what, file] : files) {
    INFO(what);
    const std::string message = Refused(file);
    INFO(message);
    CHECK(Has(message, what));
  }
}

TEST_CASE("TIFF files that lie are refused before they cost anything") {
  const auto start = std::chrono::steady_clock::now();
  const Entries large = With(With(Rgb(), 256, {4, {60000}}), 257, {4, {60000}});
  CHECK(Has(Refused(Tiff(Pixels(24), large)), "60000 × 60000"));
  CHECK(Has(Refused(Tiff(Pixels(24), With(Rgb(), 256, {4, {0xFFFFFFFF}}))), "4294967295"));
  Refused(Tiff(Pixels(24), With(Rgb(), 256, {4, {0}})));
  CHECK(Has(Refused(Tiff(Pixels(12), With(With(Rgb(), 279, {4, {24000}}), 257, {4, {2000}}))), "truncated"));
  // A tile that no picture explains.
  CHECK(Has(Refused(Tiff(Pixels(24),
                         With(With(With(With(Rgb(), 322, {4, {32768}}), 323, {4, {32768}}), 324, {4, {8}}),
                              325, {4, {24}}))),
            "tiles of 32768 × 32768"));
  // A thousand strips of one row that are all the whole file.
  const std::string pixels = Pixels(100000);
  Entries overlapping = With(With(Rgb(), 257, {4, {1000}}), 278, {3, {1}});
  overlapping[273] = {4, std::vector<uint64_t>(1000, 8)};
  overlapping[279] = {4, std::vector<uint64_t>(1000, pixels.size())};
  CHECK(Has(Refused(Tiff(pixels, overlapping)), "overlap"));
  // Directories beyond the end, and of more entries than there are bytes.
  CHECK(Has(Refused("II*\0\xFF\xFF\xFF\x0F"s), "truncated"));
  Refused("II*\0\x08\0\0\0\xFF\xFF"s + Pixels(100));
  Refused("MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10"s + Pixels(40));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
}

TEST_CASE("videos and other media files are told from pictures") {
  for (const char* brand : {"isom", "mp42", "qt  ", "M4V ", "3gp5", "avc1", "iso6", "3g2a"}) {
    INFO(brand);
    CHECK(Has(Refused(Media(brand, "iso2mp41")), "a video"));
  }
  CHECK(Has(Refused(Media("crx ", "isom")), "'crx '"));
  CHECK(Has(Refused(Media("\xFF\x9B\xC2\x85")), "'" + std::string(3, '?') + "'"));
  for (const char* brand : {"heic", "heix", "heim", "heis", "hevc", "mif1", "msf1", "avif", "avis"}) {
    INFO(brand);
    CHECK(!Has(Refused(Media(brand)), "a video"));
  }
  CHECK(!Has(Refused(Media("isom", "iso2mif1")), "a video"));
  CHECK(Has(Refused(Media("mif1", "", "av1C")), "AVIF"));
  CHECK(Has(Refused(Media("heic", "", "hvcC")), "HEIC"));
  const std::string bytes = Media("mif1", "", "vvcC");
  CHECK(InspectIsoMedia({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}).codec == "VVC");
  // Boxes of no length, of too great a length, and nested in nothing.
  for (const std::string& rest : {"\0\0\0\0meta"s, "\0\0\0\1meta\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"s,
                                  "\0\0\0\7meta"s, "\0\0\0\x0Cmeta\0\0\0\0"s, "\x7F\0\0\0meta"s}) {
    Refused(Box("ftyp", "heic\0\0\0\0"s) + rest);
  }
}

TEST_CASE("a HEIC or AVIF file's size is looked at before it is decoded") {
  for (const std::string name : {"420.heic", "444.avif", "grid.heic"}) {
    INFO(name);
    std::string bytes = File(name);
    for (size_t at = bytes.find("ispe"); at != std::string::npos; at = bytes.find("ispe", at + 1)) {
      bytes.replace(at + 8, 8, Number(60000, 4, true) + Number(60000, 4, true));
    }
    CHECK(Has(Refused(bytes), "60000 × 60000"));
  }
  // A grid whose own size is another than the picture's.
  std::string grid = File("grid.heic");
  const size_t at = grid.find("\0\0\1\2\0\x82\0\x46"s);
  REQUIRE(at != std::string::npos);
  grid.replace(at + 4, 4, "\x60\0\x60\0"s);
  const int64_t bytes = PeakBytes([&] { (void)Decode(grid); });
  CHECK(bytes < 32 << 20);
  Refused(grid);
}

TEST_CASE("a HEIC or AVIF file holds a picture of the size that it declares") {
  for (const std::string name :
       {"420.heic", "444.heic", "10.heic", "alpha.heic", "grid.heic", "444.avif", "420.avif", "10.avif",
        "grey.avif", "alpha.avif", "animated.avif", "turned6.avif"}) {
    INFO(name);
    const std::string whole = File(name);
    const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(whole.data()), whole.size());
    CHECK(!FindSizeMismatch(bytes));
    for (const auto& [width, height] : {std::pair{8, 8}, {8, 500}, {500, 8}, {200, 200}, {1, 1}}) {
      std::string file = whole;
      for (size_t at = file.find("ispe"); at != std::string::npos; at = file.find("ispe", at + 1)) {
        file.replace(at + 8, 8, Number(width, 4, true) + Number(height, 4, true));
      }
      const std::string message = Refused(file);
      INFO(width << " × " << height << ": " << message);
      CHECK(FindSizeMismatch({reinterpret_cast<const uint8_t*>(file.data()), file.size()}));
      // That a grid's tiles are too few for it is said before.
      if (name != "grid.heic") CHECK(Has(message, "declares "));
    }
  }
  // By too little to be told before it is decoded.
  std::string file = File("444.avif");
  const size_t at = file.find("ispe");
  REQUIRE(at != std::string::npos);
  file[at + 11]--;
  CHECK(Has(Refused(file), "declares "));
}

TEST_CASE("a picture is not made of itself") {
  const std::string whole = File("grid.heic");
  const size_t at = whole.find("dimg");
  REQUIRE(at != std::string::npos);
  const std::string self = whole.substr(at + 4, 2);
  // All of its tiles, and a single one.
  std::string file = whole;
  for (size_t i = 0; i < 6; i++) file.replace(at + 8 + 2 * i, 2, self);
  CHECK(Has(Refused(file), "made of each other"));
  file.replace(at + 6, 2, "\0\1"s);
  Refused(file);
  // One of its tiles only.
  file = whole;
  file.replace(at + 16, 2, self);
  CHECK(Has(Refused(file), "made of each other"));
  CHECK(Decode(whole).ok());
  // Of tiles that are far larger than itself.
  file = whole;
  const size_t first = file.find("ispe");
  REQUIRE(first != std::string::npos);
  for (size_t size = first; size != std::string::npos; size = file.find("ispe", size + 1)) {
    const bool tile = file.substr(size + 8, 8) == Number(64, 4, true) + Number(64, 4, true);
    if (tile) file.replace(size + 8, 8, Number(8192, 4, true) + Number(8192, 4, true));
  }
  CHECK(Has(Refused(file), "made of each other"));
}

TEST_CASE("truncated HEIC and AVIF files are no half pictures") {
  for (const std::string name : {"420.heic", "grid.heic", "444.avif", "alpha.avif"}) {
    const std::string bytes = File(name);
    INFO(name);
    Refused(bytes.substr(0, bytes.size() / 2));
    Refused(bytes.substr(0, bytes.size() - 1));
    Refused(bytes.substr(0, 40));
  }
}

TEST_CASE("XMP packets are searched in linear time, and malformed ones say nothing") {
  CHECK(XmpOrientation("<x tiff:Orientation=\"6\"/>") == 6);
  CHECK(XmpOrientation("<tiff:Orientation>8</tiff:Orientation>") == 8);
  CHECK(XmpOrientation("tiff:Orientation tiff:Orientation=\"3\"") == 3);
  CHECK(XmpOrientation("<x tiff:Orientation=\"9\"/>") == 1);
  for (const std::string packet :
       {"", "tiff:Orientation", "tiff:Orientation=\"", "tiff:Orientation=", "tiff:Orientation>",
        "tiff:Orientation=\"x\"", "exif:Orientation=\"6\"", "Orientation=\"6\""}) {
    INFO(packet);
    CHECK(!XmpOrientation(packet));
  }
  std::string many;
  while (many.size() < 50'000'000) many += "tiff:Orientationtiff:Orientation=";
  const auto start = std::chrono::steady_clock::now();
  CHECK(!XmpOrientation(many));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("a HEIC file that there is no memory for is an error") {
  const std::string file = File("../large.heic");  // of 2000 × 2000 pixels
  int failed = 0;
  constexpr int kMost = 120, kStep = 3;  // MiB beside what there is
  for (int more = 0; more <= kMost; more += kStep) {
    const pid_t child = fork();
    if (child == 0) {
      size_t pages = 0;
      std::ifstream("/proc/self/statm") >> pages;
      const rlim_t limit = pages * static_cast<size_t>(getpagesize()) + (static_cast<size_t>(more) << 20);
      const rlimit both{limit, limit};
      if (setrlimit(RLIMIT_AS, &both) != 0) _exit(3);
      const auto image = Decode(file);
      _exit(image.ok() ? 0 : Has(image.error().message, "not enough memory") ? 1 : 2);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    INFO(more << " MiB");
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) <= 1);
    failed += WEXITSTATUS(status) == 1;
  }
  CHECK(failed > 3);
  CHECK(failed < kMost / kStep);
}

TEST_CASE("a TIFF file takes at most 8 bytes for a pixel beside its own") {
  constexpr size_t kSide = 4000;
  const auto sides = [&](Entries entries) {
    return With(With(With(std::move(entries), 256, {4, {kSide}}), 257, {4, {kSide}}), 278, {4, {kSide}});
  };
  Entries deep = With(With(Rgb(16), 258, {3, {16, 16, 16, 16}}), 277, {3, {4}});
  deep[338] = {3, {2}};
  Entries one_tile = With(With(Rgb(), 322, {4, {4000}}), 323, {4, {4000}});
  one_tile[324] = {4, {8}};
  one_tile[325] = {4, {kSide * kSide * 3}};
  const std::vector<std::pair<size_t, Entries>> files = {{3, Rgb()}, {8, deep}, {1, Grey(8)}, {3, one_tile}};
  ImageOptions options;
  options.alpha = AlphaMode::kWhite;
  for (const auto& [size, entries] : files) {
    const std::string file = Tiff(std::string(kSide * kSide * size, '\x55'), sides(entries));
    const int64_t bytes = PeakBytes([&] {
      if (!Decode(file, options).ok()) _exit(1);
    });
    INFO(size << " bytes per pixel in the file: " << bytes << " in memory");
    CHECK(bytes <= static_cast<int64_t>(8 * kSide * kSide + (1 << 20)));
  }
}
#endif
