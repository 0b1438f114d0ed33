// The parameters text reads back exactly, and foreign or broken text is refused by field.
#include "src/engine/metadata.h"

#include <catch2/catch.hpp>

namespace bifrons {
namespace {

PictureSettings Example() {
  PictureSettings s;
  s.prompt = "a dog, \"big\"\nSteps: no\nsecond line: x";
  s.seed = static_cast<uint64_t>(kMaxSeed);
  s.sampling = {.guidance = 0.1f, .temperature = 1.0f / 3, .top_k = 50, .top_p = 0.9f, .min_p = 1e-7f};
  s.width = s.height = 384, s.steps = 576;
  s.model = "odd, \"name\": \\ x", s.model_hash = std::string(64, 'a');
  s.compute = "bf16", s.kv_type = "bf16", s.backend = "cpu", s.isa = "avx512";
  s.chat_template = "janus-pro", s.version = "bifrons 0.1.0";
  return s;
}

TEST_CASE("Settings survive the round trip to the bit") {
  const PictureSettings s = Example();
  const auto read = ParseParameters(FormatParameters(s));
  REQUIRE(read.ok());
  CHECK(read->prompt == s.prompt);
  CHECK(read->seed == s.seed);
  CHECK(read->sampling.guidance == s.sampling.guidance);
  CHECK(read->sampling.temperature == s.sampling.temperature);
  CHECK(read->sampling.top_k == s.sampling.top_k);
  CHECK(read->sampling.top_p == s.sampling.top_p);
  CHECK(read->sampling.min_p == s.sampling.min_p);
  CHECK(read->model == s.model);
  CHECK(read->model_hash == s.model_hash);
  CHECK(read->width == 384);
  CHECK(FormatParameters(*read) == FormatParameters(s));
}

TEST_CASE("How a picture was chosen survives the round trip") {
  PictureSettings s = Example();
  s.choice = {5, {-0.25f, -1.0f / 3, 0, -690.7755f}};
  const auto read = ParseParameters(FormatParameters(s));
  REQUIRE(read.ok());
  CHECK(read->choice.first_seed == 5);
  CHECK(read->choice.scores == s.choice.scores);
  CHECK(FormatParameters(*read) == FormatParameters(s));
  std::string text = FormatParameters(s);
  text.replace(text.find("Scores: "), 8, "Scores: x");
  const auto bad = ParseParameters(text);
  REQUIRE_FALSE(bad.ok());
  CHECK(bad.error().message.find("Scores") != std::string::npos);
}

TEST_CASE("Enlarging survives the round trip") {
  PictureSettings s = Example();
  CHECK(FormatParameters(s).find("upscale") == std::string::npos);
  for (const int factor : {2, 4}) {
    s.upscale = factor;
    s.choice = {5, {-0.25f, -1.0f}};
    const auto read = ParseParameters(FormatParameters(s));
    REQUIRE(read.ok());
    CHECK(read->upscale == factor);
    CHECK(read->width == 384);  // of what was drawn
    CHECK(FormatParameters(*read) == FormatParameters(s));
  }
  const std::string good = FormatParameters(s);
  for (const auto& [from, to] : {std::pair{"by: 4", "by: 3"},
                                 {"by: 4", "by: 8"},
                                 {"by: 4", "by: x"},
                                 {"upscaler: Lanczos", "upscaler: ESRGAN_4x"},
                                 {", Postprocess upscaler: Lanczos", ""}}) {
    INFO(to);
    std::string text = good;
    text.replace(text.find(from), std::string(from).size(), to);
    const auto bad = ParseParameters(text);
    REQUIRE_FALSE(bad.ok());
    CHECK(bad.error().kind == ErrorKind::kBadData);
    CHECK(bad.error().message.find("Postprocess upscale") != std::string::npos);
  }
}

TEST_CASE("A size of its own survives the round trip") {
  PictureSettings s = Example();
  s.upscale = 2;  // is in the size
  for (const auto& [width, height] : {std::pair{512, 512}, {1792, 1024}, {1, 64}, {4096, 4096}}) {
    s.resized_width = width, s.resized_height = height;
    const std::string text = FormatParameters(s);
    CHECK((text.find("Postprocess crop to") != std::string::npos) == (width != height));
    const auto read = ParseParameters(text);
    REQUIRE(read.ok());
    CHECK(read->width == 384);
    CHECK(read->file_width() == width);
    CHECK(read->file_height() == height);
    CHECK(FormatParameters(*read) == text);
  }
  s.resized_width = 1792, s.resized_height = 1024;
  const std::string good = FormatParameters(s), to = "Postprocess upscale to: 1792x1024";
  for (const char* other : {"4097x1024", "1792x0", "1792", "x", "1792x1024x1", "-1x5", "1792x", ""}) {
    std::string text = good;
    text.replace(text.find(to), to.size(), std::string("Postprocess upscale to: ") + other);
    INFO(other);
    CHECK_FALSE(ParseParameters(text).ok());
  }
  for (const std::string more : {", Postprocess upscale by: 2", ", Postprocess crop to: 5x5"})
    CHECK_FALSE(ParseParameters(good + more).ok());
  std::string foreign = good;
  foreign.replace(foreign.find("Lanczos"), 7, "ESRGAN");
  CHECK_FALSE(ParseParameters(foreign).ok());
}

TEST_CASE("A library that made the convolutions survives the round trip") {
  PictureSettings s = Example();
  CHECK(FormatParameters(s).find("Convolutions") == std::string::npos);
  s.convolutions = "cuDNN 9.19.0";
  const auto read = ParseParameters(FormatParameters(s));
  REQUIRE(read.ok());
  CHECK(read->convolutions == s.convolutions);
  CHECK(FormatParameters(*read) == FormatParameters(s));
}

TEST_CASE("An empty prompt keeps its line") {
  PictureSettings s = Example();
  s.prompt.clear();
  const auto read = ParseParameters(FormatParameters(s));
  REQUIRE(read.ok());
  CHECK(read->prompt.empty());
}

TEST_CASE("What cannot be redrawn is refused by field") {
  const auto error = [](const std::string& text) {
    const auto read = ParseParameters(text);
    REQUIRE_FALSE(read.ok());
    CHECK(read.error().kind == ErrorKind::kBadData);
    return read.error().message;
  };
  const std::string good = FormatParameters(Example());
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const size_t at = text.rfind(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
  };
  CHECK(error("").find("Steps") != std::string::npos);
  CHECK(
      error("a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512").find("Model hash") !=
      std::string::npos);
  CHECK(error(with("Seed: 9007199254740991", "Seed: 9007199254740992")).find("Seed") != std::string::npos);
  CHECK(error(with("Seed: 9007199254740991", "Seed: -1")).find("Seed") != std::string::npos);
  CHECK(error(with("Temperature: ", "Temperature: nan")).find("Temperature") != std::string::npos);
  CHECK_THAT(error(with(", KV: ", ", KV: q8_0, KV: ")), Catch::Contains("has the field \"KV\" twice"));
  CHECK(error(with("Size: 384x384", "Size: large")).find("size") != std::string::npos);
  CHECK(error(with("Gumbel-max", "Euler a")).find("Euler a") != std::string::npos);
}

}  // namespace
}  // namespace bifrons
