#include "vision/tiff_layout.h"

#ifdef BIFRONS_TIFF
#include <algorithm>

namespace bifrons {
namespace {

Error NotRead(const std::string& name, const std::string& what) {
  return DataError(name + ": a TIFF file with " + what +
                   ", which is not read; convert it to 8 bits or to PNG");
}

uint16_t Short(TIFF* tiff, uint32_t tag) {
  uint16_t value = 0;
  TIFFGetFieldDefaulted(tiff, tag, &value);
  return value;
}

// The others that libtiff knows may unpack to more than the picture's size explains.
bool IsRead(uint16_t compression) {
  for (const int known : {COMPRESSION_NONE, COMPRESSION_CCITTRLE, COMPRESSION_CCITTFAX3,
                          COMPRESSION_CCITTFAX4, COMPRESSION_LZW, COMPRESSION_JPEG, COMPRESSION_ADOBE_DEFLATE,
                          COMPRESSION_CCITTRLEW, COMPRESSION_PACKBITS, COMPRESSION_DEFLATE}) {
    if (compression == known) return true;
  }
  return false;
}

Status ReadCompression(TIFF* tiff, const std::string& name, TiffLayout* layout) {
  const uint16_t compression = Short(tiff, TIFFTAG_COMPRESSION);
  layout->compressed = compression != COMPRESSION_NONE;
  if (IsRead(compression) && TIFFIsCODECConfigured(compression)) return {};
  if (compression == COMPRESSION_OJPEG) return NotRead(name, "JPEG compression of the old style");
  const TIFFCodec* codec = TIFFFindCODEC(compression);
  return NotRead(
      name, codec ? std::string(codec->name) + " compression" : "compression " + std::to_string(compression));
}

// TIFF 6.0, sections 3 to 6, 16, 20 and 21: PhotometricInterpretation.
Status ReadColours(TIFF* tiff, const std::string& name, TiffLayout* layout) {
  using Colours = TiffLayout::Colours;
  uint16_t photometric = PHOTOMETRIC_MINISWHITE;  // where it is missing, as Pillow has it
  TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
  switch (photometric) {
    case PHOTOMETRIC_MINISWHITE:
      layout->colours = Colours::kInvertedGrey;
      return {};
    case PHOTOMETRIC_MINISBLACK:
      layout->colours = Colours::kGrey;
      return {};
    case PHOTOMETRIC_RGB:
      layout->colours = Colours::kRgb;
      return {};
    case PHOTOMETRIC_PALETTE:
      layout->colours = Colours::kPalette;
      return {};
    case PHOTOMETRIC_SEPARATED:
      layout->colours = Colours::kCmyk;
      return {};
    case PHOTOMETRIC_YCBCR:
      layout->colours = layout->samples == 1 ? Colours::kGrey : Colours::kYcbcr;
      return {};
    case PHOTOMETRIC_CIELAB:
    case PHOTOMETRIC_ICCLAB:
    case PHOTOMETRIC_ITULAB:
      return NotRead(name, "CIE L*a*b* colours");
    case PHOTOMETRIC_CFA:
    case 34892:
      return NotRead(name, "the raw data of a camera's sensor");
    default:
      return NotRead(name, "photometric interpretation " + std::to_string(photometric));
  }
}

Status ReadSamples(TIFF* tiff, bool tells_extra_samples, const std::string& name, TiffLayout* layout) {
  using Colours = TiffLayout::Colours;
  constexpr int kMaxSamples = 6;  // Pillow's
  const int colours = layout->colour_samples();
  if (layout->samples < colours || layout->samples > kMaxSamples) {
    return NotRead(name, std::to_string(layout->samples) + " samples per pixel");
  }
  const uint16_t format = Short(tiff, TIFFTAG_SAMPLEFORMAT);
  if (format != SAMPLEFORMAT_UINT) {
    return NotRead(name, format == SAMPLEFORMAT_IEEEFP ? "floating-point samples"
                         : format == SAMPLEFORMAT_INT  ? "signed samples"
                                                       : "samples of format " + std::to_string(format));
  }
  const bool small = layout->bits == 1 || layout->bits == 2 || layout->bits == 4;
  const bool grey = layout->colours == Colours::kGrey || layout->colours == Colours::kInvertedGrey;
  const bool known =
      layout->bits == 8 ||
      (small && layout->samples == 1 && (grey || layout->colours == Colours::kPalette)) ||
      (layout->bits == 16 && layout->colours != Colours::kPalette && layout->colours != Colours::kYcbcr);
  if (!known) {
    return NotRead(name, std::to_string(layout->bits) + " bits per sample and " +
                             std::to_string(layout->samples) + " samples per pixel");
  }
  if (layout->samples == colours || layout->colours == Colours::kCmyk || layout->colours == Colours::kYcbcr)
    return {};
  uint16_t count = 0, *types = nullptr;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &count, &types);
  const int type = count > 0 && types ? types[0] : EXTRASAMPLE_UNSPECIFIED;
  const bool untold = layout->colours == Colours::kRgb && layout->samples == 4 && !tells_extra_samples;
  layout->multiplied = type == EXTRASAMPLE_ASSOCALPHA;
  if (untold || layout->multiplied || type == EXTRASAMPLE_UNASSALPHA) layout->alpha = colours;
  return {};
}

Status ReadPalette(TIFF* tiff, const std::string& name, TiffLayout* layout) {
  uint16_t *red = nullptr, *green = nullptr, *blue = nullptr;
  if (!TIFFGetField(tiff, TIFFTAG_COLORMAP, &red, &green, &blue) || !red || !green || !blue) {
    return DataError(name + ": a damaged TIFF file: its palette is missing");
  }
  for (size_t i = 0; i < size_t{1} << layout->bits; i++) {
    const auto high = [&](const uint16_t* colour) { return static_cast<uint8_t>(colour[i] >> 8); };
    layout->palette.push_back({high(red), high(green), high(blue)});
  }
  return {};
}

Status ReadYcbcr(TIFF* tiff, const std::string& name, TiffLayout* layout) {
  if (Short(tiff, TIFFTAG_COMPRESSION) == COMPRESSION_JPEG && !layout->separate) {
    // libjpeg interpolates and converts better than we could here, and Pillow has it do so too.
    TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    layout->colours = TiffLayout::Colours::kRgb;
    return {};
  }
  uint16_t across = 1, down = 1;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_YCBCRSUBSAMPLING, &across, &down);
  const auto known = [](int n) { return n == 1 || n == 2 || n == 4; };
  if (!known(across) || !known(down) || layout->samples != 3 ||
      (layout->separate && (across > 1 || down > 1))) {
    return NotRead(name, "YCbCr colours in this arrangement");
  }
  layout->share_across = across;
  layout->share_down = down;
  return {};
}

}  // namespace

