// The tensor table against every tensor of the published checkpoints (goldens/published, made by
// make_published.py from the reference's own modules and from transformers).
#include "src/model/tensor_table.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "src/model/checkpoint/gguf_types.h"

namespace bifrons {
namespace {

const std::string kLists = std::string(BIFRONS_TEST_DIR) + "/goldens/published/";

// "layers.{0..23}.norm.weight [2048]" → 24 entries
TensorShapes ReadList(const std::string& path) {
  TensorShapes shapes;
  std::ifstream file(path);
  REQUIRE(file);
  for (std::string line; std::getline(file, line);) {
    const size_t space = line.find(" [");
    REQUIRE(space != std::string::npos);
    std::vector<int64_t> dims;
    std::istringstream numbers(line.substr(space + 2));
    int64_t dim = 0;
    for (char separator = 0; numbers >> dim; numbers >> separator) dims.push_back(dim);
    const std::string name = line.substr(0, space);
    const size_t open = name.find('{');
    if (open == std::string::npos) {
      shapes[name] = dims;
      continue;
    }
    const size_t close = name.find('}');
    const int last = std::stoi(name.substr(name.find("..") + 2));
    for (int i = 0; i <= last; i++)
      shapes[name.substr(0, open) + std::to_string(i) + name.substr(close + 1)] = dims;
  }
  return shapes;
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  REQUIRE(file);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<int64_t> Dims(const Shape& shape) {
  std::vector<int64_t> dims;
  for (int i = 0; i < shape.rank(); i++) dims.push_back(shape[i]);
  return dims;
}

TEST_CASE("the table names every published tensor and no other") {
  const std::string model = GENERATE("janus-1.3b", "janus-pro-1b", "janus-pro-7b");
  const Layout layout = GENERATE(Layout::kOriginal, Layout::kConverted);
  const std::string base = kLists + model + (layout == Layout::kOriginal ? ".original" : ".converted");
  CAPTURE(base);
  const TensorShapes published = ReadList(base + ".txt");
  const auto config = ParseConfig(ReadText(base + ".json"), published, base + ".json");
  REQUIRE((config.ok() ? "" : config.error().message) == std::string());
  CHECK(config->layout == layout);

  std::set<std::string> ours, expected;
  for (const TensorSpec& spec : TensorTable(*config)) {
    const std::string& name = layout == Layout::kOriginal ? spec.original : spec.converted;
    CHECK(ours.insert(spec.name).second);
    expected.insert(name);
    const auto found = published.find(name);
    INFO(spec.name << " as " << name);
    REQUIRE(found != published.end());
    CHECK(found->second == Dims(StoredShape(spec, layout)));
  }
  const PublishedNames names(layout),
      others(layout == Layout::kOriginal ? Layout::kConverted : Layout::kOriginal);
  for (const auto& [name, dims] : published) {
    INFO(name);
    CHECK(expected.contains(name) != IsDropped(name));
    CHECK(names.Contains(name) != IsDropped(name));
    CHECK_FALSE(others.Contains(name));
  }
  for (const char* name : {"", ".", "..", "0", "lm_head", "model.layers.0.self_attn.q_proj.weight"})
    CHECK_FALSE(names.Contains(name));
}

TEST_CASE("our names fit into a GGUF, each once") {
  JanusConfig config = PublishedConfig("janus-pro-7b").value();
  config.llama.layers = config.vision.layers = 2048;  // the most that any config may have
  std::set<std::string> names;
  int64_t quantizable = 0, all = 0;
  for (const TensorSpec& spec : TensorTable(config)) {
    CHECK(spec.name.size() <= kMaxGgufName);
    names.insert(spec.name);
    CHECK(NameIn(Layout::kGguf, spec) == spec.name);
    CHECK(StoredShape(spec, Layout::kGguf) == spec.shape);
    all++, quantizable += spec.quantizable;
  }
  CHECK(names.size() == static_cast<size_t>(all));
  // Seven matrices of a transformer's layer, six of the tower's; embedding and head, gen_head, both aligners.
  CHECK(quantizable == 2048 * (7 + 6) + 2 + 2 + 2 + 2);
}

TEST_CASE("the geometry read from both layouts is the published one") {
  const std::string model = GENERATE("janus-1.3b", "janus-pro-1b", "janus-pro-7b");
  const auto known = PublishedConfig(model);
  REQUIRE(known.ok());
  for (const char* layout : {".original", ".converted"}) {
    const std::string base = kLists + model + layout;
    CAPTURE(base);
    const auto read = ParseConfig(ReadText(base + ".json"), ReadList(base + ".txt"), base + ".json");
    REQUIRE(read.ok());
    CHECK(read->vq.grid == 24);
    CHECK(read->vq.image_size() == 384);
    CHECK(read->vq.channel_multiplier == known->vq.channel_multiplier);
    CHECK(read->llama.rope_theta == known->llama.rope_theta);
    CHECK(read->llama.max_positions == known->llama.max_positions);
    CHECK(read->llama.norm_eps == known->llama.norm_eps);
    CHECK(read->vision.heads == known->vision.heads);
    CHECK(read->vision.image_size == known->vision.image_size);
    // Equal tables mean equal widths, depths and heads.
    const auto ours = TensorTable(*read), expected = TensorTable(*known);
    REQUIRE(ours.size() == expected.size());
    for (size_t i = 0; i < ours.size(); i++) {
      CHECK(ours[i].name == expected[i].name);
      CHECK(ours[i].shape == expected[i].shape);
    }
  }
}

TEST_CASE("both layouts give the same names, in the order of the forward pass") {
  auto config = PublishedConfig("janus-pro-1b");
  REQUIRE(config.ok());
  std::vector<std::string> names;
  std::map<std::string, Shape> shapes;
  for (const TensorSpec& spec : TensorTable(*config)) {
    names.push_back(spec.name);
    shapes[spec.name] = spec.shape;
  }
  CHECK(names.front() == "llama.embed");
  // The decoder's level 0 is the lowest resolution and the only one with attention; the last has no upsample.
  CHECK(shapes.at("vq.decoder.levels.0.attn.2.out.weight") == Shape{512, 512, 1, 1});
  CHECK(shapes.at("vq.decoder.levels.1.res.0.shortcut.weight") == Shape{256, 512, 1, 1});
  CHECK_FALSE(shapes.contains("vq.decoder.levels.1.attn.0.q.weight"));
  CHECK_FALSE(shapes.contains("vq.decoder.levels.4.upsample.weight"));
  CHECK(shapes.at("vq.encoder.levels.4.attn.1.q.weight") == Shape{512, 512, 1, 1});
  CHECK(shapes.at("gen_aligner.0.weight") == Shape{2048, 8});
  CHECK(shapes.at("siglip.layers.23.k.bias") == Shape{1024});
  CHECK(shapes.at("siglip.position") == Shape{576, 1024});
}

TEST_CASE("parts that a checkpoint lacks are absent from its table") {
  auto config = PublishedConfig("janus-pro-1b");
  REQUIRE(config.ok());
  config->has_vision = config->has_vq_encoder = false;
  config->tied_lm_head = true;
  for (const TensorSpec& spec : TensorTable(*config)) {
    INFO(spec.name);
    CHECK(spec.part != Part::kVision);
    CHECK(spec.part != Part::kVqEncoder);
    CHECK(spec.name != "lm_head");
  }
}

}  // namespace
}  // namespace bifrons
