// A GPU's convolutions by our own kernels or, where that is asked for, by cuDNN: what is said about it, and
// what the pictures tell. Runs on the emulated GPU ($BIFRONS_TEST_PROGRAM), with the library's stand-in
// (cuda_on_cpu/cudnn), half of it, or none.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "src/jobs/picture_file.h"
#include "tests/rendered.h"
#include "vision/image_file.h"

namespace bifrons {
namespace {

// Which library there is, and what is wrong with it.
class Library {
 public:
  explicit Library(const std::string& folder, const char* fault = "")
      : path_(std::getenv("LD_LIBRARY_PATH") != nullptr ? std::getenv("LD_LIBRARY_PATH") : "") {
    ::setenv("LD_LIBRARY_PATH", (folder + ":" + path_).c_str(), 1);
    ::setenv("CUDNN_STANDIN", fault, 1);
  }
  ~Library() {
    ::setenv("LD_LIBRARY_PATH", path_.c_str(), 1);
    ::unsetenv("CUDNN_STANDIN");
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

 private:
  std::string path_;
};
const std::string kWhole = CUDNN_FOLDER "whole", kIncomplete = CUDNN_FOLDER "incomplete",
                  kNone = CUDNN_FOLDER "none";

// On the GPU and in f32, unless the arguments say otherwise.
ProgramResult Draw(const std::string& picture, const Arguments& more = {}) {
  Arguments arguments = Join({"generate", "--model", kTinyModel, "--seed", "1", "--force", "-q", "-o",
                              picture, "--codes-out", picture + ".npy", "a dog"},
                             more);
  for (const auto& [option, value] : {std::pair{"--device", "cuda"}, {"--dtype", "f32"}}) {
    if (std::find(more.begin(), more.end(), option) == more.end())
      arguments = Join(arguments, {option, value});
  }
  const ProgramResult result = RunProgram(arguments);
  CHECK(result.signal == 0);
  return result;
}

long Lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

std::string Parameters(const std::string& picture) {
  const auto text = ReadPictureParameters(picture);
  REQUIRE(text.ok());
  return *text;
}

// Of two pictures' numbers, the largest.
int MostApart(const std::string& a, const std::string& b) {
  const auto first = LoadImage(a), second = LoadImage(b);
  REQUIRE((first.ok() && second.ok()));
  REQUIRE(first->rgb.size() == second->rgb.size());
  int most = 0;
  for (size_t i = 0; i < first->rgb.size(); i++)
    most = std::max(most, std::abs(first->rgb[i] - second->rgb[i]));
  return most;
}

TEST_CASE("pictures by cuDNN say so, and are ours but for rounding") {
  const Library library(kWhole);
  for (const char* dtype : {"f32", "bf16"}) {
    INFO(dtype);
    const TemporaryFolder folder;
    const auto draw = [&](const std::string& name, const char* convolutions) {
      Arguments more = {"--dtype", dtype};
      if (convolutions != nullptr) more = Join(more, {"--conv", convolutions});
      const ProgramResult drawn = Draw(folder / name, more);
      INFO(drawn.err);
      REQUIRE(drawn.exit_code == 0);
      CHECK(drawn.err.empty());
      return Parameters(folder / name);
    };
    CHECK_THAT(draw("cudnn.png", "cudnn"), Catch::Contains(", Convolutions: cuDNN 9.19.0, "));
    CHECK_THAT(draw("own.png", nullptr), !Catch::Contains("Convolutions"));
    for (const char* own : {"own", "auto"}) {
      draw("asked.png", own);
      CHECK((ReadText(folder / "asked.png") == ReadText(folder / "own.png")));
    }
    CHECK((ReadText(folder / "cudnn.png.npy") == ReadText(folder / "own.png.npy")));
    CHECK((ReadText(folder / "cudnn.png") != ReadText(folder / "own.png")));
    CHECK(MostApart(folder / "cudnn.png", folder / "own.png") <= (dtype == std::string("f32") ? 1 : 8));
  }
}

TEST_CASE("a picture is drawn again by the library that it names, or by what --conv names") {
  const TemporaryFolder folder;
  const auto again = [&](const char* from, const Arguments& more = {}) {
    return RunProgram(Join({"generate", "--model", kTinyModel, "--from", folder / from, "--force", "-q", "-o",
                            folder / "again.png"},
                           more));
  };
  const auto is_again = [&](const char* picture) {
    return ReadText(folder / "again.png") == ReadText(folder / picture);
  };
  {
    const Library library(kWhole);
    REQUIRE(Draw(folder / "cudnn.png", {"--conv", "cudnn"}).exit_code == 0);
    REQUIRE(Draw(folder / "own.png").exit_code == 0);
    for (const char* picture : {"cudnn.png", "own.png"}) {
      const ProgramResult drawn = again(picture);
      CHECK(drawn.exit_code == 0);
      CHECK(drawn.err.empty());
      CHECK(is_again(picture));
    }
    for (const char* own : {"own", "auto"}) {
      CHECK(again("cudnn.png", {"--conv", own}).exit_code == 0);
      CHECK(is_again("own.png"));
    }
    CHECK(again("own.png", {"--conv", "cudnn"}).exit_code == 0);
    CHECK(is_again("cudnn.png"));
  }
  {
    const Library newer(kWhole, "version 92001");
    const ProgramResult drawn = again("cudnn.png");
    CHECK(drawn.exit_code == 0);
    CHECK_THAT(drawn.err, Catch::StartsWith("bifrons: warning: ") &&
                              Catch::Contains("cudnn.png has convolutions by cuDNN 9.19.0, and here is cuDNN "
                                              "9.20.1: pixels may differ\n"));
    CHECK(Lines(drawn.err) == 1);
    CHECK_THAT(Parameters(folder / "again.png"), Catch::Contains(", Convolutions: cuDNN 9.20.1, "));
    CHECK(again("cudnn.png", {"--seed", "2"}).err.empty());
  }
  const Library gone(kNone);
  const ProgramResult refused = again("cudnn.png");
  CHECK(refused.exit_code == 2);
  CHECK_THAT(refused.err,
             Catch::Contains("cuDNN cannot be loaded") && Catch::Contains("--conv own does without cuDNN"));
}

TEST_CASE("a list's lines tell what made each picture, and what is finished is not made again") {
  const Library library(kWhole);
  const TemporaryFolder folder;
  WriteText(folder / "one.txt", "a dog\n"), WriteText(folder / "two.txt", "a dog\na cat\n");
  const auto render = [&](const char* list, const char* convolutions) {
    return RunWell(Render(folder / list, folder / "out", {"--device", "cuda", "--conv", convolutions, "-q"}));
  };
  render("one.txt", "cudnn");
  render("two.txt", "own");
  std::vector<json> pictures;
  for (const json& line : JsonLines(folder.path() / "out/manifest.jsonl")) {
    if (line.contains("file")) pictures.push_back(line);
  }
  REQUIRE(pictures.size() == 2);
  CHECK(pictures[0]["convolutions"] == "cuDNN 9.19.0");
  CHECK_FALSE(pictures[1].contains("convolutions"));
}

TEST_CASE("info names the library") {
  const auto info = [](const Arguments& more) {
    return RunWell(Join({"info", "--model", kTinyModel, "--device", "cuda"}, more)).out;
  };
  const Library library(kWhole);
  CHECK_THAT(info({"--conv", "cudnn"}), Catch::Contains("on cuda with cuDNN 9.19.0: "));
  CHECK_THAT(info({}), Catch::Contains("on cuda: "));
  const json with = json::parse(info({"--json", "--conv", "cudnn"}))["memory"],
             own = json::parse(info({"--json"}))["memory"];
  CHECK(with["convolutions"] == "cuDNN 9.19.0");
  CHECK_FALSE(own.contains("convolutions"));
  // What it may come to ask for.
  CHECK(own["available"].get<int64_t>() - with["available"].get<int64_t>() >= int64_t{64} << 20);
}

TEST_CASE("whatever the library is, only who asks for it is told") {
  struct Case {
    std::string folder;
    const char *fault, *says;
    int exit_code;  // of --conv cudnn
  };
  for (const Case& c :
       {Case{kNone, "", "cuDNN cannot be loaded: ", 2},
        Case{kIncomplete, "", "libcudnn.so.9 lacks cudnnSetConvolutionMathType", 1},
        Case{kWhole, "version 8907", "libcudnn.so.9 is number 8907, and this build knows 9xxxx", 1},
        Case{kWhole, "wrong", "cuDNN 9.19.0 computes a wrong convolution of f32", 1},
        Case{kWhole, "cudnnCreate 1", "cuDNN 9.19.0: a handle: CUDNN_STATUS_EXECUTION_FAILED", 1}}) {
    INFO(c.folder << " " << c.fault);
    const Library library(c.folder, c.fault);
    const TemporaryFolder folder;
    const ProgramResult drawn = Draw(folder / "own.png");
    CHECK(drawn.exit_code == 0);
    CHECK(drawn.err.empty());
    CHECK_THAT(Parameters(folder / "own.png"), !Catch::Contains("Convolutions"));
    const ProgramResult refused = Draw(folder / "cudnn.png", {"--conv", "cudnn"});
    CHECK(refused.exit_code == c.exit_code);
    CHECK_THAT(refused.err, Catch::Contains(c.says));
    CHECK(Lines(refused.err) == 1);
    CHECK_FALSE(fs::exists(folder / "cudnn.png"));
  }
}

TEST_CASE("a library that has none of the model's convolutions is not what was asked for") {
  const Library library(kWhole);
  const TemporaryFolder folder;
  ::setenv("CUDA_EMULATOR_CAPABILITY", "75", 1);
  const ProgramResult refused = Draw(folder / "no.png", {"--conv", "cudnn", "--dtype", "bf16"});
  const ProgramResult drawn = Draw(folder / "f32.png", {"--conv", "cudnn"});
  ::unsetenv("CUDA_EMULATOR_CAPABILITY");
  CHECK(refused.exit_code == 1);
  CHECK_THAT(refused.err, Catch::Contains("cuDNN has none of the model's convolutions in bf16"));
  CHECK(Lines(refused.err) == 1);
  CHECK(drawn.exit_code == 0);
}

TEST_CASE("a convolution that fails later fails the job") {
  const Library library(kWhole, "later");
  constexpr const char* kSays = "cuDNN 9.19.0: a convolution: CUDNN_STATUS_EXECUTION_FAILED";
  const TemporaryFolder folder;
  const ProgramResult failed = Draw(folder / "picture.png", {"--conv", "cudnn"});
  CHECK(failed.exit_code == 1);
  CHECK_THAT(failed.err, Catch::Contains(kSays));
  CHECK(Lines(failed.err) == 1);
  CHECK_FALSE(fs::exists(folder / "picture.png"));
  WriteText(folder / "jobs.txt", "a dog\n");
  const ProgramResult rendered =
      RunProgram(Render(folder / "jobs.txt", folder / "out", {"--device", "cuda", "--conv", "cudnn", "-q"}));
  CHECK(rendered.signal == 0);
  CHECK(rendered.exit_code != 0);
  CHECK_THAT(rendered.err, Catch::Contains(kSays));
}

TEST_CASE("what is not drawn on a GPU has no cuDNN") {
  const Library library(kWhole);
  const TemporaryFolder folder;
  for (const auto& [more, says] :
       {std::pair{Arguments{"--device", "cpu", "--conv", "cudnn"},
                  "device cpu has no cuDNN; use --device cuda"},
        {{"--device", "ref", "--conv", "cudnn"}, "device ref has no cuDNN; use --device cuda"},
        {{"--conv", "cutlass"}, "--conv"}}) {
    const ProgramResult refused =
        RunProgram(Join({"generate", "--model", kTinyModel, "-o", folder / "no.png", "a dog"}, more));
    CHECK(refused.exit_code == 2);
    CHECK_THAT(refused.err, Catch::Contains(says));
    CHECK(Lines(refused.err) == 1);
  }
  for (const char* convolutions : {"own", "auto"}) {
    const ProgramResult drawn =
        RunProgram({"generate", "--model", kTinyModel, "--device", "cpu", "--conv", convolutions, "-q", "-o",
                    folder / "cpu.png", "--force", "a dog"});
    CHECK(drawn.exit_code == 0);
    CHECK(drawn.err.empty());
    CHECK_THAT(Parameters(folder / "cpu.png"), !Catch::Contains("Convolutions"));
  }
  // Nor a GPU's instruction set.
  CHECK(Draw(folder / "gpu.png", {"--conv", "cudnn"}).exit_code == 0);
  CHECK(RunProgram({"generate", "--model", kTinyModel, "--from", folder / "gpu.png", "--device", "cpu", "-q",
                    "-o", folder / "moved.png"})
            .exit_code == 0);
  // auto as the device asks for a GPU then.
  ::setenv("CUDA_EMULATOR_DRIVER", "100", 1);
  const ProgramResult refused = Draw(folder / "no.png", {"--device", "auto", "--conv", "cudnn"});
  ::unsetenv("CUDA_EMULATOR_DRIVER");
  CHECK(refused.exit_code == 2);
  CHECK_THAT(refused.err, Catch::Contains("shows no GPU"));
}

}  // namespace
}  // namespace bifrons
