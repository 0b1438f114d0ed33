// Lists that are JSON, but no JSON lines: arrays, objects over many lines, arrays that objects hold.
#include <fcntl.h>
#include <unistd.h>

#include "tests/job_files.h"

namespace bifrons {
namespace {

std::vector<std::string> Prompts(const std::string& text, const std::string& name = "jobs.json") {
  INFO(text.substr(0, 300));
  const ReadJobs jobs = ReadJobFile(text, name);
  CHECK(jobs.format == JobFormat::kJson);
  std::vector<std::string> prompts;
  for (size_t i = 0; i < jobs.entries.size(); i++) prompts.push_back(jobs.picture(i).prompt);
  return prompts;
}

using Texts = std::vector<std::string>;

const std::string kCat = R"({"prompt": "a cat", "seed": 1})", kDog = R"({"prompt": "a dog", "seed": 2})";

TEST_CASE("arrays of objects and of texts") {
  for (const std::string& array :
       {"[" + kCat + "," + kDog + "]", "[" + kCat + ", " + kDog + "]\n", " [ " + kCat + " , " + kDog + " ] ",
        "[\n" + kCat + ",\n" + kDog + "\n]\n", "[\r\n  " + kCat + "\r\n  ,\r\n  " + kDog + "\r\n]\r\n",
        "\xEF\xBB\xBF[" + kCat + "," + kDog + ",]", "\n\n[\n\n" + kCat + "," + kDog + ",\n]",
        "[" + kCat + "]\n[" + kDog + "]", "[" + kCat + "][" + kDog + "]",
        "[" + kCat + "],\n[" + kDog + "]"}) {
    CHECK(Prompts(array) == Texts{"a cat", "a dog"});
    CHECK(Prompts(array, "jobs.txt") == Texts{"a cat", "a dog"});
  }
  CHECK(Prompts(R"(["a cat", "a \"red\" dog", "[x]", "\u00e9"])") ==
        Texts{"a cat", "a \"red\" dog", "[x]", "é"});
  CHECK(Prompts("[\n\"a cat\",\n\n\"a dog\"\n]") == Texts{"a cat", "a dog"});
  CHECK(Prompts(R"(["a cat", {"prompt": "a dog"}])") == Texts{"a cat", "a dog"});
  CHECK(Prompts("[]").empty());
  CHECK(Prompts("[\n]\n").empty());
  CHECK(Prompts("[]\n[]").empty());
}

TEST_CASE("pretty-printed entries name the line where they begin") {
  const ReadJobs jobs = ReadJobFile(
      "[\n  {\n    \"prompt\": \"a cat\",\n    \"seed\": 1\n  },\n  {\n    \"prompt\": \"a dog\",\n    "
      "\"sead\": 2\n  "
      "},\n  {\n    \"prompt\": \"a fox\"\n  }\n]\n");
  REQUIRE(jobs.entries.size() == 3);
  CHECK(jobs.picture(0).seed == 1);
  CHECK_THAT(jobs.job(0).where, Catch::EndsWith("jobs line 2"));
  CHECK(jobs.bad(1).error.field == "sead");  // the others go on
  CHECK_THAT(jobs.bad(1).where, Catch::EndsWith("line 6"));
  CHECK(jobs.picture(2).prompt == "a fox");
  CHECK_THAT(jobs.job(2).where, Catch::EndsWith("line 10"));
  CHECK(jobs.job(2).index == 2);
}

TEST_CASE("objects over many lines") {
  const std::string cat = "{\n  \"prompt\": \"a cat\",\n  \"seed\": 1\n}\n",
                    dog = "{\n\"prompt\":\n\"a dog\"}";
  CHECK(Prompts(cat) == Texts{"a cat"});
  CHECK(Prompts(cat + dog) == Texts{"a cat", "a dog"});
  CHECK(Prompts(cat + "\n" + kDog + "\n" + cat) == Texts{"a cat", "a dog", "a cat"});
  CHECK(Prompts(kDog + "\n" + cat) == Texts{"a dog", "a cat"});
  CHECK(Prompts(dog + dog) == Texts{"a dog", "a dog"});  // as cat joins files without a last line break
  CHECK(Prompts(kCat + kDog) == Texts{"a cat", "a dog"});
  CHECK(Prompts("{\r\n\t\"prompt\": \"a cat\"\r\n}\r\n" + dog) == Texts{"a cat", "a dog"});
  CHECK(Prompts(kCat + ",\n" + kDog + ",\n") == Texts{"a cat", "a dog"});
}

TEST_CASE("an object that holds the list") {
  CHECK(Prompts("{\n \"prompts\": [\n  \"a cat\",\n  \"a dog\"\n ]\n}\n") == Texts{"a cat", "a dog"});
  for (const char* name : {"jobs", "prompts", "requests", "entries", "items", "data"})
    CHECK(Prompts("{\"" + std::string(name) + "\": [" + kCat + "," + kDog + "]}") == Texts{"a cat", "a dog"});
  CHECK(Prompts("{\"jobs\":\n[\n" + kCat + "\n,\n" + kDog + "\n]\n}") == Texts{"a cat", "a dog"});
  CHECK(Prompts("{\"jobs\": []}").empty());
  CHECK(Prompts("{\"jobs\": [" + kCat + "], \"prompts\": [\"a dog\"]}") == Texts{"a cat", "a dog"});
  CHECK(Prompts("{\"jobs\": [" + kCat + "]}\n{\"jobs\": [" + kDog + "]}") == Texts{"a cat", "a dog"});
  // What stands beside it is counted, and is a mistake where it would have meant something.
  const ReadJobs jobs = ReadJobFile(R"({"version": 2, "tags": ["x", {"jobs": [1]}], "jobs": [)" + kCat +
                                    R"(], "note": "by hand"})");
  REQUIRE(jobs.entries.size() == 1);
  CHECK(jobs.picture(0).seed == 1);
  CHECK(jobs.passed_over == 3);
  for (const std::string& text :
       {R"({"seed": 7, "jobs": [)" + kCat + "]}", R"({"jobs": [)" + kCat + R"(], "seed": 7})"}) {
    const ReadJobs beside = ReadJobFile(text);
    REQUIRE(beside.entries.size() == 2);
    const bool first = std::holds_alternative<BadJob>(beside.entries[0]);
    CHECK_THAT(beside.bad(first ? 0 : 1).error.message, Catch::Contains("seed stands beside the list"));
    CHECK(beside.picture(first ? 1 : 0).prompt == "a cat");
  }
  // A job's own field of that name is none of its.
  CheckBad(R"({"prompt": "a", "data": [1]})", "data", "no field");
  CheckBad(R"({"seed": 7, "jobs": {"prompt": "a"}})", "jobs", "no field");
}

TEST_CASE("arrays of the other formats") {
  const auto request = [](const std::string& id) {
    return R"({"custom_id": ")" + id +
           R"(", "method": "POST", "url": "/v1/images/generations", "body": {"prompt": "x"}})";
  };
  const ReadJobs batch = ReadJobFile("[" + request("a") + ",\n" + request("b") + "]");
  CHECK(batch.format == JobFormat::kOpenAi);
  CHECK(batch.job(1).custom_id == "b");
  CHECK(ReadJobFile("{\"requests\": [" + request("a") + "]}").format == JobFormat::kOpenAi);
  const ReadJobs geneval = ReadJobFile(
      "[\n  {\n    \"tag\": \"t\",\n    \"include\": [\n      1\n    ],\n    \"prompt\": \"a b\"\n  }\n]");
  CHECK(geneval.format == JobFormat::kGenEval);
  CHECK(geneval.picture(0).prompt == "a b");
  CHECK(geneval.job(0).geneval_metadata.find('\n') == std::string::npos);
  CheckBad("[" + request("a") + "x]", "", "nothing from here on was read");
  const ReadJobs texts = ReadJobFile("[" + request("a") + ", \"a text\"]");
  CHECK_THAT(texts.bad(1).error.message, Catch::Contains("not a JSON object"));
}

