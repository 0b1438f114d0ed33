// Which pictures stand on one sheet: those of a job, as a contact sheet or an X/Y plot; or the only ones of
// many jobs.
//
// A sheet's file says in its metadata what it shows, by a hash, so that an older one is known from one that
// is up to date, and both from anybody's picture.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/jobs/plan.h"
#include "src/jobs/sheet.h"

namespace bifrons {

/// Reads a picture by its name in the output folder.
using PathOf = std::function<std::string(const std::string& file)>;

/// What is to stand on a sheet, before any picture is read.
struct PlannedSheet {
  struct Picture {
    std::string file, sha256;  // in the output folder; of its bytes
  };
  Sheet sheet;  // its cells without their images
  std::vector<Picture> pictures;
  PictureFormat format = PictureFormat::kPng;
};

/// A job's sheet; `hashes` are its pictures'. `columns` of a contact sheet: 0 = about as many as rows; a
/// plot's first axis gives its columns.
PlannedSheet PlanSheet(const PlannedJob& planned, const std::vector<std::string>& hashes,
                       const std::vector<PlotAxis>& plot, int columns);

/// The only picture of a job.
struct SinglePicture {
  std::string file, sha256, prompt;
  uint64_t seed = 0;
};

/// Rows and columns of a list's contact sheets; `columns` as given, 0 = kListSheetSide.
constexpr int kListSheetSide = 6;
inline int ListSheetColumns(int columns) { return columns > 0 ? columns : kListSheetSide; }
inline int ListSheetPictures(int columns) { return ListSheetColumns(columns) * kListSheetSide; }

/// A contact sheet of such pictures, each with its prompt and seed.
PlannedSheet PlanListSheet(std::span<const SinglePicture> pictures, int columns, PictureFormat format);

/// The text in the sheet's file: "bifrons sheet: 4 pictures, Contents: …", a hash over everything on it.
std::string SheetText(const PlannedSheet& planned);
/// Whether it is such a text, of whatever sheet.
bool IsSheetText(const std::string& text);

/// The sheet's file with `text` in it, made of the pictures' files, so that it is the same whichever run drew
/// them. Pictures that cannot fit are refused before more of them are in memory than fit. Errors:
/// DrawSheet's, EncodePicture's, a picture that cannot be read.
Result<std::vector<uint8_t>> MakeSheet(PlannedSheet planned, const PathOf& path_of, const std::string& text);

}  // namespace bifrons
