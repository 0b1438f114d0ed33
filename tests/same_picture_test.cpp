// A seed is a picture: the same bytes alone, in a batch, with any number of threads, and from a picture's own
// text.
#include "src/base/atomic_file.h"
#include "src/engine/metadata.h"
#include "src/jobs/picture_file.h"
#include "tests/run_program.h"
#include "vision/image_file.h"

namespace bifrons {
namespace {

const std::string kModel = (fs::path(BIFRONS_TEST_DIR) / "goldens/tiny-a/converted").string();

// Draws into `file` (or file_1, file_2, … of several).
void Draw(const std::string& file, const Arguments& settings, const Arguments& more) {
  Arguments arguments = {"generate", "--model", kModel, "-o", file};
  arguments.insert(arguments.end(), settings.begin(), settings.end());
  arguments.insert(arguments.end(), more.begin(), more.end());
  RunWell(arguments);
}

TEST_CASE("a picture has the same bytes alone, in a batch of 5 and with 1 or 2 threads") {
  for (const Arguments& settings : TestedArithmetic()) {
    INFO(Shown(settings));
    const TemporaryFolder folder;
    Draw(folder / "alone.png", settings, {"--threads", "1", "--seed", "7", "a red dog"});
    const std::string alone = ReadText(folder / "alone.png");
    REQUIRE(alone.size() > 100);

    Draw(folder / "two.png", settings, {"--threads", "2", "--seed", "7", "a red dog"});
    CHECK((ReadText(folder / "two.png") == alone));
    for (const char* threads : {"1", "2"}) {
      Draw(folder / "five.png", settings, {"--threads", threads, "-n", "5", "--seed", "5", "a red dog"});
      CHECK((ReadText(folder / "five_3.png") == alone));  // picture k has seed S + k
      CHECK((ReadText(folder / "five_2.png") != alone));
    }
    // Beside prompts of other lengths.
    Draw(folder / "mixed.png", settings,
         {"--seed", "7", "a lighthouse in a storm, seen from far above, in oils", "a red dog", ""});
    CHECK((ReadText(folder / "mixed_2.png") == alone));
    // In several batches.
    Draw(folder / "split.png", settings, {"--batch", "2", "-n", "3", "--seed", "5", "a red dog"});
    CHECK((ReadText(folder / "split_3.png") == alone));
  }
}

// While somebody profiles, a device is given every op by itself: a GPU's graphs of whole steps are not used.
TEST_CASE("a picture has the same bytes while its ops are profiled, one by one") {
  for (const Arguments& settings : TestedArithmetic()) {
    INFO(Shown(settings));
    const TemporaryFolder folder;
    const Arguments prompts = {"--seed", "7", "a red dog", "a lighthouse in a storm"};
    Draw(folder / "steps.png", settings, prompts);
    Draw(folder / "ops.png", settings, Join({"--profile"}, prompts));
    CHECK((ReadText(folder / "ops_1.png") == ReadText(folder / "steps_1.png")));
    CHECK((ReadText(folder / "ops_2.png") == ReadText(folder / "steps_2.png")));
  }
}

TEST_CASE("--from draws the same bytes again") {
  for (const Arguments& settings : TestedArithmetic()) {
    const TemporaryFolder folder;
    Draw(folder / "first.png", settings,
         {"--seed", "9007199254740991", "--cfg", "3.3", "--temperature", "0.7", "--top-k", "40", "--top-p",
          "0.93", "--min-p", "0.011", "--", "a \"dog\", Seed: 3\nin two lines, grüner 🐻"});
    const std::string first = ReadText(folder / "first.png");
    INFO(Shown(settings));
    RunWell({"generate", "--model", kModel, "--from", folder / "first.png", "-o", folder / "again.png"});
    CHECK((ReadText(folder / "again.png") == first));
    RunWell({"generate", "--model", kModel, "--from", folder / "first.png", "--seed", "1", "-o",
             folder / "other.png"});
    CHECK((ReadText(folder / "other.png") != first));
  }
}

TEST_CASE("--from reads the settings of every format, and enlarges again what was enlarged") {
  const TemporaryFolder folder;
  const std::string first = folder / "first.png", again = folder / "again.png";
  Draw(first, {}, {"--seed", "3", "a \"dog\"\nin two lines, grüner 🐻"});
  const Image image = LoadImage(first).value();
  const std::string text = ReadPictureParameters(first).value();
  for (const PictureFormat format : {PictureFormat::kJpeg, PictureFormat::kWebp}) {
    INFO(NameOf(format));
    const std::string other = folder / (std::string("other.") + NameOf(format));
    REQUIRE(WriteFileAtomically(other, EncodePicture(image, format, text).value()).ok());
    RunWell({"generate", "--model", kModel, "--from", other, "-o", again});
    CHECK((ReadText(again) == ReadText(first)));
  }
  PictureSettings settings = ParseParameters(text).value();
  for (const int factor : {2, 4}) {
    settings.upscale = factor;
    const auto large = EncodePicture(Upscale(image, factor), PictureFormat::kPng, FormatParameters(settings));
    REQUIRE(WriteFileAtomically(folder / "large.png", large.value()).ok());
    RunWell({"generate", "--model", kModel, "--from", folder / "large.png", "-o", again});
    CHECK((ReadText(again) == ReadText(folder / "large.png")));
  }
}

TEST_CASE("without --seed the seed is printed, and gives the picture") {
  const TemporaryFolder folder;
  const ProgramResult drawn = RunWell({"generate", "--model", kModel, "-o", folder / "a.png", "a dog"});
  const size_t at = drawn.err.find("seed ");
  REQUIRE(at != std::string::npos);
  const std::string seed = std::to_string(std::stoull(drawn.err.substr(at + 5)));
  RunWell({"generate", "--model", kModel, "--seed", seed, "-o", folder / "b.png", "a dog"});
  CHECK((ReadText(folder / "a.png") == ReadText(folder / "b.png")));
}

}  // namespace
}  // namespace bifrons