// The rest of a broken array cannot be told from its contents.
TEST_CASE("a syntax error in an array ends the reading, and says so") {
  const auto ends = [](const std::string& text, size_t good, const std::string& line,
                       const std::string& says) {
    INFO(text);
    const ReadJobs jobs = ReadJobFile(text);
    REQUIRE(jobs.entries.size() == good + 1);
    for (size_t i = 0; i < good; i++) CHECK(jobs.picture(i).prompt == "a cat");
    const BadJob& bad = jobs.bad(good);
    CHECK_THAT(bad.where, Catch::EndsWith("line " + line));
    CHECK_THAT(bad.error.message, Catch::Contains("not valid JSON"));
    CHECK_THAT(bad.error.message, Catch::Contains(says));
    CHECK(bad.error.kind == ErrorKind::kBadData);
  };
  const std::string unread = "nothing from here on was read", cat = R"({"prompt": "a cat"})";
  ends("[" + cat + ",\n{\"prompt\": \"a\" \"b\"},\n" + cat + "]", 1, "2", unread);
  ends("[" + cat + ",\n{\"prompt\": \"a 5\" disk\"},\n" + cat + "]", 1, "2", unread);
  ends("[" + cat + ",\n{\"prompt\": \"a\", \"cfg\": NaN},\n" + cat + "]", 1, "2", unread);
  ends("[" + cat + ",\n{\"prompt\": \"a\",},\n" + cat + "]", 1, "2", unread);
  ends("[" + cat + ",\n// a comment\n" + cat + "]", 1, "2", unread);
  ends("[" + cat + "\n" + cat + "]", 1, "2", "a comma is missing");
  ends("[" + cat + ",\n\"a \"red\" dog\", " + cat + "]", 1, "2", "a comma is missing");
  ends("[" + cat + ",\n," + cat + "]", 1, "2", "a comma stands");
  ends("[\n" + cat + ",\n}\n]", 1, "3", unread);
  ends("[\n" + cat + "\n}\n]", 1, "3", unread);
  ends("[" + cat + ",\n" + cat + "\n", 2, "3", "list that begins in line 1 is not closed");
  ends("[" + cat + ",\n{\"prompt\": \"a\n", 1, "2", unread);
  ends("[" + cat + ",\n{\"prompt\": {\n", 1, "2", unread);
  ends("{\"jobs\": [" + cat + "]\n", 1, "2", unread);
  ends("{\"jobs\": [" + cat + "],\n\"x\": y}\n" + cat, 1, "2", unread);
  // Python's own way to print.
  CHECK_THAT(ReadJobFile("['a cat', 'a dog']\n").bad(0).error.message, Catch::Contains("not valid JSON"));
  CHECK_THAT(ReadJobFile("{'prompt': 'a cat'}\n").bad(0).error.message, Catch::Contains("not valid JSON"));
}

