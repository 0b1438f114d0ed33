// Wrong input, end to end: one line on standard error, the documented exit code, no signal, nothing left
// behind.
#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "src/base/npy.h"
#include "tests/refusal.h"
#include "tests/stored_zip.h"

namespace bifrons {
namespace {

using Json = nlohmann::ordered_json;
using Catch::Contains;

const fs::path kTiny = fs::path(BIFRONS_TEST_DIR) / "goldens/tiny-a";
const std::string kModel = (kTiny / "converted").string();

// ---- the command line -------------------------------------------------------------------------------------

TEST_CASE("every verb explains itself") {
  for (const Arguments& verb : std::vector<Arguments>{
           {}, {"generate"}, {"info"}, {"tokenize"}, {"trace"}, {"bench"}, {"kl"}, {"export"}, {"convert"}}) {
    Arguments arguments = verb;
    arguments.push_back("--help");
    const ProgramResult help = RunWell(arguments);
    CHECK(help.err.empty());
    CHECK_THAT(help.out, Contains("Examples:"));
    CHECK_THAT(help.out, Contains("bifrons " + (verb.empty() ? "" : verb[0])));
  }
  CHECK_THAT(RunWell({"--version"}).out, Contains("bifrons "));
}

TEST_CASE("what is named and not there is bad data, to every verb") {
  const TemporaryFolder folder;
  const std::string none = folder / "none";
  for (const Arguments& arguments :
       std::vector<Arguments>{{"generate", "-m", none, "a dog"},
                              {"generate", "--from", none},
                              {"caption", "-m", kModel, none},
                              {"ask", "-m", kModel, none, "what?"},
                              {"chat", "-m", none},
                              {"render", "-m", kModel, none, "-o", folder / "out"},
                              {"merge", none},
                              {"vq", "encode", "-m", kModel, none, "-o", folder / "c.npy"},
                              {"vq", "decode", "-m", kModel, none, "-o", folder / "c.png"},
                              {"info", "-m", none},
                              {"tokenize", "-m", none, "a dog"},
                              {"trace", "-m", kModel, "--codes", none, "-o", folder / "out"},
                              {"bench", "-m", none},
                              {"bench", "-m", kModel, "--compare", none},
                              {"kl", none},
                              {"kl", kModel, "--against", none},
                              {"export", "-m", none, "-o", folder / "out"},
                              {"convert", none, "-o", folder / "m.gguf"}})
    CheckRefused(arguments, kBadDataExit, none, folder.path());
}

TEST_CASE("wrong usage") {
  const TemporaryFolder folder;
  const std::string out = folder / "out.png";
  const Arguments draw = {"generate", "--model", kModel, "-o", out};
  struct Case {
    Arguments more;
    std::string says;
  };
  for (const auto& [more, says] : std::vector<Case>{
           {{}, "prompt"},
           {{"--nonsense", "a dog"}, "--nonsense"},
           {{"--seed", "-1", "a dog"}, "--seed"},
           {{"--seed", "9007199254740992", "a dog"}, "--seed"},
           {{"--seed", "1e3x", "a dog"}, "--seed"},
           {{"--seed", "1.5", "a dog"}, "--seed"},
           {{"--seed", "9007199254740991", "-n", "2", "a dog"}, "seed"},
           {{"--seed", "99999999999999999999999999", "a dog"}, "--seed"},
           {{"--seed", "", "a dog"}, "--seed"},
           {{"-n", "0", "a dog"}, "--images"},
           {{"-n", "-3", "a dog"}, "--images"},
           {{"-n", "99999999999", "a dog"}, "--images"},
           {{"--cfg", "inf", "a dog"}, "--cfg"},
           {{"--cfg", "nan", "a dog"}, "--cfg"},
           {{"--cfg", "five", "a dog"}, "--cfg"},
           {{"--temperature", "nan", "a dog"}, "--temperature"},
           {{"--temperature", "-1", "a dog"}, "--temperature"},
           {{"--temperature", "inf", "a dog"}, "--temperature"},
           {{"--top-k", "-1", "a dog"}, "--top-k"},
           {{"--top-k", "2.5", "a dog"}, "--top-k"},
           {{"--top-p", "2", "a dog"}, "--top-p"},
           {{"--top-p", "nan", "a dog"}, "--top-p"},
           {{"--top-p", "-0.1", "a dog"}, "--top-p"},
           {{"--min-p", "1.1", "a dog"}, "--min-p"},
           {{"--threads", "0", "a dog"}, "--threads"},
           {{"--threads", "-2", "a dog"}, "--threads"},
           {{"--threads", "1000000", "a dog"}, "--threads"},
           {{"--dtype", "f64", "a dog"}, "--dtype"},
           {{"--device", "tpu", "a dog"}, "--device"},
           {{"--isa", "sse9", "a dog"}, "sse9"},
           {{"--template", "llama", "a dog"}, "llama"},
           {{"--batch", "0", "a dog"}, "--batch"},
           {{"--from", "x.png", "a dog"}, "--from"},
           {{"-o"}, "--output"},
       }) {
    Arguments arguments = draw;
    arguments.insert(arguments.end(), more.begin(), more.end());
    CheckRefused(arguments, kUsageExit, says, folder.path());
  }
  for (const auto& [arguments, says] : std::vector<Case>{
           {{}, "--help"},
           {{"paint"}, "--help"},
           {{"--nonsense"}, "--help"},
           {{"tokenize"}, "give a text"},
           {{"trace", "--model", kModel}, "--help"},
           {{"export", "--model", kModel}, "--out"},
           {{"convert", kModel, "--out", folder / "m.bin"}, "ends in .gguf"},
           {{"convert", kModel, "more", "--out", folder / "m.gguf"}, "unexpected argument more"},
           {{"convert", "--model", kModel, "more", "--out", folder / "m.gguf"},
            "give the model once, as more or behind -m"},
           {{"info", "--model", kModel, "--type", "q3"}, "--type"},
           {{"bench", "--model", kModel, "--rows", "0"}, "--rows"},
           {{"bench", "--model", kModel, "--rows", "2,x"}, "--rows"},
           {{"bench", "--model", kModel, "--position", "100000"}, "--position"},
           {{"info", "--model", kModel, "extra"}, "extra"},
           {{"info", "--model", "random:janus-pro-9t"}, "janus-pro-9t"},
           {{"generate", "--model", kModel, "-o", folder / "out.gif", "a dog"}, ".png"},
       }) {
    CheckRefused(arguments, kUsageExit, says, folder.path());
  }
}

TEST_CASE("prompts that look like flags, or like nothing") {
  const TemporaryFolder folder;
  for (const std::string prompt :
       {"-5 degrees", "--help", "", "   ", "<|User|> <image_placeholder>", "\xff\xfe bytes"}) {
    RunWell({"generate", "--model", kModel, "-o", folder / "out.png", "--", prompt});
    CHECK(ReadText(folder / "out.png").starts_with("\x89PNG"));
  }
  std::string long_prompt;
  for (int i = 0; i < 2000; i++) long_prompt += "very ";
  CheckRefused({"generate", "--model", kModel, "-o", folder / "long.png", "--seed", "1", long_prompt},
               kUsageExit, "512", folder.path());
}

TEST_CASE("output that cannot be written") {
  const TemporaryFolder folder;
  fs::create_directory(folder / "dir.png");
  for (const std::string& out :
       {folder / "missing/out.png", folder / "dir.png", std::string("/proc/out.png")})
    CheckRefused({"generate", "--model", kModel, "--seed", "1", "-o", out, "a dog"}, kFailureExit, out,
                 folder.path());
  CheckRefused({"generate", "--model", kModel, "-o", folder / "a.png", "--codes-out",
                folder / "missing/codes.npy", "a dog"},
               kFailureExit, "codes.npy", folder.path());
  const std::string codes = (kTiny / "golden/0_codes.npy").string();
  CheckRefused({"trace", "--model", kModel, "--prompt", "a", "--codes", codes, "--out", "/proc/trace"},
               kFailureExit, "/proc/trace", folder.path());
  WriteText(folder / "taken", "a file");
  CheckRefused({"export", "--model", kModel, "--out", folder / "taken"}, kUsageExit, "taken", folder.path());
  CheckRefused({"export", "--model", kModel, "--out", "/proc/model"}, kFailureExit, "/proc/model",
               folder.path());
}

TEST_CASE("wrong codes") {
  const TemporaryFolder folder;
  const std::string path = folder / "codes.npy";
  const auto trace = [&](const std::string& says) {
    CheckRefused(
        {"trace", "--model", kModel, "--prompt", "a dog", "--codes", path, "--out", folder.path().string()},
        kBadDataExit, says, folder.path());
  };
  const auto write_ints = [&](std::vector<int32_t> values, const Shape& shape) {
    REQUIRE(WriteNpy(path, {values.data(), DType::kI32, shape}).ok());
  };
  write_ints(std::vector<int32_t>(37, 1), {37});
  trace("36");
  write_ints(std::vector<int32_t>(36, 1), {2, 18});
  trace("codes.npy");
  write_ints({}, {0});
  trace("codes.npy");
  write_ints({0, 96}, {2});
  trace("96");
  write_ints({0, -1}, {2});
  trace("-1");
  const float nan[] = {std::nanf(""), 1};
  REQUIRE(WriteNpy(path, {nan, DType::kF32, {2}}).ok());
  trace("codes.npy");
  write_ints(std::vector<int32_t>(36, 1), {36});
  const std::string good = ReadText(path);
  for (const size_t size : {size_t{0}, size_t{5}, size_t{20}, good.size() - 1}) {
    WriteText(path, good.substr(0, size));
    trace("codes.npy");
  }
  std::string dtype = good;
  dtype.replace(dtype.find("<i4"), 3, "<c8");
  WriteText(path, dtype);
  trace("<c8");
  fs::remove(path);
  trace("codes.npy");
}

TEST_CASE("pictures that do not say how they were drawn") {
  const TemporaryFolder folder;
  const std::string picture = folder / "picture.png";
  const auto draw_again = [&](int exit_code, const std::string& says) {
    CheckRefused({"generate", "--model", kModel, "--from", picture, "-o", folder / "out.png"}, exit_code,
                 says, folder.path());
  };
  draw_again(kBadDataExit, "picture.png");
  WriteText(picture, "no picture");
  draw_again(kBadDataExit, "picture.png");
  RunWell({"generate", "--model", kModel, "--seed", "1", "-o", picture, "--force", "a dog"});
  const std::string good = ReadText(picture);
  WriteText(picture, good.substr(0, 60));
  draw_again(kBadDataExit, "picture.png");
  std::string other = good;
  other.replace(other.find("parameters"), 10, "paramEters");
  WriteText(picture, other);
  draw_again(kBadDataExit, "picture.png");
  WriteText(picture, good);
  CheckRefused(
      {"generate", "--model", (kTiny / "original").string(), "--from", picture, "-o", folder / "out.png"},
      kUsageExit, "another model", folder.path());
}

// ---- models -----------------------------------------------------------------------------------------------

// A copy of a tiny model, to be spoilt.
class SpoiltModel {
 public:
  explicit SpoiltModel(const std::string& layout) { fs::copy(kTiny / layout, folder_.path() / "model"); }

