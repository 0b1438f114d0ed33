// Models as folders: binding to the tensor table, transforms, errors by name, random models and export.
#include "src/model/weight_source.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "src/base/progress.h"
#include "src/base/sha256.h"
#include "src/model/export.h"
#include "src/model/janus.h"
#include "src/model/memory_plan.h"
#include "src/model/model_hash.h"
#include "src/model/random_weights.h"
#include "src/model/tensor_table.h"
#include "tests/measured.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

struct Folder {
  fs::path path = fs::temp_directory_path() / ("bifrons_weights_" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(path / name, std::ios::binary) << text;
  }
};

// A Janus of odd sizes: grouped queries, three aligner layers, unequal head_dim.
JanusConfig TinyConfig() {
  JanusConfig c;
  c.name = "tiny";
  c.llama = {.hidden = 48,
             .intermediate = 80,
             .layers = 2,
             .heads = 6,
             .kv_heads = 2,
             .head_dim = 10,
             .vocabulary = 2100,
             .max_positions = 300};
  c.vq = {.codebook_size = 70,
          .codebook_dim = 5,
          .latent_channels = 24,
          .base_channels = 32,
          .channel_multiplier = {1, 2},
          .res_blocks = 1,
          .grid = 3};
  c.vision = {.hidden = 32, .layers = 1, .heads = 16, .mlp = 128, .patch = 2, .image_size = 6};
  c.aligner = {32, 48, 2};
  c.gen_aligner = {5, 48, 3};
  c.gen_head_hidden = 48;
  c.gen_embed_dim = 5;
  return c;
}

const char* kOriginalConfig =
    R"({"model_type": "multi_modality", "language_config": {"hidden_size": 48, "intermediate_size": 80,
  "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 10, "vocab_size": 2100,
  "max_position_embeddings": 300}, "vision_config": {"params": {"image_size": 6}}, "gen_vision_config": {"cls": "VQ-16"},
  "gen_head_config": {}})";

struct StoredBytes {
  std::string dtype;
  Shape shape;
  std::string bytes;
};
using Stored = std::map<std::string, StoredBytes>;

void WriteSafetensors(const Folder& folder, const Stored& tensors) {
  std::string header = "{", data;
  for (const auto& [name, tensor] : tensors) {
    const std::string begin = std::to_string(data.size());
    data += tensor.bytes;
    header += (header.size() > 1 ? ",\"" : "\"") + name + "\":{\"dtype\":\"" + tensor.dtype +
              "\",\"shape\":" + tensor.shape.ToString() + ",\"data_offsets\":[" + begin + "," +
              std::to_string(data.size()) + "]}";
  }
  header += "}";
  if (header.size() % 2 == 0) header += " ";  // an odd offset: every tensor lies misaligned
  const uint64_t size = header.size();
  folder.Write("model.safetensors", std::string(reinterpret_cast<const char*>(&size), 8) + header + data);
}

std::string BytesOf(TensorView view) { return {static_cast<const char*>(view.data), view.bytes()}; }

// The original layout's tensors of a model, qkv merged and the position embedding with its leading 1.
Stored OriginalTensors(WeightSource& source) {
  Stored stored;
  for (const TensorSpec& spec : TensorTable(source.config())) {
    StoredBytes& tensor = stored[spec.original];
    tensor.dtype = "BF16";
    tensor.shape = StoredShape(spec, Layout::kOriginal);
    tensor.bytes += BytesOf(source.Get(spec.name));  // q, k, v come in this order
  }
  return stored;
}

std::string ErrorOf(const std::string& folder) {
  const auto source = OpenWeights(folder);
  if (source.ok()) return "";
  CHECK(source.error().kind == ErrorKind::kBadData);
  return source.error().message;
}

TEST_CASE("an original-layout folder gives every tensor of the table") {
  const Folder folder;
  const auto random = MakeRandomWeights(TinyConfig());
  folder.Write("config.json", kOriginalConfig);
  folder.Write("generation_config.json", R"({"guidance_scale": 4})");
  WriteSafetensors(folder, OriginalTensors(*random));
  auto opened = OpenWeights(folder.path.string());
  REQUIRE((opened.ok() ? "" : opened.error().message) == std::string());
  WeightSource& source = **opened;
  CHECK(source.config().guidance_default == 4);
  for (const TensorSpec& spec : TensorTable(random->config())) {
    INFO(spec.name);
    REQUIRE(source.Has(spec.name));
    const TensorView ours = source.Get(spec.name), expected = random->Get(spec.name);
    CHECK(ours.dtype == DType::kBF16);
    CHECK(source.TypeOf(spec.name) == DType::kBF16);
    CHECK(ours.shape == spec.shape);
    CHECK(reinterpret_cast<uintptr_t>(ours.data) % BlockOf(ours.dtype).bytes == 0);
    CHECK(BytesOf(ours) == BytesOf(expected));
  }
  CHECK_FALSE(source.Has("llama.layers.2.q"));
}

