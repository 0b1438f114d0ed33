// Contact sheets and X/Y plots: pictures in a grid, with text in any script.
#pragma once

#include <string>
#include <vector>

#include "src/base/result.h"
#include "vision/image.h"

namespace bifrons {

/// A cell of a sheet.
struct SheetCell {
  Image image;  // empty: a gap, drawn as a grey field
  // UTF-8, below the picture, wrapped to its width, each line of it at most 4 lines; may be empty.
  std::string caption;
  std::string note{};  // the same below the caption, in a smaller font rather than with a word broken
};

/// Row by row, the last row may be short. Pictures stand as they are, unscaled; smaller ones in the middle of
/// their cells. `row_labels` and `column_labels` (empty, or one per row and column) stand beside the rows and
/// above the columns, `title` above all.
struct Sheet {
  int columns = 1;
  std::vector<SheetCell> cells;
  std::vector<std::string> row_labels, column_labels;
  std::string title;
};

/// What a sheet may be at most: the longest side that text can be set across, and the pixels beyond which
/// Pillow (and ImageOptions) take a file for an attack.
constexpr int64_t kMaxSheetSide = 32'767, kMaxSheetPixels = 178'956'970;

/// Errors: no picture at all, or a sheet beyond these limits (kUsage); text that cannot be set, as there is
/// no font (kFailure). A sheet without any text needs no font.
Result<Image> DrawSheet(const Sheet& sheet);

/// The first of DrawSheet's errors, for who wants to know before the pictures are in memory: whether the
/// sheet's cells would fit if the largest picture had these sides. Its texts take more.
Status CheckSheetSize(const Sheet& sheet, int64_t width, int64_t height);

/// Whether text can be set, for who wants to know before the pictures are drawn: the second of DrawSheet's
/// errors.
Status CheckFonts();

}  // namespace bifrons
