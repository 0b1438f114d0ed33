// Sizes that are not the model's: drawn at the model's, cropped and resampled, and said wherever it shows.
#include <map>

#include "src/jobs/content_key.h"
#include "src/jobs/picture_file.h"
#include "src/jobs/plan.h"
#include "tests/rendered.h"
#include "vision/image_file.h"
#include "vision/resize.h"

namespace bifrons {
namespace {

// What kTinyModel draws.
constexpr int64_t kSide = 12;

// The manifest's lines about pictures, by index and number.
std::map<std::pair<int, int>, json> Lines(const fs::path& folder) {
  std::map<std::pair<int, int>, json> lines;
  for (const json& line : JsonLines(folder / "manifest.jsonl"))
    if (!line.contains("bifrons_manifest")) lines[{line["index"], line["number"]}] = line;
  return lines;
}

void CheckSize(const fs::path& folder, const json& line, int64_t width, int64_t height) {
  INFO(line);
  CHECK(line["width"] == width);
  CHECK(line["height"] == height);
  const Image image = LoadImage((folder / line["file"].get<std::string>()).string()).value();
  CHECK(image.width == width);
  CHECK(image.height == height);
}

TEST_CASE("a picture of another size is the middle of the model's, resampled") {
  const TemporaryFolder folder;
  WriteText(folder / "jobs.jsonl", R"({"prompt":"a dog","seed":5})"
                                   "\n"
                                   R"({"prompt":"a dog","seed":5,"size":"64x16"})"
                                   "\n"
                                   R"({"prompt":"a dog","seed":5,"width":5,"height":7,"format":"webp"})"
                                   "\n"
                                   R"({"prompt":"a dog","seed":5,"width":20})"
                                   "\n"
                                   R"({"prompt":"a dog","seed":5,"height":20,"format":"jpg"})"
                                   "\n"
                                   R"({"prompt":"a dog","seed":5,"size":"12x12"})"
                                   "\n"
                                   R"({"prompt":"a dog","seed":5,"size":"auto"})"
                                   "\n"
                                   R"({"prompt":"a dog","seed":5,"size":"1x1"})"
                                   "\n"
                                   R"({"prompt":"a dog","seed":5,"size":"4096x256"})"
                                   "\n");
  RunWell(Render(folder / "jobs.jsonl", folder / "out"));
  auto lines = Lines(folder / "out");
  const std::pair<int64_t, int64_t> sizes[] = {{kSide, kSide}, {64, 16},    {5, 7},
                                               {20, kSide},    {kSide, 20}, {kSide, kSide},
                                               {kSide, kSide}, {1, 1},      {4096, 256}};
  const Image drawn = LoadImage(folder / ("out/" + lines[{0, 0}]["file"].get<std::string>())).value();
  for (int i = 0; i < 9; i++) {
    const auto [width, height] = sizes[i];
    const json& line = lines[{i, 0}];
    CheckSize(folder / "out", line, width, height);
    const std::string file = folder / ("out/" + line["file"].get<std::string>());
    const Image fitted = FitLanczos(drawn, width, height);
    const std::string text = ReadPictureParameters(file).value();
    const PictureSettings settings = ParseParameters(text).value();
    CHECK(settings.file_width() == width);
    CHECK(settings.file_height() == height);
    CHECK((text.find("Postprocess upscale to") != std::string::npos) == (width != kSide || height != kSide));
    CHECK((text.find("Postprocess crop to") != std::string::npos) == (width != height));
    const auto bytes = EncodePicture(fitted, *ParsePictureFormat(line["format"]), text).value();
    CHECK(ReadText(file) == std::string(bytes.begin(), bytes.end()));

    // The picture itself says how to repeat it.
    const ProgramResult again =
        RunWell({"generate", "--model", kTinyModel, "--from", file, "--json", "-o", folder / "again.png"});
    fs::rename(folder / "again.png", folder / ("again_" + std::to_string(i) + ".png"));
    CHECK((json::parse(again.out)["width"] == width && json::parse(again.out)["height"] == height));
    const std::string repeated = ReadText(folder / ("again_" + std::to_string(i) + ".png"));
    if (line["format"] == "png") CHECK(repeated == ReadText(file));
    const auto png = EncodePicture(fitted, PictureFormat::kPng, text).value();
    CHECK(repeated == std::string(png.begin(), png.end()));
  }

  // The same command again draws nothing, and merge knows what was asked for.
  CHECK(RunWell(Render(folder / "jobs.jsonl", folder / "out")).err.find("0 drawn, 9 kept") !=
        std::string::npos);
  RunWell({"merge", folder / "out", "--jobs", folder / "jobs.jsonl"});
}

TEST_CASE("lines of A1111 and tables ask for sizes as well") {
  const TemporaryFolder folder;
  WriteText(folder / "lines.txt",
            "--prompt \"a dog\" --width 24 --height 36\n--prompt \"a cat\" --width 512\n");
  RunWell(Render(folder / "lines.txt", folder / "lines"));
  auto lines = Lines(folder / "lines");
  CheckSize(folder / "lines", lines[{0, 0}], 24, 36);
  CheckSize(folder / "lines", lines[{1, 0}], 512, kSide);
  WriteText(folder / "table.csv", "prompt,width,height,size\na dog,20,10,\na cat,,,8x9\na cow,,,\n");
  RunWell(Render(folder / "table.csv", folder / "table"));
  lines = Lines(folder / "table");
  CheckSize(folder / "table", lines[{0, 0}], 20, 10);
  CheckSize(folder / "table", lines[{1, 0}], 8, 9);
  CheckSize(folder / "table", lines[{2, 0}], kSide, kSide);
}

TEST_CASE("--upscale multiplies the size that is asked for") {
  const TemporaryFolder folder;
  WriteText(folder / "jobs.jsonl", R"({"prompt":"a dog","seed":5,"size":"20x10"})"
                                   "\n"
                                   R"({"prompt":"a dog","seed":5,"size":"12x12"})"
                                   "\n"
                                   R"({"prompt":"a dog","seed":5,"size":"1025x1024"})"
                                   "\n");
  const ProgramResult run = RunProgram(Render(folder / "jobs.jsonl", folder / "out", {"--upscale", "4"}));
  CHECK(run.exit_code == 3);
  CHECK(run.err.find("1025x1024 pixels, which --upscale 4 makes 4100x4096; a side may have at most 4096") !=
        std::string::npos);
  auto lines = Lines(folder / "out");
  REQUIRE(lines.size() == 2);
  CheckSize(folder / "out", lines[{0, 0}], 80, 40);
  CheckSize(folder / "out", lines[{1, 0}], 4 * kSide, 4 * kSide);
  for (const auto& [key, line] : lines) {
    const std::string file = folder / ("out/" + line["file"].get<std::string>());
    const std::string again = folder / ("again" + line["index"].dump() + ".png");
    RunWell({"generate", "--model", kTinyModel, "--from", file, "-o", again});
    CHECK(ReadText(again) == ReadText(file));
  }
}

TEST_CASE("sizes beyond the limits are refused with the numbers, and --strict-size refuses all others") {
  const TemporaryFolder folder;
  const std::pair<const char*, const char*> refused[] = {
      {R"("size":"4097x4096")", "from 1 to 4096"},
      {R"("size":"0x5")", "from 1 to 4096"},
      {R"("size":"-1x5")", "from 1 to 4096"},
      {R"("size":"99999999999999999999x5")", "from 1 to 4096"},
      {R"("width":4097)", "from 1 to 4096"},
      {R"("height":0)", "from 1 to 4096"},
      {R"("width":12.5)", "whole number"},
      {R"("width":4096)", "asks for 4096x12 pixels, and a side may be at most 64 times as long as the other"},
      {R"("size":"1x65")", "asks for 1x65 pixels, and a side may be at most 64 times as long as the other"}};
  std::string jobs;
  for (const auto& [size, says] : refused) jobs += R"({"prompt":"a dog",)" + std::string(size) + "}\n";
  WriteText(folder / "jobs.jsonl", jobs);
  CHECK(RunProgram(Render(folder / "jobs.jsonl", folder / "out")).exit_code == 3);
  const auto failed = JsonLines(folder / "out/failed.jsonl");
  REQUIRE(failed.size() == std::size(refused));
  for (size_t i = 0; i < failed.size(); i++)
    CHECK(failed[i]["reason"].get<std::string>().find(refused[i].second) != std::string::npos);

  WriteText(folder / "strict.jsonl",
            "{\"prompt\":\"a dog\",\"size\":\"24x24\"}\n{\"prompt\":\"a dog\",\"size\":\"12x12\"}\n");
  const ProgramResult run = RunProgram(Render(folder / "strict.jsonl", folder / "strict", {"--strict-size"}));
  CHECK(run.exit_code == 3);
  CHECK(run.err.find("asks for 24x24 pixels, but this model draws 12x12; --upscale 2 or 4") !=
        std::string::npos);
  CHECK(Lines(folder / "strict").size() == 1);
}

TEST_CASE("sheets and plots show the resampled pictures") {
  const TemporaryFolder folder;
  WriteText(folder / "jobs.jsonl", "{\"prompt\":\"a dog\",\"n\":4,\"size\":\"200x100\",\"seed\":1}\n");
  RunWell(Render(folder / "jobs.jsonl", folder / "out", {"--grid", "--name", "{number}"}));
  RunWell(Render(folder / "jobs.jsonl", folder / "plot", {"--plot", "cfg=1,3", "--name", "{number}"}));
  for (const std::string sheet : {"out/0_grid.png", "plot/0_grid.png"}) {
    const Image image = LoadImage(folder / sheet).value();
    CHECK(image.width >= 400);
  }
}

TEST_CASE("an OpenAI batch says the sizes") {
  const TemporaryFolder folder;
  const auto request = [](const std::string& id, const std::string& body) {
    return R"({"custom_id":")" + id + R"(","method":"POST","url":"/v1/images/generations","body":)" + body +
           "}\n";
  };
  WriteText(
      folder / "batch.jsonl",
      request("own", R"({"model":"m","prompt":"a dog"})") +
          request("auto", R"({"model":"gpt-image-1","prompt":"a dog","size":"auto","quality":"auto"})") +
          request("wide", R"({"model":"dall-e-3","prompt":"a dog","size":"1792x1024"})") +
          request("small", R"({"model":"gpt-image-1.5","prompt":"a dog","size":"256x256","n":2,)"
                           R"("output_format":"jpeg","quality":"high","response_format":"url"})") +
          request("gateway", R"({"model":"openai/gpt-image-1-mini","prompt":"a dog"})") +
          request("null", R"({"model":"gpt-4","prompt":"a dog","size":null})"));
  RunWell(Render(folder / "batch.jsonl", folder / "out"));
  std::map<std::string, json> bodies;
  for (const json& line : JsonLines(folder / "out/output.jsonl"))
    bodies[line["custom_id"]] = line["response"]["body"];
  REQUIRE(bodies.size() == 6);
  const auto check = [&](const std::string& id, const std::string& size, size_t pictures, bool inside) {
    INFO(id);
    const json& body = bodies[id];
    CHECK(body["size"] == size);
    CHECK(body["background"] == "opaque");
    REQUIRE(body["data"].size() == pictures);
    for (const json& picture : body["data"])
      CHECK((picture.contains("b64_json") && !picture.contains("url")) == inside);
  };
  check("own", "12x12", 1, false);
  check("auto", "12x12", 1, true);
  check("wide", "1792x1024", 1, false);
  check("small", "256x256", 2, true);
  check("gateway", "12x12", 1, true);
  check("null", "12x12", 1, false);
  CHECK(bodies["small"]["output_format"] == "jpeg");
  CHECK(bodies["small"]["data"][0]["b64_json"].get<std::string>().starts_with("/9j/"));
  CHECK(bodies["small"]["quality"] == "high");
  CHECK_FALSE(bodies["auto"].contains("quality"));
}

Job Asking(const std::string& prompt, int width, int height) {
  Job job;
  job.picture.emplace();
  job.picture->prompt = prompt, job.picture->seed = 1;
  job.picture->width = width, job.picture->height = height;
  return job;
}

TEST_CASE("a size enters the key where it is not the model's, and only there") {
  const PlanModel model{"9031cba86e0687dc75a015641c48a2b0edc012a4cdb3ceccdcdb832d0db4051c", 5, kSide, kSide};
  const auto key = [&](const std::string& prompt, int width, int height) {
    return ContentKey(Asking(prompt, width, height), {}, JobFormat::kJson, model);
  };
  // As version 0.1.0 wrote them.
  CHECK(key("a", 0, 0) == "d9cfc4f0b05716004201076a7fd7df7a");
  CHECK(key("b", 12, 0) == "63d05d04a5bf098cb7ec8dd07664cb23");
  CHECK(key("c", 12, 12) == "333c1dcf8f707a22936c2355ae7bbfa4");
  const std::string plain = key("a", 0, 0);
  CHECK(key("a", 12, 12) == plain);
  CHECK(key("a", 13, 12) != plain);
  CHECK(key("a", 0, 13) != plain);
  CHECK(key("a", 13, 0) == key("a", 13, 12));
  CHECK(key("a", 13, 12) != key("a", 12, 13));
  // A header of 0.1 does not say what the model draws; what it lists was of that size.
  CHECK(ContentKey(Asking("c", 12, 12), {}, JobFormat::kJson, {model.hash}) == key("c", 12, 12));
}

}  // namespace
}  // namespace bifrons
