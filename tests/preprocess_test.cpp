// What the vision tower sees, against Pillow and the reference's steps (tests/goldens/make_images.py); and
// how the numbers for it are read.
#include "vision/preprocess.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "src/model/image_processor_json.h"
#include "tests/image_golden.h"
#include "vision/resize.h"

using namespace bifrons;

TEST_CASE("sizes preprocess to Pillow's bytes") {
  int count = 0;
  for (auto& row : GoldenRows("sizes.tsv")) {
    int64_t width, height, size;
    std::array<int, 3> background;
    std::string square;
    REQUIRE(row >> width >> height >> size >> background[0] >> background[1] >> background[2] >> square);
    INFO(width << " × " << height << " → " << size);
    ImageProcessorConfig config;
    config.image_size = size;
    for (size_t c = 0; c < 3; c++) config.background[c] = static_cast<uint8_t>(background[c]);
    const Image out = ResizeAndPad(Formula(width, height), config);
    CHECK(out.width == size);
    CHECK(out.height == size);
    CHECK(Sha(out) == square);
    count++;
  }
  CHECK(count >= 40);
}

TEST_CASE("the f32 values are the reference's to the bit") {
  int count = 0;
  for (auto& row : GoldenRows("floats.tsv")) {
    ImageProcessorConfig config;
    config.image_size = 96;
    std::string sha;
    // The reference's constants are f64 that become f32.
    std::array<double, 3> mean, std;
    REQUIRE(row >> mean[0] >> mean[1] >> mean[2] >> std[0] >> std[1] >> std[2] >> config.do_normalize >> sha);
    for (size_t c = 0; c < 3; c++) {
      config.mean[c] = static_cast<float>(mean[c]);
      config.std[c] = static_cast<float>(std[c]);
      config.background[c] = static_cast<uint8_t>(mean[c] * 255);
    }
    const Tensor x = Preprocess(Formula(131, 64), config);
    CHECK(x.shape() == Shape{3, 96, 96});
    CHECK(Sha256::Hex(std::span(static_cast<const uint8_t*>(x.data()), x.bytes())) == sha);
    count++;
  }
  CHECK(count == 4);
}

TEST_CASE("one colour stays that colour, whatever the sizes") {
  for (const int value : {0, 1, 100, 127, 254, 255}) {
    for (const auto& [width, height] : {std::pair{1, 1}, {7, 300}, {300, 7}, {1, 1000}, {61, 59}}) {
      const Image flat{width, height,
                       std::vector<uint8_t>(size_t(width) * size_t(height) * 3, uint8_t(value))};
      for (const auto& [to_width, to_height] : {std::pair{1, 1}, {3, 200}, {200, 3}, {61, 59}, {13, 17}}) {
        INFO(value << ": " << width << " × " << height << " → " << to_width << " × " << to_height);
        const Image out = ResizeBicubic(flat, to_width, to_height);
        CHECK(out.rgb == std::vector<uint8_t>(size_t(to_width) * size_t(to_height) * 3, uint8_t(value)));
      }
    }
  }
}

TEST_CASE("resizing treats what is alike alike") {
  const Image image = Formula(53, 31);
  CHECK(ResizeBicubic(image, 53, 31).rgb == image.rgb);
  const auto mirrored = [](const Image& from) {
    Image to = from;
    for (int64_t y = 0; y < from.height; y++) {
      for (int64_t x = 0; x < from.width; x++) {
        for (int64_t c = 0; c < 3; c++) {
          to.rgb[size_t((y * from.width + x) * 3 + c)] =
              from.rgb[size_t((y * from.width + from.width - 1 - x) * 3 + c)];
        }
      }
    }
    return to;
  };
  // Powers of two, for which the filter's centres are exact.
  const Image even = Formula(64, 32);
  CHECK(mirrored(ResizeBicubic(even, 16, 32)).rgb == ResizeBicubic(mirrored(even), 16, 32).rgb);
  CHECK(mirrored(ResizeBicubic(even, 128, 8)).rgb == ResizeBicubic(mirrored(even), 128, 8).rgb);
  // Channels do not mix.
  Image swapped = image;
  for (size_t i = 0; i < swapped.rgb.size(); i += 3) std::swap(swapped.rgb[i], swapped.rgb[i + 2]);
  const Image a = ResizeBicubic(image, 20, 40), b = ResizeBicubic(swapped, 20, 40);
  for (size_t i = 0; i < a.rgb.size(); i += 3) {
    REQUIRE(a.rgb[i] == b.rgb[i + 2]);
    REQUIRE(a.rgb[i + 1] == b.rgb[i + 1]);
  }
}

TEST_CASE("the picture lies in the middle of its background") {
  ImageProcessorConfig config;
  config.image_size = 20;
  config.background = {1, 2, 3};
  const Image white{400, 1, std::vector<uint8_t>(1200, 255)};
  const Image out = ResizeAndPad(white, config);  // 20 × 14, because min_size is 14
  for (int64_t y = 0; y < 20; y++) {
    for (int64_t x = 0; x < 20; x++) {
      const uint8_t* pixel = &out.rgb[size_t(y * 20 + x) * 3];
      const bool inside = y >= 3 && y < 17;
      REQUIRE(pixel[0] == (inside ? 255 : 1));
      REQUIRE(pixel[2] == (inside ? 255 : 3));
    }
  }
}

// ---- preprocessor_config.json -------------------------------------------------------------------

namespace {

Result<ImageProcessorConfig> Parse(const std::string& json, int64_t size = 384) {
  return ParseImageProcessorConfig(json, size, "folder/preprocessor_config.json");
}

}  // namespace

