// Sheets: where pictures and texts stand. What letters look like is Pango's and the fonts' affair; that there
// are some is ours.
#include "src/jobs/sheet.h"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <optional>

#include "src/jobs/typesetter.h"

namespace bifrons {
namespace {

constexpr int64_t kSide = 48;

// Coloured in a way that no text or gap is, another one for every `number`.
Image Picture(int number, int64_t width = kSide, int64_t height = kSide) {
  Image image{width, height, {}};
  for (int64_t i = 0; i < width * height; i++) {
    for (const int64_t v : {i % 200, int64_t{number}, int64_t{7}})
      image.rgb.push_back(static_cast<uint8_t>(v));
  }
  return image;
}

std::vector<SheetCell> Cells(int count, const std::string& caption = "") {
  std::vector<SheetCell> cells;
  for (int i = 0; i < count; i++) cells.push_back({Picture(i), caption});
  return cells;
}

struct Place {
  int64_t x, y;
  bool operator==(const Place&) const = default;
};

bool IsAt(const Image& sheet, const Image& picture, int64_t x, int64_t y) {
  const auto stride = static_cast<size_t>(picture.width) * 3;
  for (int64_t row = 0; row < picture.height; row++) {
    if (std::memcmp(&sheet.rgb[static_cast<size_t>(((y + row) * sheet.width + x) * 3)],
                    &picture.rgb[static_cast<size_t>(row) * stride], stride) != 0) {
      return false;
    }
  }
  return true;
}

// Where the picture stands with all its pixels unchanged, which has to be one place.
Place Find(const Image& sheet, const Image& picture) {
  std::vector<Place> found;
  for (int64_t y = 0; y + picture.height <= sheet.height; y++) {
    for (int64_t x = 0; x + picture.width <= sheet.width; x++) {
      if (IsAt(sheet, picture, x, y)) found.push_back({x, y});
    }
  }
  REQUIRE(found.size() == 1);
  return found[0];
}

// Pixels that are not paper, in a part of the sheet.
int64_t Ink(const Image& sheet, int64_t left, int64_t top, int64_t right, int64_t bottom) {
  int64_t ink = 0;
  for (int64_t y = std::max<int64_t>(top, 0); y < std::min(bottom, sheet.height); y++) {
    for (int64_t x = std::max<int64_t>(left, 0); x < std::min(right, sheet.width); x++) {
      const uint8_t* p = &sheet.rgb[static_cast<size_t>((y * sheet.width + x) * 3)];
      ink += p[0] != 255 || p[1] != 255 || p[2] != 255;
    }
  }
  return ink;
}

Image Drawn(const Sheet& sheet) {
  auto image = DrawSheet(sheet);
  if (!image.ok()) FAIL(image.error().message);
  REQUIRE(image->rgb.size() == static_cast<size_t>(image->width * image->height * 3));
  return std::move(*image);
}

// Pictures of `sheet`, by cell; checks that they are in a grid of equal distances between columns.
std::vector<Place> Places(const Image& image, const Sheet& sheet) {
  std::vector<Place> places;
  for (const SheetCell& cell : sheet.cells) {
    places.push_back(cell.image.rgb.empty() ? Place{-1, -1} : Find(image, cell.image));
  }
  return places;
}

TEST_CASE("pictures stand in a grid, unchanged") {
  for (const auto& [count, columns] : {std::pair{1, 1}, {1, 5}, {7, 1}, {7, 7}, {7, 3}, {13, 4}, {12, 4}}) {
    INFO(count << " pictures in " << columns << " columns");
    const Sheet sheet{
        .columns = columns, .cells = Cells(count), .row_labels = {}, .column_labels = {}, .title = ""};
    const Image image = Drawn(sheet);
    const auto places = Places(image, sheet);
    const int64_t gap = places[0].x;
    CHECK(gap > 0);
    const int64_t used = std::min(count, columns), rows = (count + columns - 1) / columns;
    CHECK(image.width == gap + used * (kSide + gap));
    CHECK(image.height == gap + rows * (kSide + gap));
    for (int i = 0; i < count; i++) {
      CHECK(places[size_t(i)] == Place{gap + i % columns * (kSide + gap), gap + i / columns * (kSide + gap)});
    }
    // Nothing else is there.
    CHECK(Ink(image, 0, 0, image.width, image.height) == count * kSide * kSide);
    CHECK(Drawn(sheet).rgb == image.rgb);
  }
}

TEST_CASE("captions stand below their own pictures") {
  Sheet sheet;
  sheet.columns = 3;
  sheet.cells = Cells(6);
  sheet.cells[1].caption = "a dog";
  sheet.cells[5].caption = "a very long caption that takes more than one line below so small a picture";
  const Image image = Drawn(sheet);
  const auto places = Places(image, sheet);
  CHECK(places[0].y == places[2].y);
  CHECK(places[3].y == places[5].y);
  const int64_t first = places[3].y - places[0].y, second = image.height - places[3].y;
  CHECK(first > kSide + 2 * 3);
  CHECK(second > first + 11);  // several lines
  for (size_t i = 0; i < 6; i++) {
    const int64_t bottom = i < 3 ? places[3].y : image.height;
    const int64_t ink = Ink(image, places[i].x, places[i].y + kSide, places[i].x + kSide, bottom);
    INFO(i);
    CHECK((ink > 20) == (i == 1 || i == 5));
    // Captions keep to their columns.
    CHECK(Ink(image, places[i].x + kSide, places[i].y, places[i].x + kSide + places[0].x, bottom) == 0);
  }
}

TEST_CASE("a seed below a small picture is not broken") {
  const auto typesetter = Typesetter::Create();
  REQUIRE(typesetter.ok());
  const auto set = [&](const std::string& text, TextBox box) {
    box.font_size = 12;
    auto image = typesetter->Set(text, box);
    REQUIRE(image.ok());
    return std::move(*image);
  };
  const std::string number = "5152475466539524", seed = "seed " + number;
  const int64_t fits = set(number, {.width = 1000, .shrink = true}).width;
  // As wide as the number, and so narrow that it needs a smaller font.
  for (const int64_t width : {fits + 2, fits - 8}) {
    INFO(width);
    const TextBox box{.width = width, .whole_words = true};
    CHECK(set(seed, box).rgb == set("seed\n" + number, box).rgb);
    CHECK(set("seed 7", box).rgb == set("seed 7", {.width = width}).rgb);
  }
  CHECK(set(seed, {.width = fits - 8}).rgb !=
        set("seed\n" + number, {.width = fits - 8, .whole_words = true}).rgb);
  // Words that no font makes fit are broken after all.
  CHECK(set(std::string(100, 'w'), {.width = fits, .whole_words = true}).height >
        set("w", {.width = fits}).height);

  Sheet sheet;
  sheet.cells = Cells(1, "a dog");
  const int64_t without = Drawn(sheet).height;
  sheet.cells[0].note = "seed 7";
  CHECK(Drawn(sheet).height > without + 8);
}

TEST_CASE("however long a caption, it takes a few lines") {
  const auto height = [](const std::string& caption) {
    Sheet sheet;
    sheet.cells = Cells(1, caption);
    return Drawn(sheet).height;
  };
  const int64_t none = height(""), one = height("x"), line = one - none;
  std::string words, letters(200'000, 'x'), wide, marks = "x", lines;
  for (int i = 0; i < 50'000; i++) words += "word ", wide += "猫", marks += "\u0301";
  for (int i = 0; i < 1000; i++) lines += "x\n";
  for (const std::string& caption : {words, letters, wide}) {
    CHECK(height(caption) > one);
    CHECK(height(caption) <= none + 6 * line);  // four lines; another font's may be higher
  }
  CHECK(height(marks) <= none + 6 * line);
  CHECK(height(lines) <= none + 6 * line);
  CHECK(height("x\nx") > one);
}

TEST_CASE("there are fonts") { CHECK(CheckFonts().ok()); }

TEST_CASE("texts in every script are set, and differ") {
  std::vector<std::vector<uint8_t>> seen;
  for (const std::string text :
       {"a dog", "ένας σκύλος", "собака", "كلب على خلفية زرقاء", "כלב", "一只狗", "犬の絵", "개", "कुत्ता", "🐕",
        "é", "e", "W", "\U0001F468\u200D\U0001F469\u200D\U0001F467"}) {
    INFO(text);
    Sheet sheet;
    sheet.cells = Cells(1, text);
    Image image = Drawn(sheet);
    const Place place = Find(image, sheet.cells[0].image);
    CHECK(Ink(image, 0, place.y + kSide, image.width, image.height) > 0);
    CHECK(std::find(seen.begin(), seen.end(), image.rgb) == seen.end());
    seen.push_back(std::move(image.rgb));
  }
}

TEST_CASE("right-to-left text begins on the right") {
  const auto typesetter = Typesetter::Create();
  REQUIRE(typesetter.ok());
  const TextBox box{.width = 300, .font_size = 16};
  const auto latin = typesetter->Set("abc", box), hebrew = typesetter->Set("אבג", box);
  REQUIRE(latin.ok());
  REQUIRE(hebrew.ok());
  CHECK(Ink(*latin, 0, 0, 150, latin->height) > 0);
  CHECK(Ink(*latin, 150, 0, 300, latin->height) == 0);
  CHECK(Ink(*hebrew, 0, 0, 150, hebrew->height) == 0);
  CHECK(Ink(*hebrew, 150, 0, 300, hebrew->height) > 0);
}

TEST_CASE("text that is none does no harm") {
  using namespace std::string_literals;
  for (const std::string& text :
       {"\xFF\xFE"s, "a\0b"s, "\x1b[31m\t\r"s, "\xED\xA0\x80"s, "\n"s, "\n\n\n\n\n\nx"s, " "s,
        "\u202E\u202E\u2066"s, "\U0010FFFF\uFFFE\uE000"s, "\u2028\u2029"s, "<b>&amp;"s}) {
    Sheet sheet;
    sheet.cells = Cells(1, text);
    sheet.row_labels = sheet.column_labels = {text};
    sheet.title = text;
    Find(Drawn(sheet), sheet.cells[0].image);
  }
}

TEST_CASE("labels and titles stand outside the grid") {
  Sheet sheet;
  sheet.columns = 3;
  sheet.cells = Cells(6);
  const Image bare = Drawn(sheet);
  sheet.column_labels = {"cfg 1", "", "cfg 3"};
  sheet.row_labels = {"seed 1",
                      "a label\nof several\nlines that go on and on and on for longer than a picture"};
  sheet.title = "a dog";
  const Image image = Drawn(sheet);
  const auto places = Places(image, sheet);
  CHECK(places[0].x > 6);
  CHECK(places[0].y > 2 * 11);
  CHECK(places[1].x - places[0].x == places[2].x - places[1].x);
  CHECK(places[4].x == places[1].x);
  CHECK(image.width > bare.width);
  const int64_t gap = places[1].x - places[0].x - kSide, label_top = places[0].y - 20;
  CHECK(Ink(image, places[0].x, label_top, places[0].x + kSide, places[0].y) > 0);
  CHECK(Ink(image, places[1].x, label_top, places[1].x + kSide, places[1].y) == 0);
  CHECK(Ink(image, places[2].x, label_top, places[2].x + kSide, places[2].y) > 0);
  CHECK(Ink(image, 0, places[0].y, places[0].x - gap / 2, places[0].y + kSide) > 0);
  CHECK(Ink(image, 0, places[3].y, places[0].x - gap / 2, image.height) > 0);
  CHECK(Ink(image, 0, 0, image.width, label_top) > 0);  // the title
  // A label that is higher than its row makes the row higher, and stays in it.
  CHECK(Ink(image, 0, places[3].y - gap, places[0].x, places[3].y) == 0);
  CHECK(image.height > places[3].y + kSide + 2 * gap);
  // The grid's own gaps stay empty.
  CHECK(Ink(image, places[0].x + kSide, places[0].y, places[1].x, image.height) == 0);
}

TEST_CASE("a short row of a plot keeps its columns") {
  Sheet sheet;
  sheet.columns = 4;
  sheet.cells = Cells(2);
  sheet.column_labels = {"1", "2", "3", "4"};
  const Image image = Drawn(sheet);
  const auto places = Places(image, sheet);
  CHECK(image.width == places[0].x + 4 * (places[1].x - places[0].x));
}

TEST_CASE("gaps are grey fields, smaller pictures stand in the middle") {
  Sheet sheet;
  sheet.columns = 2;
  sheet.cells = Cells(3);
  sheet.cells[1].image = {};
  sheet.cells[2].image = Picture(2, 20, 10);
  const Image image = Drawn(sheet);
  const Place first = Find(image, sheet.cells[0].image), small = Find(image, sheet.cells[2].image);
  CHECK(small == Place{first.x + (kSide - 20) / 2, first.y + kSide + first.x + (kSide - 10) / 2});
  const int64_t x = first.x + kSide + first.x;
  CHECK(Ink(image, x, first.y, x + kSide, first.y + kSide) == kSide * kSide);
  CHECK(Ink(image, 0, 0, image.width, image.height) == 2 * kSide * kSide + 20 * 10);
}

// tests.cmake runs it where there are none.
TEST_CASE("without fonts, texts are errors and pictures are not", "[.without_fonts]") {
  const Status fonts = CheckFonts();
  REQUIRE_FALSE(fonts.ok());
  CHECK(fonts.error().kind == ErrorKind::kFailure);
  CHECK(fonts.error().message.find("no font is installed") != std::string::npos);
  Sheet sheet;
  sheet.cells = Cells(1, "a caption");
  const auto drawn = DrawSheet(sheet);
  REQUIRE_FALSE(drawn.ok());
  CHECK(drawn.error().message == fonts.error().message);
  sheet.cells[0].caption.clear();
  CHECK(DrawSheet(sheet).ok());
}

TEST_CASE("sheets that cannot be are errors") {
  Sheet sheet;
  CHECK_FALSE(DrawSheet(sheet).ok());
  sheet.cells.resize(3);
  sheet.cells[0].caption = "a gap";
  const auto gaps = DrawSheet(sheet);
  REQUIRE_FALSE(gaps.ok());
  CHECK(gaps.error().kind == ErrorKind::kUsage);
  // One picture and many gaps: large without taking memory.
  const auto message = [](int columns, int count, int64_t side) {
    Sheet large;
    large.columns = columns;
    large.cells.resize(static_cast<size_t>(count));
    large.cells[0].image = Picture(0, side, side);
    const auto drawn = DrawSheet(large);
    REQUIRE_FALSE(drawn.ok());
    CHECK(drawn.error().kind == ErrorKind::kUsage);
    return drawn.error().message;
  };
  CHECK(message(1000, 1000, kSide).find("54006x60") != std::string::npos);
  CHECK(message(1, 1000, kSide).find("60x54006") != std::string::npos);
  CHECK(message(40, 1600, 384).find("16344x16344") != std::string::npos);

  // Only the labels of the rows make it too wide.
  Sheet labelled;
  labelled.columns = 606;
  labelled.cells = Cells(606);
  CHECK(Drawn(labelled).width == 32'730);
  labelled.row_labels = {"mmmmmmmmmmmmmmmmmmmm"};
  labelled.title = "a title";
  const auto wide = DrawSheet(labelled);
  REQUIRE_FALSE(wide.ok());
  CHECK(wide.error().message.find("a sheet of 606 pictures takes 32") == 0);
}

}  // namespace
}  // namespace bifrons
