// Sheets of jobs: what they say about themselves, and what becomes of those that are too large.
#include "src/jobs/job_sheet.h"

#include "src/base/atomic_file.h"
#include "tests/run_program.h"

namespace bifrons {
namespace {

std::vector<SinglePicture> Singles(size_t count) {
  return std::vector<SinglePicture>(count, {"a.png", std::string(64, 'a'), "a dog", 1});
}

// A picture of one colour, as a file.
std::string MakePicture(const TemporaryFolder& folder, int64_t side) {
  const Image image{side, side, std::vector<uint8_t>(static_cast<size_t>(side * side * 3), 7)};
  const auto bytes = EncodePicture(image, PictureFormat::kPng, "");
  REQUIRE(bytes.ok());
  REQUIRE(WriteFileAtomically(folder / "a.png", *bytes).ok());
  return folder / "a.png";
}

TEST_CASE("a sheet's text tells it from every other") {
  const std::string text = SheetText(PlanListSheet(Singles(3), 2, PictureFormat::kPng));
  CHECK(SheetText(PlanListSheet(Singles(3), 2, PictureFormat::kPng)) == text);
  CHECK(IsSheetText(text));
  std::vector<PlannedSheet> others = {PlanListSheet(Singles(3), 3, PictureFormat::kPng),
                                      PlanListSheet(Singles(4), 2, PictureFormat::kPng)};
  for (int i = 0; i < 3; i++) {
    auto singles = Singles(3);
    if (i == 0) singles[1].sha256[5] = 'b';
    if (i == 1) singles[1].prompt = "a dog\nseed 1";
    if (i == 2) singles[1].seed = 2;
    others.push_back(PlanListSheet(singles, 2, PictureFormat::kPng));
  }
  others.push_back(PlanListSheet(Singles(3), 2, PictureFormat::kPng));
  others.back().sheet.title = "a title";
  others.push_back(PlanListSheet(Singles(3), 2, PictureFormat::kPng));
  others.back().sheet.row_labels = {"one", "two"};
  for (const PlannedSheet& other : others) {
    CHECK(IsSheetText(SheetText(other)));
    CHECK(SheetText(other) != text);
  }
  for (const std::string& wrong : {std::string(), "x" + text, text + "x", text.substr(0, text.size() - 1),
                                   std::string("bifrons sheet: "), std::string("a bifrons sheet: 3 pictures"),
                                   "bifrons sheet: x" + text.substr(15)})
    CHECK_FALSE(IsSheetText(wrong));
}

TEST_CASE("a sheet's file tells its text in every format") {
  const TemporaryFolder folder;
  const std::string picture = MakePicture(folder, 48);
  for (const PictureFormat format : {PictureFormat::kPng, PictureFormat::kJpeg, PictureFormat::kWebp}) {
    const PlannedSheet planned = PlanListSheet(Singles(3), 2, format);
    const auto bytes = MakeSheet(
        planned, [&](const std::string&) { return picture; }, SheetText(planned));
    REQUIRE(bytes.ok());
    REQUIRE(WriteFileAtomically(folder / "sheet", *bytes).ok());
    const auto text = ReadPictureParameters(folder / "sheet");
    REQUIRE(text.ok());
    CHECK(*text == SheetText(planned));
  }
}

TEST_CASE("a sheet that is too large is refused before its pictures are in memory") {
  const TemporaryFolder folder;
  const std::string picture = MakePicture(folder, 1536);  // as --upscale 4 of 384 makes them
  for (const auto& [count, columns] : {std::pair<size_t, int>{6000, 1000}, {22, 22}, {81, 9}}) {
    INFO(count);
    int loaded = 0;
    const auto path_of = [&](const std::string&) {
      loaded++;
      return picture;
    };
    const auto refused = MakeSheet(PlanListSheet(Singles(count), columns, PictureFormat::kPng), path_of, "");
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().kind == ErrorKind::kUsage);
    CHECK(refused.error().message.find("a sheet of " + std::to_string(count) + " pictures takes ") == 0);
    CHECK(loaded == 1);
  }
}

}  // namespace
}  // namespace bifrons
