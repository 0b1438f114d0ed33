// Which pictures stand on one sheet: those of a job, as a contact sheet or an X/Y plot; or the only ones of
// many jobs.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/jobs/plan.h"

namespace bifrons {

/// Reads a picture by its name in the output folder.
using PathOf = std::function<std::string(const std::string& file)>;

/// The sheet's file, made of the pictures' files, so that it is the same whichever run drew them. `columns`
/// of a contact sheet: 0 = about as many as rows; a plot's first axis gives its columns. Errors: DrawSheet's,
/// EncodePicture's, a picture that cannot be read.
Result<std::vector<uint8_t>> MakeSheet(const PlannedJob& planned, const std::vector<PlotAxis>& plot,
                                       int columns, const PathOf& path_of);

/// The only picture of a job.
struct SinglePicture {
  std::string file, prompt;
  uint64_t seed = 0;
  bool fresh = false;  // drawn now
};

/// Rows and columns of a list's contact sheets; `columns` as given, 0 = kListSheetSide.
constexpr int kListSheetSide = 6;
inline int ListSheetColumns(int columns) { return columns > 0 ? columns : kListSheetSide; }
inline int ListSheetPictures(int columns) { return ListSheetColumns(columns) * kListSheetSide; }

/// A contact sheet of such pictures, each with its prompt and seed. Errors: as above.
Result<std::vector<uint8_t>> MakeListSheet(std::span<const SinglePicture> pictures, int columns,
                                           PictureFormat format, const PathOf& path_of);

}  // namespace bifrons