  fs::path operator/(const std::string& name) const { return folder_.path() / "model" / name; }

  void Edit(const std::string& file, const std::function<void(Json&)>& change) const {
    Json json = Json::parse(ReadText(*this / file));
    change(json);
    WriteText(*this / file, json.dump());
  }

  // The header of model.safetensors as text, and back.
  std::string Header() const {
    const std::string bytes = ReadText(*this / "model.safetensors");
    uint64_t size = 0;
    std::copy_n(bytes.data(), 8, reinterpret_cast<char*>(&size));
    return bytes.substr(8, size);
  }
  void SetHeader(const std::string& header) const {
    const std::string bytes = ReadText(*this / "model.safetensors");
    const uint64_t old_size = Header().size(), size = header.size();
    WriteText(*this / "model.safetensors",
              std::string(reinterpret_cast<const char*>(&size), 8) + header + bytes.substr(8 + old_size));
  }
  void EditHeader(const std::function<void(Json&)>& change) const {
    Json json = Json::parse(Header());
    change(json);
    SetHeader(json.dump());
  }

  void CheckRefused(const std::string& says) const {
    for (const Arguments& arguments : {Arguments{"info", "--model", (folder_.path() / "model").string()},
                                       Arguments{"generate", "--model", (folder_.path() / "model").string(),
                                                 "-o", folder_ / "out.png", "a dog"}}) {
      bifrons::CheckRefused(arguments, kBadDataExit, says, folder_.path());
    }
  }