Status ReadTiffSize(TIFF* tiff, const std::string& name, TiffLayout* layout) {
  uint32_t width = 0, height = 0;
  if (!TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width) || !TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height)) {
    return DataError(name + ": a damaged TIFF file: it does not tell its size");
  }
  layout->width = width;
  layout->height = height;
  return {};
}

Status ReadTiffLayout(TIFF* tiff, bool tells_extra_samples, const std::string& name, TiffLayout* layout) {
  layout->bits = Short(tiff, TIFFTAG_BITSPERSAMPLE);
  layout->samples = Short(tiff, TIFFTAG_SAMPLESPERPIXEL);
  layout->separate = layout->samples > 1 && Short(tiff, TIFFTAG_PLANARCONFIG) == PLANARCONFIG_SEPARATE;
  BIFRONS_RETURN_IF_ERROR(ReadCompression(tiff, name, layout));
  BIFRONS_RETURN_IF_ERROR(ReadColours(tiff, name, layout));
  BIFRONS_RETURN_IF_ERROR(ReadSamples(tiff, tells_extra_samples, name, layout));
  if (layout->colours == TiffLayout::Colours::kPalette)
    BIFRONS_RETURN_IF_ERROR(ReadPalette(tiff, name, layout));
  if (layout->colours == TiffLayout::Colours::kYcbcr) BIFRONS_RETURN_IF_ERROR(ReadYcbcr(tiff, name, layout));
  layout->tiled = TIFFIsTiled(tiff) != 0;
  uint32_t tile_width = 0, tile_height = 0, rows = 0;
  if (layout->tiled) {
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &tile_width);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &tile_height);
    if (tile_width == 0 || tile_height == 0)
      return DataError(name + ": a damaged TIFF file: tiles of no size");
  }
  TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &rows);
  layout->tile_width = tile_width;
  layout->tile_height = tile_height;
  layout->strip_rows = std::clamp<int64_t>(rows, 1, layout->height);
  return {};
}

}  // namespace bifrons
#endif
