// A model as one file: what is converted is the model that it was, for every verb; what cannot be converted,
// or is no model, is told in one line.
#include "src/model/convert.h"

#include <cstring>
#include <tuple>

#include "src/base/atomic_file.h"
#include "src/base/sha256.h"
#include "src/engine/metadata.h"
#include "src/jobs/picture_file.h"
#include "src/model/model_path.h"
#include "src/model/quantized_weights.h"
#include "src/model/random_weights.h"
#include "tests/refusal.h"
#include "tests/rendered.h"
#include "vision/image_file.h"

namespace bifrons {
namespace {

using Catch::Contains;

const fs::path kGoldens = fs::path(BIFRONS_TEST_DIR) / "goldens";
const std::string kTiny = (kGoldens / "tiny-a/converted").string();
const std::string kImage = (kGoldens / "pillow.png").string();

std::string Convert(const std::string& model, const std::string& file, const Arguments& more = {}) {
  const ProgramResult result = RunWell(Join({"convert", "-m", model, "-o", file}, more));
  CHECK(result.out == file + "\n");
  CHECK(result.err.empty());
  return file;
}

void CheckSameConfig(const JanusConfig& a, const JanusConfig& b) {
  const auto llama = [](const LlamaConfig& c) {
    return std::tuple(c.hidden, c.intermediate, c.layers, c.heads, c.kv_heads, c.head_dim, c.vocabulary,
                      c.max_positions, c.rope_theta, c.norm_eps);
  };
  CHECK(llama(a.llama) == llama(b.llama));
  const auto vq = [](const VqConfig& c) {
    return std::tuple(c.codebook_size, c.codebook_dim, c.latent_channels, c.base_channels,
                      c.channel_multiplier, c.res_blocks, c.grid);
  };
  CHECK(vq(a.vq) == vq(b.vq));
  REQUIRE(a.has_vision == b.has_vision);
  const auto vision = [](const SiglipConfig& c) {
    return std::tuple(c.hidden, c.layers, c.heads, c.mlp, c.patch, c.image_size, c.norm_eps);
  };
  if (a.has_vision) {
    CHECK(vision(a.vision) == vision(b.vision));
    CHECK(a.aligner.depth == b.aligner.depth);
  }
  const auto rest = [](const JanusConfig& c) {
    return std::tuple(c.has_vq_encoder, c.gen_aligner.input, c.gen_aligner.output, c.gen_aligner.depth,
                      c.gen_head_hidden, c.gen_embed_dim, c.tied_lm_head, c.guidance_default);
  };
  CHECK(rest(a) == rest(b));
}

void CheckSameTensors(WeightSource& a, WeightSource& b) {
  const auto table = TensorTable(a.config());
  CHECK(TensorTable(b.config()).size() == table.size());
  for (const TensorSpec& spec : table) {
    INFO(spec.name);
    REQUIRE(b.Has(spec.name));
    const TensorView ours = a.Get(spec.name), theirs = b.Get(spec.name);
    CHECK(b.TypeOf(spec.name) == ours.dtype);
    REQUIRE(ours.dtype == theirs.dtype);
    REQUIRE(ours.shape == theirs.shape);
    REQUIRE(std::memcmp(ours.data, theirs.data, ours.bytes()) == 0);
  }
}

TEST_CASE("a converted model is the model that it was, in every type and from every layout") {
  const std::string model =
      GENERATE("tiny-a/converted", "tiny-a/original", "tiny-b/original", "tiny-c/original");
  const std::string type = GENERATE("", "bf16", "q8_0", "q4_0", "q4_k", "mixed", "q8_0,qkv=q4_0,vision=bf16");
  INFO(model << " " << type);
  const TemporaryFolder folder;
  const std::string path = (kGoldens / model).string(), file = folder / "m.gguf";
  Convert(path, file, type.empty() ? Arguments{} : Arguments{"--type", type});
  const auto expected = OpenWeightsAs(path, WeightType::Of(type)), opened = OpenWeights(file);
  REQUIRE((opened.ok() ? "" : opened.error().message) == std::string());
  CHECK((*opened)->config().layout == Layout::kGguf);
  CHECK((*opened)->config().name == "m");
  CheckSameConfig((*opened)->config(), (*expected)->config());
  CheckSameTensors(**opened, **expected);
  CHECK((*opened)->InFile("llama.layers.0.q"));
  CHECK_FALSE((*opened)->made_type());
}

// Geometries that the converted layout has no fields for.
TEST_CASE("drawing-only models, tied heads and odd widths survive") {
  JanusConfig config = OpenWeights((kGoldens / "tiny-b/original").string()).value()->config();
  config.name = "odd";
  config.tied_lm_head = true;
  config.has_vq_encoder = false;
  config.gen_embed_dim = config.gen_aligner.input = 7;
  config.gen_aligner.depth = 3;
  config.has_vision = GENERATE(false, true);
  config.vision.image_size = config.vision.patch * (config.vq.grid + 1);
  const TemporaryFolder folder;
  const auto random = MakeRandomWeights(config);
  const std::string path = folder / "odd.gguf";
  AtomicFile file = AtomicFile::Create(path).value();
  const ModelTexts texts((kGoldens / "tiny-b/original").string());
  double told = 0;
  const ConvertOptions options{.software = "a test", .progress = [&](double share) {
                                 CHECK(share >= told);
                                 told = share;
                               }};
  REQUIRE(WriteGguf(*random, texts, texts, options, path, file).ok());
  REQUIRE(file.Commit().ok());
  CHECK(told == 1);
  const auto opened = OpenWeights(path);
  REQUIRE((opened.ok() ? "" : opened.error().message) == std::string());
  CheckSameConfig((*opened)->config(), config);
  CheckSameTensors(**opened, *random);
}

TEST_CASE("its texts are those of the model, and its tokenizer") {
  const TemporaryFolder folder;
  const std::string file = Convert(kTiny, folder / "m.gguf");
  const ModelTexts ours = OpenModelTexts(file).value(), theirs = OpenModelTexts(kTiny).value();
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "preprocessor_config.json", "generation_config.json"}) {
    INFO(name);
    CHECK((ours.Get(name).value().text == theirs.Get(name).value().text));
  }
  CHECK_FALSE(ours.Find("processor_config.json").value());
  CHECK_THAT(ours.Get("processor_config.json").error().message,
             Contains(file + ": lacks the metadata janus.processor_config_json"));
  CHECK(RunWell({"tokenize", "-m", file, "a dog"}).out == RunWell({"tokenize", "-m", kTiny, "a dog"}).out);
  // Random models have the bundled one's.
  CHECK(OpenModelTexts("random:janus-pro-1b").value().path().empty());
  CHECK(OpenTokenizerTexts("random:janus-pro-1b").value().Get("tokenizer.json").ok());
}

