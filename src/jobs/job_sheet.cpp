#include "src/jobs/job_sheet.h"

#include <algorithm>
#include <cmath>

#include "src/base/lower_hex.h"
#include "src/base/sha256.h"
#include "src/model/text/utf8.h"
#include "vision/image_file.h"

namespace bifrons {
namespace {

constexpr std::string_view kSheet = "bifrons sheet: ", kContents = " pictures, Contents: ";
constexpr size_t kHashDigits = 64;

// Texts and numbers one after another, so that no two lists of them come to the same bytes.
class Contents {
 public:
  void Add(const std::string& text) { hash_.Update(Bytes(std::to_string(text.size()) + ":" + text)); }
  void Add(const std::vector<std::string>& texts) {
    Add(std::to_string(texts.size()));
    for (const std::string& text : texts) Add(text);
  }
  std::string Finish() { return hash_.Finish(); }

 private:
  static std::span<const uint8_t> Bytes(const std::string& text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
  }
  Sha256 hash_;
};

std::string SeedNote(uint64_t seed) { return "seed " + std::to_string(seed); }

}  // namespace

PlannedSheet PlanSheet(const PlannedJob& planned, const std::vector<std::string>& hashes,
                       const std::vector<PlotAxis>& plot, int columns) {
  PlannedSheet result;
  result.format = planned.format;
  Sheet& sheet = result.sheet;
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
  for (size_t k = 0; k < planned.pictures.size(); k++) {
    const PlannedPicture& picture = planned.pictures[k];
    sheet.cells.push_back({{}, "", plot.empty() ? SeedNote(picture.seed) : ""});
    result.pictures.push_back({picture.file, hashes[k]});
  }
  return result;
}

PlannedSheet PlanListSheet(std::span<const SinglePicture> pictures, int columns, PictureFormat format) {
  PlannedSheet result;
  result.format = format;
  result.sheet.columns = std::min(ListSheetColumns(columns), static_cast<int>(pictures.size()));
  for (const SinglePicture& picture : pictures) {
    result.sheet.cells.push_back({{}, OneLine(picture.prompt), SeedNote(picture.seed)});
    result.pictures.push_back({picture.file, picture.sha256});
  }
  return result;
}

std::string SheetText(const PlannedSheet& planned) {
  const Sheet& sheet = planned.sheet;
  Contents contents;
  contents.Add(std::to_string(sheet.columns));
  contents.Add(sheet.title), contents.Add(sheet.column_labels), contents.Add(sheet.row_labels);
  for (size_t i = 0; i < planned.pictures.size(); i++) {
    contents.Add(planned.pictures[i].sha256);
    contents.Add(sheet.cells[i].caption), contents.Add(sheet.cells[i].note);
  }
  return std::string(kSheet) + std::to_string(planned.pictures.size()) + std::string(kContents) +
         contents.Finish();
}

bool IsSheetText(const std::string& text) {
  std::string_view rest = text;
  if (!rest.starts_with(kSheet)) return false;
  rest.remove_prefix(kSheet.size());
  const size_t end = std::min(rest.find(' '), rest.size());
  if (end == 0 || rest.find_first_not_of("0123456789") < end) return false;
  rest.remove_prefix(end);
  if (!rest.starts_with(kContents)) return false;
  rest.remove_prefix(kContents.size());
  return IsLowerHex(rest, kHashDigits);
}

Result<std::vector<uint8_t>> MakeSheet(PlannedSheet planned, const PathOf& path_of, const std::string& text) {
  Sheet& sheet = planned.sheet;
  int64_t width = 0, height = 0;  // of the largest so far
  for (size_t i = 0; i < planned.pictures.size(); i++) {
    BIFRONS_TRY(Image image, LoadImage(path_of(planned.pictures[i].file)));
    if (image.width > width || image.height > height) {
      width = std::max(width, image.width), height = std::max(height, image.height);
      BIFRONS_RETURN_IF_ERROR(CheckSheetSize(sheet, width, height));
    }
    sheet.cells[i].image = std::move(image);
  }
  BIFRONS_TRY(const Image drawn, DrawSheet(sheet));
  return EncodePicture(drawn, planned.format, text);
}

}  // namespace bifrons
