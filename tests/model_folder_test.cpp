// Model folders as downloads, caches and fine-tuning leave them: named in one line, or loaded as the model
// they are.
#include <nlohmann/json.hpp>

#include "src/model/checkpoint/hub_snapshot.h"
#include "src/model/tensor_table.h"
#include "src/model/weight_source.h"
#include "tests/refusal.h"
#include "tests/renamed_tensors.h"

namespace bifrons {
namespace {

using Json = nlohmann::json;
using Catch::Contains;

const fs::path kGoldens = fs::path(BIFRONS_TEST_DIR) / "goldens";
const std::string kImage = (kGoldens / "pillow.png").string();
const std::string kPointer =
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:0000000000000000000000000000000000000000000000000000000000000000\nsize 27927598\n";

/// A tiny model that is changed for a test.
class Model {
 public:
  explicit Model(const std::string& layout)
      : weights_(layout == "converted" ? "model.safetensors" : "pytorch_model.bin") {
    fs::copy(kGoldens / "tiny-a" / layout, path());
    WriteText(folder_ / "list.txt", "a dog\n");
    fs::copy(kGoldens / "tiny-a/golden/0_codes.npy", folder_ / "codes.npy");
    fs::create_directory(folder_ / "trace");
  }

  const fs::path& folder() const { return folder_.path(); }
  fs::path path() const { return folder_.path() / "model"; }
  fs::path operator/(const std::string& name) const { return path() / name; }
  fs::path weights() const { return path() / weights_; }

  /// Every verb that computes with the model that `-m model` names.
  std::vector<Arguments> Loading(const std::string& model) const {
    return {{"info", "-m", model},
            {"generate", "-m", model, "-o", folder_ / "out.png", "a dog"},
            {"render", "-m", model, "-o", folder_ / "pictures", folder_ / "list.txt"},
            {"caption", "-m", model, kImage},
            {"ask", "-m", model, kImage, "What is it?"},
            {"chat", "-m", model},
            {"vq", "roundtrip", "-m", model, kImage, "-o", folder_ / "again.png"},
            {"bench", "-m", model},
            {"trace", "-m", model, "--prompt", "a dog", "--codes", folder_ / "codes.npy", "--out",
             folder_ / "trace"},
            {"export", "-m", model, "--out", folder_ / "exported"}};
  }
  Arguments Tokenize(const std::string& model) const { return {"tokenize", "-m", model, "--text", "a dog"}; }

  /// Every verb refuses it in one line that has `says`.
  void CheckRefused(const std::string& model, const std::string& says) const {
    for (const Arguments& arguments : Loading(model))
      bifrons::CheckRefused(arguments, kBadDataExit, says, folder());
  }
  void CheckRefused(const std::string& says) const { CheckRefused(path().string(), says); }
  /// The same for `info` alone.
  void CheckInfoRefused(const std::string& model, const std::string& says) const {
    bifrons::CheckRefused({"info", "-m", model}, kBadDataExit, says, folder());
  }
  void CheckInfoRefused(const std::string& says) const { CheckInfoRefused(path().string(), says); }

  /// What `info` warns of.
  std::string Warning() const { return RunWell({"info", "-m", path().string()}).err; }

  void Rename(const bifrons::Rename& rename) const {
    const std::string bytes = weights_ == "model.safetensors" ? RenamedSafetensors(weights(), rename)
                                                              : RenamedPytorch(weights(), rename);
    WriteText(weights(), bytes);
  }

