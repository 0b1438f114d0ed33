// Lists of jobs into folders: formats, names, settings, failures, shards, continuing.
#include <sys/stat.h>

#include "tests/rendered.h"

namespace bifrons {
namespace {

std::string Prompts(int count) {
  std::string text;
  for (int i = 0; i < count; i++) text += "picture number " + std::to_string(i) + "\n";
  return text;
}

TEST_CASE("a list becomes pictures, and the same command again draws nothing") {
  const TemporaryFolder folder;
  const std::string jobs = folder / "jobs.txt", out = folder / "out";
  WriteText(jobs, "a dog\n\n# no prompt\na dog\n--prompt \"a cat\" --seed 5 --cfg_scale 2\nÄ/ö?\n");
  const Arguments run = Render(jobs, out, {"--comments", "#"});
  const ProgramResult first = RunWell(run);
  const auto recorded = Recorded(out);
  CHECK(recorded == Pictures(out));
  REQUIRE(recorded.size() == 4);
  CHECK(recorded.contains("00002_5_a-cat.png"));
  CHECK(first.err.find("4 drawn, 1 line passed over") != std::string::npos);
  std::istringstream paths(first.out);
  std::set<std::string> printed;
  for (std::string line; std::getline(paths, line);) printed.insert(line);
  CHECK(printed.size() == 4);
  for (const std::string& path : printed) CHECK(fs::exists(path));

  // The same prompt twice is two pictures; seeds are those that file names and metadata say.
  const auto lines = JsonLines(out + "/manifest.jsonl");
  CHECK(lines[0]["bifrons_manifest"] == 1);
  CHECK((lines[0]["jobs"] == 4 && lines[0]["results"] == 4 && lines[0]["shard"] == "0/1"));
  std::set<int64_t> seeds;
  for (size_t i = 1; i < lines.size(); i++) {
    seeds.insert(lines[i]["seed"].get<int64_t>());
    CHECK(lines[i]["file"].get<std::string>().find(lines[i]["seed"].dump()) != std::string::npos);
  }
  CHECK(seeds.size() == 4);

  const ProgramResult again = RunWell(run);
  CHECK(again.out.empty());
  CHECK(again.err.find("0 drawn, 4 kept from before, 1 line passed over") != std::string::npos);
  CHECK(JsonLines(out + "/manifest.jsonl") == lines);
  CHECK(Pictures(out) == recorded);

  // A lost and a damaged picture are drawn again, from the seeds that the manifest fixed.
  auto it = recorded.begin();
  fs::remove(fs::path(out) / it->first);
  WriteText(fs::path(out) / (++it)->first, "damaged");
  const ProgramResult mended = RunWell(run);
  CHECK(mended.err.find("2 drawn, 2 kept") != std::string::npos);
  CHECK(Pictures(out) == recorded);

  // A line more leaves the others what they are.
  WriteText(jobs, "a new one\n" + ReadText(jobs));
  CHECK(RunWell(run).err.find("1 drawn, 4 kept") != std::string::npos);
  CHECK(Pictures(out).size() == 5);
}

TEST_CASE("pictures are those of generate, with what made them inside") {
  const TemporaryFolder folder;
  WriteText(folder / "jobs.txt", "a dog\n");
  RunWell(Render(folder / "jobs.txt", folder / "out", {"--seed", "3", "-n", "2", "--name", "{seed}"}));
  RunWell(
      {"generate", "--model", kTinyModel, "--dtype", "f32", "--seed", "4", "-o", folder / "4.png", "a dog"});
  CHECK(ReadText(folder / "4.png") == ReadText(folder / "out/4.png"));
  RunWell({"generate", "--model", kTinyModel, "--from", folder / "out/3.png", "-o", folder / "3.png"});
  CHECK(ReadText(folder / "3.png") == ReadText(folder / "out/3.png"));
}

TEST_CASE("JSON lines and CSV say what they want of each picture") {
  const TemporaryFolder folder;
  WriteText(folder / "jobs.jsonl",
            "{\"prompt\":\"a dog\",\"seed\":1,\"n\":2,\"cfg\":3,\"file\":\"x/dog.jpg\"}\n"
            "{\"prompt\":\"a cat\",\"seed\":9,\"temperature\":0.5,\"format\":\"webp\"}\n");
  RunWell(Render(folder / "jobs.jsonl", folder / "out"));
  const auto pictures = Pictures(folder / "out");
  CHECK(pictures.size() == 3);
  CHECK(pictures.contains("x/dog_1.jpg"));
  CHECK(pictures.contains("x/dog_2.jpg"));
  CHECK(pictures.contains("00001_9_a-cat.webp"));
  const auto lines = JsonLines(folder / "out/manifest.jsonl");
  for (size_t i = 1; i < lines.size(); i++) {
    if (lines[i]["index"] == 1) CHECK((lines[i]["temperature"] == 0.5 && lines[i]["guidance"] == 5));
    if (lines[i]["index"] == 0) CHECK((lines[i]["guidance"] == 3 && lines[i]["of"] == 2));
  }

  WriteText(folder / "jobs.csv", "seed,prompt\n1,\"a dog, running\"\n2,a cat\n");
  RunWell(Render(folder / "jobs.csv", folder / "csv", {"--format", "jpg", "--upscale", "2"}));
  CHECK(Pictures(folder / "csv").contains("00000_1_a-dog-running.jpg"));
  const auto upscaled = JsonLines(folder / "csv/manifest.jsonl")[1];
  CHECK((upscaled["upscale"] == 2 && upscaled["width"] == 2 * lines[1]["width"].get<int>()));
}

TEST_CASE("a table's columns that are no fields are told in one line") {
  const TemporaryFolder folder;
  const std::string list = folder / "jobs.csv";
  const auto told = [&](const std::string& text, const Arguments& more = {}) {
    WriteText(list, text);
    fs::remove_all(folder / "out");
    const std::string err = RunWell(Render(list, folder / "out", more)).err;
    return err.substr(0, err.find("; the fields of a job are prompt, n, seed, "));
  };
  const std::string warning = "bifrons: warning: " + list + ": ";
  CHECK(told("prompt,My Note,Seeed,\na cat,9,5,\n") ==
        warning + "2 columns are ignored: my_note, seeed (did you mean seed?)");
  CHECK(told("prompt,cgf\na cat,9\n") == warning + "1 column is ignored: cgf (did you mean cfg?)");
  CHECK_THAT(told("prompt,cfg,\na cat,9,\n"), !Catch::Contains("ignored"));
  CHECK(told("prompt,cgf\na cat,9\n", {"-q"}).empty());
  const std::string piped = RunProgram(Render("-", folder / "piped"), "prompt,note\na cat,x\n").err;
  CHECK_THAT(piped, Catch::StartsWith("bifrons: warning: standard input: 1 column is ignored: note; the"));
}

TEST_CASE("GenEval's metadata becomes GenEval's tree") {
  const TemporaryFolder folder;
  const std::string entries[] = {
      R"({"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"})",
      R"({"tag": "single_object", "include": [{"class": "cow", "count": 1}], "prompt": "a photo of a cow"})"};
  WriteText(folder / "evaluation_metadata.jsonl", entries[0] + "\n" + entries[1] + "\n");
  RunWell(Render(folder / "evaluation_metadata.jsonl", folder / "out", {"--grid"}));
  for (const std::string place : {"00000", "00001"}) {
    for (int k = 0; k < 4; k++)
      CHECK(fs::exists(folder / ("out/" + place + "/samples/000" + std::to_string(k) + ".png")));
    CHECK_FALSE(fs::exists(folder / ("out/" + place + "/samples/0004.png")));
    CHECK(fs::exists(folder / ("out/" + place + "/grid.png")));
  }
  CHECK(json::parse(ReadText(folder / "out/00001/metadata.jsonl")) == json::parse(entries[1]));
  CHECK(Recorded(folder / "out").size() == 8);
}

TEST_CASE("an OpenAI batch is answered line by line, whatever is wrong with some") {
  const TemporaryFolder folder;
  const auto request = [](const std::string& id, const std::string& body) {
    return R"({"custom_id":")" + id + R"(","method":"POST","url":"/v1/images/generations","body":)" + body +
           "}\n";
  };
  WriteText(folder / "batch.jsonl", request("dog", R"({"model":"janus","prompt":"a dog","n":2})") +
                                        "{\"custom_id\":\"torn\n" +
                                        request("size", R"({"prompt":"a dog","size":"5000x1024"})") +
                                        request("cat", R"({"prompt":"a cat","response_format":"b64_json"})") +
                                        request("dog", R"({"prompt":"twice"})") + request("none", "{}"));
  const ProgramResult run = RunProgram(Render(folder / "batch.jsonl", folder / "out"));
  INFO(run.err);
  CHECK(run.exit_code == 3);
  std::map<std::string, std::vector<json>> answers;
  for (const json& line : JsonLines(folder / "out/output.jsonl"))
    answers[line["custom_id"]].push_back(line["response"]);
  const auto lines = JsonLines(folder / "out/output.jsonl");
  CHECK(lines.size() == 5);  // one per custom_id of the batch
  int good = 0, bad = 0;
  for (const json& line : lines) (line["response"]["status_code"] == 200 ? good : bad)++;
  CHECK(good == 2);
  CHECK(bad == 3);
  const auto success = [&](const std::string& id) {
    for (const json& response : answers[id])
      if (response["status_code"] == 200) return response["body"]["data"];
    return json();
  };
  REQUIRE(success("dog").size() == 2);
  const std::string url = success("dog")[1]["url"];
  REQUIRE(url.starts_with("file:///"));
  CHECK(fs::exists(url.substr(7)));
  REQUIRE(success("cat").size() == 1);
  CHECK(answers["dog"].size() == 1);
  CHECK(success("cat")[0]["b64_json"].get<std::string>().starts_with("iVBORw0KGgo"));
  CHECK(CountLines(folder / "out/failed.jsonl") == 4);
  CHECK(ReadText(folder / "out/failed.jsonl").find("from 1 to 4096") != std::string::npos);

  // Again: successes stay, errors are tried again and written anew.
  CHECK(RunProgram(Render(folder / "batch.jsonl", folder / "out")).exit_code == 3);
  CHECK(CountLines(folder / "out/output.jsonl") == 5);
  CHECK(CountLines(folder / "out/failed.jsonl") == 4);
  // Another request under the same custom_id is another answer, and only one.
  WriteText(folder / "batch.jsonl", request("dog", R"({"prompt":"a red dog"})"));
  RunWell(Render(folder / "batch.jsonl", folder / "out"));
  int dogs = 0;
  for (const json& line : JsonLines(folder / "out/output.jsonl")) {
    if (line["custom_id"] != "dog") continue;
    dogs++;
    CHECK(line["response"]["body"]["data"].size() == 1);
  }
  CHECK(dogs == 1);
  CHECK_FALSE(fs::exists(folder / "out/failed.jsonl"));
}

TEST_CASE("a poisonous job fails alone and says why") {
  const TemporaryFolder folder;
  WriteText(folder / "jobs.jsonl",
            "{\"prompt\":\"a dog\",\"file\":\"a.png\"}\n"
            "{\"prompt\":\"a cat\",\"file\":\"a.png\"}\n"
            "{\"prompt\":\"a cat\",\"file\":\"../b.png\"}\n"
            "not json\n"
            "{\"prompt\":\"" +
                std::string(20000, 'x') +
                " end\",\"file\":\"long.png\"}\n"
                "{\"prompt\":\"a cow\",\"file\":\"a.png/c.png\"}\n"
                "{\"prompt\":\"a cow\",\"file\":\"d.png\",\"format\":\"jpg\"}\n"
                "{\"prompt\":\"a cow\",\"file\":\"e.png\"}\n");
  const ProgramResult run = RunProgram(Render(folder / "jobs.jsonl", folder / "out", {"--json"}));
  INFO(run.err);
  CHECK(run.exit_code == 3);
  CHECK(Pictures(folder / "out").size() == 2);
  std::map<int, std::string> reasons;
  for (const json& line : JsonLines(folder / "out/failed.jsonl")) reasons[line["index"]] = line["reason"];
  CHECK(reasons.size() == 6);
  CHECK(reasons[1].find("the job with index 0") != std::string::npos);
  CHECK(reasons[1].find("{index}") != std::string::npos);
  CHECK(reasons[6].find("contradicts") != std::string::npos);
  int failed = 0, pictures = 0;
  json summary;
  std::istringstream events(run.out);
  for (std::string line; std::getline(events, line);) {
    const json event = json::parse(line);
    failed += event["event"] == "failed", pictures += event["event"] == "picture";
    if (event["event"] == "summary") summary = event;
  }
  CHECK((failed == 6 && pictures == 2));
  CHECK((summary["drawn"] == 2 && summary["failed"] == 6 && summary["kept"] == 0));
}

TEST_CASE("a job never writes over another's finished picture") {
  const TemporaryFolder folder;
  WriteText(folder / "jobs.txt", "a dog\na cat\n");
  const Arguments run = Render(folder / "jobs.txt", folder / "out", {"--name", "{index}"});
  RunWell(run);
  const auto before = Pictures(folder / "out");
  WriteText(folder / "jobs.txt", "a cow\na dog\na cat\n");
  CHECK(RunProgram(run).exit_code == 3);
  CHECK(Pictures(folder / "out") == before);
  CHECK(ReadText(folder / "out/failed.jsonl").find("holds a picture of another job") != std::string::npos);
}

TEST_CASE("shards share a folder and are together the whole list") {
  const TemporaryFolder folder;
  WriteText(folder / "jobs.txt", Prompts(7) + "--prompt \"\n" + Prompts(1));
  const Arguments fixed = {"--seed", "1", "--name", "{index}"};
  CHECK(RunProgram(Render(folder / "jobs.txt", folder / "whole", fixed)).exit_code == 3);
  const std::string out = folder / "out";
  for (const std::string shard : {"0/3", "2/3"})
    RunProgram(Render(folder / "jobs.txt", out, Join(fixed, {"--shard", shard})));

  const ProgramResult incomplete = RunProgram({"merge", out});
  CHECK(incomplete.exit_code == 1);
  CHECK(incomplete.out.find("missing: shard 1/3") != std::string::npos);
  CHECK(incomplete.out.find("missing: jobs 1, 4, 7\n") != std::string::npos);

  // Dealt anew, what is there stays.
  for (const std::string shard : {"0/2", "1/2"}) {
    const auto run = RunProgram(Render(folder / "jobs.txt", out, Join(fixed, {"--shard", shard})));
    INFO(run.err);
    CHECK(run.err.find("1 drawn") != std::string::npos);
  }
  CHECK(Pictures(out) == Pictures(folder / "whole"));
  const ProgramResult all_but_one = RunProgram({"merge", out});
  CHECK(all_but_one.exit_code == 3);
  CHECK(all_but_one.out.find("failed: job 7 (") != std::string::npos);
  CHECK(all_but_one.out.find("missing") == std::string::npos);
  std::set<std::string> files;
  size_t lines = 0;
  for (const std::string manifest : {"manifest-000-of-003.jsonl", "manifest-002-of-003.jsonl",
                                     "manifest-000-of-002.jsonl", "manifest-001-of-002.jsonl"}) {
    for (const auto& [file, hash] : Recorded(out, manifest)) files.insert(file), lines++;
  }
  CHECK(files.size() == 8);
  CHECK(lines == 8);
  setenv("RANK", "0", 1), setenv("WORLD_SIZE", "2", 1);
  const auto ranked = RunProgram(Render(folder / "jobs.txt", out, fixed));
  setenv("RANK", "2", 1);
  const auto wrong = RunProgram(Render(folder / "jobs.txt", out, fixed));
  unsetenv("RANK"), unsetenv("WORLD_SIZE");
  CHECK(ranked.err.find("shard 0/2, by RANK") != std::string::npos);
  CHECK(wrong.exit_code == 2);
}

TEST_CASE("other settings draw anew beside what is there, and say so") {
  const TemporaryFolder folder;
  const std::string jobs = folder / "jobs.txt", out = folder / "out";
  WriteText(jobs, Prompts(2));
  const Arguments run = Render(jobs, out), other = Join(run, {"--cfg", "2"});
  CHECK(RunWell(run).err.find("of other settings") == std::string::npos);
  const std::string told = RunWell(other).err;
  CHECK(told.find("2 drawn; ") != std::string::npos);
  CHECK(told.find("\n2 results of other settings or of an earlier list left as they were") !=
        std::string::npos);
  CHECK(RunWell(Join(other, {"-q"})).err.empty());
  CHECK(RunWell({"merge", out}).out.find("2 of 2 results finished, 2 of other lists or settings: complete") !=
        std::string::npos);
  const std::string kept = RunWell(run).err;  // nothing drawn has no rate
  CHECK(kept.find("0 drawn, 2 kept from before; ") != std::string::npos);
  CHECK(kept.find("/s") == std::string::npos);
  RunWell({"merge", out});
  // Other shards' results are of this list.
  for (const std::string shard : {"0/2", "1/2"})
    CHECK(RunWell(Join(Render(jobs, folder / "shards"), {"--shard", shard})).err.find("of other settings") ==
          std::string::npos);
}

TEST_CASE("an empty list is told, and that a setting means nothing") {
  const TemporaryFolder folder;
  const std::string jobs = folder / "jobs.txt";
  WriteText(jobs, "\n");
  CHECK_THAT(RunWell(Render(jobs, folder / "none")).err, Catch::Contains("0 drawn (the list has no job); "));
  CHECK_THAT(
      RunWell({"merge", folder / "none"}).out,
      Catch::EndsWith("manifest.jsonl: 0 results finished\n0 of 0 results finished: the list is empty\n"));
  WriteText(jobs, "a dog\n--prompt \"a cat\" --steps 20\n--steps 30 --prompt \"a cup\"\n");
  const std::string err = RunWell(Render(jobs, folder / "out")).err;
  CHECK_THAT(err, Catch::Contains("jobs.txt line 2: --steps is passed over") && !Catch::Contains("line 3"));
}

TEST_CASE("merge tells what is complete, missing, damaged or double") {
  const TemporaryFolder folder;
  const std::string jobs = folder / "jobs.txt", out = folder / "out";
  WriteText(jobs, Prompts(5));
  const Arguments run = Render(jobs, out, {"--name", "{index}_{number}", "-n", "2"});
  RunWell(run);
  CHECK(RunWell({"merge", out}).out.find("10 of 10 results finished: complete") != std::string::npos);
  CHECK(RunWell({"merge", out, "--jobs", jobs}).out.find("10 of 10 results finished: complete") !=
        std::string::npos);
  const json report = json::parse(RunWell({"merge", out, "--json", "-o", folder / "all.jsonl"}).out);
  CHECK((report["complete"] == true && report["expected"] == 10 && report["finished"] == 10));
  int last = -1;
  for (const json& line : JsonLines(folder / "all.jsonl")) {
    if (line.contains("bifrons_manifest")) continue;
    const int place = line["index"].get<int>() * 2 + line["number"].get<int>();
    CHECK(place == last + 1);
    last = place;
  }
  CHECK(last == 9);

  fs::remove(out + "/00001_1.png");
  std::string damaged = ReadText(out + "/00003_0.png");
  damaged[damaged.size() / 2] ^= 1;
  WriteText(out + "/00003_0.png", damaged);
  for (const Arguments& by : {Arguments{}, Arguments{"--jobs", jobs}}) {
    const ProgramResult spoilt = RunProgram(Join({"merge", out}, by));
    CHECK(spoilt.exit_code == 1);
    CHECK_THAT(spoilt.out, Catch::Contains("missing: " + out + "/00001_1.png: is not there\n") &&
                               Catch::Contains("damaged: " + out + "/00003_0.png: is not what its manifest"));
    CHECK(spoilt.out.find("missing: jobs 1 (picture 1), 3 (picture 0)") != std::string::npos);
  }
  CHECK(RunProgram({"merge", out, "--quick"}).out.find("00003_0.png") == std::string::npos);
  RunWell(run);
  RunWell({"merge", out});

  WriteText(jobs, Prompts(9));
  const ProgramResult grown = RunProgram({"merge", out, "--jobs", jobs});
  CHECK(grown.exit_code == 1);
  CHECK(grown.out.find("missing: jobs 5-8") != std::string::npos);
  CHECK(RunProgram({"merge", folder.path().string()}).exit_code == 3);
  CHECK(RunProgram({"merge"}).exit_code == 2);
}

TEST_CASE("lines are drawn as they arrive") {
  const TemporaryFolder folder;
  const std::string fifo = folder / "jobs", out = folder / "out";
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  Program program(Render(fifo, out, {"--seed", "1", "--name", "{index}"}));
  std::ofstream jobs(fifo);
  for (int i = 0; i < 3; i++) {
    jobs << "picture number " << i << "\n" << std::flush;
    const bool drawn = WaitFor(program, [&] {
      const std::string printed = program.Printed();
      return std::count(printed.begin(), printed.end(), '\n') > i;
    });
    CHECK(drawn);
    CHECK_FALSE(program.Ended());
  }
  jobs.close();
  CHECK(program.Wait().exit_code == 0);
  WriteText(folder / "jobs.txt", Prompts(3));
  RunWell(Render(folder / "jobs.txt", folder / "file", {"--seed", "1", "--name", "{index}"}));
  CHECK(Pictures(out) == Pictures(folder / "file"));

  // From standard input, into the same folder: what is there is kept.
  const ProgramResult more = RunProgram(Render("-", out, {"--seed", "1", "--name", "{index}"}), Prompts(4));
  CHECK(more.exit_code == 0);
  CHECK(more.err.find("1 drawn, 3 kept") != std::string::npos);
  // Who waits for what becomes of a job is told.
  const Arguments by_lines = Render("-", out, {"--seed", "1", "--name", "{index}", "--json"});
  std::istringstream events(RunProgram(by_lines, Prompts(5)).out);
  std::string told;
  for (std::string line; std::getline(events, line);) {
    const json event = json::parse(line);
    if (event.contains("file"))
      told += event["event"].get<std::string>() + " " + event["file"].get<std::string>() + "\n";
  }
  CHECK(told == "kept 00000.png\nkept 00001.png\nkept 00002.png\nkept 00003.png\npicture 00004.png\n");
}

TEST_CASE("jobs with one picture share contact sheets, which follow the list") {
  const TemporaryFolder folder;
  std::string prompts;
  for (int i = 0; i < 5; i++) prompts += "a dog number " + std::to_string(i) + "\n";
  WriteText(folder / "jobs.txt", prompts);
  const Arguments grid =
      Render(folder / "jobs.txt", folder / "out", {"--seed", "1", "--grid", "2", "--format", "webp"});
  RunWell(grid);
  const auto before = Pictures(folder / "out");
  CHECK(before.size() == 6);
  REQUIRE(before.contains("contact_sheet_001.webp"));
  RunWell(grid);
  CHECK(Pictures(folder / "out") == before);

  // More jobs than a sheet of 2 columns holds; one of them has several pictures and a sheet of its own.
  for (int i = 5; i < 14; i++) prompts += "a dog number " + std::to_string(i) + "\n";
  WriteText(folder / "jobs.txt", prompts + "--prompt \"a cat\" --n_iter 2\n");
  RunWell(grid);
  const auto after = Pictures(folder / "out");
  CHECK(after.size() == 14 + 2 + 1 + 2);
  CHECK(after.contains("contact_sheet_002.webp"));
  CHECK(after.at("contact_sheet_001.webp") != before.at("contact_sheet_001.webp"));

  RunWell(Render(folder / "jobs.txt", folder / "shards", {"--seed", "1", "--grid", "--shard", "1/2"}));
  CHECK(Pictures(folder / "shards").contains("contact_sheet-001-of-002_001.png"));
}

TEST_CASE("sheets are made of a job's pictures, and again where they are missing") {
  const TemporaryFolder folder;
  WriteText(folder / "jobs.txt", "a dog\n");
  const Arguments grid = Render(folder / "jobs.txt", folder / "grid", {"--seed", "1", "-n", "3", "--grid"});
  RunWell(grid);
  const auto pictures = Pictures(folder / "grid");
  REQUIRE(pictures.size() == 4);
  REQUIRE(pictures.contains("00000_1_a-dog_grid.png"));
  fs::remove(folder / "grid/00000_1_a-dog_grid.png");
  RunWell(grid);
  CHECK(Pictures(folder / "grid") == pictures);

  RunWell(Render(folder / "jobs.txt", folder / "plot",
                 {"--seed", "1", "--plot", "cfg=1,3", "temperature=0.5,1,2"}));
  CHECK(Pictures(folder / "plot").size() == 7);
  std::set<std::pair<double, double>> cells;
  for (const json& line : JsonLines(folder / "plot/manifest.jsonl")) {
    if (line.contains("bifrons_manifest")) continue;
    cells.emplace(line["guidance"], line["temperature"]);
    CHECK(line["seed"] == 1);
  }
  CHECK(cells == std::set<std::pair<double, double>>{{1, 0.5}, {3, 0.5}, {1, 1}, {3, 1}, {1, 2}, {3, 2}});
}

TEST_CASE("wrong usage is one line") {
  const TemporaryFolder folder;
  WriteText(folder / "jobs.txt", "a dog\n");
  WriteText(folder / "file", "");
  const std::string jobs = folder / "jobs.txt", out = folder / "out";
  const auto refused = [&](const Arguments& arguments, int code) {
    const ProgramResult run = RunProgram(arguments);
    INFO(Shown(arguments) << run.err);
    CHECK(run.exit_code == code);
    CHECK(std::count(run.err.begin(), run.err.end(), '\n') == 1);
  };
  refused({"render", jobs}, 2);
  // A picture for a list, from a file and through a pipe.
  const std::string png = ReadText(fs::path(BIFRONS_TEST_DIR) / "goldens/pillow.png");
  WriteText(folder / "dog.png", png);
  refused(Render(folder / "dog.png", out), 3);
  const ProgramResult piped = RunProgram(Render("-", out), png);
  CHECK(piped.exit_code == 3);
  CHECK(piped.err == "bifrons: standard input: this is a PNG picture, not a list of prompts\n");
  CHECK_FALSE(fs::exists(out));
  refused({"render", "-o", out}, 2);
  refused(Render(jobs, out, {"--name", "{what}"}), 2);
  refused(Render(jobs, out, {"--shard", "3/3"}), 2);
  refused(Render(jobs, out, {"--format", "gif"}), 2);
  refused(Render(jobs, out, {"--upscale", "3"}), 2);
  refused(Render(jobs, out, {"--memory", "much"}), 2);
  refused(Render(jobs, out, {"--memory", "6"}), 2);
  refused(Render(jobs, out, {"--memory", "1023K"}), 2);
  CHECK_THAT(RunProgram(Render(jobs, out, {"--memory", "6"})).err,
             Catch::Contains("6 has no unit, and as bytes is less than 1 MB; give a size such as 6GB"));
  for (const std::string size : {"1G", "0.5GB", "1000000000"})
    CHECK(RunProgram(Render(jobs, folder / "sizes", {"--memory", size})).exit_code == 0);
  refused(Render(jobs, out, {"--plot", "cfg=1,x"}), 2);
  refused(Render(jobs, out, {"--plot", "cfg=1,2", "-n", "2"}), 2);
  refused(Render(jobs, out, {"--manifest", "x.jsonl"}), 2);
  refused(Render(jobs, out, {"--comments", ""}), 2);
  // GenEval's evaluator reads .png files.
  WriteText(folder / "geneval.jsonl", R"({"tag": "a", "include": [], "prompt": "a dog"})");
  refused(Render(folder / "geneval.jsonl", out, {"--format", "jpg"}), 2);
  refused(Render(folder / "geneval.jsonl", out, {"--format", "webp"}), 2);
  refused(Render(folder / "geneval.jsonl", out, {"--name", "{index}.jpg"}), 2);
  refused(Render(jobs, folder / "file"), 1);
}

}  // namespace
}  // namespace bifrons
