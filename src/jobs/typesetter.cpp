#include "src/jobs/typesetter.h"

#include <pango/pangocairo.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "src/base/free_by.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

template <class T, auto function = g_object_unref>
using Owned = std::unique_ptr<T, FreeBy<function>>;

constexpr double kInk = 0.13;  // nearly black; on white easier to read than black

// What Pango gets to see: at most `paragraphs` of them, of at most `length` characters each, without control
// characters. No box holds more: laying out the rest of a very long prompt would only take time.
std::string Prepared(std::string_view text, int paragraphs, int64_t length) {
  const std::string valid = ReplaceInvalidUtf8(text);
  std::string out;
  int64_t taken = 0;
  for (std::string_view rest = valid; !rest.empty();) {
    const CodePoint c = DecodeUtf8(rest);
    rest.remove_prefix(static_cast<size_t>(c.bytes));
    if (c.value == '\n') {
      if (--paragraphs == 0) break;
      out += '\n';
      taken = 0;
    } else if (taken++ < length) {
      AppendUtf8(c.value < 0x20 || (c.value >= 0x7F && c.value < 0xA0) ? U' ' : c.value, out);
    }
  }
  return out;
}

PangoAlignment ToPango(TextBox::Align align) {
  switch (align) {
    case TextBox::Align::kCentre:
      return PANGO_ALIGN_CENTER;
    case TextBox::Align::kEnd:
      return PANGO_ALIGN_RIGHT;
    default:
      return PANGO_ALIGN_LEFT;
  }
}

PangoFontDescription* SansSerif(int64_t size, bool bold) {
  PangoFontDescription* const font = pango_font_description_new();
  pango_font_description_set_family(font, "sans-serif");
  pango_font_description_set_absolute_size(font, static_cast<double>(size) * PANGO_SCALE);
  pango_font_description_set_weight(font, bold ? PANGO_WEIGHT_BOLD : PANGO_WEIGHT_NORMAL);
  return font;
}

// Of a layout with its text and width, which wraps between words when this returns.
void SetFont(PangoLayout* layout, const TextBox& box) {
  pango_layout_set_wrap(layout, PANGO_WRAP_WORD);
  for (int64_t size = box.font_size;; size--) {
    const Owned<PangoFontDescription, pango_font_description_free> font(SansSerif(size, box.bold));
    pango_layout_set_font_description(layout, font.get());
    int width = 0;
    if (box.whole_words) pango_layout_get_pixel_size(layout, &width, nullptr);
    if (width <= box.width || 2 * (size - 1) < box.font_size) return;
  }
}

Image ToImage(cairo_surface_t* surface) {
  const int width = cairo_image_surface_get_width(surface), height = cairo_image_surface_get_height(surface);
  Image image{width, height, {}};
  image.rgb.reserve(static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
  cairo_surface_flush(surface);
  for (int y = 0; y < height; y++) {
    const auto* row = reinterpret_cast<const uint32_t*>(
        cairo_image_surface_get_data(surface) + ptrdiff_t{y} * cairo_image_surface_get_stride(surface));
    for (int x = 0; x < width; x++) {
      for (const int shift : {16, 8, 0}) image.rgb.push_back(static_cast<uint8_t>(row[x] >> shift));
    }
  }
  return image;
}

}  // namespace

struct Typesetter::Context {
  Owned<PangoContext> pango;
};

Typesetter::Typesetter(std::unique_ptr<Context> context) : context_(std::move(context)) {}
Typesetter::Typesetter(Typesetter&&) noexcept = default;
Typesetter::~Typesetter() = default;

Result<Typesetter> Typesetter::Create() {
  const Owned<PangoFontMap> fonts(pango_cairo_font_map_new());
  auto context = std::make_unique<Context>();
  context->pango.reset(pango_font_map_create_context(fonts.get()));
  PangoContext* const pango = context->pango.get();
  // Not what the desktop or the locale asks for, so that a sheet looks the same in all of them.
  pango_context_set_language(pango, pango_language_from_string("en"));
  const Owned<cairo_font_options_t, cairo_font_options_destroy> options(cairo_font_options_create());
  cairo_font_options_set_antialias(options.get(), CAIRO_ANTIALIAS_GRAY);
  cairo_font_options_set_hint_style(options.get(), CAIRO_HINT_STYLE_SLIGHT);
  cairo_font_options_set_hint_metrics(options.get(), CAIRO_HINT_METRICS_OFF);
  pango_cairo_context_set_font_options(pango, options.get());
  // Any font will do: Pango lists its names for "sans" and the like even where nothing stands behind them.
  const Owned<PangoFontDescription, pango_font_description_free> wanted(SansSerif(16, false));
  const Owned<PangoFont> font(pango_context_load_font(pango, wanted.get()));
  if (!font)
    return Failure("text cannot be set: no font is installed; install one, such as fonts-dejavu-core");
  return Typesetter(std::move(context));
}

Result<Image> Typesetter::Set(const std::string& text, const TextBox& box) const {
  BIFRONS_CHECK(box.width > 0 && box.font_size > 0 && box.lines > 0);
  const std::string prepared = Prepared(text, box.lines, box.lines * box.width);
  if (prepared.empty()) return Image{};

  const Owned<PangoLayout> layout(pango_layout_new(context_->pango.get()));
  pango_layout_set_width(layout.get(), static_cast<int>(box.width * PANGO_SCALE));
  // A word that is broken gets no hyphen: a prompt stands as it is.
  const Owned<PangoAttrList, pango_attr_list_unref> attributes(pango_attr_list_new());
  pango_attr_list_insert(attributes.get(), pango_attr_insert_hyphens_new(FALSE));
  pango_layout_set_attributes(layout.get(), attributes.get());
  pango_layout_set_alignment(layout.get(), ToPango(box.align));
  pango_layout_set_text(layout.get(), prepared.data(), static_cast<int>(prepared.size()));
  SetFont(layout.get(), box);
  pango_layout_set_wrap(layout.get(), PANGO_WRAP_WORD_CHAR);
  pango_layout_set_height(layout.get(), -box.lines);
  pango_layout_set_ellipsize(layout.get(), PANGO_ELLIPSIZE_END);

  PangoRectangle extent;
  pango_layout_get_pixel_extents(layout.get(), nullptr, &extent);
  const int left = box.shrink ? extent.x : 0;
  const int width = box.shrink ? std::max(extent.width, 1) : static_cast<int>(box.width);
  const Owned<cairo_surface_t, cairo_surface_destroy> surface(
      cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, extent.height));
  const Owned<cairo_t, cairo_destroy> cairo(cairo_create(surface.get()));
  cairo_set_source_rgb(cairo.get(), 1, 1, 1);
  cairo_paint(cairo.get());
  cairo_set_source_rgb(cairo.get(), kInk, kInk, kInk);
  cairo_move_to(cairo.get(), -left, 0);
  pango_cairo_show_layout(cairo.get(), layout.get());
  if (cairo_status(cairo.get()) != CAIRO_STATUS_SUCCESS) {
    return Failure(std::string("text cannot be set: ") + cairo_status_to_string(cairo_status(cairo.get())));
  }
  return ToImage(surface.get());
}

}  // namespace bifrons