TEST_CASE("missing, mistyped and misshapen tensors are named; extras are not fatal") {
  const Folder folder;
  const auto random = MakeRandomWeights(TinyConfig());
  const Stored good = OriginalTensors(*random);
  folder.Write("config.json", kOriginalConfig);
  const std::string name = "language_model.model.layers.1.self_attn.k_proj.weight";

  Stored bad = good;
  bad.erase(name);
  WriteSafetensors(folder, bad);
  CHECK(ErrorOf(folder.path.string()).find("tensor " + name + " is missing") != std::string::npos);

  bad = good;
  bad[name].dtype = "I16";
  WriteSafetensors(folder, bad);
  CHECK(ErrorOf(folder.path.string()).find("tensor " + name + " has type I16") != std::string::npos);

  bad = good;
  bad[name].shape = {48, 20};
  WriteSafetensors(folder, bad);
  const std::string message = ErrorOf(folder.path.string());
  CHECK(message.find("model.safetensors: tensor " + name + " has shape [48, 20]") != std::string::npos);
  CHECK(message.find("[20, 48]") != std::string::npos);

  // A vision tower without its first tensor is broken, not absent.
  bad = good;
  bad.erase("vision_model.vision_tower.patch_embed.proj.weight");
  WriteSafetensors(folder, bad);
  CHECK(ErrorOf(folder.path.string()).find("patch_embed.proj.weight") != std::string::npos);

  bad = good;
  bad["lora.a"] = {"I64", {2}, std::string(16, '\0')};
  bad["vision_model.vision_tower.attn_pool.q.weight"] = {"BF16", {1}, std::string(2, '\0')};
  WriteSafetensors(folder, bad);
  CHECK(ErrorOf(folder.path.string()).empty());

  CHECK(ErrorOf(folder / "nowhere").find("there is no such folder") != std::string::npos);
}

TEST_CASE("a drawing-only checkpoint with a tied head") {
  const Folder folder;
  JanusConfig config = TinyConfig();
  config.has_vision = config.has_vq_encoder = false;
  config.tied_lm_head = true;
  const auto random = MakeRandomWeights(config);
  folder.Write("config.json", kOriginalConfig);
  WriteSafetensors(folder, OriginalTensors(*random));
  const auto opened = OpenWeights(folder.path.string());
  REQUIRE((opened.ok() ? "" : opened.error().message) == std::string());
  CHECK_FALSE((*opened)->Has("lm_head"));
  CHECK_FALSE((*opened)->config().has_vision);
  CHECK((*opened)->config().vq.grid == 3);
}

TEST_CASE("matrices that are stacked keep their own types") {
  const Folder folder;
  const auto random = MakeRandomWeights(TinyConfig());
  Stored tensors = OriginalTensors(*random);
  StoredBytes& k = tensors["language_model.model.layers.0.self_attn.k_proj.weight"];
  std::string wide;
  for (size_t i = 0; i < k.bytes.size(); i += 2) wide += std::string(2, '\0') + k.bytes.substr(i, 2);
  k = {"F32", k.shape, wide};
  folder.Write("config.json", kOriginalConfig);
  WriteSafetensors(folder, tensors);
  const auto opened = OpenWeights(folder.path.string());
  REQUIRE((opened.ok() ? "" : opened.error().message) == std::string());
  const TensorView view = (*opened)->Get("llama.layers.0.k"), narrow = random->Get("llama.layers.0.k");
  REQUIRE(view.dtype == DType::kF32);
  for (int64_t i = 0; i < view.shape.elements(); i++)
    REQUIRE(view.as<float>()[i] == ToFloat(narrow.as<BF16>()[i]));
  for (const char* name : {"llama.layers.0.q", "llama.layers.0.v", "llama.layers.1.k"})
    CHECK((*opened)->TypeOf(name) == DType::kBF16);
  const auto plan = [](const WeightSource& source) {
    return PlanMemory(source, DType::kBF16, {}, 1).weights;
  };
  CHECK(plan(**opened) == plan(*random) + narrow.bytes());
}

