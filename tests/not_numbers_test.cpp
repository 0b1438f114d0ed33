// Weights that are not numbers: whoever meets them is told so, everybody else goes on.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/refusal.h"
#include "tests/test_pictures.h"
#include "tests/together.h"

namespace bifrons {
namespace {

const fs::path kTiny = fs::path(BIFRONS_TEST_DIR) / "goldens/tiny-a/converted";

// A copy of the tiny model whose tensor (of bf16, by its name in the file) is NaN, or one row of it.
class DamagedModel {
 public:
  explicit DamagedModel(const std::string& tensor, std::optional<int32_t> row = {}) {
    for (const auto& entry : fs::directory_iterator(kTiny))
      fs::copy(entry.path(), folder_.path() / entry.path().filename());
    const std::string path = folder_ / "model.safetensors";
    std::string bytes = ReadText(path);
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
    const auto header = nlohmann::json::parse(bytes.substr(sizeof header_bytes, header_bytes));
    const auto& entry = header.at(tensor);
    REQUIRE(entry.at("dtype") == "BF16");
    const size_t data = sizeof header_bytes + header_bytes;
    size_t begin = data + entry.at("data_offsets")[0].get<size_t>();
    size_t end = data + entry.at("data_offsets")[1].get<size_t>();
    if (row) {
      const size_t row_bytes = (end - begin) / entry.at("shape")[0].get<size_t>();
      begin += static_cast<size_t>(*row) * row_bytes, end = begin + row_bytes;
    }
    for (size_t i = begin; i < end; i += 2) bytes[i] = '\xC0', bytes[i + 1] = '\x7F';
    WriteText(path, bytes);
  }
  std::string path() const { return folder_.path().string(); }

