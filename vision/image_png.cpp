// PNG through libpng, not stb_image: palettes, masks and 16 bits come out as Pillow has them, and nothing is
// allocated before its size is known.
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

bool Prepare(Session& s, bool wants_alpha, Layout* layout, int* passes) {
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
  *passes = png_set_interlace_handling(s.png);
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

// Rows to rgb [height, width, 3]; `raw` has room for one row, or for all where the file is interlaced, and is
// null where rows are RGB already.
bool ReadRows(Session& s, size_t width, size_t height, int passes, Layout layout, const Colour* palette,
              AlphaMode mode, uint8_t* raw, uint8_t* rgb) {
  if (setjmp(png_jmpbuf(s.png))) return false;
  const size_t stride = width * static_cast<size_t>(layout);
  for (int pass = 0; pass < passes; pass++) {
    for (size_t y = 0; y < height; y++) {
      uint8_t* row = !raw ? rgb + y * stride : passes > 1 ? raw + y * stride : raw;
      png_read_row(s.png, row, nullptr);
      if (raw && pass == passes - 1) ToRgb(row, width, layout, palette, mode, rgb + y * width * 3);
    }
  }
  return true;
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
  Layout layout = Layout::kRgb;
  int passes = 1;
  if (!Prepare(session, options.alpha != AlphaMode::kDrop, &layout, &passes)) return Explain(session, name);
  const std::vector<Colour> palette = Palette(session);
  BIFRONS_TRY(Image image, NewImage(width, height, name));
  std::vector<uint8_t> raw;
  if (layout != Layout::kRgb) {
    raw.resize(static_cast<size_t>(layout) * static_cast<size_t>(width) *
               static_cast<size_t>(passes > 1 ? height : 1));
  }
  if (!ReadRows(session, static_cast<size_t>(width), static_cast<size_t>(height), passes, layout,
                palette.data(), options.alpha, raw.empty() ? nullptr : raw.data(), image.rgb.data())) {
    return Explain(session, name);
  }
  return image;
}

}  // namespace bifrons
