// OpenAI Batch input files: requests for pictures and conversations, right and wrong.
#include "tests/job_files.h"

namespace bifrons {
namespace {

std::string Request(const std::string& id, const std::string& url, const std::string& body) {
  return R"({"custom_id": ")" + id + R"(", "method": "POST", "url": ")" + url + R"(", "body": )" + body +
         "}\n";
}

std::string Images(const std::string& body) { return Request("a", "/v1/images/generations", body); }

std::string Chat(const std::string& messages, const std::string& more = "") {
  return Request("a", "/v1/chat/completions",
                 R"({"model": "m", "messages": [)" + messages + "]" + more + "}");
}

TEST_CASE("requests for pictures") {
  const ReadJobs jobs = ReadJobFile(
      Request("one", "/v1/images/generations", R"({"prompt": "a cat"})") +
      Request(
          "two", "/v1/images/generations",
          R"({"model": "janus", "prompt": "a dog", "n": 2, "size": "512x512", "response_format": "b64_json",)"
          R"( "output_format": "jpeg", "quality": "high", "style": "vivid", "background": "opaque",)"
          R"( "moderation": "low", "user": "u", "output_compression": 90, "stream": false,)"
          R"( "partial_images": 0, "seed": 5, "cfg": 3, "temperature": 0.5, "top_k": 9})") +
      Request("three", "/v1/images/generations",
              R"({"prompt": "x", "n": null, "size": "auto", "response_format": "url", "guidance": 2})"));
  CHECK(jobs.format == JobFormat::kOpenAi);
  CHECK(jobs.job(0).custom_id == "one");
  CHECK(jobs.picture(0).prompt == "a cat");
  CHECK(!jobs.job(0).inline_image);
  CHECK(jobs.job(0).model.empty());
  CHECK(jobs.job(1).model == "janus");
  CHECK(jobs.job(1).inline_image);
  CHECK(jobs.picture(1).images == 2);
  CHECK(jobs.picture(1).width == 512);
  CHECK(jobs.picture(1).height == 512);
  CHECK(jobs.picture(1).format == "jpg");
  CHECK(jobs.picture(1).seed == 5);
  CHECK(jobs.picture(1).settings.guidance == 3.0f);
  CHECK(jobs.picture(1).settings.temperature == 0.5f);
  CHECK(jobs.picture(1).settings.top_k == 9);
  CHECK(jobs.picture(2).width == 0);
  CHECK(jobs.picture(2).settings.guidance == 2.0f);
  const std::string million(1'000'000, 'p');
  CHECK(ReadJobFile(Images(R"({"prompt": ")" + million + "\"}")).picture(0).prompt == million);
}

TEST_CASE("clients of gpt-image models get the picture itself") {
  const auto inside = [](const std::string& more) {
    return ReadJobFile(Images(R"({"prompt": "x")" + more + "}")).job(0).inline_image;
  };
  for (const char* model : {"gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-2-2026-04-21",
                            "chatgpt-image-latest", "openai/gpt-image-1"}) {
    INFO(model);
    const std::string named = R"(, "model": ")" + std::string(model) + "\"";
    CHECK(inside(named));
    CHECK(inside(named + R"(, "response_format": "url")"));
    CHECK(inside(R"(, "response_format": null)" + named));
  }
  for (const char* model : {"dall-e-2", "dall-e-3", "gpt-4", "gpt-image", "my-gpt-image-1", "janus"}) {
    INFO(model);
    const std::string named = R"(, "model": ")" + std::string(model) + "\"";
    CHECK_FALSE(inside(named));
    CHECK(inside(named + R"(, "response_format": "b64_json")"));
  }
  CHECK_FALSE(inside(""));
}

TEST_CASE("an answer names the quality where it can") {
  const auto quality = [](const std::string& value) {
    return ReadJobFile(Images(R"({"prompt": "x", "quality": )" + value + "}")).job(0).quality;
  };
  CHECK(quality("\"high\"") == "high");
  CHECK(quality("\"low\"") == "low");
  for (const char* value : {"\"auto\"", "\"hd\"", "\"standard\"", "null", "5", "{}"})
    CHECK(quality(value).empty());
}

