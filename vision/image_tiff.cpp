// TIFF through libtiff: the first page, as Pillow's convert("RGB") shows it. Not through TIFFReadRGBAImage,
// which rounds otherwise. Samples go to 8 bits in the picture's own bytes and are made RGB there, so that
// beside the picture there are a fourth sample, a row, a strip or a tile.
#include "vision/image_decoders.h"

#ifdef BIFRONS_TIFF
#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <vector>

#include "src/base/printable.h"
#include "vision/ifd.h"
#include "vision/orientation.h"
#include "vision/tiff_layout.h"
#include "vision/xmp.h"
#endif

namespace bifrons {
#ifdef BIFRONS_TIFF
namespace {

using Colours = TiffLayout::Colours;

// What libtiff's callbacks see.
struct File {
  std::span<const uint8_t> bytes;
  uint64_t at = 0;
  char message[200] = "";  // the first error
  bool ran_out = false;    // of a fax's codes, which libtiff makes white and only warns of
};

File& FileOf(thandle_t handle) { return *static_cast<File*>(handle); }

tmsize_t Read(thandle_t handle, void* out, tmsize_t size) {
  File& file = FileOf(handle);
  if (file.at >= file.bytes.size() || size <= 0) return 0;
  const size_t count = std::min(static_cast<size_t>(size), file.bytes.size() - static_cast<size_t>(file.at));
  std::memcpy(out, file.bytes.data() + file.at, count);
  file.at += count;
  return static_cast<tmsize_t>(count);
}

tmsize_t Write(thandle_t, void*, tmsize_t) { return -1; }

toff_t Seek(thandle_t handle, toff_t offset, int from) {
  File& file = FileOf(handle);
  file.at = offset + (from == SEEK_CUR ? file.at : from == SEEK_END ? file.bytes.size() : 0);
  return file.at;
}

int Close(thandle_t) { return 0; }

toff_t Size(thandle_t handle) { return FileOf(handle).bytes.size(); }

// Read only: libtiff opens with "r" and never writes to what it maps.
int Map(thandle_t handle, void** base, toff_t* size) {
  const File& file = FileOf(handle);
  *base = const_cast<uint8_t*>(file.bytes.data());
  *size = file.bytes.size();
  return 1;
}

void Unmap(thandle_t, void*, toff_t) {}

int OnError(TIFF*, void* user, const char*, const char* format, va_list arguments) {
  auto* file = static_cast<File*>(user);
  if (file->message[0] == 0) std::vsnprintf(file->message, sizeof(file->message), format, arguments);
  return 1;
}

int OnWarning(TIFF*, void* user, const char*, const char* format, va_list) {
  if (std::string_view(format).starts_with("Premature EOF")) static_cast<File*>(user)->ran_out = true;
  return 1;
}

struct CloseTiff {
  void operator()(TIFF* tiff) const { TIFFClose(tiff); }
};
using Handle = std::unique_ptr<TIFF, CloseTiff>;

// libtiff's tables of strips, and the strips that it has to copy, are no larger than the file.
constexpr int64_t kLibtiffMemory = int64_t{16} << 20;

Handle Open(File* file) {
  const std::unique_ptr<TIFFOpenOptions, decltype(&TIFFOpenOptionsFree)> options(TIFFOpenOptionsAlloc(),
                                                                                 TIFFOpenOptionsFree);
  if (!options) return nullptr;
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), OnError, file);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), OnWarning, file);
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(),
                                      static_cast<tmsize_t>(file->bytes.size()) + kLibtiffMemory);
  return Handle(
      TIFFClientOpenExt("TIFF", "r", file, Read, Write, Seek, Close, Size, Map, Unmap, options.get()));
}

// One picture on its way.
struct Decoding {
  const std::string& name;
  const ImageOptions& options;
  File file{};
  Handle tiff{};  // closed before `file` goes
  TiffLayout layout{};
  Image image{};
  std::vector<uint8_t> fourth{};  // alpha or the black ink, one per pixel

  Error Broken() const;
  Status CheckStorage() const;
  Status ReadScanlines();
  Status ReadBlocks();
  void Unpack(const uint8_t* row, int64_t x, int64_t y, int64_t count, int plane);
  void UnpackShared(const uint8_t* block, int64_t block_width, int64_t x, int64_t y, int64_t width,
                    int64_t height);
  Status ToRgb();
  Status YcbcrToRgb();
};

