// What becomes of unusual lists: arrays, comments, names that Windows cannot hold, repeated custom_ids,
// entries that are too big for the memory at hand.
#include <sys/resource.h>

#include "tests/rendered.h"

namespace bifrons {
namespace {

std::map<int, std::string> Reasons(const std::string& folder) {
  std::map<int, std::string> reasons;
  if (fs::exists(folder + "/failed.jsonl"))
    for (const json& line : JsonLines(folder + "/failed.jsonl")) reasons[line["index"]] = line["reason"];
  return reasons;
}

TEST_CASE("an array is a list, and nothing of a broken one is lost in silence") {
  const TemporaryFolder folder;
  WriteText(folder / "a.json", "[\n  {\n    \"prompt\": \"a cat\",\n    \"seed\": 1\n  },\n  \"a dog\"\n]\n");
  RunWell(Render(folder / "a.json", folder / "out"));
  CHECK(Recorded(folder / "out").size() == 2);
  CHECK(Recorded(folder / "out").contains("00000_1_a-cat.png"));
  WriteText(folder / "a.json", "[\"a cat\",\n\"a \"red\" dog\",\n\"a fox\"]\n");
  const ProgramResult run = RunProgram(Render(folder / "a.json", folder / "broken"));
  CHECK(run.exit_code == 3);
  CHECK_THAT(run.err, Catch::Contains("a.json line 2: ") && Catch::Contains("nothing from here on was read"));
  CHECK(Recorded(folder / "broken").size() == 1);
}

TEST_CASE("what is passed over is counted") {
  const TemporaryFolder folder;
  WriteText(folder / "a.txt", "#1 dad mug\n\na cat\n");
  CHECK(Summary(RunWell(Render(folder / "a.txt", folder / "all", {"--json"})))["passed_over"] == 0);
  CHECK(Recorded(folder / "all").size() == 2);
  const Arguments comments = {"--json", "--comments", "#"};
  CHECK(Summary(RunWell(Render(folder / "a.txt", folder / "one", comments)))["passed_over"] == 1);
  CHECK(Recorded(folder / "one").size() == 1);
  // merge knows from the manifest which lines are none.
  RunWell({"merge", folder / "one", "--jobs", folder / "a.txt"});
  WriteText(folder / "a.csv", "sep=;\nprompt;seed\na cat;1\n;\n;;\n");
  const ProgramResult csv = RunWell(Render(folder / "a.csv", folder / "csv"));
  CHECK_THAT(csv.err, Catch::Contains("1 drawn, 2 lines passed over"));
}

TEST_CASE("names that Windows cannot hold") {
  const TemporaryFolder folder;
  WriteText(folder / "a.jsonl",
            "{\"prompt\":\"a\",\"seed\":1,\"file\":\"con.png\"}\n{\"prompt\":\"b\",\"file\":\"x:y\"}\n"
            "{\"prompt\":\"c\",\"file\":\"Cat.png\"}\n{\"prompt\":\"d\",\"file\":\"cat.PNG\"}\n");
  const std::string jobs = folder / "a.jsonl", out = folder / "out";
  CHECK(RunProgram(Render(jobs, out)).exit_code == 3);
  auto reasons = Reasons(out);
  CHECK(reasons.size() == 3);
  CHECK_THAT(reasons[0], Catch::Contains("con.png") && Catch::Contains("device"));
  CHECK_THAT(reasons[1], Catch::Contains("has a :"));
  CHECK_THAT(reasons[3], Catch::Contains("the job with index 2"));
  // Templates make none.
  WriteText(folder / "b.txt", "con\nCON\n");
  CHECK(RunProgram(Render(folder / "b.txt", folder / "slugs", {"--name", "{slug}"})).exit_code == 3);
  CHECK(Recorded(folder / "slugs").contains("con_.png"));
  CHECK(Recorded(folder / "slugs").size() == 1);

  // Nor do jobs of different runs share a name but for its case; other jobs' names are free once their files
  // are gone.
  const std::string runs = folder / "runs";
  const auto named = [&](const std::string& prompt, const std::string& file) {
    WriteText(jobs, json{{"prompt", prompt}, {"seed", 1}, {"file", file}}.dump() + "\n");
    return RunProgram(Render(jobs, runs)).exit_code;
  };
  CHECK(named("c", "Cat.png") == 0);
  CHECK(named("d", "cat.png") == 3);
  CHECK_THAT(Reasons(runs)[0], Catch::Contains("Cat.png") && Catch::Contains("case"));
  CHECK(named("d", "CAT.PNG") == 3);
  CHECK(named("e", "dog.png") == 0);
  CHECK(named("f", "Dog.png") == 3);
  CHECK_THAT(Reasons(runs)[0], Catch::Contains("dog.png"));
  CHECK(named("c", "Cat.png") == 0);
  CHECK(Pictures(runs).size() == 2);
  fs::remove(runs + "/Cat.png");
  fs::remove(runs + "/dog.png");
  CHECK(named("d", "cat.png") == 0);
  CHECK(named("f", "Dog.png") == 0);
  // Folders of the line files' names would be in their way, too.
  for (const char* file : {"manifest.jsonl/x.png", "Manifest.JSONL/x.png", "FAILED-0.jsonl/x.png"}) {
    CHECK(named("g", file) == 3);
    CHECK_THAT(Reasons(runs)[0], Catch::Contains("below a name of the folder's own files"));
  }

  // Two of an earlier version that differ in case only stay.
  const std::string two[] = {"{\"prompt\":\"c\",\"seed\":1,\"file\":\"Cat.png\"}\n",
                             "{\"prompt\":\"d\",\"seed\":1,\"file\":\"cat.PNG\"}\n"};
  for (int i = 0; i < 2; i++) {
    WriteText(jobs, two[i]);
    RunWell(Render(jobs, folder / std::to_string(i)));
  }
  const std::string lines = ReadText(folder / "1/manifest.jsonl");
  WriteText(folder / "0/manifest.jsonl",
            ReadText(folder / "0/manifest.jsonl") + lines.substr(lines.find('\n') + 1));
  fs::copy(folder / "1/cat.PNG", folder / "0/cat.PNG", fs::copy_options::none);
  WriteText(jobs, two[0] + two[1]);
  CHECK_THAT(RunWell(Render(jobs, folder / "0")).err, Catch::Contains("0 drawn, 2 kept"));

  // What an earlier version wrote under such a name keeps it.
  WriteText(jobs, "{\"prompt\":\"a\",\"seed\":1,\"file\":\"fine.png\"}\n");
  const std::string old = folder / "old";
  RunWell(Render(jobs, old));
  std::string manifest = ReadText(old + "/manifest.jsonl");
  const std::string key = JsonLines(old + "/manifest.jsonl")[1]["job"];
  WriteText(jobs, "{\"prompt\":\"a\",\"seed\":1,\"file\":\"con.png\"}\n");
  const json failed = [&] {
    CHECK(RunProgram(Render(jobs, folder / "probe")).exit_code == 3);
    return JsonLines(folder / "probe/failed.jsonl")[0];
  }();
  for (const auto& [from, to] :
       {std::pair<std::string, std::string>{key, failed["job"]}, {"fine.png", "con.png"}})
    for (size_t at; (at = manifest.find(from)) != std::string::npos;) manifest.replace(at, from.size(), to);
  WriteText(old + "/manifest.jsonl", manifest);
  fs::rename(old + "/fine.png", old + "/con.png");
  CHECK_THAT(RunWell(Render(jobs, old)).err, Catch::Contains("0 drawn, 1 kept"));
}

TEST_CASE("one line of a batch's output for every custom_id") {
  const TemporaryFolder folder;
  const auto request = [](const std::string& id, const std::string& body) {
    return R"({"custom_id":")" + id + R"(","method":"POST","url":"/v1/images/generations","body":)" + body +
           "}\n";
  };
  const std::string good = R"({"prompt":"a dog"})", bad = R"({"prompt":3})";
  const std::string batch = request("early", bad) + request("early", good) + request("late", good) +
                            request("late", bad) + request("late", good) + request("never", bad) +
                            request("never", bad) + "{\"custom_id\":\"late\"\n";
  WriteText(folder / "b.jsonl", batch);
  for (int run = 0; run < 2; run++) {
    CHECK(RunProgram(Render(folder / "b.jsonl", folder / "out")).exit_code == 3);
    std::map<std::string, std::vector<int>> codes;
    for (const json& line : JsonLines(folder / "out/output.jsonl"))
      codes[line["custom_id"]].push_back(line["response"]["status_code"]);
    CHECK(codes ==
          std::map<std::string, std::vector<int>>{{"early", {200}}, {"late", {200}}, {"never", {400}}});
    CHECK(Reasons(folder / "out").size() == 6);
  }
  // As a stream, too.
  CHECK(RunProgram(Render("-", folder / "stream"), batch).exit_code == 3);
  CHECK(CountLines(folder / "stream/output.jsonl") == 3);
}

// Lines about pictures, by file.
std::map<std::string, json> Lines(const std::string& folder) {
  std::map<std::string, json> lines;
  for (const json& line : JsonLines(folder + "/manifest.jsonl"))
    if (line.contains("file")) lines[line["file"]] = line;
  return lines;
}

TEST_CASE("a job's best_of draws candidates and keeps the one that generate would") {
  const TemporaryFolder folder;
  const std::string jobs = folder / "a.jsonl", out = folder / "out";
  WriteText(jobs,
            "{\"prompt\":\"a cat\",\"seed\":4,\"n\":2,\"best_of\":3,\"file\":\"cat.png\"}\n"
            "{\"prompt\":\"a dog\",\"seed\":4,\"file\":\"dog.png\"}\n{\"prompt\":\"x\",\"best_of\":0}\n"
            "{\"prompt\":\"a fox\",\"best_of\":5,\"n\":2}\n");
  CHECK(RunProgram(Render(jobs, out)).exit_code == 3);
  CHECK_THAT(Reasons(out)[2], Catch::Contains("best_of is 0; it must be a whole number from 1 to 1000"));
  const auto lines = Lines(out);
  REQUIRE(lines.size() == 5);
  const std::string told = RunWell({"generate", "--model", kTinyModel, "--dtype", "f32", "--best-of", "3",
                                    "-n", "2", "-s", "4", "-o", folder / "own.png", "a cat"})
                               .err;
  CHECK_THAT(told, Catch::Contains("own_1.png: seed ") &&
                       Catch::Contains(", the best of 3 from 7 on, which score "));
  const Arguments from = {"generate",           "--model", kTinyModel,          "--from",
                          folder / "own_2.png", "-o",      folder / "again.png"};
  CHECK_THAT(RunWell(from).err, !Catch::Contains("best of"));  // it is drawn as it is
  CHECK_THAT(RunWell(Join(from, {"-n", "2"})).err,
             Catch::Contains("own_2.png is the best of 3 from seed 7 on"));
  for (const std::string number : {"1", "2"}) {
    CHECK((ReadText(out + "/cat_" + number + ".png") == ReadText(folder / ("own_" + number + ".png"))));
    const json& line = lines.at("cat_" + number + ".png");
    CHECK(line["scores"].size() == 3);
    CHECK(line["first_seed"] == (number == "1" ? 4 : 7));  // no candidate is drawn for two pictures
    CHECK(line["seed"].get<int>() >= line["first_seed"].get<int>());
    CHECK(line["seed"].get<int>() < line["first_seed"].get<int>() + 3);
  }
  CHECK_FALSE(lines.at("dog.png").contains("scores"));

  // Again: all is kept. What is gone comes again as it was, seeds that the manifest fixed included, also
  // where a run was killed before it could record a picture.
  const auto pictures = Pictures(out);
  const auto again = [&] {
    const json summary = Summary(RunProgram(Render(jobs, out, {"--json"})));
    CHECK(Pictures(out) == pictures);
    return summary["drawn"].get<int>();
  };
  CHECK(again() == 0);
  for (const auto& [file, hash] : pictures) fs::remove(fs::path(out) / file);
  CHECK(again() == 5);
  std::string header = ReadText(out + "/manifest.jsonl");
  WriteText(out + "/manifest.jsonl", header.substr(0, header.find('\n') + 1));
  CHECK(again() == 5);
  // Another number of candidates is another job.
  std::string edited = ReadText(jobs);
  edited.replace(edited.find(":3"), 2, ":2");
  WriteText(jobs, edited);
  CHECK(RunProgram(Render(jobs, out)).exit_code == 3);
  CHECK_THAT(Reasons(out)[0], Catch::Contains("cat_1.png") && Catch::Contains("another job"));
}

TEST_CASE("best_of in every format, and for all jobs by --best-of") {
  const TemporaryFolder folder;
  const auto scores = [&](const std::string& list, const Arguments& more, bool stream = false) {
    WriteText(folder / "list", list);
    fs::remove_all(folder / "out");
    RunWell(Render(stream ? "-" : folder / "list", folder / "out", more), stream ? list : "");
    std::multiset<size_t> counts;
    for (const auto& [file, line] : Lines(folder / "out"))
      counts.insert(line.contains("scores") ? line["scores"].size() : 1);
    return counts;
  };
  using Counts = std::multiset<size_t>;
  CHECK(scores("--prompt \"a cat\" --best_of 2\na dog\n", {}) == Counts{1, 2});
  CHECK(scores("prompt,best_of\na cat,2\na dog,\n", {"--best-of", "3"}) == Counts{2, 3});
  CHECK(
      scores(
          "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/images/generations\",\"body\":{\"prompt\":"
          "\"a cat\",\"best_of\":2}}\n",
          {}) == Counts{2});
  CHECK(scores("{\"tag\":\"x\",\"include\":[],\"prompt\":\"a cat\"}\n", {"-n", "1", "--best-of", "2"}) ==
        Counts{2});
  CHECK(scores("a cat\n", {"--best-of", "2", "--plot", "cfg=1,3"}) == Counts{2, 2});
  RunWell({"merge", folder / "out", "--jobs", folder / "list"});
  // Of a stream nobody knows what follows.
  const std::string asks = "{\"prompt\":\"a cat\",\"best_of\":2}\n";
  CHECK(scores("a cat\n", {"--best-of", "2"}, true) == Counts{2});
  CHECK(scores(asks, {"--best-of", "1"}, true) == Counts{2});
  CHECK(RunProgram(Render("-", folder / "stream"), asks).exit_code == 3);
  CHECK_THAT(Reasons(folder / "stream")[0],
             Catch::Contains("asks for the best of 2") && Catch::Contains("--best-of 1"));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("an entry that is too big for the memory at hand fails alone") {
  const TemporaryFolder folder;
  std::string words;
  while (words.size() < (24u << 20)) words += "x y ";
  WriteText(folder / "a.txt", "a dog\n" + words + "\na cat\n");
  WriteText(folder / "a.jsonl", "{\"prompt\": \"a dog\"}\n{\"prompt\": \"" + words + "\"}\n\"a cat\"\n");
  WriteText(folder / "a.json", "[\"a dog\",\n\"" + words + "\",\n\"a cat\"]");
  WriteText(folder / "a.csv", "prompt,seed\na dog,\n\"" + words.substr(0, 12 << 20) + "\",\na cat,\n");
  const rlim_t program_bytes = fs::file_size(TestedProgram());
  for (const char* list : {"a.txt", "a.jsonl", "a.json", "a.csv"}) {
    for (const rlim_t megabytes : {456u, 376u}) {  // beside the program
      INFO(list << " " << megabytes);
      rlimit before{};
      REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
      const rlimit little{program_bytes + (megabytes << 20), before.rlim_max};
      const std::string out = folder / (list + std::to_string(megabytes));
      const Arguments arguments = Render(folder / list, out);
      REQUIRE(setrlimit(RLIMIT_AS, &little) == 0);
      Program program(arguments);
      REQUIRE(setrlimit(RLIMIT_AS, &before) == 0);
      const ProgramResult run = program.Wait();
      INFO(run.err);
      CHECK(run.exit_code == 3);
      CHECK(Recorded(out).size() == 2);
      REQUIRE(Reasons(out).size() == 1);
      CHECK_THAT(Reasons(out)[1], Catch::Contains("not enough memory"));
    }
  }
}
#endif

}  // namespace
}  // namespace bifrons
