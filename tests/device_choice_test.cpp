// Which device a model is loaded on, and what is said about it: with no driver, an old one, an old GPU, too
// little memory. Runs on the emulated GPU ($BIFRONS_TEST_PROGRAM), whose driver and memory the environment
// describes.
#include <map>

#include "tests/run_program.h"

namespace bifrons {
namespace {

const std::string kModel = (fs::path(BIFRONS_TEST_DIR) / "goldens/tiny-a/converted").string();

using Environment = std::map<std::string, std::string>;

ProgramResult Draw(const std::string& device, const Environment& environment,
                   const std::string& model = kModel) {
  for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
  const TemporaryFolder folder;
  const ProgramResult result = RunProgram({"generate", "--model", model, "--device", device, "--dtype", "f32",
                                           "--seed", "1", "-v", "-o", folder / "picture.png", "a dog"});
  for (const auto& [name, value] : environment) ::unsetenv(name.c_str());
  CHECK(result.signal == 0);
  CHECK(fs::exists(folder / "picture.png") == (result.exit_code == 0));
  return result;
}

constexpr const char* kOnGpu = "; sm_";
const Environment kNoDriver = {{"CUDA_EMULATOR_DRIVER", "35"}, {"CUDA_EMULATOR_DRIVER_VERSION", "0"}};
const Environment kOldDriver = {{"CUDA_EMULATOR_DRIVER", "35"}, {"CUDA_EMULATOR_DRIVER_VERSION", "11040"}};
const Environment kNoGpu = {{"CUDA_EMULATOR_DRIVER", "100"}};
const Environment kOldGpu = {{"CUDA_EMULATOR_CAPABILITY", "61"}};
const Environment kFull = {{"CUDA_EMULATOR_MEMORY", "3000000"}};

struct Case {
  const char* name;
  const Environment& environment;
  const char* says;
  int exit_code;      // of --device cuda
  const char* warns;  // of auto
};

TEST_CASE("a GPU that cannot be used is said in one line, and auto takes the cpu") {
  for (const Case& c :
       {Case{"no driver", kNoDriver, "there is no NVIDIA driver", 2, "device cpu: "},
        Case{"old driver", kOldDriver, "knows CUDA 11.4, and this build needs 13.0: update the driver", 1,
             "warning: not on the GPU: "},
        Case{"no GPU", kNoGpu, "shows no GPU", 2, "device cpu: "},
        Case{"old GPU", kOldGpu, "compute capability 6.1, and the kernels need 7.5", 1,
             "warning: not on the GPU: "},
        Case{"full", kFull, "needs 0.0", 1, "warning: not on the GPU: "}}) {
    INFO(c.name);
    const ProgramResult refused = Draw("cuda", c.environment);
    CHECK(refused.exit_code == c.exit_code);
    CHECK_THAT(refused.err, Catch::Contains(c.says));
    CHECK(std::count(refused.err.begin(), refused.err.end(), '\n') == 1);
    const ProgramResult drawn = Draw("auto", c.environment);
    CHECK(drawn.exit_code == 0);
    CHECK_THAT(drawn.err, Catch::Contains(c.says) && Catch::Contains(c.warns) && !Catch::Contains(kOnGpu));
  }
}

TEST_CASE("auto takes the GPU where there is one") {
  CHECK_THAT(Draw("auto", {}).err, Catch::Contains(kOnGpu));
  CHECK_THAT(Draw("cuda:0", {}).err, Catch::Contains(kOnGpu));
  CHECK_THAT(Draw("cpu", {}).err, !Catch::Contains(kOnGpu));
  const ProgramResult second = Draw("cuda:1", {});
  CHECK(second.exit_code == 2);
  CHECK_THAT(second.err, Catch::Contains("there is no GPU 1; the driver shows 1"));
}

TEST_CASE(
    "a model that 8 GB do not hold is refused before it is loaded, with the numbers and what would do") {
  const ProgramResult refused = Draw("cuda", {{"CUDA_EMULATOR_MEMORY", "8000000000"}}, "random:janus-pro-7b");
  CHECK(refused.exit_code == 1);
  CHECK_THAT(refused.err, Catch::Contains("janus-pro-7b needs") && Catch::Contains("8.00 GB") &&
                              Catch::Contains("--device cpu"));
}

}  // namespace
}  // namespace bifrons
