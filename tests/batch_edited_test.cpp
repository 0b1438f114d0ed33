// A batch that is edited and rendered again: every answer is one to the request that now has its custom_id,
// in the form that it asks for, and nothing that is finished is drawn again.
#include "tests/rendered.h"

namespace bifrons {
namespace {

const std::string kPng = (fs::path(BIFRONS_TEST_DIR) / "goldens/pillow.png").string();

json Images(const std::string& prompt, const std::string& form = "url") {
  return {{"model", "m"}, {"prompt", prompt}, {"seed", 1}, {"response_format", form}};
}

json Chat(const std::string& question) {
  const json content = {{{"type", "text"}, {"text", question}},
                        {{"type", "image_url"}, {"image_url", {{"url", "file://" + kPng}}}}};
  return {{"model", "m"}, {"max_tokens", 8}, {"messages", {{{"role", "user"}, {"content", content}}}}};
}

std::string Request(const std::string& id, const json& body) {
  const std::string url = body.contains("messages") ? "/v1/chat/completions" : "/v1/images/generations";
  return json{{"custom_id", id}, {"method", "POST"}, {"url", url}, {"body", body}}.dump() + "\n";
}

// What answers say, by custom_id; two answers to one fail.
std::map<std::string, json> Answers(const std::string& out) {
  std::map<std::string, json> answers;
  for (const json& line : JsonLines(out + "/output.jsonl")) {
    const json& body = line["response"]["body"];
    const json& said = body.contains("data") ? body["data"] : body["choices"];
    CHECK(answers.emplace(line["custom_id"], said).second);
  }
  return answers;
}

// Renders again; nothing is drawn.
std::map<std::string, json> Again(const TemporaryFolder& folder, const std::string& batch,
                                  const Arguments& more = {}) {
  WriteText(folder / "b.jsonl", batch);
  const ProgramResult run =
      RunWell(Render(folder / "b.jsonl", folder / "out", Join({"--image-root", "/"}, more)));
  CHECK_THAT(run.err, Catch::Contains("0 drawn"));
  return Answers(folder / "out");
}

TEST_CASE("custom_ids that finished requests exchange") {
  const TemporaryFolder folder;
  const auto batch = [](const json& a, const json& b, const json& c, const json& d) {
    return Request("a", a) + Request("b", b) + Request("c", c) + Request("d", d);
  };
  const json cat = Images("a cat"), dog = Images("a dog", "b64_json"), what = Chat("What is it?"),
             where = Chat("Where?");
  const std::string first = batch(cat, dog, what, where);
  const std::string second = batch(Images("a dog"), Images("a cat", "b64_json"), where, what);
  WriteText(folder / "b.jsonl", first);
  RunWell(Render(folder / "b.jsonl", folder / "out", {"--image-root", "/"}));
  const auto before = Answers(folder / "out");
  REQUIRE(before.size() == 4);
  const auto pictures = Pictures(folder / "out");

  const auto swapped = Again(folder, second);
  REQUIRE(swapped.size() == 4);
  CHECK_THAT(swapped.at("a")[0]["url"].get<std::string>(), Catch::Contains("dog"));
  CHECK(swapped.at("b")[0]["b64_json"] != before.at("b")[0]["b64_json"]);
  CHECK(swapped.at("c") == before.at("d"));
  CHECK(swapped.at("d") == before.at("c"));
  // They stay while the batch does, and go back with it.
  const std::string output = ReadText(folder / "out/output.jsonl");
  CHECK(Again(folder, second) == swapped);
  CHECK(ReadText(folder / "out/output.jsonl") == output);
  CHECK(Again(folder, first) == before);
  // One that is alone with another's id.
  CHECK(Again(folder, Request("b", cat)).at("b") == before.at("a"));
  CHECK(Pictures(folder / "out") == pictures);
}

TEST_CASE("an answer's form follows what the request asks for") {
  const TemporaryFolder folder;
  const std::string url = Request("a", Images("a cat")), inside = Request("a", Images("a cat", "b64_json"));
  WriteText(folder / "b.jsonl", url);
  RunWell(Render(folder / "b.jsonl", folder / "out", {"--image-root", "/"}));
  const auto before = Answers(folder / "out");
  REQUIRE(before.at("a")[0].contains("url"));
  const auto inlined = Again(folder, inside);
  REQUIRE(inlined.at("a").size() == 1);
  CHECK(inlined.at("a")[0].contains("b64_json"));
  CHECK_FALSE(inlined.at("a")[0].contains("url"));
  CHECK(Again(folder, url) == before);
  // The package's other model answers with the picture unless it is told not to.
  json gpt = Images("a cat");
  gpt.erase("response_format"), gpt["model"] = "gpt-image-1";
  CHECK(Again(folder, Request("a", gpt)).at("a")[0].contains("b64_json"));
}

TEST_CASE("an answer echoes the model and quality that are asked for now") {
  const TemporaryFolder folder;
  json chat = Chat("What is it?");
  WriteText(folder / "b.jsonl", Request("a", chat));
  RunWell(Render(folder / "b.jsonl", folder / "out", {"--image-root", "/"}));
  chat["model"] = "another";
  Again(folder, Request("a", chat));
  CHECK(JsonLines(folder / "out/output.jsonl").at(0)["response"]["body"]["model"] == "another");
}

}  // namespace
}  // namespace bifrons