struct Drawn {
  std::string codes;
  std::vector<uint8_t> rgb;
  PictureSettings settings;
  bool operator==(const Drawn& o) const { return codes == o.codes && rgb == o.rgb; }
};

Drawn Draw(const TemporaryFolder& folder, const Arguments& how) {
  const std::string picture = folder / "drawn.png", codes = folder / "drawn.npy";
  RunWell(Join({"generate", "--force", "--codes-out", codes, "-o", picture}, how));
  return {ReadText(codes), LoadImage(picture).value().rgb,
          ParseParameters(ReadPictureParameters(picture).value()).value()};
}

TEST_CASE("a converted model draws and answers as the folder that is given the type") {
  const std::string type = GENERATE("", "bf16", "q8_0", "q4_0", "q4_k", "mixed", "q8_0,qkv=q4_0,vision=bf16");
  INFO(type);
  const TemporaryFolder folder;
  const Arguments how = type.empty() ? Arguments{} : Arguments{"--type", type};
  const std::string file = Convert(kTiny, folder / "m.gguf", how);
  for (const Arguments& device : TestedDevices()) {
    INFO(Shown(device));
    const Arguments request = Join({"-s", "3", "a dog"}, device);
    const Drawn converted = Draw(folder, Join({"-m", file}, request));
    const Drawn expected = Draw(folder, Join(Join({"-m", kTiny}, how), request));
    CHECK(converted == expected);
    CHECK(converted.settings.model == "m");
    CHECK(converted.settings.weights.empty());
    const auto answer = [&](const Arguments& model) {
      return RunWell(Join(Join({"ask", "--max-tokens", "8", kImage, "What is it?"}, device), model)).out;
    };
    CHECK(answer({"-m", file}) == answer(Join({"-m", kTiny}, how)));
  }
}

