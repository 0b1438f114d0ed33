// PNG through libpng: palettes, masks and 16 bits come out as Pillow has them, and nothing is allocated
// before its size is known.
#include <png.h>

#include <csetjmp>
#include <cstring>
#include <vector>

#include "vision/image_decoders.h"

namespace bifrons {
namespace {

// What libpng's callbacks see. libpng reports errors by longjmp, which runs no destructors: the functions
// that call setjmp hold nothing but plain values and pointers to what their callers own.
struct Session {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::span<const uint8_t> rest;
  bool ran_out = false;
  char message[160] = "";

  ~Session() { png_destroy_read_struct(&png, &info, nullptr); }
};

void OnError(png_structp png, png_const_charp message) {
  auto* session = static_cast<Session*>(png_get_error_ptr(png));
  std::strncpy(session->message, message, sizeof(session->message) - 1);
  png_longjmp(png, 1);
}

void OnWarning(png_structp, png_const_charp) {}

void Read(png_structp png, png_bytep data, size_t size) {
  auto* session = static_cast<Session*>(png_get_io_ptr(png));
  if (size > session->rest.size()) {
    session->ran_out = true;
    png_error(png, "truncated");
  }
  std::memcpy(data, session->rest.data(), size);
  session->rest = session->rest.subspan(size);
}

bool ReadHeader(Session& s) {
  s.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &s, OnError, OnWarning);
  if (s.png == nullptr) return false;
  if (setjmp(png_jmpbuf(s.png))) return false;
  s.info = png_create_info_struct(s.png);
  if (s.info == nullptr) png_error(s.png, "out of memory");
  png_set_read_fn(s.png, &s, Read);
  png_set_user_limits(s.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // ours are stricter and say the numbers
  // Chunks that change no pixel here: they are not worth unpacking.
  static const uint8_t kIgnored[] =
      "iCCP\0tEXt\0zTXt\0iTXt\0sPLT\0hIST\0eXIf\0tIME\0pHYs\0sCAL\0pCAL\0oFFs\0cHRM\0gAMA\0sRGB\0bKGD\0sBIT";
  png_set_keep_unknown_chunks(s.png, PNG_HANDLE_CHUNK_NEVER, kIgnored, sizeof(kIgnored) / 5);
  png_read_info(s.png, s.info);
  return true;
}

// How a row comes out of libpng. Palettes are looked up here: what lies beyond a palette's end is black in
// Pillow, while libpng warns.
enum class Layout { kIndex = 1, kRgb = 3, kRgba = 4 };

bool Prepare(Session& s, bool wants_alpha, Layout* layout) {
  if (setjmp(png_jmpbuf(s.png))) return false;
  const int type = png_get_color_type(s.png, s.info);
  png_set_packing(s.png);   // 1, 2 and 4 bits → a byte
  png_set_strip_16(s.png);  // the high byte
  if (type == PNG_COLOR_TYPE_PALETTE) {
    *layout = Layout::kIndex;
  } else {
    const bool keyed = png_get_valid(s.png, s.info, PNG_INFO_tRNS) != 0;
    const bool alpha = wants_alpha && (keyed || (type & PNG_COLOR_MASK_ALPHA) != 0);
    if (png_get_bit_depth(s.png, s.info) < 8) png_set_expand_gray_1_2_4_to_8(s.png);
    if (keyed && alpha) png_set_tRNS_to_alpha(s.png);
    if ((type & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(s.png);
    if (!alpha) png_set_strip_alpha(s.png);
    *layout = alpha ? Layout::kRgba : Layout::kRgb;
  }
  png_read_update_info(s.png, s.info);
  if (png_get_rowbytes(s.png, s.info) != static_cast<size_t>(*layout) * png_get_image_width(s.png, s.info)) {
    png_error(s.png, "an unexpected row size");
  }
  return true;
}

struct Colour {
  uint8_t r = 0, g = 0, b = 0, alpha = 255;
};

void ToRgb(const uint8_t* row, size_t width, Layout layout, const Colour* palette, AlphaMode mode,
           uint8_t* out) {
  for (size_t x = 0; x < width; x++) {
    if (layout == Layout::kIndex) {
      const Colour& c = palette[row[x]];
      PutPixel(c.r, c.g, c.b, c.alpha, mode, out + 3 * x);
    } else {
      PutPixel(row[4 * x], row[4 * x + 1], row[4 * x + 2], row[4 * x + 3], mode, out + 3 * x);
    }
  }
}

// Appends the rows to the image, through row [width, layout].
bool ReadRows(Session& s, Layout layout, const Colour* palette, AlphaMode mode, uint8_t* row, Image* image) {
  if (setjmp(png_jmpbuf(s.png))) return false;
  for (int64_t y = 0; y < image->height; y++) {
    uint8_t* out = AddRow(image);
    png_read_row(s.png, layout == Layout::kRgb ? out : row, nullptr);
    if (layout != Layout::kRgb) {
      ToRgb(row, static_cast<size_t>(image->width), layout, palette, mode, out);
    }
  }
  return true;
}

// The same for an interlaced file: seven smaller pictures, whose pixels go to their places at once, so that
// the file is walked once and nothing but the result is held. `shown` has room for a row of the result.
bool ReadPasses(Session& s, Layout layout, const Colour* palette, AlphaMode mode, uint8_t* row,
                uint8_t* shown, Image* image) {
  if (setjmp(png_jmpbuf(s.png))) return false;
  const size_t width = static_cast<size_t>(image->width), height = static_cast<size_t>(image->height);
  for (int pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES; pass++) {
    const size_t columns = PNG_PASS_COLS(width, pass), rows = columns ? PNG_PASS_ROWS(height, pass) : 0;
    const size_t left = PNG_PASS_START_COL(pass), step = size_t{1} << PNG_PASS_COL_SHIFT(pass);
    for (size_t i = 0; i < rows; i++) {
      png_read_row(s.png, row, nullptr);
      if (layout != Layout::kRgb) ToRgb(row, columns, layout, palette, mode, shown);
      const uint8_t* from = layout == Layout::kRgb ? row : shown;
      uint8_t* out = image->rgb.data() + (PNG_ROW_FROM_PASS_ROW(i, pass) * width + left) * 3;
      for (size_t x = 0; x < columns; x++, from += 3, out += 3 * step) {
        out[0] = from[0], out[1] = from[1], out[2] = from[2];
      }
    }
  }
  return true;
}

// Whether what is left of the file can hold the pixels: deflate makes at most 1032 bytes of one.
bool CanHoldPixels(const Session& s) {
  const uint64_t bits = uint64_t{png_get_bit_depth(s.png, s.info)} * png_get_channels(s.png, s.info) *
                        png_get_image_width(s.png, s.info) * png_get_image_height(s.png, s.info);
  return bits / 8 / 1032 <= s.rest.size();
}

std::vector<Colour> Palette(const Session& s) {
  std::vector<Colour> palette(256);
  png_colorp colours = nullptr;
  png_bytep alphas = nullptr;
  int count = 0, alpha_count = 0;
  png_get_PLTE(s.png, s.info, &colours, &count);
  png_get_tRNS(s.png, s.info, &alphas, &alpha_count, nullptr);
  for (int i = 0; colours && i < count && i < 256; i++) {
    palette[static_cast<size_t>(i)] = {colours[i].red, colours[i].green, colours[i].blue, 255};
  }
  for (int i = 0; alphas && i < alpha_count && i < 256; i++)
    palette[static_cast<size_t>(i)].alpha = alphas[i];
  return palette;
}

Error Explain(const Session& session, const std::string& name) {
  if (session.ran_out) return DataError(name + ": the PNG file is truncated; get it again");
  return DataError(name + ": a damaged PNG file: " + session.message);
}

}  // namespace

Result<Image> DecodePng(std::span<const uint8_t> bytes, const std::string& name,
                        const ImageOptions& options) {
  Session session;
  session.rest = bytes;
  if (!ReadHeader(session)) return Explain(session, name);
  const int64_t width = png_get_image_width(session.png, session.info);
  const int64_t height = png_get_image_height(session.png, session.info);
  BIFRONS_RETURN_IF_ERROR(CheckImageSize(width, height, name, options));
  if (!CanHoldPixels(session)) return DataError(name + ": the PNG file is truncated; get it again");
  const bool interlaced = png_get_interlace_type(session.png, session.info) != PNG_INTERLACE_NONE;
  Layout layout = Layout::kRgb;
  if (!Prepare(session, options.alpha != AlphaMode::kDrop, &layout)) return Explain(session, name);
  const std::vector<Colour> palette = Palette(session);
  std::vector<uint8_t> row(static_cast<size_t>(width) * 4), shown(interlaced ? row.size() : 0);
  BIFRONS_TRY(Image image,
              interlaced ? NewImage(width, height, name) : NewImageWithoutRows(width, height, name));
  const bool done = interlaced ? ReadPasses(session, layout, palette.data(), options.alpha, row.data(),
                                            shown.data(), &image)
                               : ReadRows(session, layout, palette.data(), options.alpha, row.data(), &image);
  if (!done) return Explain(session, name);
  return image;
}

}  // namespace bifrons