TEST_CASE("entries of an array that are wrong, but valid JSON, do not end the reading") {
  const ReadJobs jobs = ReadJobFile(R"([1, null, ["a cat"], {"prompt": 3}, {"prompt": "a", "seed": 1e999},
    {"prompt": "caf)"
                                    "\xE9"
                                    R"("}, {"a": )" +
                                    std::string(100, '[') + std::string(100, ']') + R"(}, "a cat"])");
  REQUIRE(jobs.entries.size() == 8);
  for (size_t i : {0u, 1u, 2u}) CHECK_THAT(jobs.bad(i).error.message, Catch::Contains("not a JSON object"));
  CHECK(jobs.bad(3).error.field == "prompt");
  CHECK_THAT(jobs.bad(4).error.message, Catch::Contains("too large"));
  CHECK_THAT(jobs.bad(5).error.message, Catch::Contains("not UTF-8"));
  CHECK_THAT(jobs.bad(6).error.message, Catch::Contains("nested deeper"));
  CHECK(jobs.picture(7).prompt == "a cat");
}

TEST_CASE("broken objects between others") {
  const auto read = [](const std::string& text) { return ReadJobFile(kCat + "\n" + text + kDog + "\n"); };
  // A torn line is not continued by the next object.
  const ReadJobs torn = read("{\"prompt\": \"a\", \"seed\":\n");
  REQUIRE(torn.entries.size() == 3);
  CHECK_THAT(torn.bad(1).where, Catch::EndsWith("line 2"));
  CHECK(torn.picture(2).prompt == "a dog");
  // Of a pretty-printed one all lines belong to the one failure.
  const ReadJobs pretty = read("{\n  \"prompt\": \"a,\n  \"seed\": 1\n}\n");
  REQUIRE(pretty.entries.size() == 3);
  CHECK_THAT(pretty.bad(1).error.message, Catch::Contains("to line 5, was not read"));
  CHECK(pretty.picture(2).prompt == "a dog");
  const ReadJobs comma = read("{\n  \"prompt\": \"a\"\n  \"seed\": 1\n}\n");
  REQUIRE(comma.entries.size() == 3);
  CHECK_THAT(comma.bad(1).error.message, Catch::Contains("not valid JSON (in line 4)"));
  CHECK(comma.picture(2).prompt == "a dog");
  CHECK(read("x\n").entries.size() == 3);
  CHECK(read("}\n]\n").entries.size() == 4);
  CHECK(read("\"a text\"\n").picture(1).prompt == "a text");
  CheckBad("{\n\"prompt\": \"a\",\n", "", "not valid JSON");
}