TEST_CASE("what is drawn with another type is told, and drawn again with it") {
  const TemporaryFolder folder;
  const Drawn stored = Draw(folder, {"-m", kTiny, "-s", "3", "a dog"});
  CHECK(stored.settings.weights.empty());
  const Drawn quantized = Draw(folder, {"-m", kTiny, "--type", "q4_0", "-s", "3", "a dog"});
  CHECK(quantized.settings.weights == "q4_0");
  CHECK(quantized.settings.model_hash == stored.settings.model_hash);
  CHECK_FALSE(quantized == stored);
  const std::string first = ReadText(folder / "drawn.png");
  RunWell({"generate", "-m", kTiny, "--from", folder / "drawn.png", "-o", folder / "again.png"});
  CHECK((ReadText(folder / "again.png") == first));
  // A name with a comma in it is quoted, as other readers of such texts need it.
  const Drawn mixture = Draw(folder, {"-m", kTiny, "--type", "q8_0,o=q4_0", "-s", "3", "a dog"});
  CHECK(mixture.settings.weights == "q8_0,o=q4_0");
  CHECK_THAT(ReadPictureParameters(folder / "drawn.png").value(),
             Catch::Contains("Weights: \"q8_0,o=q4_0\""));
  const std::string mixed = ReadText(folder / "drawn.png");
  RunWell({"generate", "-m", kTiny, "--from", folder / "drawn.png", "-o", folder / "again.png", "--force"});
  CHECK((ReadText(folder / "again.png") == mixed));
}

TEST_CASE("a list is drawn anew where the weights have another type") {
  const TemporaryFolder folder;
  WriteText(folder / "list.txt", "a dog\na cat\n");
  const auto pictures = [&](const Arguments& how) {
    RunWell(Join({"render", folder / "list.txt", "-m", kTiny, "-o", folder / "out", "-q"}, how));
    return Pictures(folder / "out").size();
  };
  CHECK(pictures({}) == 2);
  CHECK(pictures({}) == 2);
  CHECK(pictures({"--type", "q8_0"}) == 4);
  CHECK(pictures({"--type", "q8_0"}) == 4);
  CHECK(pictures({}) == 4);
}

TEST_CASE("info tells types, and where rows are no whole blocks") {
  const std::string out = RunWell({"info", "-m", kTiny, "--type", "q4_k"}).out;
  CHECK_THAT(out, Contains(" MB as q4_k\n"));
  CHECK_THAT(RunWell({"info", "-m", kTiny}).out, Contains(" stored MB\n"));
  CHECK_THAT(out, Contains("q8_0") && Contains("of those for q4_k, rows are no whole blocks of it in: "));
  const TemporaryFolder folder;
  const std::string file = Convert(kTiny, folder / "m.gguf", {"--type", "q8_0"});
  CHECK_THAT(RunWell({"info", "-m", file}).out, Contains(file + ", GGUF layout") && Contains(" q8_0"));
  CHECK_THAT(RunWell({"info", "-m", file, "--json"}).out, Contains("\"q8_0\": "));
}

TEST_CASE("a folder that holds nothing but a GGUF may be named, too") {
  const TemporaryFolder folder;
  const std::string file = Convert(kTiny, folder / "m.gguf");
  CHECK(ResolveModel(folder.path().string()).value() == file);
  fs::copy_file(file, folder / "other.gguf");
  CHECK_THAT(ResolveModel(folder.path().string()).error().message,
             Contains("holds 2 GGUFs (m.gguf, other.gguf): name one of them"));
  // Published weights come first.
  WriteText(folder / "model.safetensors", "");
  CHECK(ResolveModel(folder.path().string()).value() == folder.path().string());
}

TEST_CASE("nothing is replaced that bifrons did not write, nor the model itself") {
  const TemporaryFolder folder;
  const std::string file = folder / "m.gguf";
  WriteText(file, "GGUF of somebody else");
  const auto refused = [&](const Arguments& more, const std::string& says) {
    CheckRefused(Join({"convert", "-m", kTiny}, more), kUsageExit, says, folder.path());
  };
  refused({"-o", file}, "does not say that bifrons wrote it");
  CHECK(ReadText(file) == "GGUF of somebody else");
  Convert(kTiny, file, {"--force"});
  Convert(kTiny, file, {"--type", "q8_0"});
  CheckRefused({"convert", "-m", file, "-o", file}, kUsageExit, "is the model too", folder.path());
  CheckRefused({"convert", "-m", file, "-o", folder / "n.gguf", "--type", "q4_0"}, kUsageExit,
               "is stored as q8_0 and cannot become q4_0", folder.path());
  refused({"-o", folder / "m.bin"}, "ends in .gguf");
  refused({"-o", folder / "n.gguf", "--type", "q5_0"}, "--type");
  CheckRefused({"export", "-m", file, "-o", folder / "exported"}, kUsageExit, "is stored as q8_0",
               folder.path());
  CheckRefused({"convert", "-m", kTiny, "-o", folder / "no/m.gguf"}, kFailureExit, "there is no folder",
               folder.path());
}