TEST_CASE("wrong requests") {
  CheckBad(R"({"custom_id": "a", "method": "POST", "url": "/v1/images/generations", "body": {)", "",
           "not valid JSON");
  CheckBad(R"({"method": "POST", "url": "/v1/images/generations", "body": {"prompt": "x"}})", "custom_id",
           "missing");
  CheckBad(R"({"custom_id": 3, "method": "POST", "url": "/v1/images/generations", "body": {"prompt": "x"}})",
           "custom_id", "must be a text");
  CheckBad(R"({"custom_id": "", "method": "POST", "url": "/v1/images/generations", "body": {"prompt": "x"}})",
           "custom_id", "empty");
  CheckBad(R"({"custom_id": "a", "url": "/v1/images/generations", "body": {"prompt": "x"}})", "method",
           "missing");
  CheckBad(R"({"custom_id": "a", "method": "GET", "url": "/v1/images/generations", "body": {"prompt": "x"}})",
           "method", "POST");
  CheckBad(R"({"custom_id": "a", "method": "POST", "body": {"prompt": "x"}})", "url", "missing");
  CheckBad(Request("a", "/v1/embeddings", "{}"), "url", "/v1/images/generations or /v1/chat/completions");
  CheckBad(R"({"custom_id": "a", "method": "POST", "url": "/v1/images/generations"})", "body", "missing");
  CheckBad(Images("[]"), "body", "not an object");
  CheckBad(R"({"custom_id": "a", "methods": "", "method": "POST", "url": "/v1/images/generations",)"
           R"( "body": {"prompt": "x"}})",
           "methods", "no field");
}

TEST_CASE("wrong requests for pictures") {
  const auto bad = [](const std::string& more, const std::string& field, const std::string& says) {
    CheckBad(Images(R"({"prompt": "x", )" + more + "}"), field, says);
  };
  CheckBad(Images("{}"), "body.prompt", "body.prompt is missing");
  CheckBad(Images(R"({"prompt": null})"), "body.prompt", "missing");
  CheckBad(Images(R"({"prompt": 5})"), "body.prompt", "must be a text");
  bad(R"("n": "2")", "body.n", "whole number");
  bad(R"("n": 0)", "body.n", "from 1");
  bad(R"("size": "512by512")", "body.size", "384x384");
  bad(R"("size": 512)", "body.size", "text");
  bad(R"("response_format": "png")", "body.response_format", "url or b64_json");
  bad(R"("output_format": "gif")", "body.output_format", "png, jpeg or webp");
  bad(R"("output_format": 1)", "body.output_format", "png, jpeg or webp");
  bad(R"("background": "transparent")", "body.background", "transparency");
  bad(R"("stream": true)", "body.stream", "whole");
  bad(R"("partial_images": 2)", "body.partial_images", "whole");
  bad(R"("seed": -4)", "body.seed", "from 0");
  bad(R"("model": 4)", "body.model", "text");
  bad(R"("promt": "x")", "body.promt", "no parameter");
  bad(R"("file": "x.png")", "body.file", "no parameter");
}