TEST_CASE("prompts of web UIs with brackets and braces stay prompts") {
  for (const std::string prompt :
       {"[a cat:a dog:0.5], photo", "[cat], [dog]", "[[cat]]", "[", "[(cat:1.2)]", "[{red|blue} cat:dog:0.5]",
        "{red|blue} cat", "{2$$red|blue}", "[1girl], solo", "[\"Mona Lisa\"], oil", "[\"Mona Lisa\" by him]",
        "[0.5:cat]", "[true crime] poster", "[]", "{", "{a", "[cat\n]"}) {
    INFO(prompt);
    const ReadJobs jobs = ReadJobFile(prompt + "\na second one\n");
    CHECK(jobs.format == (prompt == "[]" ? JobFormat::kJson : JobFormat::kLines));
    if (prompt.size() < 3) continue;  // no picture of a bracket
    CHECK(jobs.picture(0).prompt == prompt.substr(0, prompt.find('\n')));
  }
}

TEST_CASE("the elements of an array arrive one by one") {
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  const auto write_text = [&](const std::string& text) {
    REQUIRE(write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  };
  // Were more waited for, these would never return: the writer is this thread.
  write_text("[{\"prompt\": \"a cat\"}");
  auto reader = JobReader::Open("/dev/fd/" + std::to_string(ends[0]));
  REQUIRE(reader.ok());
  CHECK(std::get<Job>(**(*reader)->Next()).picture->prompt == "a cat");
  write_text(", \"a dog\"");
  CHECK(std::get<Job>(**(*reader)->Next()).picture->prompt == "a dog");
  write_text(",\n{\n\"prompt\"");
  write_text(": \"a fox\"\n}");
  CHECK(std::get<Job>(**(*reader)->Next()).picture->prompt == "a fox");
  write_text("\n]\n");
  close(ends[1]);
  CHECK(!*(*reader)->Next());
  close(ends[0]);
}

}  // namespace
}  // namespace bifrons
