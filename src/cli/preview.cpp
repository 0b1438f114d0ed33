#include "src/cli/preview.h"

#include <chafa.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "src/base/free_by.h"

namespace bifrons {
namespace {

using TermInfo = std::unique_ptr<ChafaTermInfo, FreeBy<chafa_term_info_unref>>;
using CanvasConfig = std::unique_ptr<ChafaCanvasConfig, FreeBy<chafa_canvas_config_unref>>;
using Canvas = std::unique_ptr<ChafaCanvas, FreeBy<chafa_canvas_unref>>;
using SymbolMap = std::unique_ptr<ChafaSymbolMap, FreeBy<chafa_symbol_map_unref>>;
using Environment = std::unique_ptr<gchar*, FreeBy<g_strfreev>>;

// Of cells, and of one of them in pixels. Most terminals say no more than the first; then a usual font's
// shape.
struct Window {
  int columns = 80, rows = 24, cell_width = 10, cell_height = 20;
};

// No letter can be read in fewer pixels. Sixel's unit is six rows of them: libchafa divides by how many it
// has.
constexpr int kSmallestCell = 6;

Window ReadWindow() {
  Window window;
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return window;
  window.columns = size.ws_col, window.rows = size.ws_row;
  const int cell_width = size.ws_xpixel / size.ws_col, cell_height = size.ws_ypixel / size.ws_row;
  if (cell_width >= kSmallestCell && cell_height >= kSmallestCell)
    window.cell_width = cell_width, window.cell_height = cell_height;
  return window;
}

// What the terminal can be told.
struct Abilities {
  ChafaPixelMode pixels = CHAFA_PIXEL_MODE_SYMBOLS;
  ChafaCanvasMode colors = CHAFA_CANVAS_MODE_FGBG;
  bool plain = false;  // letters, without any colour
};

Abilities AbilitiesOf(const ChafaTermInfo* info) {
  const char* const term = std::getenv("TERM");
  const std::string_view name = term ? term : "";
  Abilities can;
  if (name.empty() || name == "dumb") {
    can.plain = true;
    return can;
  }
  const auto has = [&](ChafaTermSeq sequence) { return chafa_term_info_have_seq(info, sequence) != 0; };
  if (has(CHAFA_TERM_SEQ_SET_COLOR_FGBG_DIRECT)) {
    can.colors = CHAFA_CANVAS_MODE_TRUECOLOR;
  } else if (has(CHAFA_TERM_SEQ_SET_COLOR_FGBG_256)) {
    can.colors = CHAFA_CANVAS_MODE_INDEXED_240;
  } else if (has(CHAFA_TERM_SEQ_SET_COLOR_FGBG_16)) {
    can.colors = CHAFA_CANVAS_MODE_INDEXED_16;
  }
  // A multiplexer keeps graphics to itself, whatever stands around it.
  if (name.starts_with("screen") || name.starts_with("tmux")) return can;
  if (has(CHAFA_TERM_SEQ_BEGIN_KITTY_IMMEDIATE_IMAGE_V1)) {
    can.pixels = CHAFA_PIXEL_MODE_KITTY;
  } else if (has(CHAFA_TERM_SEQ_BEGIN_ITERM2_IMAGE)) {
    can.pixels = CHAFA_PIXEL_MODE_ITERM2;
  } else if (has(CHAFA_TERM_SEQ_BEGIN_SIXELS)) {
    can.pixels = CHAFA_PIXEL_MODE_SIXELS;
  }
  if (can.pixels != CHAFA_PIXEL_MODE_SYMBOLS) can.colors = CHAFA_CANVAS_MODE_TRUECOLOR;
  return can;
}

}  // namespace

Preview::Preview(bool wanted, bool quiet) : shows_(wanted && ::isatty(STDERR_FILENO)) {
  if (wanted && !shows_ && !quiet)
    std::fputs("bifrons: --preview: standard error is no terminal; pictures are not shown\n", stderr);
}

void Preview::Show(const Image& image) const {
  if (!shows_) return;
  const Environment environment(g_get_environ());
  const TermInfo info(chafa_term_db_detect(chafa_term_db_get_default(), environment.get()));
  const Abilities can = AbilitiesOf(info.get());
  const Window window = ReadWindow();
  const auto width = static_cast<int>(image.width), height = static_cast<int>(image.height);

  // The name of the file and the next prompt are to stay on the screen too.
  int columns = window.columns, rows = std::max(window.rows - 2, 1);
  if (can.pixels != CHAFA_PIXEL_MODE_SYMBOLS) {
    columns = std::min(columns, (width + window.cell_width - 1) / window.cell_width);
    rows = std::min(rows, (height + window.cell_height - 1) / window.cell_height);
  }
  const float shape = static_cast<float>(window.cell_width) / static_cast<float>(window.cell_height);
  chafa_calc_canvas_geometry(width, height, &columns, &rows, shape, /*zoom=*/0, /*stretch=*/0);
  columns = std::max(columns, 1), rows = std::max(rows, 1);

  const SymbolMap symbols(chafa_symbol_map_new());
  chafa_symbol_map_add_by_tags(symbols.get(), can.plain ? CHAFA_SYMBOL_TAG_ASCII : CHAFA_SYMBOL_TAG_BLOCK);
  chafa_symbol_map_add_by_tags(symbols.get(), CHAFA_SYMBOL_TAG_SPACE);
  const CanvasConfig config(chafa_canvas_config_new());
  chafa_canvas_config_set_geometry(config.get(), columns, rows);
  chafa_canvas_config_set_cell_geometry(config.get(), window.cell_width, window.cell_height);
  chafa_canvas_config_set_pixel_mode(config.get(), can.pixels);
  chafa_canvas_config_set_canvas_mode(config.get(), can.colors);
  chafa_canvas_config_set_symbol_map(config.get(), symbols.get());
  const Canvas canvas(chafa_canvas_new(config.get()));
  chafa_canvas_draw_all_pixels(canvas.get(), CHAFA_PIXEL_RGB8, image.rgb.data(), width, height, 3 * width);
  GString* const text = chafa_canvas_print(canvas.get(), info.get());
  std::fwrite(text->str, 1, text->len, stderr);
  std::fputc('\n', stderr);
  std::fflush(stderr);
  g_string_free(text, 1);
}

}  // namespace bifrons
