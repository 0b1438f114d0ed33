// Names of pictures out of templates and prompts of any script.
#include "src/jobs/file_name.h"

#include <catch2/catch.hpp>
#include <string>

#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

std::string Fill(const std::string& text, const NameFields& fields) {
  auto name_template = NameTemplate::Parse(text);
  INFO((name_template.ok() ? "" : name_template.error().message));
  REQUIRE(name_template.ok());
  std::string name = name_template->Fill(fields);
  CHECK(CheckFileName(name).ok());
  return name;
}

std::string Slug(const std::string& prompt) { return Fill("{slug}", {.prompt = prompt}); }

TEST_CASE("templates") {
  const NameFields fields{
      .index = 42, .number = 3, .seed = 7, .prompt = "A cat", .guidance = 5, .temperature = 0.7f};
  CHECK(Fill("{index}_{seed}_{slug}.png", fields) == "00042_7_A-cat.png");
  CHECK(Fill("{index:3}/{number:4}-{seed:2}", fields) == "042/0003-07");
  CHECK(Fill("{cfg}_{temperature}", fields) == "5_0.7");
  CHECK(Fill("{{{number}}}", fields) == "{3}");
  CHECK(Fill("plain", fields) == "plain");
  CHECK(Fill("{index}", {.index = 1234567}) == "1234567");
  CHECK(Fill("{seed}", {.seed = 18446744073709551615u}) == "18446744073709551615");
}

TEST_CASE("wrong templates") {
  for (const auto& [text, says] : std::vector<std::pair<std::string, std::string>>{
           {"{prompt}", "unknown field {prompt}; there are {index}"},
           {"{}", "unknown field {}"},
           {"{index", "without a }"},
           {"index}", "without a {"},
           {"{index:0}", "from 1 to 20"},
           {"{index:21}", "from 1 to 20"},
           {"{index:x}", "from 1 to 20"},
           {"{index:}", "from 1 to 20"},
           {"{slug:5}", "only index"},
           {"", "empty"},
           {"/tmp/{index}", "absolute"},
           {"../{index}", "\"..\""},
           {"a/../{index}", "\"..\""},
           {"a//{index}", "empty part"},
           {"{index}/", "empty part"},
           {"./{index}", "\".\""},
           {"a\n{index}", "control"},
           {std::string(250, 'a') + "{index}", "longer than 255"}}) {
    INFO(text);
    const auto parsed = NameTemplate::Parse(text);
    REQUIRE(!parsed.ok());
    CHECK(parsed.error().kind == ErrorKind::kUsage);
    CHECK_THAT(parsed.error().message, Catch::Contains(says));
    CHECK(parsed.error().message.find('\n') == std::string::npos);
  }
}

TEST_CASE("slugs") {
  CHECK(Slug("a red, wet dog!") == "a-red-wet-dog");
  CHECK(Slug("../../etc/passwd") == "etc-passwd");
  CHECK(Slug("  --  ") == "picture");
  CHECK(Slug("") == "picture");
  CHECK(Slug("🐈") == "picture");
  CHECK(Slug("Ein Käse, 2 Bücher") == "Ein-Käse-2-Bücher");
  CHECK(Slug("一只猫。在雨中") == "一只猫-在雨中");
  CHECK(Slug("हिन्दी") == "हिन्दी");  // vowel signs and the virama belong to their letters
  CHECK(Slug("a\xFF"
             "b\nc") == "a-b-c");
  CHECK(Slug(std::string(100, 'a')) == std::string(60, 'a'));
  CHECK(Slug(std::string(59, 'a') + " b") == std::string(59, 'a'));  // no - at the end
}

