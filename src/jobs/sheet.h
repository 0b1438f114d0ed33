// Contact sheets and X/Y plots: pictures in a grid, with text in any script.
#pragma once

#include <string>
#include <vector>

#include "src/base/result.h"
#include "vision/image.h"

namespace bifrons {

/// A cell of a sheet.
struct SheetCell {
  Image image;          // empty: a gap
  std::string caption;  // UTF-8, below the picture, wrapped; may be empty
};

/// Row by row; all pictures of one size. `row_labels` and `column_labels` (empty, or one per row and column) stand
/// beside the rows and above the columns, `title` above all.
struct Sheet {
  int columns = 1;
  std::vector<SheetCell> cells;
  std::vector<std::string> row_labels, column_labels;
  std::string title;
};

/// Errors: text that cannot be set (kFailure).
Result<Image> DrawSheet(const Sheet& sheet);

}  // namespace bifrons
