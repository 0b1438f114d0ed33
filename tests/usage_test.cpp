// The command line as people type it: names that other programs taught them, typing mistakes, what begins
// with a dash.
#include "tests/refusal.h"
#include "tests/test_pictures.h"

namespace bifrons {
namespace {

using Catch::Contains;

const std::string kModel = (fs::path(BIFRONS_TEST_DIR) / "goldens/tiny-a/converted").string();
const Arguments kWithModel = {"--model", kModel, "--dtype", "f32"};

// ---- ask
// ----------------------------------------------------------------------------------------------------

TEST_CASE("an image alone is not taken for a question") {
  const TemporaryFolder folder;
  const std::string picture = folder / "my dog";
  WriteTestPicture(picture + ".png", 40, 30, 1);
  fs::rename(picture + ".png", picture);
  for (const Arguments& arguments : std::vector<Arguments>{
           {"a.png"}, {"a.JPG"}, {"-"}, {"data:image/png;base64,AAAA"}, {picture}, {"what?", "a.png"}}) {
    CheckRefused(Join({"ask", "-m", kModel}, arguments), kUsageExit, "question", folder.path());
  }
  CheckRefused({"ask", "-m", kModel, "a.png"}, kUsageExit, "bifrons ask a.png \"", folder.path());
  RunWell(Join({"ask", "--max-tokens", "2"}, Join(kWithModel, {"What is a.png"})));
  RunWell(Join({"ask", "--max-tokens", "2"}, Join(kWithModel, {"What?"})));
}

}  // namespace
}  // namespace bifrons