 private:
  TemporaryFolder folder_;
};

constexpr const char* kTensor = "model.language_model.layers.1.mlp.up_proj.weight";

TEST_CASE("models that are not there") {
  const TemporaryFolder folder;
  const auto info = [&](const std::string& model, int exit_code, const std::string& says) {
    CheckRefused({"info", "--model", model}, exit_code, says, folder.path());
  };
  info(folder / "missing", kBadDataExit, "missing");
  info(folder.path().string(), kBadDataExit, folder.path().string());
  info(kModel + "/config.json", kBadDataExit, "config.json");
  CheckRefused({"tokenize", "--model", folder.path().string(), "--text", "a"}, kBadDataExit, "tokenizer.json",
               folder.path());
}

TEST_CASE("spoilt safetensors") {
  const SpoiltModel model("converted");
  const std::string good = ReadText(model / "model.safetensors");
  const auto restore = [&] { WriteText(model / "model.safetensors", good); };

  for (const size_t size : {size_t{0}, size_t{7}, size_t{100}, good.size() / 2, good.size() - 1}) {
    WriteText(model / "model.safetensors", good.substr(0, size));
    model.CheckRefused("model.safetensors");
  }
  for (const uint64_t size : {~uint64_t{0}, uint64_t{1} << 62, uint64_t{good.size()}}) {
    WriteText(model / "model.safetensors",
              std::string(reinterpret_cast<const char*>(&size), 8) + good.substr(8));
    model.CheckRefused("header");
  }
  restore();
  model.SetHeader("{\"a\": [");
  model.CheckRefused("model.safetensors");
  restore();
  model.SetHeader(std::string(100000, '['));
  model.CheckRefused("model.safetensors");

  struct Case {
    const char* what;
    std::function<void(Json&)> change;
    std::string says;
  };
  const auto offsets = [](Json& h) -> Json& { return h[kTensor]["data_offsets"]; };
  for (const auto& [what, change, says] : std::vector<Case>{
           {"a hole", [](Json& h) { h.erase(kTensor); }, "hole"},
           {"missing", [](Json& h) { h["layers.9"] = Json(h[kTensor]), h.erase(kTensor); }, kTensor},
           {"overlapping", [&](Json& h) { offsets(h) = h["lm_head.weight"]["data_offsets"]; },
            "model.safetensors"},
           {"beyond the file", [&](Json& h) { offsets(h)[1] = uint64_t{1} << 50; }, kTensor},
           {"backwards", [&](Json& h) { std::swap(offsets(h)[0], offsets(h)[1]); }, kTensor},
           {"negative", [&](Json& h) { offsets(h)[0] = -2; }, kTensor},
           {"not whole", [&](Json& h) { offsets(h)[0] = 0.5; }, kTensor},
           {"another shape", [](Json& h) { std::swap(h[kTensor]["shape"][0], h[kTensor]["shape"][1]); },
            kTensor},
           {"overflowing",
            [](Json& h) {
              h[kTensor]["shape"] = {1ull << 62, 8};
            },
            kTensor},
           {"negative shape", [](Json& h) { h[kTensor]["shape"][0] = -64; }, kTensor},
           {"no type", [](Json& h) { h[kTensor].erase("dtype"); }, kTensor},
           {"unknown type", [](Json& h) { h[kTensor]["dtype"] = "Q3"; }, kTensor},
           {"whole numbers", [](Json& h) { h[kTensor]["dtype"] = "I16"; }, kTensor},
           {"not an object", [](Json& h) { h[kTensor] = 3; }, kTensor},
       }) {
    INFO(what);
    restore();
    model.EditHeader(change);
    model.CheckRefused(says);
  }

  restore();
  std::string twice = model.Header();
  twice.insert(twice.find_last_of('}'),
               ",\"" + std::string(kTensor) + "\":" + Json::parse(twice)[kTensor].dump());
  model.SetHeader(twice);
  model.CheckRefused(kTensor);
}

TEST_CASE("an unknown tensor is a warning") {
  const SpoiltModel model("converted");
  model.EditHeader([](Json& header) {
    header["surplus.weight"] = {
        {"dtype", "F32"}, {"shape", {0}}, {"data_offsets", header[kTensor]["data_offsets"]}};
    header["surplus.weight"]["data_offsets"][1] = header["surplus.weight"]["data_offsets"][0];
  });
  CHECK_THAT(RunWell({"info", "--model", (model / "").string()}).err, Contains("surplus.weight"));
}

TEST_CASE("absurd and missing configuration") {
  const SpoiltModel converted("converted"), original("original");
  struct Case {
    const SpoiltModel& model;
    std::function<void(Json&)> change;
    std::string says;
  };
  for (const auto& [model, change, says] : std::vector<Case>{
           {converted, [](Json& c) { c["text_config"]["hidden_size"] = 0; }, "hidden_size"},
           {converted, [](Json& c) { c["text_config"]["hidden_size"] = -64; }, "hidden_size"},
           {converted, [](Json& c) { c["text_config"]["hidden_size"] = 1e300; }, "hidden_size"},
           {converted, [](Json& c) { c["text_config"]["hidden_size"] = "64"; }, "hidden_size"},
           {converted, [](Json& c) { c["text_config"]["num_hidden_layers"] = 1ull << 60; },
            "num_hidden_layers"},
           {converted, [](Json& c) { c["text_config"]["num_hidden_layers"] = 4; }, "layers.3"},
           {converted, [](Json& c) { c["text_config"]["num_attention_heads"] = 0; }, "num_attention_heads"},
           {converted, [](Json& c) { c["text_config"]["num_key_value_heads"] = 3; }, "num_key_value_heads"},
           {converted, [](Json& c) { c["text_config"]["head_dim"] = 15; }, "head_dim"},
           {converted, [](Json& c) { c["text_config"]["vocab_size"] = 1000; }, "embed"},
           {converted, [](Json& c) { c["text_config"]["rms_norm_eps"] = -1; }, "rms_norm_eps"},
           {converted, [](Json& c) { c["text_config"]["hidden_act"] = "relu"; }, "hidden_act"},
           {converted, [](Json& c) { c["text_config"]["rope_parameters"]["rope_type"] = "yarn"; },
            "rope_type"},
           {converted, [](Json& c) { c["vision_config"]["patch_size"] = 0; }, "patch_size"},
           {converted, [](Json& c) { c["vq_config"]["num_patches"] = 7; }, "num_patches"},
           {converted,
            [](Json& c) {
              c["vq_config"]["channel_multiplier"] = {1, 1, 2};
            },
            "vqmodel"},
           {converted, [](Json& c) { c["vq_config"]["channel_multiplier"] = Json::array(); },
            "channel_multiplier"},
           {converted, [](Json& c) { c["vq_config"]["base_channels"] = 48; }, "base_channels"},
           {converted, [](Json& c) { c["vq_config"]["num_embeddings"] = 97; }, "[96, "},
           {converted, [](Json& c) { c["vision_config"]["image_size"] = 24; }, "grid"},
           {converted, [](Json& c) { c["model_type"] = "llama"; }, "model_type"},
           {converted, [](Json& c) { c = Json::array(); }, "config.json"},
           {original, [](Json& c) { c.erase("gen_vision_config"); }, "gen_vision_config"},
           {original, [](Json& c) { c["language_config"]["hidden_size"] = 72; }, "embed_tokens"},
           {original, [](Json& c) { c["language_config"]["num_hidden_layers"] = 0; }, "num_hidden_layers"},
           {original, [](Json& c) { c["vision_config"]["params"]["image_size"] = 13; }, "image_size"},
           {original, [](Json& c) { c["gen_vision_config"]["cls"] = "VQ-99"; }, "VQ-99"},
       }) {
    const std::string good = ReadText(model / "config.json");
    model.Edit("config.json", change);
    INFO("config.json: " << ReadText(model / "config.json").substr(0, 300));
    model.CheckRefused(says);
    WriteText(model / "config.json", good);
  }
  for (const std::string& text : {std::string(), std::string("{"), std::string(1 << 20, '['),
                                  std::string("\xff\xff"), std::string("{\"model_type\": \"janus\"}")}) {
    WriteText(converted / "config.json", text);
    converted.CheckRefused("");
  }
  fs::remove(converted / "config.json");
  converted.CheckRefused("config.json");
}

TEST_CASE("spoilt tokenizers") {
  const SpoiltModel model("converted");
  const std::string path = (model / "tokenizer.json").string(), good = ReadText(path);
  const std::string folder = (model / "").string();
  const auto refused = [&](const std::string& says) {
    CheckRefused({"tokenize", "--model", folder, "--text", "a dog"}, kBadDataExit, says, folder);
  };
  for (const std::string& text :
       {std::string(), good.substr(0, good.size() / 2), std::string("[]"), std::string(1 << 20, '{')}) {
    WriteText(path, text);
    refused("tokenizer.json");
  }
  struct Case {
    std::function<void(Json&)> change;
    std::string says;
  };
  for (const auto& [change, says] : std::vector<Case>{
           {[](Json& t) { t["model"]["type"] = "Unigram"; }, "Unigram"},
           {[](Json& t) { t["model"]["merges"][0] = "no-merge"; }, "merge"},
           {[](Json& t) { t["model"]["vocab"]["A"] = -5; }, "tokenizer.json"},
           {[](Json& t) { t["model"]["vocab"]["A"] = 1ull << 40; }, "tokenizer.json"},
           {[](Json& t) { t["pre_tokenizer"]["pretokenizers"][1]["pattern"]["Regex"] = "(["; },
            "tokenizer.json"},
           {[](Json& t) { t["pre_tokenizer"]["type"] = "Sorcery"; }, "Sorcery"},
       }) {
    WriteText(path, good);
    model.Edit("tokenizer.json", change);
    refused(says);
  }
  WriteText(path, good);
  model.Edit("tokenizer.json", [](Json& t) {
    for (auto& token : t["added_tokens"])
      if (token["content"] == "<begin_of_image>") token["content"] = "<begin_of_nothing>";
  });
  CheckRefused({"generate", "--model", folder, "-o", (model / "out.png").string(), "a dog"}, kBadDataExit,
               "<begin_of_image>", folder);
}

TEST_CASE("spoilt PyTorch files") {
  const SpoiltModel model("original");
  const auto path = model / "pytorch_model.bin";
  const std::string good = ReadText(path);
  for (const size_t size : {size_t{0}, size_t{30}, good.size() / 2, good.size() - 1}) {
    WriteText(path, good.substr(0, size));
    model.CheckRefused("pytorch_model.bin");
  }
  std::string swapped = good;  // the directory's offset points elsewhere
  swapped[swapped.size() - 6] ^= 0x55;
  WriteText(path, swapped);
  model.CheckRefused("pytorch_model.bin");

  // Must not run: what the pickle asks for would leave a file behind.
  const std::string witness = (model / "witness").string();
  const std::string evil =
      "\x80\x02"
      "cposix\nsystem\nX" +
      std::string(1, static_cast<char>(6 + witness.size())) + std::string(3, '\0') + "touch " + witness +
      "\x85R.";
  WriteText(path, Zip({{"archive/data.pkl", evil}, {"archive/version", "3\n"}}));
  model.CheckRefused("posix");
  CHECK(!fs::exists(witness));

  WriteText(path, Zip({{"../../../tmp/data.pkl", "\x80\x02}."}, {"../version", "3\n"}}));
  model.CheckRefused("pytorch_model.bin");
  WriteText(path,
            Zip({{"archive/data.pkl", std::string(1000, '\0')}, {"archive/version", "3\n"}}, 0xFFFFFFF0));
  model.CheckRefused("pytorch_model.bin");
  WriteText(path, Zip({{"archive/version", "3\n"}}));
  model.CheckRefused("data.pkl");
  WriteText(path, Zip({{"archive/data.pkl", "\x80\x02}."}, {"archive/version", "3\n"}}));
  model.CheckRefused("no tensors");
  WriteText(path, Zip({{"archive/data.pkl", "\x80\x02" + std::string(200000, '(') + "."},
                       {"archive/version", "3\n"}}));
  model.CheckRefused("pytorch_model.bin");
}

TEST_CASE("shards that do not fit their index") {
  const SpoiltModel model("converted");
  const auto index = [&](const Json& map) {
    WriteText(model / "model.safetensors.index.json",
              Json{{"metadata", Json::object()}, {"weight_map", map}}.dump());
  };
  fs::rename(model / "model.safetensors", model / "part.safetensors");
  index({{kTensor, "missing.safetensors"}});
  model.CheckRefused("missing.safetensors");
  index({{kTensor, "../../../../etc/passwd"}});
  model.CheckRefused("passwd");
  index(Json::array());
  model.CheckRefused("index.json");
  fs::copy(model / "part.safetensors", model / "twin.safetensors");
  index({{kTensor, "part.safetensors"}, {"lm_head.weight", "twin.safetensors"}});
  model.CheckRefused("safetensors");
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they map terabytes
TEST_CASE("a model bigger than memory is refused with the numbers") {
  const TemporaryFolder folder;
  const std::string command = std::string("ulimit -v 1500000; exec '") + BIFRONS_PROGRAM +
                              "' generate --model random:janus-pro-1b -o '" + (folder / "out.png") +
                              "' 'a dog' 2>'" + (folder / "err") + "'";
  const int status = std::system(command.c_str());
  const std::string err = ReadText(folder / "err");
  INFO(err);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == kFailureExit);
  CHECK(std::count(err.begin(), err.end(), '\n') == 1);
  CHECK_THAT(err, Contains("memory"));
  CHECK_THAT(err, Contains("GB") || Contains("MB") || Contains("GiB") || Contains("MiB"));
  CHECK(!fs::exists(folder / "out.png"));
}
#endif

}  // namespace
}  // namespace bifrons