 private:
  TemporaryFolder folder_;
  std::string weights_;
};

/// Every tensor of the table has the bytes that it has in the untouched tiny model of that layout.
void CheckSameTensors(const std::string& folder, const std::string& layout) {
  const auto opened = OpenWeights(folder), expected = OpenWeights((kGoldens / "tiny-a" / layout).string());
  REQUIRE((opened.ok() ? "" : opened.error().message) == std::string());
  REQUIRE(expected.ok());
  const auto table = TensorTable((*expected)->config());
  CHECK(TensorTable((*opened)->config()).size() == table.size());
  for (const TensorSpec& spec : table) {
    INFO(spec.name);
    REQUIRE((*opened)->Has(spec.name));
    const TensorView ours = (*opened)->Get(spec.name), theirs = (*expected)->Get(spec.name);
    REQUIRE(ours.bytes() == theirs.bytes());
    CHECK(std::memcmp(ours.data, theirs.data, ours.bytes()) == 0);
  }
}

// ---- Git LFS ----------------------------------------------------------------------------------------------

TEST_CASE("a Git LFS pointer is named, whatever the file") {
  const std::string layout = GENERATE("converted", "original");
  const Model model(layout);
  const std::string folder = model.path().string();
  const auto with_pointer = [&](const std::string& name, const auto& check) {
    INFO(name);
    const fs::path path = model / name;
    const std::string before = fs::exists(path) ? ReadText(path) : "";
    WriteText(path, kPointer);
    check(path.string() +
          ": a Git LFS pointer instead of the file: run `git lfs pull` in the model's folder, or download");
    before.empty() ? void(fs::remove(path)) : WriteText(path, before);
  };
  for (const std::string& name : {model.weights().filename().string(), std::string("config.json")})
    with_pointer(name, [&](const std::string& says) { model.CheckRefused(says); });
  with_pointer("generation_config.json", [&](const std::string& says) { model.CheckInfoRefused(says); });
  with_pointer("tokenizer.json", [&](const std::string& says) {
    CheckRefused(model.Tokenize(folder), kBadDataExit, says, model.folder());
    for (const Arguments& arguments : model.Loading(folder))
      if (arguments[0] != "info") CheckRefused(arguments, kBadDataExit, says, model.folder());
  });
  with_pointer("tokenizer_config.json", [&](const std::string& says) {
    CheckRefused(model.Tokenize(folder), kBadDataExit, says, model.folder());
  });
  with_pointer("preprocessor_config.json", [&](const std::string& says) {
    CheckRefused({"ask", "-m", folder, kImage, "What is it?"}, kBadDataExit, says, model.folder());
  });
  fs::remove(model.weights());
  const std::string index = model.weights().filename().string() + ".index.json";
  with_pointer(index, [&](const std::string& says) { model.CheckInfoRefused(says); });
}

TEST_CASE("Git LFS pointers in a chat template and in other files that export copies") {
  const Model model("converted");
  for (const std::string name : {"chat_template.jinja", "chat_template.json", "special_tokens_map.json"}) {
    WriteText(model / name, kPointer);
    const ProgramResult result =
        RunProgram({"export", "-m", model.path().string(), "--out", (model.folder() / "out").string()});
    CHECK(result.exit_code == kBadDataExit);
    CHECK_THAT(result.err, Contains(name + ": a Git LFS pointer"));
    fs::remove(model / name);
    fs::remove_all(model.folder() / "out");
  }
}

TEST_CASE("Git LFS pointers in shards, and of the oldest version") {
  const Model model("converted");
  fs::rename(model.weights(), model / "part-2.safetensors");
  WriteText(model / "part-1.safetensors",
            "version https://hawser.github.com/spec/v1\noid sha256:0\nsize 1\n");
  WriteText(model / "model.safetensors.index.json",
            Json{{"weight_map", {{"a", "part-1.safetensors"}, {"b", "part-2.safetensors"}}}}.dump());
  model.CheckInfoRefused("part-1.safetensors: a Git LFS pointer");
}

// ---- adapters ---------------------------------------------------------------------------------------------

TEST_CASE("a PEFT adapter's folder is named, with what to do") {
  const Model model(GENERATE("converted", "original"));
  for (const char* name : {"config.json", "generation_config.json"}) fs::remove(model / name);
  const std::string kind = GENERATE(".safetensors", ".bin");
  fs::rename(model.weights(), model / ("adapter_model" + kind));
  WriteText(model / "adapter_config.json",
            R"({"peft_type": "LORA", "base_model_name_or_path": "deepseek-ai/Janus-Pro-1B", "r": 8})");
  model.CheckRefused(
      model.path().string() +
      ": a PEFT adapter, not a whole model: merge it into its base model 'deepseek-ai/Janus-Pro-1B' (PEFT's "
      "merge_and_unload, then save_pretrained) and name that folder, or name the base model's\n");
  // Its tokenizer is the model's.
  RunWell(model.Tokenize(model.path().string()));
  fs::remove(model / "tokenizer.json");
  CheckRefused(model.Tokenize(model.path().string()), kBadDataExit, "a PEFT adapter", model.folder());
}

TEST_CASE("an adapter whose configuration says nothing, or says it wrongly") {
  const Model model("converted");
  fs::remove(model / "config.json");
  fs::remove(model.weights());
  for (const std::string& config :
       {std::string(), std::string("{"), std::string("[1]"), kPointer, std::string(R"({"r": 8})"),
        std::string(R"({"base_model_name_or_path": null})"),
        std::string(R"({"base_model_name_or_path": {"a": 1}})"), std::string(1 << 19, '['),
        std::string(2 << 20, ' ') + R"({"base_model_name_or_path": "b"})"}) {
    WriteText(model / "adapter_config.json", config);
    model.CheckInfoRefused("merge it into its base model (PEFT's");
  }
  WriteText(model / "adapter_config.json",
            Json{{"base_model_name_or_path", "a\nb\x1b[2J" + std::string(9999, 'c')}}.dump());
  model.CheckInfoRefused("base model 'a?b?[2Jccc");
  fs::remove(model / "adapter_config.json");
  model.CheckInfoRefused("has neither *.safetensors nor pytorch_model*.bin");
}

TEST_CASE("an adapter beside a whole model is a warning") {
  const Model model(GENERATE("converted", "original"));
  const std::string kind = GENERATE(".safetensors", ".bin");
  CHECK(model.Warning().empty());
  WriteText(model / "adapter_config.json", "{}");
  WriteText(model / ("adapter_model" + kind), "never read");
  for (const char* weights : {"model", "renamed"}) {
    INFO(weights);
    const std::string warning = model.Warning();
    CHECK(std::count(warning.begin(), warning.end(), '\n') == 1);
    CHECK_THAT(warning, Contains("warning: " + model.path().string() +
                                 ": the PEFT adapter beside the model (adapter_model" + kind +
                                 ") is not applied: merge it"));
    // Weights of another name are found beside it too.
    const fs::path other =
        model / (model.weights().extension() == ".bin" ? "pytorch_model_x.bin" : "renamed.safetensors");
    if (fs::exists(model.weights())) fs::rename(model.weights(), other);
  }
}

// ---- the hub's cache --------------------------------------------------------------------------------------

const std::string kFirst = "0123456789abcdef0123456789abcdef01234567";
const std::string kSecond = "fedcba9876543210fedcba9876543210fedcba98";

/// models--deepseek--tiny with a snapshot of links into blobs/, as huggingface_hub makes them.
class Cache {
 public:
  explicit Cache(const Model& model) : path_(model.folder() / "models--deepseek--tiny") {
    fs::create_directories(path_ / "blobs");
    fs::create_directories(path_ / "refs");
    for (const auto& entry : fs::directory_iterator(model.path()))
      fs::copy(entry.path(), path_ / "blobs" / entry.path().filename());
  }
  void AddSnapshot(const std::string& commit) const {
    fs::create_directories(path_ / "snapshots" / commit);
    for (const auto& entry : fs::directory_iterator(path_ / "blobs")) {
      const fs::path name = entry.path().filename();
      fs::create_symlink(fs::path("../../blobs") / name, path_ / "snapshots" / commit / name);
    }
  }
  void SetMain(const std::string& text) const { WriteText(path_ / "refs/main", text); }
  std::string path() const { return path_.string(); }
  std::string snapshot(const std::string& commit) const { return (path_ / "snapshots" / commit).string(); }