Error Decoding::Broken() const {
  bool truncated = file.ran_out;
  if (tiff) {
    const uint32_t parts = layout.tiled ? TIFFNumberOfTiles(tiff.get()) : TIFFNumberOfStrips(tiff.get());
    for (uint32_t i = 0; i < parts && !truncated; i++) {
      const uint64_t at = TIFFGetStrileOffset(tiff.get(), i), size = TIFFGetStrileByteCount(tiff.get(), i);
      truncated = at > file.bytes.size() || size > file.bytes.size() - at;
    }
  } else if (const auto ifds = Ifds::Open(file.bytes)) {
    truncated = ifds->first_directory() + 2 > file.bytes.size();
  } else {
    truncated = file.bytes.size() < 16;
  }
  if (truncated) return DataError(name + ": the TIFF file is truncated; get it again");
  return DataError(name + ": a damaged TIFF file" + (file.message[0] ? ": " + Printable(file.message) : ""));
}

// Bounds on time and memory: the strips or tiles of an honest file do not overlap, and are not much larger
// than the picture.
Status Decoding::CheckStorage() const {
  const int64_t pixels = layout.width * layout.height;
  const uint32_t parts = layout.tiled ? TIFFNumberOfTiles(tiff.get()) : TIFFNumberOfStrips(tiff.get());
  const uint64_t most = file.bytes.size() + static_cast<uint64_t>(pixels) * 8;
  uint64_t total = 0;
  for (uint32_t i = 0; i < parts; i++) {
    total += std::min<uint64_t>(TIFFGetStrileByteCount(tiff.get(), i), file.bytes.size());
    if (total > most) return DataError(name + ": a damaged TIFF file: its parts overlap");
  }
  constexpr int64_t kSmall = int64_t{8} << 20;
  const int64_t part = layout.tiled ? TIFFTileSize(tiff.get()) : 0;
  if (part > pixels * 4 + kSmall) {
    return DataError(name + ": a TIFF file with tiles of " + std::to_string(layout.tile_width) + " × " +
                     std::to_string(layout.tile_height) + " pixels, more than the picture explains");
  }
  return {};
}

// One row of `count` pixels from (x, y) on: every sample that is stored in it, or that of one plane.
void Decoding::Unpack(const uint8_t* row, int64_t x, int64_t y, int64_t count, int plane) {
  const int stored = layout.stored(), bits = layout.bits;
  const bool palette = layout.colours == Colours::kPalette;
  const int scale = palette || bits >= 8 ? 1 : 255 / ((1 << bits) - 1);
  const int64_t first = y * layout.width + x;
  for (int s = 0; s < stored; s++) {
    const int sample = layout.separate ? plane : s;
    const bool beside = sample == layout.alpha || sample == 3;
    if (sample >= layout.colour_samples() && sample != layout.alpha) continue;
    uint8_t* out = beside ? fourth.data() + first : image.rgb.data() + first * 3 + sample;
    const int64_t step = beside ? 1 : 3;
    for (int64_t i = 0; i < count; i++) {
      const int64_t at = i * stored + s;
      int value;
      if (bits == 8) {
        value = row[at];
      } else if (bits == 16) {  // in this machine's order
        uint16_t wide;
        std::memcpy(&wide, row + 2 * at, sizeof(wide));
        value = wide >> 8;
      } else {
        const int64_t bit = at * bits;
        value = (row[bit / 8] >> (8 - bits - bit % 8) & ((1 << bits) - 1)) * scale;
      }
      out[i * step] = static_cast<uint8_t>(value);
    }
  }
}

// TIFF 6.0, section 21: units of share_across × share_down brightnesses, then Cb and Cr that they share.
void Decoding::UnpackShared(const uint8_t* block, int64_t block_width, int64_t x, int64_t y, int64_t width,
                            int64_t height) {
  const int across = layout.share_across, down = layout.share_down, unit = across * down + 2;
  const int64_t units = (block_width + across - 1) / across;
  for (int64_t row = 0; row < height; row++) {
    uint8_t* out = image.rgb.data() + ((y + row) * layout.width + x) * 3;
    const uint8_t* from = block + row / down * units * unit;
    for (int64_t i = 0; i < width; i++, out += 3) {
      const uint8_t* shared = from + i / across * unit;
      out[0] = shared[row % down * across + i % across];
      out[1] = shared[unit - 2];
      out[2] = shared[unit - 1];
    }
  }
}

Status Decoding::ReadScanlines() {
  const int64_t least = (layout.width * layout.stored() * layout.bits + 7) / 8;
  const int64_t size = TIFFScanlineSize(tiff.get());
  if (size < least) return Broken();
  std::vector<uint8_t> row(static_cast<size_t>(size));
  const int planes = layout.separate ? layout.samples : 1;
  for (int plane = 0; plane < planes; plane++) {
    for (int64_t y = 0; y < layout.height; y++) {
      if (TIFFReadScanline(tiff.get(), row.data(), static_cast<uint32_t>(y), static_cast<uint16_t>(plane)) <
          0) {
        return Broken();
      }
      Unpack(row.data(), 0, y, layout.width, plane);
    }
  }
  return {};
}