TEST_CASE("a GGUF that is no model is refused by every verb, in one line") {
  const TemporaryFolder folder;
  const std::string file = folder / "m.gguf", whole = ReadText(Convert(kTiny, folder / "whole.gguf"));
  WriteText(folder / "list.txt", "a dog\n");
  fs::copy(kGoldens / "tiny-a/golden/0_codes.npy", folder / "codes.npy");
  const auto refused = [&](const std::string& contents, const std::string& says) {
    WriteText(file, contents);
    for (const Arguments& verb :
         {Arguments{"info"},
          {"generate", "-o", folder / "out.png", "a dog"},
          {"render", "-o", folder / "out", folder / "list.txt"},
          {"caption", kImage},
          {"ask", kImage, "What is it?"},
          {"chat"},
          {"vq", "encode", kImage, "-o", folder / "out.npy"},
          {"bench"},
          {"trace", "-p", "a dog", "--codes", folder / "codes.npy", "-o", folder / "trace"},
          {"tokenize", "a dog"},
          {"convert", "-o", folder / "out.gguf"},
          {"export", "-o", folder / "out"}})
      CheckRefused(Join(verb, {"-m", file}), kBadDataExit, says, folder.path());
  };
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string changed = whole;
    const size_t at = changed.find(from);
    REQUIRE(at != changed.npos);
    return changed.replace(at, from.size(), to);
  };
  refused("GGUF", "m.gguf: the header ends at byte 4");
  refused("something else", "m.gguf: not a GGUF file");
  refused(replaced("janus", "llama"), "general.architecture is 'llama': this is not a Janus");
  refused(whole.substr(0, whole.size() / 2), "the file is cut short or damaged; fetch it again");
  const auto refused_by_info = [&](const std::string& contents, const std::string& says) {
    WriteText(file, contents);
    CheckRefused({"info", "-m", file}, kBadDataExit, says, folder.path());
  };
  refused_by_info(replaced("llama.layers.1.up", "llama.layers.9.up"),
                  "tensor llama.layers.1.up is missing from the model's files; expected shape [");
  refused_by_info(replaced("\"num_hidden_layers\"", "\"num_hidden_layert\""),
                  "is missing from the model's files");
  refused_by_info(replaced("\"hidden_size\": 64", "\"hidden_size\": 65"), "m.gguf/config.json: ");
  refused_by_info(replaced("janus.config_json", "janus.config_jsom"), "lacks the metadata janus.config_json");
  refused_by_info(replaced("\"model_type\": \"janus\"", "\"model_type\": \"llama\""),
                  "m.gguf/config.json: field model_type");
  fs::remove(file);
  CheckRefused({"info", "-m", file}, kBadDataExit, "m.gguf: there is no such file", folder.path());
}

// A block type where the table allows none.
TEST_CASE("a convolution in blocks is refused by name") {
  const TemporaryFolder folder;
  std::string whole = ReadText(Convert(kTiny, folder / "m.gguf"));
  const std::string name = "vq.decoder.norm_out.weight";
  const size_t at =
      whole.find(name) + name.size() + 4 + 8;  // behind the rank and the one dimension: the type
  REQUIRE(whole.find(name) != whole.npos);
  const uint32_t q8_0 = 8;
  std::memcpy(whole.data() + at, &q8_0, sizeof q8_0);
  WriteText(folder / "m.gguf", whole);
  CheckRefused({"info", "-m", folder / "m.gguf"}, kBadDataExit,
               "tensor vq.decoder.norm_out.weight has type Q8_0, expected f32, bf16 or f16\n", folder.path());
}

TEST_CASE("the hash of a GGUF is its file's, whatever it is called") {
  const TemporaryFolder folder;
  const std::string file = Convert(kTiny, folder / "m.gguf");
  const std::string hash = OpenWeights(file).value()->Hash().value();
  fs::rename(file, folder / "n.gguf");
  CHECK(OpenWeights(folder / "n.gguf").value()->Hash().value() == hash);
  CHECK(hash == Sha256::Hex(ReadText(folder / "n.gguf")));
}

}  // namespace
}  // namespace bifrons
