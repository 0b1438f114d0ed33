// Keys are those of version 0.1, whose manifests go on; and counting them takes little memory.
#include "src/jobs/content_key.h"

#include <array>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "src/base/sha256.h"
#include "tests/job_files.h"

namespace bifrons {
namespace {

using nlohmann::json;

// As version 0.1 made them: a JSON object and its dump.
std::string KeyOfVersion01(const Job& job, const JobDefaults& defaults, JobFormat format,
                           const std::string& model_hash) {
  const auto or_null = [](const auto& value) { return value ? json(*value) : json(); };
  json content = {{"model", model_hash}};
  if (job.picture) {
    const PictureJob& p = *job.picture;
    const DrawSettings s = Merged(p.settings, defaults.settings);
    content["prompt"] = p.prompt;
    content["seed"] = or_null(p.seed ? p.seed : defaults.seed);
    content["images"] = PictureCount(job, defaults, format);
    content["cfg"] = or_null(s.guidance), content["temperature"] = or_null(s.temperature);
    content["top_k"] = or_null(s.top_k), content["top_p"] = or_null(s.top_p);
    content["min_p"] = or_null(s.min_p);
    content["file"] = p.file;
    content["format"] = !p.format.empty() ? json(p.format)
                        : defaults.format ? json(NameOf(*defaults.format))
                                          : json();
    content["upscale"] = defaults.upscale;
    content["plot"] = json::array();
    for (const PlotAxis& axis : defaults.plot)
      content["plot"].push_back({{"name", axis.name}, {"values", axis.values}});
    if (format == JobFormat::kGenEval) content["geneval"] = job.index;
  } else {
    const AnswerJob& a = *job.answer;
    content["images"] = a.images;
    content["turns"] = json::array();
    for (const AnswerJob::Turn& turn : a.turns)
      content["turns"].push_back({turn.images, turn.question, turn.answer});
    content["temperature"] = or_null(a.temperature), content["top_p"] = or_null(a.top_p);
    content["seed"] = or_null(a.seed ? a.seed : defaults.seed), content["max_tokens"] = or_null(a.max_tokens);
  }
  return Sha256::Hex(content.dump(-1, ' ', false, json::error_handler_t::replace)).substr(0, 32);
}

class RandomJobs {
 public:
  explicit RandomJobs(uint32_t seed) : random_(seed) {}

  bool Chance() { return random_() % 2 == 0; }
  template <class T>
  std::optional<T> Maybe(T value) {
    return Chance() ? std::optional(value) : std::nullopt;
  }
  std::string Text() {
    static const char* const kParts[] = {"a",      "cat",  " ",    "\"",   "\\",   "\n",          "\t",
                                         "\b",     "\x01", "\x1f", "\x7f", "é",    "猫",          "🐈",
                                         "\u2028", "/",    "{",    "\xff", "\xc3", "\xed\xa0\x80"};
    std::string text;
    for (size_t n = random_() % 12; n > 0; n--) text += kParts[random_() % std::size(kParts)];
    return text;
  }
  float Number() {
    const float scale[] = {1e-12f, 1e-5f, 0.1f, 1, 7, 1000, 1e20f};
    const float whole = static_cast<float>(random_() % 100);
    return Chance() ? whole : whole * scale[random_() % std::size(scale)] * (Chance() ? -1.f : 1.f);
  }
  DrawSettings Settings() {
    return {Maybe(Number()), Maybe(Number()), Maybe(Number()), Maybe(Number()),
            Maybe(static_cast<int>(random_() % 50))};
  }
  JobDefaults Defaults() {
    JobDefaults d;
    d.settings = Settings();
    d.seed = Maybe(static_cast<int64_t>(random_())), d.images = Maybe(1 + static_cast<int>(random_() % 9));
    d.format = Maybe(PictureFormat::kWebp), d.upscale = 1 << random_() % 3;
    if (random_() % 4 == 0) d.plot = {{"prompt", {Text(), Text()}, {}}, {"cfg", {"1", "2.50"}, {}}};
    return d;
  }
  Job Any() {
    Job job;
    job.index = static_cast<int64_t>(random_());
    if (Chance()) {
      PictureJob& p = job.picture.emplace();
      p.prompt = Text(), p.settings = Settings(), p.file = Text();
      p.images = Maybe(1 + static_cast<int>(random_() % 9)), p.seed = Maybe((int64_t{1} << 53) - 1);
      if (Chance()) p.format = "jpg";
    } else {
      AnswerJob& a = job.answer.emplace();
      for (size_t n = random_() % 3; n > 0; n--) a.images.push_back(Text());
      for (size_t n = random_() % 3; n > 0; n--)
        a.turns.push_back({static_cast<int>(random_() % 3), Text(), Text()});
      a.temperature = Maybe(Number()), a.top_p = Maybe(Number());
      a.seed = Maybe(int64_t{5}), a.max_tokens = Maybe(static_cast<int>(random_() % 999));
    }
    return job;
  }