// Tiles, and strips whose rows do not stand by themselves.
Status Decoding::ReadBlocks() {
  const bool shared = layout.colours == Colours::kYcbcr && !layout.separate;
  const int64_t block_width = layout.tiled ? layout.tile_width : layout.width;
  const int64_t block_height = layout.tiled ? layout.tile_height : layout.strip_rows;
  const int64_t row_bytes = (block_width * layout.stored() * layout.bits + 7) / 8;
  const int64_t size = layout.tiled ? TIFFTileSize(tiff.get()) : TIFFStripSize(tiff.get());
  const auto units = [](int64_t pixels, int share) { return (pixels + share - 1) / share; };
  const int64_t unit = layout.share_across * layout.share_down + 2;
  const auto bytes_of = [&](int64_t rows) {
    return shared ? units(block_width, layout.share_across) * units(rows, layout.share_down) * unit
                  : row_bytes * rows;
  };
  if (size < bytes_of(block_height)) return Broken();
  std::vector<uint8_t> block(static_cast<size_t>(size));
  const int planes = layout.separate ? layout.samples : 1;
  for (int plane = 0; plane < planes; plane++) {
    for (int64_t y = 0; y < layout.height; y += block_height) {
      const int64_t height = std::min(block_height, layout.height - y);
      for (int64_t x = 0; x < layout.width; x += block_width) {
        const int64_t width = std::min(block_width, layout.width - x);
        const auto column = static_cast<uint32_t>(x), line = static_cast<uint32_t>(y);
        const auto sample = static_cast<uint16_t>(plane);
        const tmsize_t count =
            layout.tiled ? TIFFReadTile(tiff.get(), block.data(), column, line, 0, sample)
                         : TIFFReadEncodedStrip(tiff.get(), TIFFComputeStrip(tiff.get(), line, sample),
                                                block.data(), static_cast<tmsize_t>(size));
        if (count < bytes_of(layout.tiled ? block_height : height)) return Broken();
        if (shared) {
          UnpackShared(block.data(), block_width, x, y, width, height);
          continue;
        }
        for (int64_t row = 0; row < height; row++)
          Unpack(block.data() + row * row_bytes, x, y + row, width, plane);
      }
    }
  }
  return {};
}

uint8_t Clipped(int value) { return static_cast<uint8_t>(std::clamp(value, 0, 255)); }

Status Decoding::YcbcrToRgb() {
  uint8_t* const end = image.rgb.data() + image.rgb.size();
  if (!layout.compressed && layout.share_across == 1 && layout.share_down == 1) {
    // Pillow reads these without libtiff.  [libImaging/ConvertYCbCr.c: 6 bits behind the point]
    const auto part = [](double weight, uint8_t colour) {
      return static_cast<int>(weight * 64 * (colour - 128) + 0.5);
    };
    for (uint8_t* p = image.rgb.data(); p < end; p += 3) {
      const uint8_t y = p[0], cb = p[1], cr = p[2];
      p[0] = Clipped(y + (part(1.402, cr) >> 6));
      p[1] = Clipped(y + ((part(-0.34414, cb) + part(-0.71414, cr)) >> 6));
      p[2] = Clipped(y + (part(1.772, cb) >> 6));
    }
    return {};
  }
  float *weights = nullptr, *range = nullptr;
  TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_YCBCRCOEFFICIENTS, &weights);
  TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_REFERENCEBLACKWHITE, &range);
  const auto finite = [](const float* values, int count) {
    return values && std::all_of(values, values + count, [](float v) { return std::abs(v) < 1e9f; });
  };
  if (!finite(weights, 3) || weights[1] == 0 || !finite(range, 6)) {
    return DataError(name + ": a damaged TIFF file: its YCbCr colours have no meaning");
  }
  // libtiff's tables stand behind its struct, in one block.  [tif_getimage.c: initYCbCrConversion]
  constexpr size_t kTables = 4 * 256 + (2 * 256 * sizeof(int) + 3 * 256 * sizeof(int32_t));
  std::vector<uint64_t> memory((sizeof(TIFFYCbCrToRGB) + kTables) / sizeof(uint64_t) + 2);
  auto* tables = reinterpret_cast<TIFFYCbCrToRGB*>(memory.data());
  if (TIFFYCbCrToRGBInit(tables, weights, range) < 0) return Broken();
  for (uint8_t* p = image.rgb.data(); p < end; p += 3) {
    uint32_t r, g, b;
    TIFFYCbCrtoRGB(tables, p[0], p[1], p[2], &r, &g, &b);
    p[0] = static_cast<uint8_t>(r), p[1] = static_cast<uint8_t>(g), p[2] = static_cast<uint8_t>(b);
  }
  return {};
}