TEST_CASE("a broken line says whose it is, where that can be read") {
  const auto id = [](const std::string& line) {
    const ReadJobs jobs = ReadJobFile(line);
    REQUIRE(jobs.entries.size() == 1);
    CHECK(jobs.format == JobFormat::kOpenAi);
    return jobs.bad(0).custom_id;
  };
  CHECK(id(R"({"custom_id": "a", "method": "POST", "body": )") == "a");
  CHECK(id(R"({"method": "POST", "custom_id" : "a \"\u00e9\"", )") == "a \"é\"");
  CHECK(id("{\"custom_id\": \"a\", \"body\": {\"prompt\": \"\xFF\"}}") == "a");
  CHECK(id(R"({"custom_id": "a)") == "");
  CHECK(id(R"({"custom_id": "a\)") == "");
  CHECK(id(R"({"custom_id": )") == "");
  CHECK(id(R"({"custom_id")") == "");
  CHECK(id(R"({"custom_id": "a", "method": "GET"})") == "a");
}

TEST_CASE("a custom_id that is given twice") {
  const auto line = [](const std::string& id, const std::string& body) {
    return Request(id, "/v1/images/generations", body);
  };
  const std::string good = R"({"prompt": "x"})", bad = R"({"prompt": 3})";
  const ReadJobs jobs = ReadJobFile(line("same", good) + line("other", good) + line("same", good) +
                                    line("same", bad) + R"({"custom_id": "same", )" + "\n");
  CHECK(jobs.job(0).custom_id == "same");
  CHECK(jobs.job(1).custom_id == "other");
  for (size_t i : {2u, 3u, 4u}) {
    CHECK(jobs.bad(i).custom_id == "same");
    CHECK(jobs.bad(i).duplicate);
    CHECK_THAT(jobs.bad(i).error.message,
               Catch::Contains(i == 4 ? "not valid JSON" : "an earlier request has"));
  }
  // A request that cannot be done leaves its name to one that can.
  const ReadJobs later = ReadJobFile(line("same", bad) + line("same", bad) + line("same", good));
  CHECK(later.bad(0).error.field == "body.prompt");
  CHECK(!later.bad(0).duplicate);
  CHECK(!later.bad(1).duplicate);
  CHECK(later.job(2).custom_id == "same");
}

TEST_CASE("conversations") {
  const ReadJobs jobs = ReadJobFile(Chat(
      R"({"role": "system", "content": "Be brief."},)"
      R"({"role": "developer", "content": [{"type": "text", "text": "In French."}]},)"
      R"({"role": "user", "content": [{"type": "text", "text": "What"}, {"type": "image_url", "image_url":)"
      R"( {"url": "data:image/png;base64,AAAA", "detail": "high"}}, {"type": "text", "text": "is this?"}]},)"
      R"({"role": "assistant", "content": "A cat."},)"
      R"({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///tmp/a%20b.png"}},)"
      R"( {"type": "image_url", "image_url": {"url": "c.png"}}]},)"
      R"({"role": "assistant", "content": [{"type": "text", "text": "Two."}]},)"
      R"({"role": "user", "content": "And?", "name": "x"})",
      R"(, "max_tokens": 50, "temperature": 0.5, "top_p": 0.9, "seed": 3, "n": 1, "stream": false, "stop": null,)"
      R"( "user": "u", "frequency_penalty": 0.0, "response_format": {"type": "text"})"));
  const AnswerJob& answer = jobs.answer(0);
  CHECK(jobs.job(0).model == "m");
  CHECK(answer.images == std::vector<std::string>{"data:image/png;base64,AAAA", "/tmp/a b.png", "c.png"});
  REQUIRE(answer.turns.size() == 3);
  CHECK(answer.turns[0].question == "Be brief.\n\nIn French.\n\nWhat\nis this?");
  CHECK(answer.turns[0].images == 1);
  CHECK(answer.turns[0].answer == "A cat.");
  CHECK(answer.turns[1].question == "Describe this image.");
  CHECK(answer.turns[1].images == 2);
  CHECK(answer.turns[1].answer == "Two.");
  CHECK(answer.turns[2].question == "And?");
  CHECK(answer.turns[2].images == 0);
  CHECK(answer.turns[2].answer.empty());
  CHECK(answer.max_tokens == 50);
  CHECK(answer.temperature == 0.5f);
  CHECK(answer.top_p == 0.9f);
  CHECK(answer.seed == 3);
}

