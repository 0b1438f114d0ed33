#include "src/jobs/job_sheet.h"

#include <algorithm>
#include <cmath>

#include "src/jobs/sheet.h"
#include "src/model/text/utf8.h"
#include "vision/image_file.h"

namespace bifrons {

Result<std::vector<uint8_t>> MakeSheet(const PlannedJob& planned, const std::vector<PlotAxis>& plot,
                                       int columns, const PathOf& path_of) {
  Sheet sheet;
  sheet.title = planned.job.picture->prompt;
  if (!plot.empty()) {
    sheet.columns = static_cast<int>(plot[0].values.size());
    sheet.column_labels = plot[0].labels;
    if (plot.size() > 1) sheet.row_labels = plot[1].labels;
  } else {
    sheet.columns =
        columns > 0 ? columns
                    : static_cast<int>(std::ceil(std::sqrt(static_cast<double>(planned.pictures.size()))));
  }
  for (const PlannedPicture& picture : planned.pictures) {
    BIFRONS_TRY(Image image, LoadImage(path_of(picture.file)));
    sheet.cells.push_back({std::move(image), plot.empty() ? "seed " + std::to_string(picture.seed) : ""});
  }
  BIFRONS_TRY(const Image drawn, DrawSheet(sheet));
  return EncodePicture(drawn, planned.format, "");
}

Result<std::vector<uint8_t>> MakeListSheet(std::span<const SinglePicture> pictures, int columns,
                                           PictureFormat format, const PathOf& path_of) {
  Sheet sheet;
  sheet.columns = std::min(ListSheetColumns(columns), static_cast<int>(pictures.size()));
  for (const SinglePicture& picture : pictures) {
    BIFRONS_TRY(Image image, LoadImage(path_of(picture.file)));
    sheet.cells.push_back(
        {std::move(image), OneLine(picture.prompt) + "\nseed " + std::to_string(picture.seed)});
  }
  BIFRONS_TRY(const Image drawn, DrawSheet(sheet));
  return EncodePicture(drawn, format, "");
}

}  // namespace bifrons