// Samples, in place, to colours over the background that was asked for.
Status Decoding::ToRgb() {
  if (layout.colours == Colours::kYcbcr) return YcbcrToRgb();
  if (layout.colours == Colours::kRgb && fourth.empty()) return {};
  const size_t pixels = image.rgb.size() / 3;
  uint8_t* p = image.rgb.data();
  for (size_t i = 0; i < pixels; i++, p += 3) {
    if (layout.colours == Colours::kPalette) {
      const auto& colour = layout.palette[p[0]];
      std::copy(colour.begin(), colour.end(), p);
    } else if (layout.colours == Colours::kCmyk) {
      // As Pillow's cmyk2rgb rounds it.
      const uint32_t light = 255u - fourth[i];
      for (int c = 0; c < 3; c++) {
        const uint32_t product = p[c] * light + 128;
        p[c] = static_cast<uint8_t>(light - ((product + (product >> 8)) >> 8));
      }
      continue;
    } else if (layout.colours != Colours::kRgb) {
      p[0] = p[1] = p[2] = layout.colours == Colours::kGrey ? p[0] : static_cast<uint8_t>(255 - p[0]);
    }
    if (layout.alpha < 0) continue;
    const int alpha = fourth[i];
    if (layout.multiplied) {
      for (int c = 0; c < 3; c++) p[c] = alpha == 0 ? uint8_t{0} : Clipped(p[c] * 255 / alpha);
    }
    PutPixel(p[0], p[1], p[2], static_cast<uint8_t>(alpha), options.alpha, p);
  }
  return {};
}

// The file's own orientation, or what its XMP packet says.
int OrientationOf(TIFF* tiff) {
  uint16_t orientation = 0;
  if (TIFFGetField(tiff, TIFFTAG_ORIENTATION, &orientation)) return orientation;
  uint32_t size = 0;
  const char* packet = nullptr;
  if (!TIFFGetField(tiff, TIFFTAG_XMLPACKET, &size, &packet) || !packet) return 1;
  return XmpOrientation({packet, size}).value_or(1);
}

Result<Image> Decode(std::span<const uint8_t> bytes, const std::string& name, const ImageOptions& options) {
  Decoding decoding{name, options};
  decoding.file.bytes = bytes;
  decoding.tiff = Open(&decoding.file);
  if (!decoding.tiff) return decoding.Broken();
  TIFF* const tiff = decoding.tiff.get();
  TiffLayout& layout = decoding.layout;
  BIFRONS_RETURN_IF_ERROR(ReadTiffSize(tiff, name, &layout));
  BIFRONS_RETURN_IF_ERROR(CheckImageSize(layout.width, layout.height, name, options));
  // libtiff makes up what is missing: extra samples, and grey for a palette that is lost.
  const auto ifds = Ifds::Open(bytes);
  const auto find = [&](uint32_t tag) {
    return ifds ? ifds->Find(ifds->first_directory(), tag) : std::nullopt;
  };
  const bool tells = !ifds || find(TIFFTAG_EXTRASAMPLES);
  BIFRONS_RETURN_IF_ERROR(ReadTiffLayout(tiff, tells, name, &layout));
  const auto photometric = find(TIFFTAG_PHOTOMETRIC);
  if (photometric && ifds->Integer(*photometric) == PHOTOMETRIC_PALETTE &&
      layout.colours != Colours::kPalette) {
    return DataError(name + ": a damaged or truncated TIFF file: its palette is missing");
  }
  BIFRONS_RETURN_IF_ERROR(decoding.CheckStorage());
  BIFRONS_TRY(decoding.image, NewImage(layout.width, layout.height, name));
  if (layout.alpha >= 0 || layout.colours == Colours::kCmyk) {
    decoding.fourth.resize(static_cast<size_t>(layout.width * layout.height));
  }
  const bool blocks = layout.tiled || (layout.colours == Colours::kYcbcr && !layout.separate);
  BIFRONS_RETURN_IF_ERROR(blocks ? decoding.ReadBlocks() : decoding.ReadScanlines());
  if (decoding.file.ran_out) return decoding.Broken();
  BIFRONS_RETURN_IF_ERROR(decoding.ToRgb());
  if (options.orientation) ApplyOrientation(OrientationOf(tiff), &decoding.image);
  return std::move(decoding.image);
}

}  // namespace
#endif

Result<Image> DecodeTiff(std::span<const uint8_t> bytes, const std::string& name,
                         const ImageOptions& options) {
#ifdef BIFRONS_TIFF
  try {
    return Decode(bytes, name, options);
  } catch (const std::bad_alloc&) {
    return Failure(name + ": not enough memory for the TIFF file; scale the picture down");
  }
#else
  (void)bytes, (void)options;
  return DataError(name +
                   ": this build has no TIFF, which this file needs; build with libtiff-dev, or convert it "
                   "to PNG or JPEG");
#endif
}

}  // namespace bifrons