 private:
  TemporaryFolder folder_;
};

std::unique_ptr<Janus> Load(const std::string& model, int threads) {
  LoadOptions options;
  options.model = model;
  options.compute = DType::kF32;
  options.threads = threads;
  options.parts.understanding = true;
  auto janus = Janus::Load(options);
  if (!janus.ok()) FAIL(janus.error().message);
  return std::move(*janus);
}

AnswerRequest Question(const std::string& text, uint64_t seed) {
  AnswerRequest ask;
  ask.turns = {{0, text, ""}};
  ask.sampling.temperature = 1;
  ask.seed = seed;
  ask.max_tokens = 12;
  return ask;
}

// Of `ids`, the first but for the last one that is not among `others`; its index.
size_t OwnToken(const std::vector<int32_t>& ids, const std::vector<int32_t>& others) {
  for (size_t i = 0; i + 1 < ids.size(); i++)
    if (std::find(others.begin(), others.end(), ids[i]) == others.end()) return i;
  FAIL("all tokens are shared");
  return 0;
}

TEST_CASE("A picture and an answer whose logits become NaN fail by themselves") {
  const auto healthy = Load(kTiny.string(), 1);
  const DrawRequest picture{"a dog", 1, {.temperature = 0.7f}}, other_picture{"a cat", 2, {.guidance = 1}};
  const AnswerRequest answer = Question("Hello?", 3), other_answer = Question("What now?", 4);
  const std::vector<Submit> submits = {Drawing(picture), Asking(answer), Drawing(other_picture),
                                       Asking(other_answer)};
  const auto well = RunTogether(*healthy, submits, {0, 0, 0, 0});
  const DrawnPicture& drawn = **well[2].picture;
  const Answer& answered = **well[3].answer;

  SECTION("a picture") {
    const std::vector<int32_t>& codes = (*well[0].picture)->codes;
    const size_t bad = OwnToken(codes, drawn.codes);
    const DamagedModel model("model.generation_embeddings.weight", codes[bad]);
    const auto janus = Load(model.path(), 2);
    // The last two come when the memory of the picture that failed is free again.
    auto more = submits;
    more.push_back(submits[2]), more.push_back(submits[3]);
    const auto outcomes = RunTogether(*janus, more, {0, 0, 0, 0, static_cast<int>(bad) + 4, 1000});
    REQUIRE(outcomes[0].picture);
    REQUIRE_FALSE(outcomes[0].picture->ok());
    const Error& error = outcomes[0].picture->error();
    CHECK(error.kind == ErrorKind::kBadData);
    CHECK(error.message == "the model's logits are not numbers (NaN) at image token " +
                               std::to_string(bad + 2) + " of " + std::to_string(codes.size()) +
                               "; its weights are damaged, or overflow in f32 arithmetic");
    for (const size_t i : {1, 3, 5}) {
      REQUIRE(outcomes[i].answer->ok());
      CHECK((*outcomes[i].answer)->tokens == (*well[i == 5 ? 3 : i].answer)->tokens);
    }
    for (const size_t i : {2, 4}) {
      REQUIRE(outcomes[i].picture->ok());
      const DrawnPicture& again = **outcomes[i].picture;
      CHECK(again.codes == drawn.codes);
      CHECK((again.image.rgb == drawn.image.rgb));
    }
  }
  SECTION("an answer") {
    const std::vector<int32_t>& tokens = (*well[1].answer)->tokens;
    std::vector<int32_t> others = answered.tokens;  // and whatever stands in a prompt
    for (const AnswerRequest& request : {answer, other_answer}) {
      const auto ids = healthy->EncodeTurns(request.turns).ids;
      others.insert(others.end(), ids.begin(), ids.end());
    }
    for (const DrawRequest& request : {picture, other_picture}) {
      const DrawingPrompt prompt = healthy->EncodePrompt(request.prompt);
      others.insert(others.end(), prompt.conditional.begin(), prompt.conditional.end());
      others.insert(others.end(), prompt.unconditional.begin(), prompt.unconditional.end());
    }
    const size_t bad = OwnToken(tokens, others);
    const DamagedModel model("model.language_model.embed_tokens.weight", tokens[bad]);
    const auto janus = Load(model.path(), 2);
    auto more = submits;
    more.push_back(submits[3]);
    const auto outcomes = RunTogether(*janus, more, {0, 0, 0, 0, static_cast<int>(bad) + 4});
    REQUIRE(outcomes[1].answer);
    REQUIRE_FALSE(outcomes[1].answer->ok());
    const Error& error = outcomes[1].answer->error();
    CHECK(error.kind == ErrorKind::kBadData);
    CHECK(error.message == "the model's logits are not numbers (NaN) at token " + std::to_string(bad + 2) +
                               " of the answer; its weights are damaged, or overflow in f32 arithmetic");
    for (const size_t i : {3, 4}) {
      REQUIRE(outcomes[i].answer->ok());
      CHECK((*outcomes[i].answer)->tokens == answered.tokens);
    }
    for (const size_t i : {0, 2}) {
      REQUIRE(outcomes[i].picture->ok());
      CHECK((*outcomes[i].picture)->codes == (*well[i].picture)->codes);
    }
  }
}

TEST_CASE("The program names logits that are not numbers") {
  const TemporaryFolder folder;
  const DamagedModel draws_nothing("model.generation_head.vision_head.bias"), says_nothing("lm_head.weight");
  const std::string asked = folder / "asked.png";
  WriteTestPicture(asked, 12, 12, 1);
  for (const char* temperature : {"0", "1"}) {
    const auto refused = [&](const Arguments& verb, const Arguments& rest, const std::string& at) {
      CheckRefused(Join(Join(verb, {"--dtype", "bf16", "--seed", "1", "--temperature", temperature}), rest),
                   kBadDataExit, "not numbers (NaN) at " + at, folder.path());
    };
    refused({"generate", "--model", draws_nothing.path(), "-o", folder / "drawn.png"}, {"a dog"},
            "image token 1 of ");
    refused({"ask", "--model", says_nothing.path()}, {asked, "What is this?"}, "token 1 of the answer");
  }
}

}  // namespace
}  // namespace bifrons