const char* kTokenizer =
    R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}, "added_tokens": [
  {"id": 2, "content": "<｜begin▁of▁sentence｜>"}, {"id": 3, "content": "<｜end▁of▁sentence｜>"}, {"id": 4, "content": "<｜▁pad▁｜>"},
  {"id": 5, "content": "<begin_of_image>"}, {"id": 7, "content": "<image_placeholder>"}]})";

TEST_CASE("an exported model reads back as the same model") {
  const Folder folder;
  const std::string out = folder / "out";
  folder.Write("tokenizer.json", kTokenizer);
  const auto random = MakeRandomWeights(TinyConfig());
  const Status exported = ExportModel(*random, folder.path.string(), out);
  REQUIRE((exported.ok() ? "" : exported.error().message) == std::string());
  const auto opened = OpenWeights(out);
  REQUIRE((opened.ok() ? "" : opened.error().message) == std::string());
  CHECK((*opened)->config().layout == Layout::kConverted);
  CHECK((*opened)->config().llama.norm_eps == random->config().llama.norm_eps);
  for (const TensorSpec& spec : TensorTable(random->config())) {
    INFO(spec.name);
    CHECK(BytesOf((*opened)->Get(spec.name)) == BytesOf(random->Get(spec.name)));
  }
  CHECK((*opened)->Hash().value().size() == 64);

  // Every id of the model's vocabulary has an entry; those of added tokens are their own.
  std::ifstream tokenizer(out + "/tokenizer.json");
  const nlohmann::json vocab = nlohmann::json::parse(tokenizer)["model"]["vocab"];
  CHECK(vocab.size() == 2100);
  CHECK(vocab["b"] == 1);
  CHECK(vocab["<image_placeholder>"] == 7);
  CHECK(vocab["<filler_6>"] == 6);

  const Status again = ExportModel(*random, folder.path.string(), out);
  REQUIRE_FALSE(again.ok());
  CHECK(again.error().kind == ErrorKind::kUsage);
}

TEST_CASE("a tokenizer that does not fit is refused before anything is written") {
  const Folder folder;
  folder.Write("tokenizer.json", kTokenizer);
  JanusConfig config = TinyConfig();
  config.llama.vocabulary = 7;
  const auto random = MakeRandomWeights(config);
  const Status exported = ExportModel(*random, folder.path.string(), folder / "out");
  REQUIRE_FALSE(exported.ok());
  CHECK(exported.error().kind == ErrorKind::kBadData);
  CHECK_FALSE(fs::exists(folder / "out"));
}

TEST_CASE("random weights depend on name and index only") {
  const auto one = MakeRandomWeights(TinyConfig()), two = MakeRandomWeights(TinyConfig());
  const std::string last = BytesOf(one->Get("lm_head"));
  CHECK(BytesOf(two->Get("llama.embed")) != last.substr(0, two->Get("llama.embed").bytes()));
  CHECK(BytesOf(two->Get("lm_head")) == last);
  two->Release("lm_head");
  CHECK(BytesOf(two->Get("lm_head")) == last);

  // Large enough for several threads; the value is what one thread makes (taskset -c 0), on any machine.
  JanusConfig config = TinyConfig();
  config.tied_lm_head = true;
  config.llama.vocabulary = 40000;
  const auto large = MakeRandomWeights(config);
  const std::string many = BytesOf(large->Get("llama.embed"));
  const std::string few = BytesOf(one->Get("llama.embed"));
  CHECK(many.substr(0, few.size()) == few);
  CHECK(Sha256::Hex(many) == "0dd446dfdb85c8d15b25b397dc3eaaae6881698879ecc8742afac7bad36082be");
  double sum = 0, squares = 0;
  const TensorView view = large->Get("llama.embed");
  for (int64_t i = 0; i < view.shape.elements(); i++) {
    const double x = ToFloat(view.as<BF16>()[i]);
    sum += x;
    squares += x * x;
  }
  const double n = static_cast<double>(view.shape.elements());
  CHECK(sum / n == Approx(0).margin(0.005));
  CHECK(squares / n == Approx(1).epsilon(0.01));
  CHECK(ToFloat(one->Get("llama.norm").as<BF16>()[47]) == 1);
}

TEST_CASE("random: names") {
  REQUIRE(OpenWeights("random:janus-pro-7b").ok());
  const auto unknown = OpenWeights("random:janus-pro-2b");
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.error().kind == ErrorKind::kUsage);
}