TEST_CASE("both published forms say the same") {
  const std::string original = R"({
    "background_color": [127, 127, 127], "do_normalize": true, "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "VLMImageProcessor", "image_size": 384, "image_std": [0.5, 0.5, 0.5],
    "min_size": 14, "processor_class": "VLChatProcessor", "rescale_factor": 0.00392156862745098})";
  const std::string converted = R"({
    "background_color": [127, 127, 127], "do_convert_rgb": null, "do_normalize": true, "do_pad": true,
    "do_rescale": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "JanusImageProcessor", "image_std": [0.5, 0.5, 0.5], "min_size": 14,
    "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"height": 384, "width": 384}})";
  for (const std::string& json : {original, converted}) {
    const auto config = Parse(json);
    if (!config.ok()) FAIL(config.error().message);
    CHECK(config->image_size == 384);
    CHECK(config->min_size == 14);
    CHECK(config->rescale_factor == 1.0 / 255.0);
    CHECK(config->do_normalize);
    CHECK(config->mean == std::array<float, 3>{0.5f, 0.5f, 0.5f});
    CHECK(config->std == std::array<float, 3>{0.5f, 0.5f, 0.5f});
    CHECK(config->background == std::array<uint8_t, 3>{127, 127, 127});
  }
}

TEST_CASE("what a file leaves out has its class's defaults") {
  const auto config = Parse("{}").value();
  CHECK(config.image_size == 384);
  CHECK(config.min_size == 14);
  CHECK(config.mean == std::array<float, 3>{0.48145466f, 0.4578275f, 0.40821073f});
  CHECK(config.std == std::array<float, 3>{0.26862954f, 0.26130258f, 0.27577711f});
  CHECK(config.background == std::array<uint8_t, 3>{122, 116, 104});
  const auto stated = Parse(R"({"image_mean": 0.25, "image_std": [1, 2, 3], "do_normalize": false, "size": 96,
                                "min_size": 3, "background_color": [0, 255, 7]})",
                            96)
                          .value();
  CHECK(stated.image_size == 96);
  CHECK(stated.min_size == 3);
  CHECK(stated.mean == std::array<float, 3>{0.25f, 0.25f, 0.25f});
  CHECK(stated.std == std::array<float, 3>{1, 2, 3});
  CHECK(stated.background == std::array<uint8_t, 3>{0, 255, 7});
  CHECK(!stated.do_normalize);
  CHECK(Parse(R"({"image_mean": [0.5, 0.25, 0]})").value().background == std::array<uint8_t, 3>{127, 63, 0});
}

TEST_CASE("a folder's file is read, and may be missing") {
  const auto folder = std::filesystem::temp_directory_path() / "bifrons_preprocess_test";
  std::filesystem::create_directories(folder);
  const auto missing = LoadImageProcessorConfig(folder.string(), 384);
  REQUIRE(missing.ok());
  CHECK(missing->image_size == 384);
  CHECK(missing->mean == std::array<float, 3>{0.5f, 0.5f, 0.5f});
  CHECK(missing->background == std::array<uint8_t, 3>{127, 127, 127});
  std::ofstream(folder / "preprocessor_config.json") << R"({"image_size": 512})";
  const auto other = LoadImageProcessorConfig(folder.string(), 384);
  REQUIRE(!other.ok());
  CHECK(other.error().kind == ErrorKind::kBadData);
  CHECK(other.error().message == (folder / "preprocessor_config.json").string() +
                                     ": field image_size is 512, but the vision tower is for 384 pixels");
  std::filesystem::remove_all(folder);
}

TEST_CASE("wrong numbers name file and field") {
  for (const auto& [json, field] : std::vector<std::pair<std::string, std::string>>{
           {R"({"image_size": "384"})", "image_size"},
           {R"({"image_size": 0})", "image_size"},
           {R"({"image_size": -384})", "image_size"},
           {R"({"image_size": 383})", "image_size"},
           {R"({"image_size": 384.5})", "image_size"},
           {R"({"image_size": 99999999999999999999})", "image_size"},
           {R"({"size": {"height": 384, "width": 383}})", "size"},
           {R"({"size": {"height": "x", "width": 384}})", "size.height"},
           {R"({"size": {"shortest_edge": 384}})", "size.shortest_edge"},
           {R"({"size": [384, 383]})", "size"},
           {R"({"size": {"height": 96, "width": 96}})", "size"},
           {R"({"min_size": 0})", "min_size"},
           {R"({"min_size": 385})", "min_size"},
           {R"({"rescale_factor": 0})", "rescale_factor"},
           {R"({"rescale_factor": "1/255"})", "rescale_factor"},
           {R"({"image_mean": [0.5, 0.5]})", "image_mean"},
           {R"({"image_mean": [0.5, 0.5, "0.5"]})", "image_mean"},
           {R"({"image_mean": [127, 127, 127]})", "image_mean"},
           {R"({"image_std": [0, 0.5, 0.5]})", "image_std"},
           {R"({"image_std": {}})", "image_std"},
           {R"({"background_color": [127, 127, 256]})", "background_color"},
           {R"({"background_color": "grey"})", "background_color"},
           {R"({"do_normalize": 1})", "do_normalize"},
           {R"({"do_resize": false})", "do_resize"},
           {R"({"do_pad": false})", "do_pad"},
           {R"({"do_rescale": false})", "do_rescale"},
           {R"({"resample": 2})", "resample"}}) {
    INFO(json);
    const auto config = Parse(json);
    REQUIRE(!config.ok());
    CHECK(config.error().kind == ErrorKind::kBadData);
    CHECK(config.error().message.rfind("folder/preprocessor_config.json: field " + field + " ", 0) == 0);
  }
  for (const std::string json : {"", "[]", "{", "null", "{\"size\": [[[[[[[[[["}) CHECK(!Parse(json).ok());
}