TEST_CASE("long names are cut between characters") {
  std::string prompt;
  for (int i = 0; i < 100; i++) prompt += "𠀀";  // four bytes, a letter
  for (size_t literal : {1u, 2u, 3u, 4u, 100u, 180u, 200u}) {
    const std::string name = Fill(std::string(literal, 'x') + "{slug}.png", {.prompt = prompt});
    CHECK(name.size() <= 255 - 32);
    CHECK(name == ReplaceInvalidUtf8(name));
    if (literal <= 100) CHECK(name.size() > 200);
  }
  // Each folder has room of its own.
  CHECK(Fill("{slug}/{slug}", {.prompt = prompt}).size() > 2 * 200);
  const std::string both = Fill("{slug}_{slug}", {.prompt = prompt});
  CHECK(both.size() > 200);
  CHECK(both.size() <= 255 - 32);
}

TEST_CASE("names of jobs' own") {
  for (const std::string& good : {std::string("a.png"), std::string("a/b/c.jpg"), std::string(".hidden"),
                                  std::string("..a"), std::string("猫 1.png"), std::string(255, 'a')})
    CHECK(CheckFileName(good).ok());
  for (const std::string& bad :
       {std::string(""), std::string("/a"), std::string(".."), std::string("a/.."), std::string("../a"),
        std::string("a/../b"), std::string("a//b"), std::string("a/"), std::string("."), std::string("a\nb"),
        std::string("a\0b", 3), std::string("\x7F"), std::string("\xC2\x85"), std::string("\xFF"),
        std::string(256, 'a'), "a/" + std::string(256, 'a')}) {
    INFO(bad);
    CHECK(!CheckFileName(bad).ok());
  }
  std::string deep = "a";
  while (deep.size() < 4000) deep += "/a";
  CHECK(!CheckFileName(deep).ok());
}

TEST_CASE("names that Windows cannot hold") {
  for (const std::string bad :
       {"CON",      "con.png", "nul.tar.gz", "a/Aux/b.png", "COM1.txt",  "lpt9",  "COM\u00B2.png",
        "con .png", "CONIN$",  "prn",        "a.",          "a /b.png",  "a..",   "a:b.png",
        "a<b",      "a>b",     "a\"b",       "a|b",         "what?.png", "*.png", "a\\b"}) {
    INFO(bad);
    CHECK(CheckFileName(bad).ok());  // an earlier version may have written it
    CHECK(!CheckNewName(bad).ok());
    // Templates and slugs never make one.
    const std::string name = Fill(bad, {});
    INFO(name);
    CHECK(name != bad);
    CHECK(CheckNewName(name).ok());
    CHECK(Fill(bad, {}) == name);
  }
  for (const std::string good : {"COM.png", "COM10", "COM0.png", "console.png", "a.con", "nul_.png", " a",
                                 ".a", "LPT", "a b.png", "CONS/x.y.z", "…"}) {
    INFO(good);
    CHECK(CheckNewName(good).ok());
    CHECK(Fill(good, {}) == good);
  }
  CHECK(Fill("{slug}", {.prompt = "Con!"}) == "Con_");
  CHECK(Fill("{slug}.png", {.prompt = "nul"}) == "nul_.png");
  CHECK(Fill("{index}: {slug}", {.index = 3, .prompt = "x"}) == "00003- x");
  CHECK(Fill("{slug}./x", {.prompt = "a"}) == "a_/x");
  CHECK(!CheckNewName("../a").ok());
}

TEST_CASE("names that some file systems take for one") {
  const auto same = [](const std::string& a, const std::string& b) {
    return CanonicalName(a) == CanonicalName(b);
  };
  CHECK(same("A Cat.PNG", "a cat.png"));
  CHECK(same("KÄSE", "käse"));
  CHECK(same("ka\u0308se", "k\u00E4se"));  // composed and not
  CHECK(same("ДОМ/a", "дом/A"));
  CHECK(!same("a_1", "a-1"));
  CHECK(!same("strasse", "stra\u00DFe"));
  CHECK(!same("a/b", "a\\b"));
  CHECK(same("\xFF.PNG", "\xFF.png"));
  CHECK(CanonicalName("").empty());
}

}  // namespace
}  // namespace bifrons