 private:
  std::mt19937 random_;
};

TEST_CASE("keys are made without a JSON object, and are the same") {
  for (uint32_t seed = 0; seed < 20'000; seed++) {
    RandomJobs jobs(seed);
    const JobDefaults defaults = jobs.Defaults();
    const Job job = jobs.Any();
    const JobFormat format = seed % 5 == 0 ? JobFormat::kGenEval : JobFormat::kJson;
    const std::string key = ContentKey(job, defaults, format, {"hash"});
    if (key == KeyOfVersion01(job, defaults, format, "hash")) continue;
    INFO("seed " << seed);
    FAIL();
  }
}

// Written by version 0.1.
TEST_CASE("keys of manifests that exist stay what they are") {
  const std::string model = "9031cba86e0687dc75a015641c48a2b0edc012a4cdb3ceccdcdb832d0db4051c";
  const ReadJobs jobs = ReadJobFile(R"({"prompt": "plain"}
{"prompt": "a \"quoted\" \\ back\b\f\n\r\t\u0001\u001f\u007f slash/"}
{"prompt": "Zürich, 猫 🐈 \u2028"}
{"prompt": "p", "seed": 9007199254740991}
{"prompt": "p", "n": 3, "seed": 0}
{"prompt": "p", "cfg": 0.1, "temperature": 0.7, "top_k": 5, "top_p": 0.9, "min_p": 0.05}
{"prompt": "p", "cfg": -1, "temperature": 1e-9, "top_p": 1, "min_p": 0}
{"prompt": "p", "cfg": 1000, "temperature": 123.456}
{"prompt": "p", "file": "a/b ü.png"}
{"prompt": "p", "format": "webp"}
{"prompt": "p", "file": "x.jpg", "format": "jpg", "temperature": 3}
)");
  JobDefaults other;
  other.seed = 3, other.images = 2, other.upscale = 2, other.format = PictureFormat::kWebp;
  other.settings.guidance = 2.5f, other.settings.top_p = 0.3f;
  JobDefaults plotted;
  plotted.plot = *ParsePlot({"cfg=1,2.50", "prompt=p,\"q, \"\"r\""});
  const std::array<const char*, 3> keys[] = {
      {"abe57bf05279e5473c149d4957fef30b", "d49adc2592265d78eccdc3b9661a0562",
       "fedd126cead75c1fcba96c6a79dd3c0b"},
      {"b6a486cb4690e13b982a24d7fcab4205", "2ed145b6fbd41284dacf1b657a79eb65",
       "5982d2a4f6573c167ce0a0ff03177bf4"},
      {"53e4f53645547cd0df58a52b7f76a57e", "e53011c3e46a3539789480ed29310151",
       "de5071bcc3c6d3e6358bfd8242ab35b7"},
      {"4ccf88cdd61f1badeaa68f1e9f28642b", "e7ccaee8055ba139c2480eb9db11694d",
       "48400735b2ba617f29b0f8d455db866c"},
      {"174af78e052ff707fde36c1ea5425862", "59fef55dbf5c793e6b95ca6c18366ae0",
       "18bfa11a4c19ef70be11143229f031ed"},
      {"b4ca8b57e053bae2ee57e9e57893981c", "ede08d194867bc40667315adfb3ffd48",
       "02eb6600eff3a918dd35ab93915aef86"},
      {"1ebb684188ac86bbdcc32db255e4c573", "f3011cd3c4829208e12974bf2b28f626",
       "8ddb14f430bd0de0f4e5536343a73be9"},
      {"056995406f86cb72a4fa79272e17a843", "74965dae4c1c57e3688ebe31302c719b",
       "1c76bcef434fb45127e093f6596d326b"},
      {"561751fd1d184f0d6fbc1b48579fe8ec", "2d2507305750cdf504f88fdda25ca184",
       "b15f23a5be80e48c596c86c4a173c5df"},
      {"844a4ea0a5d0bc704fef6f14b6ff5fec", "98e568431acb78b9ba03c01b92c3bbc5",
       "c0a6b7fb3aec637cce5f2f919514ac67"},
      {"e378e33531b9e6e5636c03494f820e80", "632dd469f4ee2b98afd8eb6ba0aba6ff",
       "f7b357a6f70ce818473d9b2d9ef195e4"},
  };
  REQUIRE(jobs.entries.size() == std::size(keys));
  for (size_t i = 0; i < std::size(keys); i++) {
    INFO("line " << i + 1);
    CHECK(ContentKey(jobs.job(i), {}, JobFormat::kJson, {model}) == keys[i][0]);
    CHECK(ContentKey(jobs.job(i), other, JobFormat::kJson, {model}) == keys[i][1]);
    CHECK(ContentKey(jobs.job(i), plotted, JobFormat::kJson, {model}) == keys[i][2]);
  }
  const ReadJobs entries = ReadJobFile(R"({"tag": "t", "include": [], "prompt": "a cat"}
{"tag": "t", "include": [], "prompt": "a cat"}
)");
  JobDefaults one;
  one.images = 1;
  CHECK(ContentKey(entries.job(0), one, JobFormat::kGenEval, {model}) == "13b9cc5391ce4b93946b34e45a3ecf47");
  CHECK(ContentKey(entries.job(1), one, JobFormat::kGenEval, {model}) == "6c7d86918c7b64d8104a70795f732789");
  std::istringstream batch(ReadText(fs::path(BIFRONS_TEST_DIR) / "goldens/openai_batch/input.jsonl"));
  std::string line, requests;
  for (int i = 0; std::getline(batch, line); i++)
    if (i == 1 || i == 3) requests += line + "\n";
  const ReadJobs read = ReadJobFile(requests);
  CHECK(ContentKey(read.job(0), {}, JobFormat::kOpenAi, {model}) == "f3703c221140ac3683b1c299976f4593");
  CHECK(ContentKey(read.job(1), {}, JobFormat::kOpenAi, {model}) == "3a7d6553dfe3bffd25cf3bc51918ffee");
}

TEST_CASE("a million keys are counted in little memory") {
  KeyCounter keys;
  std::string key(32, '0');
  constexpr int kKeys = 1'000'000;
  for (int i = 0; i < kKeys; i++) {
    std::snprintf(key.data(), key.size() + 1, "%032x", i);
    if (keys.Unique(key) != key) FAIL(key);
  }
  CHECK(keys.bytes() < size_t{26} * kKeys);
  CHECK(keys.Unique(key) == key + "#2");
  CHECK(keys.Unique(key) == key + "#3");
  CHECK(keys.Unique(std::string(32, '0')) == std::string(32, '0') + "#2");
  CHECK(keys.Unique("other") == "other");
  CHECK(keys.Unique("other") == "other#2");
}

TEST_CASE("defaults out of a header are checked") {
  JobDefaults whole;
  whole.seed = 1, whole.settings.guidance = 2, whole.format = PictureFormat::kJpeg;
  whole.plot = *ParsePlot({"cfg=1,2", "prompt=p,q"});
  const json good = ToJson(whole);
  const auto read = DefaultsFromJson(good);
  REQUIRE(read.ok());
  CHECK(ToJson(*read) == good);
  const auto refused = [&](const char* name, const json& value) {
    INFO(name << " = " << value.dump().substr(0, 200));
    json changed = good;
    changed[name] = value;
    const auto result = DefaultsFromJson(changed);
    REQUIRE_FALSE(result.ok());
    CHECK(result.error().kind == ErrorKind::kBadData);
    CHECK(result.error().message.find("\"defaults\"") != std::string::npos);
  };
  for (const json& value : {json(-1), json(1e300), json("1"), json::array(), json(0.5)})
    refused("seed", value);
  for (const json& value : {json(0), json(-1), json(1000001), json(1e18), json("4")})
    refused("images", value);
  for (const json& value : {json(0), json(1001), json("2"), json(1.5)}) refused("best_of", value);
  for (const json& value : {json(0), json(3), json(8), json(), json(-2), json(1e300)})
    refused("upscale", value);
  for (const json& value : {json(1e300), json("x"), json::object()}) refused("cfg", value);
  for (const json& value : {json(uint64_t{1} << 40), json(-1), json(2.5)}) refused("top_k", value);
  for (const json& value : {json(1), json("gif"), json::array()}) refused("format", value);
  const auto axis = [](const json& name, const json& values) {
    return json{{"name", name}, {"values", values}};
  };
  refused("plot", json());
  refused("plot", {{"x", 1}});
  refused("plot", json::array({1}));
  refused("plot", json::array({axis("cfg", json::array())}));
  refused("plot", json::array({axis("cfg", {"1", "1"})}));
  refused("plot", json::array({axis("cfg", {"x"})}));
  refused("plot", json::array({axis("cfg", {1})}));
  refused("plot", json::array({axis(1, {"1"})}));
  refused("plot", json::array({axis("nothing", {"1"})}));
  refused("plot", json::array({axis("cfg", {"1"}), axis("cfg", {"2"})}));
  refused("plot", json::array({axis("cfg", {"1"}), axis("seed", {"2"}), axis("top_k", {"2"})}));
  json many = json::array();
  for (int i = 0; i < 1001; i++) many.push_back(std::to_string(i));
  refused("plot", json::array({axis("seed", many), axis("top_k", many)}));
  for (const json& value : {json(), json(1), json("x"), json::array(), json::object()})
    CHECK_FALSE(DefaultsFromJson(value).ok());
}

TEST_CASE("candidates are part of what a job asks for, where there are several") {
  const auto key = [](std::optional<int> own, std::optional<int> given) {
    Job job;
    job.picture.emplace();
    job.picture->prompt = "a cat", job.picture->best_of = own;
    JobDefaults defaults;
    defaults.best_of = given;
    CHECK(DefaultsFromJson(ToJson(defaults))->best_of == given);
    return ContentKey(job, defaults, JobFormat::kJson, {});
  };
  CHECK(key({}, {}) == key(1, {}));
  CHECK(key({}, {}) == key(1, 4));
  CHECK(key(4, {}) == key({}, 4));
  CHECK(key(4, {}) == key(4, 2));
  CHECK(key(4, {}) != key(1, {}));
  CHECK(key(4, {}) != key(2, {}));
}

}  // namespace
}  // namespace bifrons
