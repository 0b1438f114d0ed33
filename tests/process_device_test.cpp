// A device that shares nothing with the others (process_device.cpp, 398 lines): its numbers live in another
// process, where nobody here can reach them. It draws pictures and answers questions about them.
#include "tests/process_device.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "tests/together.h"

namespace bifrons {
namespace {

struct DrawnAndSeen {
  DrawnPicture picture;
  Answer answer;
};

constexpr ModelParts kBothHalves{.understanding = true};

DrawnAndSeen DrawAndAsk(const LoadOptions& options, std::unique_ptr<Device> device) {
  const auto janus = Loaded(Janus::Load(options, std::move(device)));
  Scheduler scheduler(*janus, {});
  DrawRequest draw{"a red triangle on a purple background", 7, {}};
  auto pictures = Draw(scheduler, {&draw, 1}, nullptr);
  REQUIRE(pictures.ok());
  AnswerRequest ask;
  ask.turns = {{1, kDefaultQuestion, ""}};
  ask.max_tokens = 20;
  ask.look = [&]() -> Result<std::vector<ImageFeatures>> {
    return std::vector<ImageFeatures>{LookAt(*janus, (*pictures)[0].image)};
  };
  auto answer = AnswerOne(scheduler, ask, nullptr);
  REQUIRE(answer.ok());
  return {std::move((*pictures)[0]), std::move(*answer)};
}

// The answer on both devices.
std::string CheckSame(const LoadOptions& options) {
  const DrawnAndSeen drawn = DrawAndAsk(options, MakeProcessDevice()),
                     expected = DrawAndAsk(options, RefDevice(2));
  CHECK(drawn.picture.codes == expected.picture.codes);
  CHECK((drawn.picture.image.rgb == expected.picture.image.rgb));
  CHECK(drawn.answer.tokens == expected.answer.tokens);
  return drawn.answer.text;
}

TEST_CASE("a device in another process draws and answers as the ref device does") {
  CheckSame(OfTiny(kBothHalves));
}

// So small is the interface.
TEST_CASE("the device in another process is whole in 400 lines") {
  std::ifstream file(BIFRONS_TEST_DIR "/process_device.cpp");
  REQUIRE(file);
  CHECK(std::count(std::istreambuf_iterator<char>(file), {}, '\n') <= 400);
}

// Some 20 s of the ref device's arithmetic.
TEST_CASE("a device in another process draws the bundled model's picture and sees what it is of",
          "[.bundled]") {
  LoadOptions options = OfTiny(kBothHalves);
  options.model = BIFRONS_TEST_DIR "/../assets/janus-mini";
  CHECK(CheckSame(options) == "a red triangle on a purple background");
}

}  // namespace
}  // namespace bifrons