TEST_CASE("wrong conversations") {
  const std::string user = R"({"role": "user", "content": "x"})";
  const std::string assistant = R"({"role": "assistant", "content": "y"})";
  CheckBad(Request("a", "/v1/chat/completions", "{}"), "body.messages", "missing");
  CheckBad(Request("a", "/v1/chat/completions", R"({"messages": "x"})"), "body.messages", "list");
  CheckBad(Chat(""), "body.messages", "list");
  CheckBad(Chat("3"), "body.messages[0]", "object");
  CheckBad(Chat(R"({"content": "x"})"), "body.messages[0].role", "must be user");
  CheckBad(Chat(R"({"role": "tool", "content": "x"})"), "body.messages[0].role", "\"tool\"");
  CheckBad(Chat(R"({"role": "user"})"), "body.messages[0].content", "missing");
  CheckBad(Chat(R"({"role": "user", "content": ""})"), "body.messages[0].content", "empty");
  CheckBad(Chat(R"({"role": "user", "content": []})"), "body.messages[0].content", "empty");
  CheckBad(Chat(R"({"role": "user", "content": 3})"), "body.messages[0].content", "text");
  CheckBad(Chat(user + "," + user), "body.messages[1].role", "alternate");
  CheckBad(Chat(assistant), "body.messages[0].role", "no question");
  CheckBad(Chat(user + "," + assistant), "body.messages", "end with");
  CheckBad(Chat(user + "," + assistant + "," + assistant), "body.messages[2].role", "no question");
  CheckBad(Chat(user + R"(,{"role": "system", "content": "x"})"), "body.messages[1].role",
           "after the first question");
  CheckBad(Chat(R"({"role": "system", "content": "x"})"), "body.messages", "end with");

  const auto part = [&](const std::string& text, const std::string& field, const std::string& says) {
    CheckBad(Chat(R"({"role": "user", "content": [)" + text + "]}"), "body.messages[0].content[0]" + field,
             says);
  };
  part(R"({"type": "input_audio"})", ".type", "text or image_url");
  part("7", ".type", "text or image_url");
  part(R"({"type": "text"})", ".text", "text");
  part(R"({"type": "image_url"})", ".image_url.url", "text");
  part(R"({"type": "image_url", "image_url": "x.png"})", ".image_url.url", "text");
  const auto url = [&](const std::string& text, const std::string& says) {
    part(R"({"type": "image_url", "image_url": {"url": ")" + text + "\"}}", ".image_url.url", says);
  };
  url("https://example.org/a.png", "nothing is downloaded");
  url("ftp://example.org/a.png", "must be a data: URI");
  url("-", "must be a data: URI");
  url("file://server/a.png", "another host");
  url("FILE://SERVER/a.png", "another host");
  url("HTTPS://example.org/a.png", "nothing is downloaded");
  url("Http://example.org/a.png", "nothing is downloaded");
  url("file:a.png", "file:///folder/image.png");
  url("file:///a%00.png", "file:///folder/image.png");
  CheckBad(Chat(R"({"role": "system", "content": [{"type": "image_url", "image_url": {"url": "a"}}]})"),
           "body.messages[0].content[0].type", "only users");

  const auto more = [&](const std::string& text, const std::string& field, const std::string& says) {
    CheckBad(Chat(user, ", " + text), "body." + field, says);
  };
  more(R"("n": 2)", "n", "not supported");
  more(R"("stream": true)", "stream", "not supported");
  more(R"("tools": [{}])", "tools", "not supported");
  more(R"("logprobs": true)", "logprobs", "not supported");
  more(R"("stop": "x")", "stop", "not supported");
  more(R"("max_tokens": 0)", "max_tokens", "from 1");
  more(R"("max_tokens": 5, "max_completion_tokens": 5)", "max_tokens", "again");
  more(R"("temperature": "hot")", "temperature", "number");
  more(R"("seed": 0.5)", "seed", "whole");
  more(R"("top_p": 2)", "top_p", "from 0 to 1");
  more(R"("temprature": 1)", "temprature", "no parameter");
}

}  // namespace
}  // namespace bifrons