TEST_CASE("a model bigger than memory is refused with the numbers") {
  const auto source = OpenWeights("random:janus-pro-1b");
  REQUIRE(source.ok());
  const MemoryPlan plan = PlanMemory(**source, DType::kBF16, {}, 1);
  CHECK(plan.part(Part::kLanguage).parameters == 1652656128);  // LlamaForCausalLM's count
  CHECK(plan.weights > 2.5e9);
  CHECK(PlanMemory(**source, DType::kBF16, {}, 3).kv_cache == 3 * plan.kv_cache);
  CHECK(
      CheckMemory(**source, DType::kBF16, {}, plan.total() * kSpareShare / (kSpareShare - 1) + 1, true).ok());
  CHECK_FALSE(CheckMemory(**source, DType::kBF16, {}, plan.total(), true).ok());
  const Status refused = CheckMemory(**source, DType::kBF16, {}, 2000000000, true);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().kind == ErrorKind::kFailure);
  CHECK(refused.error().message.find("of the 2.00 GB that can be had it may take only 1.88 GB") !=
        std::string::npos);
}

TEST_CASE("a device that leaves tables in the host's memory needs none for them") {
  const auto source = OpenWeights("random:janus-pro-1b");
  REQUIRE(source.ok());
  const MemoryPlan plan = PlanMemory(**source, DType::kBF16, {}, 1);
  // bf16: the text embedding [102400, 2048], the image tokens' [16384, 8].
  CHECK(plan.tables == 2 * (102400 * 2048 + 16384 * 8));
  const uint64_t fits = (plan.total() - plan.tables) * kSpareShare / (kSpareShare - 1) + 1;
  CHECK(CheckMemory(**source, DType::kBF16, {}, fits, false).ok());
  CHECK_FALSE(CheckMemory(**source, DType::kBF16, {}, fits, true).ok());
}

TEST_CASE("loading tells how much is packed, up to the whole") {
  const std::string folder = std::string(BIFRONS_TEST_DIR) + "/goldens/tiny-a/converted";
  const ModelParts everything{true, true, true, true, true}, half = kUnderstandingParts;
  for (const ModelParts& parts : {ModelParts(), half, everything}) {
    std::vector<double> shares;
    LoadOptions options;
    options.model = folder, options.device = "ref", options.parts = parts;
    options.progress = [&](double share) { shares.push_back(share); };
    const auto janus = Janus::Load(options);
    REQUIRE(janus.ok());
    REQUIRE(shares.size() > 20);
    CHECK(shares.front() == 0);
    CHECK(std::is_sorted(shares.begin(), shares.end()));
    CHECK(shares.back() == 1);
    // All but the last tensor, a head in one half: what nobody asks for is not waited for.
    CHECK(shares[shares.size() - 2] > 0.8);
    CHECK(shares[shares.size() - 2] < 1);
    CHECK((*janus)->source().Has("llama.embed"));  // the source is the model's own again
  }
  LoadOptions none;
  none.model = "random:janus-pro-2b";
  none.progress = [](double) {};
  CHECK_FALSE(Janus::Load(none).ok());
}

// What a bar writes to a terminal.
template <class F>
std::string OnTerminal(F draw) {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
  REQUIRE(terminal >= 0);
  REQUIRE((::grantpt(terminal) == 0 && ::unlockpt(terminal) == 0));
  const int other = ::open(::ptsname(terminal), O_RDWR | O_NOCTTY), before = ::dup(STDERR_FILENO);
  REQUIRE(other >= 0);
  std::fflush(stderr);
  ::dup2(other, STDERR_FILENO), ::close(other);
  draw();
  std::fputs("end", stderr);
  std::fflush(stderr);
  std::string text;
  for (char byte = 0; !text.ends_with("end") && ::read(terminal, &byte, 1) == 1;) text += byte;
  ::dup2(before, STDERR_FILENO), ::close(before), ::close(terminal);
  return text.substr(0, text.size() - 3);
}

TEST_CASE("a bar is at its end where everything is done") {
  const auto shown = [](double done) {
    return OnTerminal([&] {
      ProgressBar bar("drawing", true);
      std::this_thread::sleep_for(std::chrono::milliseconds(110));
      bar.Update(done, 1000, "");
    });
  };
  CHECK_THAT(shown(999.9), Catch::Contains("]  99%  0:01 left"));
  CHECK_THAT(shown(1000), Catch::Contains("] 100%  0:00 left"));
}

