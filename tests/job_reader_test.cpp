// Job files of every format, right and wrong, and read while they are still being written.
#include <fcntl.h>
#include <unistd.h>

#include "src/jobs/line_reader.h"
#include "tests/job_files.h"

namespace bifrons {
namespace {

std::string OpenError(const std::string& text, const std::string& name, ErrorKind kind) {
  const TemporaryFolder folder;
  WriteText(folder / name, text);
  const auto reader = JobReader::Open(folder / name);
  REQUIRE(!reader.ok());
  CHECK(reader.error().kind == kind);
  return reader.error().message;
}

TEST_CASE("prompts, one per line") {
  const ReadJobs jobs = ReadJobFile("\na cat\r\n \t\n  a dog, prompt {red|blue} \n\nein Käse 猫");
  CHECK(jobs.format == JobFormat::kLines);
  REQUIRE(jobs.entries.size() == 3);
  CHECK(jobs.passed_over == 0);
  CHECK(jobs.picture(0).prompt == "a cat");
  CHECK(jobs.picture(1).prompt == "a dog, prompt {red|blue}");
  CHECK(jobs.picture(2).prompt == "ein Käse 猫");
  CHECK(jobs.job(2).index == 2);
  CHECK_THAT(jobs.job(1).where, Catch::EndsWith("jobs line 4"));
  CHECK(!jobs.picture(0).seed);
  CHECK(!jobs.picture(0).images);
}

TEST_CASE("an empty file has no jobs") {
  for (const char* text : {"", "\n\n", "\xEF\xBB\xBF", "\xEF\xBB\xBF\r\n"})
    CHECK(ReadJobFile(text).entries.empty());
}

TEST_CASE("a byte order mark is not part of the first line") {
  const std::string mark = "\xEF\xBB\xBF";
  CHECK(ReadJobFile(mark + "a cat\r\n").picture(0).prompt == "a cat");
  CHECK(ReadJobFile(mark + R"({"prompt": "a cat"})").format == JobFormat::kJson);
  CHECK(ReadJobFile(mark + "Prompt;Seed\r\na cat;3\r\n").picture(0).seed == 3);
}

TEST_CASE("files that are no job files") {
  CHECK_THAT(OpenError("PK\x03\x04\x14xl/workbook", "jobs.xlsx", ErrorKind::kBadData),
             Catch::Contains("ZIP archive"));
  CHECK_THAT(OpenError("\x1F\x8B\x08", "jobs.jsonl.gz", ErrorKind::kBadData), Catch::Contains("gzip"));
  CHECK_THAT(OpenError(std::string("\xFF\xFE", 2) + std::string("a\0\n\0", 4), "jobs", ErrorKind::kBadData),
             Catch::Contains("UTF-16"));
  using namespace std::string_literals;
  for (const auto& [text, what] : {std::pair{"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"s, "a PNG picture"},
                                   {"\xFF\xD8\xFF\xE0\0\x10JFIF"s, "a JPEG picture"},
                                   {"GIF89a\x01"s, "a GIF picture"},
                                   {"RIFF\x24\0\0\0WEBPVP8 "s, "a WebP picture"},
                                   {"%PDF-1.7\n%\xE2\xE3\n"s, "a PDF document"},
                                   {"\x7F\x45LF\x02\0\0\nx"s, "binary"}}) {
    CHECK_THAT(OpenError(text, "jobs", ErrorKind::kBadData),
               Catch::EndsWith("jobs: this is "s + what + ", not a list of prompts"));
  }
  CHECK_THAT(OpenError("text,seed\na,1\n", "jobs.csv", ErrorKind::kBadData), Catch::Contains("prompt"));
  CHECK_THAT(OpenError("prompt,cfg,Guidance\n", "jobs", ErrorKind::kBadData), Catch::Contains("same field"));
  const TemporaryFolder folder;
  for (const std::string& path : {folder.path().string(), folder / "missing"}) {
    const auto reader = JobReader::Open(path);
    REQUIRE(!reader.ok());
    CHECK(reader.error().kind == ErrorKind::kBadData);
    CHECK_THAT(reader.error().message, Catch::StartsWith(path));
  }
}

// What Python's shlex.split makes of the lines' values was taken from CPython 3.11.
TEST_CASE("A1111's lines") {
  const ReadJobs jobs = ReadJobFile(
      "--prompt \"a cat\" --seed 7 --cfg_scale 5.5 --n_iter 2 --batch_size 3 --width 512 --height 384\n"
      "--steps 20 --sampler_name \"DPM++ 2M\" --prompt a dog on --seed -1 --negative_prompt \"\" --tiling "
      "false\n"
      "--prompt 'it''s' \"a \\\"red\\\" \\n\" b\\ c\"d\"e\n"
      "--unknown is a prompt\n"
      "a house --prompt\n"
      "--prompt --seed\n");
  CHECK(jobs.format == JobFormat::kLines);
  REQUIRE(jobs.entries.size() == 6);
  const PictureJob& cat = jobs.picture(0);
  CHECK(cat.prompt == "a cat");
  CHECK(cat.seed == 7);
  CHECK(cat.settings.guidance == 5.5f);
  CHECK(cat.images == 6);
  CHECK(cat.width == 512);
  CHECK(cat.height == 384);
  CHECK(jobs.picture(1).prompt == "a dog on");
  CHECK(!jobs.picture(1).seed);
  CHECK(jobs.picture(2).prompt == R"(its a "red" \n b cde)");
  CHECK(jobs.picture(3).prompt == "--unknown is a prompt");
  CHECK(jobs.picture(4).prompt == "a house --prompt");
  CHECK(jobs.picture(5).prompt == "--seed");  // as A1111 takes it
}

TEST_CASE("a table's columns may be titles, or spelt as on the command line") {
  const ReadJobs jobs = ReadJobFile("Prompt,Best-Of\na dog,2\n", "jobs.csv");
  CHECK(jobs.picture(0).prompt == "a dog");
  CHECK(jobs.picture(0).best_of == 2);
}

TEST_CASE("A1111's tags may be spelt as on the command line") {
  const ReadJobs jobs = ReadJobFile("--prompt a dog --best-of 2 --cfg-scale 3\n--best_of 3 --prompt a cat\n");
  CHECK(jobs.picture(0).prompt == "a dog");
  CHECK((jobs.picture(0).best_of == 2 && jobs.picture(0).settings.guidance == 3.f));
  CHECK(jobs.picture(1).best_of == 3);
}

TEST_CASE("wrong A1111 lines") {
  CheckBad("--seed 1", "--prompt", "missing");
  CheckBad("--prompt a --seed", "--seed", "no value");
  CheckBad("--prompt a --seed x", "--seed", "\"x\"");
  CheckBad("--prompt a --seed 1 2", "2", "no tag");
  CheckBad("--prompt a --sed 1", "--sed", "no tag");
  CheckBad("--prompt \"a", "", "not closed");
  CheckBad("--prompt a\\", "", "backslash");
  CheckBad("--prompt a --negative_prompt b", "--negative_prompt", "not supported");
  CheckBad("--prompt a --tiling true", "--tiling", "not supported");
  CheckBad("--prompt a --styles ink", "--styles", "not supported");
  CheckBad("--prompt a --n_iter 0", "--n_iter", "from 1");
  CheckBad("--prompt a --n_iter 10000 --batch_size 1000", "--n_iter", "1000000");
  CheckBad("--prompt a --prompt b", "--prompt", "again");
  CheckBad("--prompt \"\"", "--prompt", "missing");
}

TEST_CASE("JSON lines") {
  const ReadJobs jobs = ReadJobFile(
      R"({"prompt": "a cat", "n": 4, "seed": 9007199254740991, "cfg": -1.5, "temperature": 0, "top_k": 5,)"
      R"( "top_p": 0.5, "min_p": 1, "file": "cats/a.jpg", "format": "jpeg", "index": 17, "size": "512x256"})"
      "\r\n\n"
      R"({"prompt": "line\nbreak", "guidance": 2, "seed": null, "file_name": "b", "n": 2.0, "width": 384})"
      "\n"
      R"({"cfg_scale": 3, "prompt": "x", "size": "auto"})");
  CHECK(jobs.format == JobFormat::kJson);
  const PictureJob& cat = jobs.picture(0);
  CHECK(cat.prompt == "a cat");
  CHECK(cat.images == 4);
  CHECK(cat.seed == 9007199254740991);
  CHECK(cat.settings.guidance == -1.5f);
  CHECK(cat.settings.temperature == 0.0f);
  CHECK(cat.settings.top_k == 5);
  CHECK(cat.settings.top_p == 0.5f);
  CHECK(cat.settings.min_p == 1.0f);
  CHECK(cat.file == "cats/a.jpg");
  CHECK(cat.format == "jpg");
  CHECK(cat.width == 512);
  CHECK(cat.height == 256);
  CHECK(jobs.job(0).index == 17);
  const PictureJob& second = jobs.picture(1);
  CHECK(second.prompt == "line\nbreak");
  CHECK(second.settings.guidance == 2.0f);
  CHECK(!second.seed);
  CHECK(second.file == "b");
  CHECK(second.images == 2);
  CHECK(second.width == 384);
  CHECK(second.height == 0);
  CHECK(jobs.job(1).index == 1);
  CHECK_THAT(jobs.job(1).where, Catch::EndsWith("line 3"));
  CHECK(jobs.picture(2).settings.guidance == 3.0f);
  CHECK(jobs.picture(2).width == 0);
}

TEST_CASE("wrong JSON lines") {
  const auto with = [](const std::string& more) { return R"({"prompt": "a", )" + more + "}"; };
  CheckBad("{}", "prompt", "missing");
  CheckBad(R"({"seed": 1})", "prompt", "missing");
  CheckBad(R"({"prompt": ""})", "prompt", "empty");
  CheckBad(R"({"prompt": " \u3000\n"})", "prompt", "white space");
  CheckBad(R"({"prompt": 3})", "prompt", "must be a text");
  CheckBad(R"({"prompt": ["a"]})", "prompt", "must be a text");
  CheckBad(R"({"prompt": "a\u0000b"})", "prompt", "NUL");
  CheckBad(R"({"prompt": "a)", "", "not valid JSON");
  CheckBad(R"({"prompt": "a"} x)", "", "not valid JSON");
  CheckBad(with(R"("seed": 1e999)"), "", "too large");
  CheckBad(with(R"("sede": 1)"), "sede", "there are prompt, n, seed");
  CheckBad(with(R"("seed": -1)"), "seed", "is -1; it must be a whole number from 0 to 9007199254740991");
  CheckBad(with(R"("seed": 9007199254740992)"), "seed", "from 0 to");
  CheckBad(with(R"("seed": 18446744073709551615)"), "seed", "from 0 to");
  CheckBad(with(R"("seed": 1.5)"), "seed", "whole");
  CheckBad(with(R"("seed": "1")"), "seed", "whole");
  CheckBad(with(R"("seed": true)"), "seed", "whole");
  CheckBad(with(R"("n": 0)"), "n", "from 1 to 1000000");
  CheckBad(with(R"("n": 1000001)"), "n", "from 1 to 1000000");
  CheckBad(with(R"("cfg": 1001)"), "cfg", "from -1000 to 1000");
  CheckBad(with(R"("cfg": 1, "guidance": 1)"), "guidance", "again");
  CheckBad(with(R"("temperature": -0.1)"), "temperature", "from 0 to 1000");
  CheckBad(with(R"("top_k": 1073741825)"), "top_k", "1073741824");
  CheckBad(with(R"("top_p": 1.01)"), "top_p", "from 0 to 1");
  CheckBad(with(R"("min_p": "no")"), "min_p", "\"no\"");
  CheckBad(with(R"("file": "/etc/x.png")"), "file", "absolute");
  CheckBad(with(R"("file": "a/../../x.png")"), "file", "..");
  CheckBad(with(R"("format": "gif")"), "format", "png, jpg or webp");
  CheckBad(with(R"("size": "big")"), "size", "384x384");
  CheckBad(with(R"("size": "0x384")"), "size", "384x384");
  CheckBad(with(R"("size": "384x384x3")"), "size", "384x384");
  CheckBad(with(R"("size": "384x384", "width": 384)"), "width", "again");
  CheckBad(with(R"("width": 4097)"), "width", "from 1 to 4096");
  CheckBad(with(R"("size": "4096x4097")"), "size", "from 1 to 4096");
  CheckBad(with(R"("negative_prompt": "b")"), "negative_prompt", "not supported");
  CheckBad(R"({"prompt": )" + std::string(100'000, '[') + std::string(100'000, ']') + "}", "",
           "nested deeper");
}

TEST_CASE("a line that begins with # is a prompt") {
  const ReadJobs jobs = ReadJobFile("#1 dad mug\na cat\n# {\"prompt\"}\n#\n");
  CHECK(jobs.format == JobFormat::kLines);
  REQUIRE(jobs.entries.size() == 4);
  CHECK(jobs.picture(0).prompt == "#1 dad mug");
  CHECK(jobs.picture(2).prompt == "# {\"prompt\"}");
  CHECK(jobs.picture(3).prompt == "#");
  CHECK(jobs.passed_over == 0);
  CHECK(ReadJobFile("prompt,seed\n#1 dad mug,3\n").picture(0).prompt == "#1 dad mug");
}

TEST_CASE("comments, where they are asked for") {
  const ReadJobs jobs = ReadJobFile("# a list\n\na cat\n \t# no\na #dog\n//x\n", "jobs", "#");
  REQUIRE(jobs.entries.size() == 3);
  CHECK(jobs.picture(1).prompt == "a #dog");
  CHECK(jobs.picture(2).prompt == "//x");
  CHECK(jobs.passed_over == 2);
  CHECK(ReadJobFile("//x\na\n", "jobs", "//").entries.size() == 1);
  // They hide no format.
  const std::string line = "{\"prompt\": \"a\"}\n";
  const ReadJobs lines = ReadJobFile("# with a comment\n\n" + line + "# another\n" + line, "jobs", "#");
  CHECK(lines.format == JobFormat::kJson);
  CHECK(lines.picture(1).prompt == "a");
  CHECK(lines.passed_over == 2);
  const ReadJobs array = ReadJobFile("# with a comment\n[" + line + "]", "jobs", "#");
  CHECK(array.picture(0).prompt == "a");
  const ReadJobs csv = ReadJobFile("#\nprompt,seed\n#one,1\n\"two\n# lines\",2\n", "jobs", "#");
  CHECK(csv.format == JobFormat::kCsv);
  REQUIRE(csv.entries.size() == 1);
  CHECK(csv.picture(0).prompt == "two\n# lines");
  CHECK(csv.passed_over == 2);
  CHECK(ReadJobFile("#\n# nothing\n", "jobs", "#").passed_over == 2);
}

TEST_CASE("formats do not mix") {
  const std::string line = "{\"prompt\": \"a\"}\n";
  const ReadJobs mixed = ReadJobFile("a cat\n" + line);
  CHECK(mixed.format == JobFormat::kLines);
  CHECK_THAT(mixed.bad(1).error.message, Catch::Contains("JSON"));
  // Nobody wants a picture of a bracket.
  for (const char* json : {"[", "]", "{", "},", "  }", "\"prompt\": \"a cat\",", "[]", "{}"})
    CHECK_THAT(ReadJobFile("a cat\n" + std::string(json) + "\n").bad(1).error.message,
               Catch::Contains("JSON"));
  CHECK(ReadJobFile("a cat\n\"a dog\"\n[a:b:0.5]\n{a|b}\n").picture(3).prompt == "{a|b}");
  CHECK(ReadJobFile("\"HOPE\": a poster\n").picture(0).prompt == "\"HOPE\": a poster");
}

TEST_CASE("the entries after a wrong one are read") {
  const ReadJobs jobs = ReadJobFile("{\"prompt\": \"a\"}\n{\"prompt\n[1]\n{\"prompt\": \"b\"}\n");
  REQUIRE(jobs.entries.size() == 4);
  CHECK(jobs.bad(1).index == 1);
  CHECK_THAT(jobs.bad(1).where, Catch::EndsWith("line 2"));
  CHECK_THAT(jobs.bad(2).error.message, Catch::Contains("not a JSON object"));
  CHECK_THAT(jobs.bad(2).where, Catch::EndsWith("line 3"));
  CHECK(jobs.picture(3).prompt == "b");
  CHECK(jobs.job(3).index == 3);
}

TEST_CASE("no two entries have one index") {
  const auto line = [](const std::string& index) { return R"({"prompt": "a")" + index + "}\n"; };
  const ReadJobs jobs =
      ReadJobFile(line(R"(, "index": 2)") + line(R"(, "index": 2)") + line("") + line(R"(, "index": 0)") +
                  line(R"(, "index": 3)") + line("") + line(R"(, "index": 5)"));
  CHECK(jobs.job(0).index == 2);
  CHECK(jobs.bad(1).error.field == "index");
  CHECK(jobs.bad(2).error.field == "index");  // its position is the first one's own index
  CHECK(jobs.job(3).index == 0);              // the first one's position, which it did not take
  CHECK(jobs.job(4).index == 3);
  CHECK(jobs.job(5).index == 5);
  CHECK(jobs.bad(6).error.field == "index");  // the one before is there by its position
}

TEST_CASE("a whole line of JSON among prompts is no prompt") {
  const char* const refused[] = {R"([{"prompt":"a dog"},{"prompt":"a fox"}])", R"(["a dog","a fox"])",
                                 R"( [ "a dog" ] )", R"([["a dog", 1], {}])", R"([1, 2])"};
  for (const char* line : refused) {
    for (const std::string first : {"a cat\n", "#!list\n"}) {
      INFO(first << line);
      const ReadJobs jobs = ReadJobFile(first + line + "\na fox\n");
      REQUIRE(jobs.entries.size() >= 2);
      CHECK_THAT(jobs.bad(jobs.entries.size() - 2).error.message, Catch::Contains("this is JSON"));
      CHECK(jobs.picture(jobs.entries.size() - 1).prompt == "a fox");
    }
  }
  const char* const prompts[] = {"[a:b:0.5], photo",      "[\"quoted\" words] in a prompt",
                                 "[\"a\", \"b\"] poster", "[dog|cat]",
                                 "[\"a dog\": 0.5]",      "[[a dog]]"};
  for (const char* line : prompts) {
    INFO(line);
    CHECK(ReadJobFile(std::string("a cat\n") + line + "\n").picture(1).prompt == line);
  }
}

TEST_CASE("CSV") {
  const ReadJobs jobs = ReadJobFile(
      "Prompt,Category,Seed, cfg ,n\r\n"
      "a cat,Animals,7,2.5,\r\n"
      "\"a dog, \"\"red\"\"\r\nand wet\",,7.0,,2\r\n"
      "\r\n"
      "x,y,,,\"3\"");
  CHECK(jobs.format == JobFormat::kCsv);
  REQUIRE(jobs.entries.size() == 3);
  CHECK(jobs.picture(0).prompt == "a cat");
  CHECK(jobs.picture(0).seed == 7);
  CHECK(jobs.picture(0).settings.guidance == 2.5f);
  CHECK(!jobs.picture(0).images);
  CHECK(jobs.picture(1).prompt == "a dog, \"red\"\nand wet");
  CHECK(jobs.picture(1).seed == 7);
  CHECK(jobs.picture(1).images == 2);
  CHECK_THAT(jobs.job(1).where, Catch::EndsWith("line 3"));
  CHECK(jobs.picture(2).images == 3);
  CHECK_THAT(jobs.job(2).where, Catch::EndsWith("line 6"));
}

TEST_CASE("CSV's other separators") {
  // PartiPrompts.tsv has these columns.
  const ReadJobs parti = ReadJobFile("Prompt\tCategory\tChallenge\tNote\na cat, wet\tAnimals\tBasic\t\n");
  CHECK(parti.format == JobFormat::kCsv);
  CHECK(parti.picture(0).prompt == "a cat, wet");
  CHECK(ReadJobFile("seed;prompt\n5;a, b\n").picture(0).prompt == "a, b");
  CHECK(ReadJobFile("prompt\na cat\n").picture(0).prompt == "a cat");
  CHECK(ReadJobFile("prompt,top_p\n\"\"\"a\"\" b\",0.5\n").picture(0).prompt == "\"a\" b");
}

TEST_CASE("CSV as spreadsheets write it") {
  // Rows without contents, at the end and between others, and Excel's line about the separator.
  const ReadJobs jobs =
      ReadJobFile("sep=;\r\nprompt;seed;\r\na, b;3;\r\n;;\r\n ;\"\";\r\n;;;;\r\nc;4;x\r\n;;\r\n");
  CHECK(jobs.format == JobFormat::kCsv);
  REQUIRE(jobs.entries.size() == 2);
  CHECK(jobs.picture(0).prompt == "a, b");
  CHECK_THAT(jobs.job(1).where, Catch::EndsWith("line 7"));
  CHECK(jobs.picture(1).seed == 4);
  CHECK(jobs.passed_over == 4);
  CHECK(ReadJobFile("SEP=|\nseed|prompt\n1|a;b,c\n").picture(0).prompt == "a;b,c");
  CHECK(ReadJobFile("\xEF\xBB\xBF\"sep=\t\"\n\nprompt\ta;b\n1;2\t3\n").picture(0).prompt == "1;2");
  CHECK(ReadJobFile("sep=\n").picture(0).prompt == "sep=");
  CHECK_THAT(OpenError("sep=;\na;b\n", "jobs", ErrorKind::kBadData), Catch::Contains("no column is named"));
  CHECK_THAT(OpenError("sep=;", "jobs", ErrorKind::kBadData), Catch::Contains("no column is named"));
  // One column.
  const ReadJobs one = ReadJobFile("prompt\na cat\n\n\"\"\n\"a \"\"b\"\"\"\n", "jobs.csv");
  REQUIRE(one.entries.size() == 2);
  CHECK(one.picture(1).prompt == "a \"b\"");
  // A header over two lines.
  const ReadJobs header = ReadJobFile("prompt,\"a\nnote\",seed\nx,y,5\n");
  CHECK(header.picture(0).seed == 5);
  CHECK_THAT(header.job(0).where, Catch::EndsWith("line 3"));
  CHECK_THAT(OpenError("prompt,\"a\nnote\n", "jobs", ErrorKind::kBadData), Catch::Contains("not closed"));
}

TEST_CASE("wrong CSV records") {
  const auto bad = [](const std::string& record, const std::string& field, const std::string& says) {
    INFO(record);
    const ReadJobs jobs = ReadJobFile("prompt,seed\n" + record + "\nnext,1\n");
    REQUIRE(jobs.entries.size() == 2);
    CHECK(jobs.bad(0).error.field == field);
    CHECK_THAT(jobs.bad(0).error.message, Catch::Contains(says));
    CHECK_THAT(jobs.bad(0).where, Catch::EndsWith("line 2"));
    CHECK(jobs.picture(1).prompt == "next");
  };
  bad(",1", "prompt", "missing");
  bad("a,x", "seed", "\"x\"");
  bad("a,inf", "seed", "whole");
  bad("a", "", "names 2 columns, but there are 1 cells");
  bad("a,1,2", "", "names 2 columns, but there are 3 cells");
  bad("\"a\"b,1", "", "closing");
  bad("\"a\nb\"c,1", "", "closing");
  CheckBad("prompt,seed\n\"a,1\nnext,1\n", "", "not closed");
}

TEST_CASE("GenEval's prompts") {
  const std::string line =
      R"({"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"})";
  const ReadJobs jobs = ReadJobFile(line + "\n" + R"({"tag": 3, "include": [], "prompt": "x"})" + "\n" +
                                    R"({"tag": "a", "include": [], "exclude": []})" + "\n");
  CHECK(jobs.format == JobFormat::kGenEval);
  CHECK(jobs.picture(0).prompt == "a photo of a bench");
  CHECK(!jobs.picture(0).images);
  CHECK(jobs.job(0).geneval_metadata == line);
  CHECK(jobs.bad(1).error.field == "tag");
  CHECK(jobs.bad(2).error.field == "prompt");
}

TEST_CASE("bytes that are no text") {
  using namespace std::string_literals;
  const ReadJobs jobs = ReadJobFile("caf\xE9\na\0b\n\xFF\xFEx\na cat\n"s + "\xED\xA0\x80\n");
  REQUIRE(jobs.entries.size() == 5);
  CHECK_THAT(jobs.bad(0).error.message, Catch::Contains("not UTF-8 at byte 4"));
  CHECK_THAT(jobs.bad(1).error.message, Catch::Contains("NUL character stands at byte 2"));
  CHECK_THAT(jobs.bad(2).error.message, Catch::Contains("not UTF-8 at byte 1"));
  CHECK(jobs.picture(3).prompt == "a cat");
  CHECK_THAT(jobs.bad(4).error.message, Catch::Contains("not UTF-8 at byte 1"));
}

TEST_CASE("long lines") {
  const std::string million(1'000'000, 'p');
  CHECK(ReadJobFile(million + "\nx").picture(0).prompt == million);
  CHECK(ReadJobFile(R"({"prompt": ")" + million + "\"}").picture(0).prompt == million);
  const ReadJobs jobs = ReadJobFile("a\n" + std::string(kMaxLineBytes + 1, 'p') + "\nb\n");
  REQUIRE(jobs.entries.size() == 3);
  CHECK_THAT(jobs.bad(1).error.message, Catch::Contains("longer than 64 MB"));
  CHECK_THAT(jobs.bad(1).where, Catch::EndsWith("line 2"));
  CHECK(jobs.picture(2).prompt == "b");
}

TEST_CASE("lines across the ends of reads") {
  // Every length near the reader's buffer, and a limit that is met exactly.
  const TemporaryFolder folder;
  for (size_t length = (64 << 10) - 2; length <= (64 << 10) + 2; length++) {
    WriteText(folder / "lines", std::string(length, 'a') + "\r\nb\n\nc");
    auto lines = LineReader::Open(folder / "lines", length + 1);  // a CR counts until the line is complete
    REQUIRE(lines.ok());
    std::vector<std::string> texts;
    for (auto line = lines->Next(); line.ok() && *line; line = lines->Next()) {
      CHECK((*line)->problem.empty());
      CHECK((*line)->number == static_cast<int64_t>(texts.size()) + 1);
      texts.push_back((*line)->text);
    }
    CHECK(texts == std::vector<std::string>{std::string(length, 'a'), "b", "", "c"});
    auto shorter = LineReader::Open(folder / "lines", length);
    REQUIRE(shorter.ok());
    const auto first = shorter->Next();
    REQUIRE(first.ok());
    CHECK_THAT((*first)->problem, Catch::Contains("longer than"));
    CHECK((*first)->bytes == length + 1);
    CHECK((*first)->text.size() <= 4096);
  }
}

TEST_CASE("an entry arrives before the next line is written") {
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  const auto write_text = [&](const std::string& text) {
    REQUIRE(write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  };
  // Were a line waited for beyond its end, these would never return: the writer is this thread.
  write_text("a cat\n");
  auto reader = JobReader::Open("/dev/fd/" + std::to_string(ends[0]));
  REQUIRE(reader.ok());
  for (const std::string prompt : {"a cat", "a dog", "a fox"}) {
    if (prompt != "a cat") write_text(prompt + "\r\n");
    const auto entry = (*reader)->Next();
    REQUIRE(entry.ok());
    REQUIRE(*entry);
    CHECK(std::get<Job>(**entry).picture->prompt == prompt);
  }
  write_text("the last, without a line break");
  close(ends[1]);
  CHECK(std::get<Job>(**(*reader)->Next()).picture->prompt == "the last, without a line break");
  CHECK(!*(*reader)->Next());
  CHECK(!*(*reader)->Next());
  close(ends[0]);
}

}  // namespace
}  // namespace bifrons