 private:
  fs::path path_;
};

TEST_CASE("a hub cache's folder stands for its snapshot") {
  const Model model(GENERATE("converted", "original"));
  const Cache cache(model);
  model.CheckInfoRefused(cache.path(), "neither *.safetensors");

  cache.AddSnapshot(kFirst);
  RunWell({"info", "-m", cache.path()});
  RunWell(model.Tokenize(cache.path()));
  RunWell({"export", "-m", cache.path(), "--out", (model.folder() / "exported").string()});
  RunWell({"generate", "-m", cache.path(), "-o", (model.folder() / "out.png").string(), "a dog"});
  // Called as the repository, not as the commit.
  CHECK_THAT(ReadText(model.folder() / "out.png"), Contains("Model: tiny,") || Contains("\"tiny\""));

  cache.AddSnapshot(kSecond);
  const auto refused = [&](const std::string& says) {
    for (const Arguments& arguments : model.Loading(cache.path()))
      CheckRefused(arguments, kBadDataExit, says, model.folder());
    CheckRefused(model.Tokenize(cache.path()), kBadDataExit, says, model.folder());
  };
  refused("2 snapshots, and no refs/main that chooses: name one of snapshots/" + kFirst + ", snapshots/" +
          kSecond);

  for (const char* end : {"", "\n"}) {
    cache.SetMain(kSecond + end);
    CHECK(ResolveSnapshot(cache.path()).value() == cache.snapshot(kSecond));
  }
  CHECK(ResolveSnapshot(cache.path() + "/").value() == cache.snapshot(kSecond));
  CHECK(ResolveSnapshot(cache.snapshot(kFirst)).value() == cache.snapshot(kFirst));
  CHECK(ModelName(cache.snapshot(kFirst)) == "tiny");
  CHECK(ModelName(cache.path()) == "models--deepseek--tiny");
  CHECK(ModelName(model.path().string()) == "model");
  CHECK_THAT(RunWell({"info", "-m", cache.path()}).out, Contains(kSecond));
}

TEST_CASE("a hub cache whose refs/main leads nowhere") {
  const Model model("converted");
  const Cache cache(model);
  cache.AddSnapshot(kFirst);
  for (const std::string& text :
       {kSecond, std::string(), std::string("../../model"), std::string("/etc"), std::string(".."),
        std::string("a\0b", 3), kFirst.substr(1), std::string(1000, 'a')}) {
    cache.SetMain(text);
    INFO(text);
    model.CheckInfoRefused(cache.path(), "refs/main: ");
    if (text.size() < 255) model.CheckInfoRefused(cache.path(), "name one of snapshots/" + kFirst);
  }
  fs::remove(fs::path(cache.path()) / "refs/main");
  fs::create_directories(fs::path(cache.path()) / "refs/main");
  model.CheckInfoRefused(cache.path(), "not a regular file but a folder");
  fs::remove(fs::path(cache.path()) / "refs/main");
  fs::remove_all(cache.snapshot(kFirst));
  model.CheckInfoRefused(cache.path(), "a hub cache's folder without a snapshot");
  // Of very many the first are named.
  for (int i = 10; i < 60; i++) fs::create_directories(cache.snapshot(std::to_string(i)));
  model.CheckInfoRefused(cache.path(), "snapshots/16, snapshots/17, …");
}

TEST_CASE("$BIFRONS_MODEL may name a hub cache's folder too") {
  const Model model("converted");
  const Cache cache(model);
  cache.AddSnapshot(kFirst);
  REQUIRE(setenv("BIFRONS_MODEL", cache.path().c_str(), 1) == 0);
  const std::string out = RunWell({"info"}).out;
  REQUIRE(unsetenv("BIFRONS_MODEL") == 0);
  CHECK_THAT(out, Contains(cache.snapshot(kFirst)));
}

// ---- empty files ------------------------------------------------------------------------------------------

TEST_CASE("an empty file beside good ones is passed over with a warning") {
  const std::string layout = GENERATE("converted", "original");
  const Model model(layout);
  const std::string suffix = model.weights().extension().string();
  const std::string empty = "pytorch_model-00002-of-00002" + suffix;
  const auto warns = [&](const std::string& name) {
    const std::string warning = model.Warning();
    CHECK(std::count(warning.begin(), warning.end(), '\n') == 1);
    CHECK_THAT(warning,
               Contains("warning: " + model.path().string() + ": passed over 1 empty file: " + name));
    CheckSameTensors(model.path().string(), layout);
  };
  WriteText(model / empty, "");
  warns(empty);
  // Without an index and the usual name.
  const std::string part = "pytorch_model-00001-of-00002" + suffix;
  fs::rename(model.weights(), model / part);
  warns(empty);
  fs::remove(model / empty);
  // In the usual name's place.
  const std::string usual = model.weights().filename().string();
  WriteText(model.weights(), "");
  warns(usual);
  // With an index that does not need it.
  const auto opened = Checkpoint::Open(model.path().string());
  REQUIRE(opened.ok());
  Json map;
  for (const auto& [name, tensor] : opened->tensors()) map[name] = part;
  WriteText(model / (usual + ".index.json"), Json{{"weight_map", map}}.dump());
  warns(usual);
  // One that the index needs is a mistake.
  map["one.more"] = empty;
  WriteText(model / empty, "");
  WriteText(model / (usual + ".index.json"), Json{{"weight_map", map}}.dump());
  model.CheckRefused((model / empty).string() + ": empty, though " +
                     (model / (usual + ".index.json")).string() + " lists it");
}

TEST_CASE("empty weights of one kind beside the other's, and alone") {
  const Model model("original");
  WriteText(model / "model.safetensors", "");
  CHECK_THAT(model.Warning(), Contains("passed over 1 empty file: model.safetensors"));
  WriteText(model.weights(), "");
  model.CheckInfoRefused("model.safetensors: empty; fetch it again");
}

// ---- names ------------------------------------------------------------------------------------------------

TEST_CASE("names behind a common prefix load as if without it") {
  const std::string layout = GENERATE("converted", "original");
  const std::string prefix = GENERATE("_orig_mod.", "module.", "base_model.model.", "module._orig_mod.",
                                      "_orig_mod.module.module.base_model.model.");
  INFO(prefix);
  const Model model(layout);
  model.Rename([&](const std::string& name) { return prefix + name; });
  CHECK(model.Warning().empty());
  CheckSameTensors(model.path().string(), layout);
}

TEST_CASE("names behind a common prefix in shards") {
  const Model model("converted");
  const auto half = [&](bool wanted) {
    return [&, wanted](const std::string& name) {
      const bool is_first = std::hash<std::string>()(name) % 2 == 0;
      return is_first == wanted ? "module." + name : std::string();
    };
  };
  WriteText(model / "a.safetensors", RenamedSafetensors(model.weights(), half(true)));
  WriteText(model / "b.safetensors", RenamedSafetensors(model.weights(), half(false)));
  Json map;
  const auto opened = Checkpoint::Open((kGoldens / "tiny-a/converted").string());
  REQUIRE(opened.ok());
  for (const auto& [name, tensor] : opened->tensors()) {
    const bool is_first = std::hash<std::string>()(name) % 2 == 0;
    map["module." + name] = is_first ? "a.safetensors" : "b.safetensors";
  }
  fs::remove(model.weights());
  WriteText(model / "model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  CheckSameTensors(model.path().string(), "converted");
}

/// A file of tensors without elements, or of one f32 where `dims` is empty.
std::string Safetensors(const std::map<std::string, std::vector<int>>& tensors) {
  Json header = Json::object();
  size_t bytes = 0;
  for (const auto& [name, dims] : tensors) {
    const size_t end = bytes + (dims.empty() ? 4 : 0);
    header[name] = {{"dtype", "F32"}, {"shape", dims}, {"data_offsets", {bytes, end}}};
    bytes = end;
  }
  const std::string text = header.dump();
  const uint64_t size = text.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + text + std::string(bytes, '\0');
}

TEST_CASE("which prefixes are dropped") {
  const TemporaryFolder folder;
  const auto names = [&](const std::map<std::string, std::vector<int>>& tensors) {
    WriteText(folder / "model.safetensors", Safetensors(tensors));
    const auto checkpoint = Checkpoint::Open(folder.path().string());
    std::string list = checkpoint.ok() ? "" : checkpoint.error().message;
    if (checkpoint.ok()) {
      for (const auto& [name, tensor] : checkpoint->tensors()) list += name + " ";
    }
    return list;
  };
  CHECK(names({{"module.a", {0}}, {"module.b", {0}}}) == "a b ");
  CHECK(names({{"module.a", {0}}, {"b", {0}}}) == "b module.a ");
  CHECK(names({{"module.module.a", {0}}, {"module.b", {0}}}) == "b module.a ");
  CHECK(names({{"module._orig_mod.a", {0}}, {"module._orig_model", {0}}}) == "_orig_mod.a _orig_model ");
  CHECK(names({{"modules.a", {0}}, {"modules.b", {0}}}) == "modules.a modules.b ");
  CHECK(names({{"base_model.a", {0}}, {"base_model.b", {0}}}) == "base_model.a base_model.b ");
  CHECK(names({}) == "");
  // A wrapper's own counter, as AveragedModel has one.
  CHECK(names({{"module.a", {0}}, {"n_averaged", {}}}) == "a n_averaged ");
  CHECK(names({{"module.a", {0}}, {"module.n", {}}}) == "a n ");
  CHECK(names({{"n_averaged", {}}}) == "n_averaged ");
  CHECK_THAT(names({{"module.a", {0}}, {"a", {}}}), Contains("tensor 'a' stands there as 'module.a' too"));
  // Time in proportion to the names, however often the prefix stands there.
  std::string many;
  for (int i = 0; i < 100'000; i++) many += "module.";
  const bool dropped = names({{many + "a", {0}}, {many + "b", {0}}}) == "a b ";
  CHECK(dropped);  // not the names themselves: Catch takes minutes to print them
}

TEST_CASE("a missing tensor's message tells what is there instead") {
  const std::string layout = GENERATE("converted", "original");
  const Model model(layout);
  // As of another architecture.
  model.Rename([](const std::string& name) { return "transformer.h." + name; });
  model.CheckRefused(layout == "converted"
                         ? " tensors that a Janus of this config does not have: transformer.h."
                         : " tensors that no Janus has: transformer.h.");
  model.CheckInfoRefused(layout == "converted"
                             ? "model.language_model.embed_tokens.weight is missing from the model's "
                               "files; expected shape [312, 64]; they hold "
                             : "lack tensor gen_vision_model.quantize.embedding.weight, which the "
                               "geometry is read from; they hold ");
  model.CheckInfoRefused(", …\n");
}

TEST_CASE("names that a Janus of another depth has are not called strange") {
  const Model model("original");
  model.Rename([](const std::string& name) {
    if (name == "gen_vision_model.quantize.embedding.weight") return std::string("codebook");
    return name;
  });
  model.CheckInfoRefused("; they hold 1 tensor that no Janus has: codebook");
}

TEST_CASE("hostile names stay in one line") {
  const Model model("converted");
  model.Rename([](const std::string& name) { return "\n\x1b[2J" + std::string(5000, 'x') + name; });
  model.CheckInfoRefused("does not have: ??[2Jxxx");
}

TEST_CASE("what is no Janus model's folder is told with what would be one") {
  const Model model("converted");
  WriteText(model.folder() / "a.gguf", "GGUF");
  model.CheckInfoRefused("nosuch", "hf:ORG/NAME");
  model.CheckInfoRefused((model.folder() / "a.gguf").string(), "a.gguf: the header ends at byte 4");
  model.CheckInfoRefused((model.folder() / "b.gguf").string(), "b.gguf: there is no such file");
  model.CheckInfoRefused(model.weights().string(), "name the one that it is in: " + model.path().string());
  fs::remove(model.weights());
  model.CheckInfoRefused("fetch the model's weights");
  WriteText(model / "config.json", R"({"model_type": "llama"})");
  model.CheckInfoRefused("a Janus has \"janus\"");
}

}  // namespace
}  // namespace bifrons
