#include "src/jobs/sheet.h"

#include <algorithm>
#include <opencv2/core.hpp>
#include <optional>
#include <utility>

#include "src/jobs/typesetter.h"

namespace bifrons {
namespace {

constexpr uint8_t kPaper = 255, kGap = 238;

// Distances in pixels, in proportion to the pictures.
struct Measures {
  int64_t columns, rows;
  int64_t cell_width, cell_height;
  int64_t gap;        // around cells
  int64_t text_gap;   // between a picture and the text above or below
  int64_t label_gap;  // between the labels of rows and their pictures
  int64_t font_size;  // readable beside pictures of 96 pixels, in proportion beside larger ones
};

// Of cells of which the largest picture has these sides.
Measures Measure(const Sheet& sheet, int64_t width, int64_t height) {
  Measures m{};
  m.cell_width = width, m.cell_height = height;
  const auto cells = static_cast<int64_t>(sheet.cells.size());
  m.columns = sheet.column_labels.empty() ? std::clamp<int64_t>(cells, 1, sheet.columns) : sheet.columns;
  m.rows = (cells + m.columns - 1) / m.columns;
  m.gap = std::max<int64_t>(m.cell_width / 16, 6);
  m.text_gap = std::max<int64_t>(m.gap / 3, 2);
  m.font_size = std::max<int64_t>(m.cell_width / 24, 11);
  m.label_gap = m.font_size * 3 / 4;
  return m;
}

Measures Measure(const Sheet& sheet) {
  int64_t width = 0, height = 0;
  for (const SheetCell& cell : sheet.cells) {
    width = std::max(width, cell.image.width);
    height = std::max(height, cell.image.height);
  }
  return Measure(sheet, width, height);
}

Status CheckSize(int64_t width, int64_t height, size_t pictures) {
  if (std::max(width, height) <= kMaxSheetSide && width * height <= kMaxSheetPixels) return {};
  return UsageError("a sheet of " + std::to_string(pictures) + " pictures takes " + std::to_string(width) +
                    "x" + std::to_string(height) + " pixels; at most " + std::to_string(kMaxSheetSide) +
                    " a side and " + std::to_string(kMaxSheetPixels) +
                    " together are possible: put fewer pictures on it");
}

// All texts of a sheet, set.
struct Texts {
  Image title;
  std::vector<Image> columns, rows, captions;
};

bool HasText(const Sheet& sheet) {
  return !sheet.title.empty() || !sheet.row_labels.empty() || !sheet.column_labels.empty() ||
         std::any_of(sheet.cells.begin(), sheet.cells.end(),
                     [](const SheetCell& c) { return !c.caption.empty() || !c.note.empty(); });
}

int64_t Highest(const Image* first, const Image* end) {
  int64_t height = 0;
  for (; first != end; first++) height = std::max(height, first->height);
  return height;
}

int64_t Widest(const std::vector<Image>& images) {
  int64_t width = 0;
  for (const Image& image : images) width = std::max(width, image.width);
  return width;
}

// Where the grid begins from the left, right of the labels of rows.
int64_t GridLeft(const Measures& m, const Texts& texts) {
  return m.gap + (texts.rows.empty() ? 0 : Widest(texts.rows) + m.label_gap);
}

int64_t SheetWidth(const Measures& m, const Texts& texts) {
  return GridLeft(m, texts) + m.columns * (m.cell_width + m.gap);
}

// Both as wide as their box, or empty.
Image Stacked(Image above, const Image& below) {
  above.width = std::max(above.width, below.width), above.height += below.height;
  above.rgb.insert(above.rgb.end(), below.rgb.begin(), below.rgb.end());
  return above;
}

Result<Texts> SetTexts(const Sheet& sheet, const Measures& m) {
  Texts texts;
  texts.captions.resize(sheet.cells.size());
  if (!HasText(sheet)) return texts;
  BIFRONS_TRY(const Typesetter typesetter, Typesetter::Create());
  TextBox box{.width = m.cell_width, .font_size = m.font_size};
  TextBox note = box;
  note.whole_words = true;
  for (size_t i = 0; i < sheet.cells.size(); i++) {
    BIFRONS_TRY(Image caption, typesetter.Set(sheet.cells[i].caption, box));
    BIFRONS_TRY(const Image below, typesetter.Set(sheet.cells[i].note, note));
    texts.captions[i] = Stacked(std::move(caption), below);
  }
  box.bold = true;
  box.align = TextBox::Align::kCentre;
  for (const std::string& label : sheet.column_labels) {
    BIFRONS_TRY(Image image, typesetter.Set(label, box));
    texts.columns.push_back(std::move(image));
  }
  box.align = TextBox::Align::kEnd;
  box.shrink = true;
  for (const std::string& label : sheet.row_labels) {
    BIFRONS_TRY(Image image, typesetter.Set(label, box));
    texts.rows.push_back(std::move(image));
  }
  // A sheet that turns out to be too wide is refused with its own numbers, not for its title.
  const int64_t width = std::min(SheetWidth(m, texts) - 2 * m.gap, kMaxSheetSide);
  const TextBox title{.width = width, .font_size = m.font_size * 5 / 4, .bold = true};
  BIFRONS_TRY(texts.title, typesetter.Set(sheet.title, title));
  return texts;
}

cv::Mat View(const Image& image) {
  return {static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC3,
          const_cast<uint8_t*>(image.rgb.data())};
}

void Paste(const Image& image, int64_t x, int64_t y, cv::Mat* canvas) {
  if (image.rgb.empty()) return;
  BIFRONS_CHECK(image.rgb.size() == static_cast<size_t>(image.width * image.height * 3));
  const cv::Rect place(static_cast<int>(x), static_cast<int>(y), static_cast<int>(image.width),
                       static_cast<int>(image.height));
  View(image).copyTo((*canvas)(place));
}

}  // namespace

Status CheckFonts() {
  const auto typesetter = Typesetter::Create();
  return typesetter.ok() ? Status() : typesetter.error();
}

Status CheckSheetSize(const Sheet& sheet, int64_t width, int64_t height) {
  const Measures m = Measure(sheet, width, height);
  return CheckSize(SheetWidth(m, {}), m.gap + m.rows * (m.cell_height + m.gap), sheet.cells.size());
}

Result<Image> DrawSheet(const Sheet& sheet) {
  const Measures m = Measure(sheet);
  BIFRONS_CHECK(sheet.columns > 0);
  BIFRONS_CHECK(sheet.column_labels.empty() || static_cast<int64_t>(sheet.column_labels.size()) == m.columns);
  BIFRONS_CHECK(sheet.row_labels.empty() || static_cast<int64_t>(sheet.row_labels.size()) == m.rows);
  if (m.cell_width == 0) return UsageError("a sheet needs at least one picture");
  // First without text, whose setting takes longest.
  const size_t count = sheet.cells.size();
  BIFRONS_RETURN_IF_ERROR(CheckSheetSize(sheet, m.cell_width, m.cell_height));
  BIFRONS_TRY(const Texts texts, SetTexts(sheet, m));

  const auto below = [](int64_t height, int64_t distance) { return height > 0 ? height + distance : 0; };
  const int64_t labels_height = Highest(texts.columns.data(), texts.columns.data() + texts.columns.size());
  const int64_t labels_top = m.gap + below(texts.title.height, m.gap);
  std::vector<int64_t> tops;  // of the rows' cells; then the sheet's height
  tops.push_back(labels_top + below(labels_height, m.text_gap));
  for (int64_t row = 0; row < m.rows; row++) {
    const Image* first = texts.captions.data() + row * m.columns;
    const Image* end = texts.captions.data() + std::min((row + 1) * m.columns, static_cast<int64_t>(count));
    const int64_t cells = m.cell_height + below(Highest(first, end), m.text_gap);
    const int64_t label = texts.rows.empty() ? 0 : texts.rows[static_cast<size_t>(row)].height;
    tops.push_back(tops.back() + std::max(cells, label) + m.gap);
  }
  const int64_t width = SheetWidth(m, texts), height = tops.back(), left = GridLeft(m, texts);
  BIFRONS_RETURN_IF_ERROR(CheckSize(width, height, count));

  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3), kPaper)};
  cv::Mat canvas = View(image);
  const auto column_left = [&](int64_t column) { return left + column * (m.cell_width + m.gap); };
  Paste(texts.title, m.gap, m.gap, &canvas);
  for (size_t i = 0; i < texts.columns.size(); i++) {
    const Image& label = texts.columns[i];
    Paste(label, column_left(static_cast<int64_t>(i)), labels_top + labels_height - label.height, &canvas);
  }
  for (size_t i = 0; i < texts.rows.size(); i++) {
    const Image& label = texts.rows[i];
    const int64_t down = std::max<int64_t>((m.cell_height - label.height) / 2, 0);
    Paste(label, left - m.label_gap - label.width, tops[i] + down, &canvas);
  }
  for (size_t i = 0; i < count; i++) {
    const Image& picture = sheet.cells[i].image;
    const int64_t x = column_left(static_cast<int64_t>(i) % m.columns),
                  y = tops[i / static_cast<size_t>(m.columns)];
    if (picture.rgb.empty()) {
      canvas(cv::Rect(static_cast<int>(x), static_cast<int>(y), static_cast<int>(m.cell_width),
                      static_cast<int>(m.cell_height)))
          .setTo(cv::Scalar::all(kGap));
    }
    Paste(picture, x + (m.cell_width - picture.width) / 2, y + (m.cell_height - picture.height) / 2, &canvas);
    Paste(texts.captions[i], x, y + m.cell_height + m.text_gap, &canvas);
  }
  return image;
}

}  // namespace bifrons
