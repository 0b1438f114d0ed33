// Small files of large pictures: what they cost in memory and time is bound by the pixels that they declare.
#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <webp/encode.h>
#include <zlib.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <functional>
#include <map>

// Wants size_t and FILE to be declared before it.
#include <jpeglib.h>

#include "tests/file_bytes.h"
#include "vision/image_file.h"

using namespace bifrons;
using namespace std::string_literals;

namespace {

constexpr uint32_t kWidth = 3001, kHeight = 2003;
constexpr int64_t kPixels = int64_t{kWidth} * kHeight;

std::string Repeated(const std::string& text, size_t count) {
  std::string all;
  while (count-- > 0) all += text;
  return all;
}

// `count` zeros.
std::string Deflated(size_t count) {
  std::vector<Bytef> packed(compressBound(static_cast<uLong>(count)));
  uLongf size = static_cast<uLongf>(packed.size());
  const std::vector<Bytef> raw(count);
  REQUIRE(compress2(packed.data(), &size, raw.data(), static_cast<uLong>(count), 1) == Z_OK);
  return {packed.begin(), packed.begin() + static_cast<ptrdiff_t>(size)};
}

// Transparent black, in seven passes or one.
std::string Png(int depth, int colour, size_t pixel_bytes, bool interlaced, uint32_t width = kWidth,
                uint32_t height = kHeight) {
  size_t raw = height * (1 + width * pixel_bytes);
  if (interlaced) {
    raw = 0;
    const uint32_t passes[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                   {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
    for (const auto& [x, y, dx, dy] : passes) {
      raw += ((height - y + dy - 1) / dy) * (1 + (width - x + dx - 1) / dx * pixel_bytes);
    }
  }
  const std::string form =
      Big(static_cast<uint32_t>(depth), 1) + Big(static_cast<uint32_t>(colour), 1) + "\0\0"s;
  return "\x89PNG\r\n\x1a\n" +
         Chunk("IHDR", Big(width, 4) + Big(height, 4) + form + (interlaced ? "\1" : "\0"s)) +
         (colour == 3 ? Chunk("PLTE", "abcdef") + Chunk("tRNS", "x") : "") + Chunk("IDAT", Deflated(raw)) +
         Chunk("IEND", "");
}

std::string Jpeg(J_COLOR_SPACE colours, int channels) {
  jpeg_compress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &bytes, &size);
  jpeg.image_width = kWidth, jpeg.image_height = kHeight;
  jpeg.input_components = channels, jpeg.in_color_space = colours;
  jpeg_set_defaults(&jpeg);
  for (int c = 0; c < channels; c++) jpeg.comp_info[c].h_samp_factor = jpeg.comp_info[c].v_samp_factor = 1;
  jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  std::vector<uint8_t> row(size_t{kWidth} * static_cast<size_t>(channels));
  JSAMPROW rows[] = {row.data()};
  while (jpeg.next_scanline < kHeight) jpeg_write_scanlines(&jpeg, rows, 1);
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  const std::string file(reinterpret_cast<char*>(bytes), size);
  std::free(bytes);
  return file;
}

// Mostly transparent.
std::vector<uint8_t> Rgba() {
  std::vector<uint8_t> rgba(kPixels * 4);
  for (size_t i = 0; i < rgba.size(); i += 4 * 1009) rgba[i] = rgba[i + 3] = static_cast<uint8_t>(i >> 8);
  return rgba;
}

std::string Webp(bool lossless) {
  const std::vector<uint8_t> rgba = Rgba();
  WebPConfig config;
  WebPConfigInit(&config);
  config.lossless = lossless, config.method = 0, config.quality = 0, config.exact = 1;
  WebPPicture picture;
  WebPPictureInit(&picture);
  picture.use_argb = lossless;
  picture.width = kWidth, picture.height = kHeight;
  WebPMemoryWriter writer;
  WebPMemoryWriterInit(&writer);
  picture.writer = WebPMemoryWrite, picture.custom_ptr = &writer;
  REQUIRE(WebPPictureImportRGBA(&picture, rgba.data(), kWidth * 4));
  REQUIRE(WebPEncode(&config, &picture));
  WebPPictureFree(&picture);
  const std::string file(reinterpret_cast<char*>(writer.mem), writer.size);
  WebPMemoryWriterClear(&writer);
  return file;
}

// Clear codes and single indices only: nothing is shorter to write.
std::string Gif() {
  std::string blocks;
  for (int64_t left = kPixels; left > 0; left -= 126) {
    const auto count = static_cast<size_t>(std::min<int64_t>(left, 126));
    // Codes of 8 bits (7 bits and one more), whose table is cleared before they grow.
    blocks += static_cast<char>(count + 1);
    blocks += '\x80';
    blocks += std::string(count, '\5');
  }
  return "GIF89a" + Little(kWidth, 2) + Little(kHeight, 2) + "\0\0\0,\0\0\0\0"s + Little(kWidth, 2) +
         Little(kHeight, 2) + "\0\7"s + blocks + "\0;"s;
}

std::string Bmp(const std::string& data) {
  return "BM"s + std::string(8, '\0') + Little(14 + 40 + 1024, 4) + Little(40, 4) + Little(kWidth, 4) +
         Little(kHeight, 4) + Little(1, 2) + Little(8, 2) + Little(1, 4) + std::string(20, '\0') +
         std::string(1024, 'p') + data;
}

std::string Tga(int bits) {
  const std::string packet = "\xFF" + std::string(static_cast<size_t>(bits / 8), '\x77');
  return "\0\0\x0A"s + std::string(9, '\0') + Little(kWidth, 2) + Little(kHeight, 2) +
         Little(static_cast<uint32_t>(bits), 1) + "\x08" + Repeated(packet, (kPixels + 127) / 128);
}

std::string Psd(int mode, uint32_t channels) {
  std::string row;
  for (uint32_t left = kWidth; left > 0; left -= std::min(left, 128u)) {
    row += static_cast<char>(257 - std::min(left, 128u));
    row += 'x';
  }
  return "8BPS\0\1"s + std::string(6, '\0') + Big(channels, 2) + Big(kHeight, 4) + Big(kWidth, 4) +
         Big(8, 2) + Big(static_cast<uint32_t>(mode), 2) + std::string(12, '\0') + "\0\1"s +
         Repeated(Big(static_cast<uint32_t>(row.size()), 2), channels * kHeight) +
         Repeated(row, channels * kHeight);
}

std::string Hdr() {
  std::string row = "\2\2" + Big(kWidth, 2);
  for (int c = 0; c < 4; c++) {
    for (uint32_t left = kWidth; left > 0; left -= std::min(left, 127u)) {
      row += static_cast<char>(128 + std::min(left, 127u));
      row += '\x80';
    }
  }
  return "#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y " + std::to_string(kHeight) + " +X " +
         std::to_string(kWidth) + "\n" + Repeated(row, kHeight);
}

std::string Pnm(const std::string& start, size_t pixel_bytes) {
  return start + " " + std::to_string(kWidth) + " " + std::to_string(kHeight) + " 65535\n" +
         std::string(kPixels * pixel_bytes, '7');
}

struct Cost {
  int64_t bytes = -1;  // the peak beyond what was there before
  double seconds = 0;  // of processor time
  bool decoded = false;
};

// In a process of its own, because a peak never goes down again.
Cost CostOf(const std::string& file, AlphaMode alpha) {
  // Large blocks come from the system, so that what was freed before cannot be taken again unseen.
  mallopt(M_MMAP_THRESHOLD, 1 << 18);
  malloc_trim(0);
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    Cost cost;
    int64_t pages = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> pages >> resident;
    const std::clock_t start = std::clock();
    ImageOptions options;
    options.alpha = alpha;
    cost.decoded =
        DecodeImage({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, "x", options).ok();
    cost.seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    cost.bytes = usage.ru_maxrss * 1024 - resident * sysconf(_SC_PAGESIZE);
    const bool written = write(ends[1], &cost, sizeof(cost)) == sizeof(cost);
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  Cost cost;
  CHECK(read(ends[0], &cost, sizeof(cost)) == sizeof(cost));
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return cost;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kPlain = false;  // a sanitizer's own memory would be counted
#else
constexpr bool kPlain = true;
#endif

}  // namespace

TEST_CASE("a picture costs at most 8 bytes per pixel while it is decoded") {
  const std::map<std::string, std::function<std::string()>> files = {
      {"PNG, RGBA of 16 bits, interlaced", [] { return Png(16, 6, 8, true); }},
      {"PNG, RGBA of 16 bits", [] { return Png(16, 6, 8, false); }},
      {"PNG, a palette, interlaced", [] { return Png(8, 3, 1, true); }},
      {"JPEG, progressive 4:4:4", [] { return Jpeg(JCS_RGB, 3); }},
      {"JPEG, progressive CMYK", [] { return Jpeg(JCS_CMYK, 4); }},
      {"JPEG, progressive grey", [] { return Jpeg(JCS_GRAYSCALE, 1); }},
      {"WebP, lossless with alpha", [] { return Webp(true); }},
      {"WebP, lossy with alpha", [] { return Webp(false); }},
      {"GIF", Gif},
      {"BMP, RLE8", [] { return Bmp(Repeated(Repeated("\xC8g", 16) + "\0\0"s, kHeight)); }},
      {"BMP, RLE8 that ends at once", [] { return Bmp("\0\1"s); }},
      {"TGA, RLE of 32 bits", [] { return Tga(32); }},
      {"PSD, RGBA", [] { return Psd(3, 4); }},
      {"PSD, CMYK", [] { return Psd(4, 4); }},
      {"HDR", Hdr},
      {"PGM of 16 bits", [] { return Pnm("P5", 2); }},
      {"PPM of 16 bits", [] { return Pnm("P6", 6); }},
  };
  for (const auto& [name, make] : files) {
    const std::string file = make();
    for (const AlphaMode alpha : {AlphaMode::kDrop, AlphaMode::kWhite}) {
      const Cost cost = CostOf(file, alpha);
      INFO(name << (alpha == AlphaMode::kDrop ? "" : ", over white") << ": " << file.size() << " bytes, "
                << static_cast<double>(cost.bytes) / kPixels << " bytes per pixel, " << cost.seconds << " s");
      CHECK(cost.decoded);
      if (kPlain) CHECK(cost.bytes < 8 * kPixels + (2 << 20));
      CHECK(cost.seconds < (kPlain ? 2 : 20));
    }
  }
}

TEST_CASE("what a truncated file never gets to is not touched") {
  if (!kPlain) return;
  const std::map<std::string, std::string> files = {
      {"PNG", Png(16, 6, 8, false)},
      {"JPEG", Jpeg(JCS_GRAYSCALE, 1)},
      {"GIF", Gif()},
      {"TGA", Tga(32)},
      {"HDR", Hdr()},
      {"PPM", Pnm("P6", 6)},
      {"plain PPM", Pnm("P3", 6)},
      {"PSD", Psd(3, 4)},
      {"BMP", Bmp(Repeated(Repeated("\xC8g", 16) + "\0\0"s, kHeight))}};
  for (const auto& [name, file] : files) {
    const Cost cost = CostOf(file.substr(0, 3000), AlphaMode::kDrop);
    INFO(name << ": " << cost.bytes << " bytes");
    CHECK(!cost.decoded);
    CHECK(cost.bytes < kPixels);
  }
}

TEST_CASE("a large lossless WebP over a background is whole") {
  const std::vector<uint8_t> rgba = Rgba();
  const std::string file = Webp(true);
  ImageOptions options;
  options.alpha = AlphaMode::kWhite;
  const auto image = DecodeImage({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, "x", options);
  REQUIRE(image.ok());
  int64_t wrong = 0;
  for (size_t i = 0; i < rgba.size(); i += 4) {
    const uint32_t alpha = rgba[i + 3];
    for (size_t c = 0; c < 3; c++) {
      const uint32_t sum = 255 * (255 - alpha) + rgba[i + c] * alpha;
      wrong += image->rgb[i / 4 * 3 + c] != (sum + 127) / 255;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("too little memory is said to be what is missing") {
  if (!kPlain) return;
  const std::map<std::string, std::string> files = {{"PNG", Png(16, 6, 8, true)},
                                                    {"JPEG", Jpeg(JCS_RGB, 3)},
                                                    {"WebP", Webp(true)},
                                                    {"GIF", Gif()},
                                                    {"TGA", Tga(32)},
                                                    {"HDR", Hdr()},
                                                    {"PSD", Psd(3, 4)},
                                                    {"BMP", Bmp("\0\1"s)}};
  for (const auto& [name, file] : files) {
    for (const int64_t room : {kPixels / 2, kPixels * 5 / 2}) {
      const pid_t child = fork();
      if (child == 0) {
        malloc_trim(0);
        int64_t pages = 0;
        std::ifstream("/proc/self/statm") >> pages;
        const rlim_t limit = static_cast<rlim_t>(pages * sysconf(_SC_PAGESIZE) + room);
        const rlimit limits{limit, limit};
        setrlimit(RLIMIT_AS, &limits);
        const auto image = DecodeImage({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, "x");
        const bool said = !image.ok() && image.error().kind == ErrorKind::kFailure &&
                          image.error().message.find("memory") != std::string::npos;
        _exit(said ? 0 : 1);
      }
      int status = -1;
      waitpid(child, &status, 0);
      INFO(name << " in " << room << " bytes");
      CHECK(WIFEXITED(status));
      CHECK(WEXITSTATUS(status) == 0);
    }
  }
}

TEST_CASE("a JPEG cannot make the picture be walked for ever") {
  // The first scan, again and again: every one goes through all blocks.
  const std::string file = Jpeg(JCS_GRAYSCALE, 1);
  const size_t first = file.find("\xFF\xDA"), second = file.find("\xFF\xC4", first);
  const std::string scan = file.substr(first, second - first);
  const std::string bomb = file.substr(0, first) + Repeated(scan, 5000) + "\xFF\xD9";
  const Cost cost = CostOf(bomb, AlphaMode::kDrop);
  INFO(cost.seconds << " s");
  CHECK(!cost.decoded);
  CHECK(cost.seconds < (kPlain ? 5 : 50));
  const auto image = DecodeImage({reinterpret_cast<const uint8_t*>(bomb.data()), bomb.size()}, "x");
  REQUIRE(!image.ok());
  CHECK(image.error().message.find("scans") != std::string::npos);
}
