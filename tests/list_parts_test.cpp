// Which halves of the model a batch needs is seen in its text, however its JSON is written.
#include "src/jobs/list_parts.h"

#include "tests/run_program.h"

namespace bifrons {
namespace {

std::string Parts(const std::string& text) {
  const TemporaryFolder folder;
  WriteText(folder / "jobs.jsonl", text);
  const auto parts = PartsForJobs(folder / "jobs.jsonl", JobFormat::kOpenAi);
  REQUIRE(parts.ok());
  return std::string(parts->drawing ? "draws" : "") + (parts->understanding ? "answers" : "");
}

std::string Request(const std::string& url) {
  return R"({"custom_id": "a", "method": "POST", "url": ")" + url +
         R"(", "body": {"prompt": "é \u00e9 \u4e2d"}})" + "\n";
}

TEST_CASE("a batch's parts are those that its requests are for") {
  const std::string picture = Request("/v1/images/generations"), answer = Request("/v1/chat/completions");
  CHECK(Parts(picture) == "draws");
  CHECK(Parts(answer) == "answers");
  CHECK(Parts(picture + answer) == "drawsanswers");
  CHECK(Parts(Request("\\/v1\\/images\\/generations")) == "draws");
  CHECK(Parts(Request("\\/v1\\/chat\\/completions")) == "answers");
  for (const char* url :
       {"/v1/ch\\u0061t/completions", "/v1/chat\\u002fcompletions", "/v1/chat\\u002Fcompletions"})
    CHECK(Parts(Request(url)) == "drawsanswers");
  CHECK(Parts("[" + picture + "," + answer + "]") == "drawsanswers");
  // Wherever it stands, between two pieces of the file too.
  const size_t chunk = size_t{1} << 20;
  for (size_t before = chunk - 60; before < chunk + 60; before += 7)
    CHECK(Parts(picture + std::string(before - picture.size(), ' ') + answer) == "drawsanswers");
}

TEST_CASE("candidates are judged by the half that answers") {
  const TemporaryFolder folder;
  const auto judges = [&](const std::string& text, JobFormat format, std::optional<int> best_of = {}) {
    WriteText(folder / "jobs", text);
    const auto parts = PartsForJobs(folder / "jobs", format, best_of);
    REQUIRE(parts.ok());
    CHECK(parts->drawing);
    return parts->understanding;
  };
  const std::string picture = Request("/v1/images/generations");
  CHECK(judges(picture + R"({"best_of": 2})", JobFormat::kOpenAi));
  CHECK(judges(R"({"prompt": "a", "best_of": 2})", JobFormat::kJson));
  CHECK(judges(R"({"prompt": "a", "b\u0065st_of": 2})", JobFormat::kJson));
  CHECK(judges("prompt,best_of\na,2\n", JobFormat::kCsv));
  CHECK(judges("Prompt;BEST_Of\na;2\n", JobFormat::kCsv));
  CHECK(judges("a\n--prompt a --best_of 2\n", JobFormat::kLines));
  CHECK(judges("--prompt a --best-of 2\n", JobFormat::kLines));
  CHECK(judges("a\n", JobFormat::kLines, 2));
  CHECK_FALSE(judges("a\n", JobFormat::kLines, 1));
  CHECK_FALSE(judges("a\n", JobFormat::kLines));
  CHECK_FALSE(judges(picture, JobFormat::kOpenAi));
  for (const std::optional<int> best_of : {std::optional<int>(), std::optional(1), std::optional(2)})
    CHECK(PartsForJobs("-", JobFormat::kLines, best_of)->understanding == best_of.has_value());
}

TEST_CASE("other lists draw, and of a stream its format tells") {
  const TemporaryFolder folder;
  WriteText(folder / "jobs.txt", "a chat/completions prompt\n");
  CHECK_FALSE(PartsForJobs(folder / "jobs.txt", JobFormat::kLines)->understanding);
  const auto stream = PartsForJobs("-", JobFormat::kOpenAi);
  REQUIRE(stream.ok());
  CHECK((stream->drawing && stream->understanding));
}

}  // namespace
}  // namespace bifrons