TEST_CASE("a bar that waits shows nothing of what is over by then") {
  using namespace std::chrono_literals;
  CHECK(OnTerminal([] {
          ProgressBar bar("loading", true, 10s);
          bar.Update(0.5, 1, "");
        }) == "");
  const std::string shown = OnTerminal([] {
    ProgressBar bar("loading", true, 200ms);
    bar.Update(0.1, 1, "");
    std::this_thread::sleep_for(210ms);
    bar.Update(0.5, 1, "");
    bar.Update(0.6, 1, "");
  });
  CHECK(shown.starts_with("\rloading ["));
  CHECK(shown.find(" 50%") != shown.npos);
  CHECK(shown.find(" 10%") == shown.npos);
  CHECK(shown.find(" 60%") == shown.npos);
  CHECK(shown.ends_with("\r\033[K"));
  CHECK(OnTerminal([] {
          ProgressBar bar("loading", false, 0s);
          std::this_thread::sleep_for(110ms);
          bar.Update(0.5, 1, "");
        }) == "");
}

TEST_CASE("loading holds what is packed and one tensor more, and touches no other part") {
  if (kSanitized) return;
  JanusConfig config = TinyConfig();
  config.llama = {.hidden = 1024,
                  .intermediate = 2560,
                  .layers = 4,
                  .heads = 16,
                  .kv_heads = 16,
                  .head_dim = 64,
                  .vocabulary = 8192,
                  .max_positions = 300};
  config.vision = {.hidden = 512, .layers = 8, .heads = 8, .mlp = 2048, .patch = 8, .image_size = 32};
  config.vq.grid = 4;
  config.aligner = {512, 1024, 2}, config.gen_aligner = {5, 1024, 2};
  config.gen_head_hidden = 1024;
  const Folder folder;
  const std::string tokenizer = std::string(BIFRONS_TEST_DIR) + "/goldens/tiny-a/converted",
                    out = folder / "out";
  const auto random = MakeRandomWeights(config);
  REQUIRE(ExportModel(*random, tokenizer, out).ok());
  for (const ModelParts& parts : {ModelParts{}, kUnderstandingParts}) {
    LoadOptions options;
    options.model = out, options.device = "cpu", options.compute = DType::kBF16, options.threads = 2;
    options.parts = parts;
    const uint64_t packed = PlanMemory(**OpenWeights(out), DType::kBF16, parts, 1).weights;
    REQUIRE(packed > 90 * kMegabyte);
    // Of a table in a file a row is read when it is looked up.
    const MemoryPlan made = PlanMemory(*random, DType::kBF16, parts, 1);
    CHECK(packed == made.weights - made.tables);
    const Cost cost = Measure([&] { return ProblemOf(Janus::Load(options)); });
    CHECK(cost.problem == "");
    // Gates and what they gate are packed together. The rest is code, threads' stacks and the tokenizer.
    const double tensor = 2 * 1024 * 2560 * 2, rest = 16 * kMegabyte;
    INFO((parts.drawing ? "drawing: " : "answering: ")
         << cost.bytes / kMegabyte << " MB for " << static_cast<double>(packed) / kMegabyte << " MB packed");
    CHECK(cost.bytes < static_cast<double>(packed) + tensor + rest);
  }
}

TEST_CASE("a hash that was begun beside other work is the same, and ends with who began it") {
  const Folder folder;
  folder.Write("a", std::string(3 << 20, 'a'));
  folder.Write("b", "b");
  const std::vector<std::string> files = {folder / "a", folder / "b"};
  {
    ModelHash forgotten(files);
    forgotten.Begin();
  }
  ModelHash begun(files);
  begun.Begin(), begun.Begin();
  CHECK(begun.Get().value() == HashFiles(files).value());
  CHECK(begun.Get().value() == HashFiles(files).value());

  folder.Write("d", "d");
  ModelHash changed({folder / "d"});
  folder.Write("d", "longer");
  changed.Begin();
  CHECK_THAT(changed.Get().error().message,
             Catch::EndsWith("d: changed while it was read; try again when it is whole"));
  CHECK_FALSE(changed.Get().ok());

  ModelHash missing({folder / "c"});
  missing.Begin();
  CHECK_FALSE(missing.Get().ok());
  folder.Write("c", "c");
  CHECK(missing.Get().value() == HashFiles({folder / "c"}).value());
}

}  // namespace
}  // namespace bifrons
