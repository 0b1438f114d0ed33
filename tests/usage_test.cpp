// The command line as people type it: names that other programs taught them, typing mistakes, what begins
// with a dash.
#include <nlohmann/json.hpp>

#include "src/engine/metadata.h"
#include "src/jobs/picture_file.h"
#include "tests/refusal.h"
#include "tests/test_pictures.h"

namespace bifrons {
namespace {

using Catch::Contains;

const std::string kModel = (fs::path(BIFRONS_TEST_DIR) / "goldens/tiny-a/converted").string();
const Arguments kWithModel = {"--model", kModel, "--dtype", "f32"};

Arguments Generate(const Arguments& more) { return Join(Join({"generate"}, Join(kWithModel, {"-q"})), more); }

struct Refusal {
  Arguments arguments;
  std::string says;
};

void CheckAllRefused(const std::vector<Refusal>& refusals) {
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  for (const auto& [arguments, says] : refusals) CheckRefused(arguments, kUsageExit, says, folder.path());
  fs::current_path(before);
}

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

// ---- generate's files
// ---------------------------------------------------------------------------------------

TEST_CASE("a picture's format is what its name ends in") {
  const TemporaryFolder folder;
  const auto begins = [&](const std::string& name, const std::string& with) {
    CHECK(RunWell(Generate({"-s", "1", "-o", folder / name, "a dog"})).out == folder / name + "\n");
    const auto parameters = ReadPictureParameters(folder / name);
    REQUIRE(parameters.ok());
    CHECK(ParseParameters(*parameters)->prompt == "a dog");
    return ReadText(folder / name).starts_with(with);
  };
  CHECK(begins("x.png", "\x89PNG"));
  CHECK(begins("x.jpg", "\xFF\xD8\xFF"));
  CHECK(begins("x.jpeg", "\xFF\xD8\xFF"));
  CHECK(begins("x.JPG", "\xFF\xD8\xFF"));
  CHECK(begins("x.webp", "RIFF"));
  CHECK(begins("x.webp", "RIFF"));  // ours: replaced
  RunWell(Generate({"--from", folder / "x.webp", "-o", folder / "again.png"}));
  CHECK(ReadText(folder / "again.png") == ReadText(folder / "x.png"));
  CHECK(RunWell(Generate({"-n", "2", "-o", folder / "y.webp", "a dog"})).out ==
        folder / "y_1.webp" + "\n" + folder / "y_2.webp" + "\n");
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  CHECK(RunWell(Generate({"--format", "jpg", "a dog"})).out == "out.jpg\n");
  fs::current_path(before);
  for (const std::string name : {"x", "x.gif", "x.", ".png"})
    CheckRefused(Generate({"-o", folder / name, "a dog"}), kUsageExit, "must end in .png, .jpg or .webp",
                 folder.path());
  CheckRefused(Generate({"-o", folder / "z.png", "--format", "jpg", "a dog"}), kUsageExit, "--format jpg",
               folder.path());
}

TEST_CASE("standard output takes a picture, and nothing else") {
  const TemporaryFolder folder;
  RunWell(Generate({"-s", "1", "-o", folder / "x.png", "a dog"}));
  RunWell(Generate({"-s", "1", "-o", folder / "x.jpg", "a dog"}));
  const ProgramResult piped = RunWell(Generate({"-s", "1", "-o", "-", "a dog"}));
  CHECK((piped.out == ReadText(folder / "x.png")));
  CHECK((RunWell(Generate({"-s", "1", "-o", "-", "--format", "jpg", "a dog"})).out ==
         ReadText(folder / "x.jpg")));
  CHECK((RunWell({"generate", "-m", kModel, "--dtype", "f32", "-v", "-s", "1", "-o", "-", "a dog"}).out ==
         piped.out));
  CheckAllRefused({{Generate({"-o", "-", "-n", "2", "a dog"}), "one picture"},
                   {Generate({"-o", "-", "a dog", "a cat"}), "one picture"},
                   {Generate({"-o", "-", "--json", "a dog"}), "--json"}});
}

TEST_CASE("--json prints every setting of what was drawn") {
  const TemporaryFolder folder;
  const std::string out = folder / "x.jpg";
  const auto line = nlohmann::json::parse(
      RunWell(Generate({"--json",  "-s",         "7",         "--cfg", "3.3",     "--temperature", "0.7",
                        "--top-k", "40",         "--top-p",   "0.9",   "--min-p", "0.01",          "--device",
                        "ref",     "--template", "janus-pro", "-o",    out,       "a dog"}))
          .out);
  const auto parameters = ReadPictureParameters(out);
  REQUIRE(parameters.ok());
  const PictureSettings settings = *ParseParameters(*parameters);
  const nlohmann::json expected = {{"file", out},
                                   {"prompt", "a dog"},
                                   {"seed", 7},
                                   {"guidance", 3.3},
                                   {"temperature", 0.7},
                                   {"top_k", 40},
                                   {"top_p", 0.9},
                                   {"min_p", 0.01},
                                   {"width", 12},
                                   {"height", 12},
                                   {"format", "jpg"},
                                   {"drawn_width", 12},
                                   {"drawn_height", 12},
                                   {"upscale", 1},
                                   {"image_tokens", settings.steps},
                                   {"model", "converted"},
                                   {"model_hash", settings.model_hash},
                                   {"template", "janus-pro"},
                                   {"compute", "f32"},
                                   {"kv", settings.kv_type},
                                   {"device", "ref"},
                                   {"isa", settings.isa},
                                   {"convolutions", "own"},
                                   {"version", settings.version}};
  CHECK(line == expected);
}

}  // namespace
}  // namespace bifrons
