// The command line as people type it: names that other programs taught them, typing mistakes, what begins
// with a dash.
#include <pty.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "src/engine/metadata.h"
#include "src/jobs/picture_file.h"
#include "tests/refusal.h"
#include "tests/test_pictures.h"

namespace bifrons {
namespace {

using Catch::Contains;

const std::string kModel = (fs::path(BIFRONS_TEST_DIR) / "goldens/tiny-a/converted").string();
const Arguments kWithModel = {"--model", kModel, "--dtype", "f32"};

Arguments Generate(const Arguments& more) { return Join(Join({"generate"}, Join(kWithModel, {"-q"})), more); }

struct Refusal {
  Arguments arguments;
  std::string says;
};

void CheckAllRefused(const std::vector<Refusal>& refusals) {
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  for (const auto& [arguments, says] : refusals) CheckRefused(arguments, kUsageExit, says, folder.path());
  fs::current_path(before);
}

// A list of two prompts in `folder`.
std::string WriteList(const TemporaryFolder& folder) {
  WriteText(folder / "list.txt", "a dog\na cat\n");
  return folder / "list.txt";
}

size_t CountFiles(const fs::path& folder, const std::string& extension) {
  size_t count = 0;
  for (const auto& entry : fs::directory_iterator(folder))
    count += entry.path().extension() == extension ? 1 : 0;
  return count;
}

// ---- what follows -- --------------------------------------------------------------------------------------

TEST_CASE("every verb takes what it works on behind --") {
  const TemporaryFolder folder;
  const std::string list = WriteList(folder), picture = folder / "a.png", pictures = folder / "pictures";
  WriteTestPicture(picture, 40, 30, 1);
  const auto run = [&](const Arguments& verb, const Arguments& behind) {
    return RunWell(Join(Join(verb, {"--"}), behind)).out;
  };
  run(Join({"render", "-o", pictures, "-q"}, kWithModel), {list});
  CHECK(CountFiles(pictures, ".png") == 2);
  run({"merge"}, {pictures});
  run(Generate({"-o", folder / "dash.png"}), {"-5 degrees"});
  run(Join({"caption", "-q", "--max-tokens", "2"}, kWithModel), {picture});
  run(Join({"ask", "--max-tokens", "2"}, kWithModel), {picture, "-1 or 1?"});
  run(Join({"vq", "encode", "-o", folder / "codes.npy"}, kWithModel), {picture});
  run(Join({"vq", "decode", "-o", folder / "decoded.png"}, kWithModel), {folder / "codes.npy"});
  run(Join({"vq", "roundtrip"}, kWithModel), {picture});
  CHECK(run({"tokenize", "-m", kModel}, {"-5 degrees"}) ==
        RunWell({"tokenize", "-m", kModel, "--text", "-5 degrees"}).out);
  run({"info", "-m", kModel}, {});
  run(Join({"export", "-m", kModel, "-o", folder / "exported"}, {}), {});
  run({"convert", "-o", folder / "model.gguf"}, {kModel});
  RunWell(Join({"chat"}, Join(kWithModel, {"--", picture})), "/quit\n");
  CheckAllRefused({{{"info", "--", "more"}, "unexpected argument more"},
                   {{"render", "-o", "out", "--", "a.txt", "b.txt"}, "b.txt"},
                   {{"render", "-o", "out"}, "bifrons render prompts.txt"},
                   {{"vq", "encode", "-o", "out"}, "bifrons vq encode dog.png"},
                   {{"vq", "encode", "-o", "out", "--", "a.png", "b.png"}, "b.png"},
                   {{"tokenize"}, "bifrons tokenize \"a dog\""},
                   {{"tokenize", "a", "dog"}, "quotes"}});
}

// ---- ask
// ----------------------------------------------------------------------------------------------------

TEST_CASE("an image alone is not taken for a question") {
  const TemporaryFolder folder;
  const std::string picture = folder / "my dog";
  WriteTestPicture(picture + ".png", 40, 30, 1);
  fs::rename(picture + ".png", picture);
  for (const Arguments& arguments : std::vector<Arguments>{
           {"a.png"}, {"a.JPG"}, {"-"}, {"data:image/png;base64,AAAA"}, {picture}, {"what?", "a.png"}}) {
    CheckRefused(Join({"ask", "-m", kModel}, arguments), kUsageExit, "question", folder.path());
  }
  CheckRefused({"ask", "-m", kModel, "a.png"}, kUsageExit, "bifrons ask a.png \"", folder.path());
  RunWell(Join({"ask", "--max-tokens", "2"}, Join(kWithModel, {"What is a.png"})));
  RunWell(Join({"ask", "--max-tokens", "2"}, Join(kWithModel, {"What?"})));
}

// ---- typing mistakes
// ----------------------------------------------------------------------------------------

TEST_CASE("typing mistakes are told with what was meant") {
  CheckAllRefused({
      {{"genrate", "a dog"}, "no verb \"genrate\" (did you mean generate?)"},
      {{"capton"}, "(did you mean caption?)"},
      {{"hepl"}, "(did you mean help?)"},
      {{"help", "rendr"}, "(did you mean render?)"},
      {{"help", "vq", "encoed"}, "(did you mean encode?)"},
      {{"help", "info", "more"}, "unexpected argument more"},
      {{"vq", "encoed", "a.png"}, "(did you mean encode?)"},
      {{"generate", "--sede", "7", "a dog"}, "unknown option --sede (did you mean --seed?)"},
      {{"generate", "--sede=7", "a dog"}, "unknown option --sede (did you mean --seed?)"},
      {{"generate", "--temp", "1", "a dog"}, "(did you mean --temperature?)"},
      {{"render", "list.txt", "--ouput", "out"}, "(did you mean --output?)"},
      {{"vq", "encode", "a.png", "--otuput", "x.npy"}, "(did you mean --output?)"},
      {{"--verson"}, "(did you mean --version?)"},
      {{"generate", "-seed", "7", "a dog"}, "unknown option -seed (did you mean --seed?)"},
      {{"generate", "-prompt", "a dog"}, "unknown option -prompt (did you mean --prompt?)"},
      {{"generate", "--nonsense", "a dog"}, "goes after --"},
      {{"paint", "a dog"}, "no verb \"paint\" (did you mean generate?)"},
      {{"download", "org/name"}, "no verb \"download\" (did you mean pull?)"},
      {{"generate", "--upscale", "2", "a dog"}, "unknown option --upscale, which goes with render"},
      {{"render", "list.txt", "--preview"}, "unknown option --preview, which goes with generate, chat"},
      {{"generate", "--negativ", "blurry"}, "(did you mean --negative-prompt?)"},
      {{"generate", "-q", "a dog", "-5"}, "unknown option -5"},
      {{"generate", "-5", "a dog"}, "unknown option -5 (what begins with a dash goes after --)"},
      {{"a dog"}, "no verb \"a dog\" (did you mean generate \"a dog\"?)"},
      {{"serve"}, "no verb \"serve\"; see bifrons --help"},
      {{}, "give a verb"},
      {{"vq"}, "give a verb, as in: bifrons vq encode"},
  });
}

TEST_CASE("what stands where it does not belong is told in the order it was typed in") {
  CheckAllRefused({
      {{"--conv", "own", "generate", "a dog"}, "--conv goes behind the verb, as in: bifrons generate --conv"},
      {{"vq", "--conv", "own", "encode", "a.png"},
       "--conv goes behind the verb, as in: bifrons vq encode --conv"},
      {{"info", "first", "second"}, "unexpected argument first"},
      {{"bench", "first", "--second"}, "unexpected argument first; see"},
      {{"info", "model.gguf"}, "unexpected argument model.gguf (a model goes behind -m)"},
      {{"bench", "random:janus-1.3b"}, "(a model goes behind -m)"},
      {{"info", kModel}, "(a model goes behind -m)"},
  });
}

TEST_CASE("what is missing or in the wrong place is told with an example") {
  CheckAllRefused({
      {{"ask", "What is this?", "out.png"}, "images come first, then the question"},
      {{"ask", "dog.png", "What", "is", "this?"},
       "a question of several words goes in quotes, as in: bifrons ask dog.png \"What is this?\""},
      {{"ask", "What", "now?"}, "in quotes, as in: bifrons ask \"What now?\""},
      {{"caption", "dog.png", "What is this?"}, "there is no file What is this?; a question goes behind --q"},
      {{"render"}, "give a list, as in: bifrons render prompts.txt -o pictures"},
      {{"render", "list.txt"}, "give a folder for the pictures, as in: bifrons render prompts.txt -o"},
      {{"vq", "encode"}, "give a file, as in: bifrons vq encode dog.png -o codes.npy"},
      {{"vq", "encode", "a.png"}, "give a file to write, as in: bifrons vq encode dog.png -o codes.npy"},
      {{"vq", "decode", "a.npy"}, "give a file to write, as in: bifrons vq decode codes.npy -o dog.png"},
      {{"export"}, "--output is required"},
      {{"convert"}, "--output is required"},
      {{"generate", "--seed", "abc", "a dog"}, "--seed: abc is no whole number"},
      {{"generate", "--seed", "99999999999999999999", "a dog"}, "must lie between"},
      {{"generate", "--images", "0", "a dog"}, "--images: must lie between 1 and 1000000"},
      {{"generate", "--threads", "many", "a dog"}, "--threads: many is no whole number"},
      {{"bench", "--rows", "2,0"}, "--rows: must lie between 1 and 4096"},
      {{"generate", "--cfg=7,5", "a dog"}, "--cfg: 7,5 is no number"},
      {{"generate", "--cfg=nan", "a dog"}, "must lie between"},
      {{"generate", "--size", "512x512", "a dog"}, "--size: the model draws pictures of one size"},
  });
}

// ---- help
// ---------------------------------------------------------------------------------------------------

TEST_CASE("help is a verb as well, and tells of every option by its group") {
  CHECK(RunWell({"help"}).out == RunWell({"--help"}).out);
  CHECK(RunWell({"help", "generate"}).out == RunWell({"generate", "--help"}).out);
  CHECK(RunWell({"help", "vq", "encode"}).out == RunWell({"vq", "encode", "--help"}).out);
  CHECK(RunWell({"-V"}).out == RunWell({"--version"}).out);
  const std::string vq = RunWell({"help", "vq"}).out;
  CHECK_THAT(vq, Contains("--device") && Contains("--output") && Contains("bifrons vq encode --help"));
  const std::string help = RunWell({"help", "generate"}).out;
  size_t at = 0;
  for (const char* const group :
       {"\nOptions:", "--images", "--seed", "--output", "--model", "\nSampling:", "--cfg",
        "\nFiles:", "--format", "\nRunning:", "\nModel and device:", "--threads", "\nExamples:"}) {
    INFO(group);
    const size_t found = help.find(group, at);
    REQUIRE(found != help.npos);
    at = found;
  }
  CHECK_THAT(help, !Contains("--steps"));
  CHECK_THAT(RunWell({"help", "render"}).out, Contains("--grid [INT] ") && Contains("-h, --help  "));
  CHECK_THAT(RunWell({"help", "render"}).out, Contains("optional:\nprompt, n, seed, best_of, cfg,"));
  CHECK_THAT(RunWell({"help", "merge"}).out,
             Contains("\nJobs are told by their index, which counts from 0;"));
  // What may be left out stands in brackets.
  CHECK_THAT(RunWell({"help", "render"}).out, Contains("Usage: bifrons render [OPTIONS] jobs\n"));
  CHECK_THAT(RunWell({"help", "caption"}).out, Contains("Usage: bifrons caption [OPTIONS] image...\n"));
  CHECK_THAT(RunWell({"help", "convert"}).out, Contains("Usage: bifrons convert [OPTIONS] [model]\n"));
  CHECK_THAT(RunWell({"help", "vq", "encode"}).out, !Contains("--kv") && !Contains("--template"));
  for (const std::string verb :
       {"generate", "render", "merge", "pull", "caption", "ask", "chat", "vq", "info", "tokenize", "trace",
        "bench", "selftest", "kl", "export", "convert"}) {
    std::istringstream lines(
        RunWell({"help", verb}).out.substr(0, RunWell({"help", verb}).out.find("\nExamples:")));
    for (std::string line; std::getline(lines, line);) {
      INFO(verb << ": " << line);
      CHECK(line.size() <= 110);
    }
  }
}

// Name by name of what --help lists: {"-o", "--output"}. Old spellings are told in its descriptions only.
std::vector<std::vector<std::string>> ListedOptions(const std::string& help) {
  std::vector<std::vector<std::string>> options;
  std::istringstream lines(help.substr(0, help.find("\nExamples:")));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("  -")) continue;
    std::istringstream words(line);
    options.emplace_back();
    for (std::string word; words >> word && word.starts_with("-") && word.size() > 1;) {
      const bool more = word.ends_with(",");
      options.back().push_back(more ? word.substr(0, word.size() - 1) : word);
      if (!more) break;
    }
  }
  return options;
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != text.npos; at++) count++;
  return count;
}

TEST_CASE("manual pages are written again over bifrons' own, and over nothing else") {
  const TemporaryFolder folder;
  const std::string pages = RunWell({"man", "-o", folder / "man1"}).out;
  CHECK(RunWell({"man", "-o", folder / "man1"}).out == pages);
  WriteText(folder / "man1/bifrons-vq.1", ".TH VQ 1\n");
  fs::remove(folder.path() / "man1/bifrons.1");
  const ProgramResult refused = RunProgram({"man", "-o", folder / "man1"});
  CHECK(refused.exit_code == 2);
  CHECK_THAT(refused.err, Catch::Contains("bifrons-vq.1: is there already"));
  CHECK_FALSE(fs::exists(folder.path() / "man1/bifrons.1"));
  CHECK(RunProgram({"man", "-o", ""}).exit_code == 2);
}

TEST_CASE("every option of --help is in the completions and in the manual, and no other is") {
  const std::string bash = RunWell({"completion", "bash"}).out, zsh = RunWell({"completion", "zsh"}).out,
                    fish = RunWell({"completion", "fish"}).out;
  const TemporaryFolder folder;
  RunWell({"man", "-o", folder / "man1"});
  std::set<std::string> pages;
  const std::function<void(const Arguments&)> check = [&](const Arguments& verbs) {
    std::string path;
    for (const std::string& verb : verbs) path += " " + verb;
    INFO("bifrons" << path);
    const std::string help = RunWell(Join({"help"}, verbs)).out;
    const std::string name = "bifrons" + Replaced(path, " ", "-") + ".1";
    const std::string page = ReadText(folder / ("man1/" + name));
    CHECK(page == RunWell(Join({"man"}, verbs)).out);
    pages.insert(name);
    const auto part = [&](const std::string& text, const std::string& begin, const std::string& end) {
      const size_t at = text.find(begin);
      INFO(begin);
      REQUIRE(at != text.npos);
      return text.substr(at, text.find(end, at + begin.size()) - at);
    };
    const std::string in_bash = part(bash, "\n    '" + path + "')\n      options='", "'\n      offer=");
    const std::string in_zsh = part(zsh, "\n_bifrons" + Replaced(path, " ", "_") + "() {", "\n}\n");
    const std::string where = path.empty() ? "at" : "behind";
    const std::string in_fish = "complete -c bifrons -n '__bifrons_" + where + path + "' -l ";
    const std::vector<std::vector<std::string>> options = ListedOptions(help);
    std::string names;
    for (const std::vector<std::string>& option : options) {
      INFO(option.back());
      CHECK(fish.find(in_fish + option.back().substr(2) + " ") != fish.npos);
      std::string tag;
      for (const std::string& one : option) {
        names += (names.empty() ? "" : " ") + one;
        CHECK(std::regex_search(in_zsh, std::regex("['{,*]" + one + "[+=[,}]")));
        tag += (tag.empty() ? "\\fB" : ", \\fB") + Replaced(one, "-", "\\-") + "\\fR";
      }
      CHECK(page.find("\n.TP\n" + tag) != page.npos);
    }
    CHECK(in_bash.substr(in_bash.find("options='") + 9) == names);
    CHECK(Count(in_zsh, ")'{-") + Count(in_zsh, "*'{-") + Count(in_zsh, "'--") + Count(in_zsh, "'*--") ==
          options.size());
    CHECK(Count(fish, in_fish) == options.size());
    CHECK(Count(page, "\n.TP\n\\fB\\-") == options.size());
    // The verbs below it.
    std::istringstream lines(help.substr(std::min(help.find("\nVerbs:\n"), help.size())));
    std::string line;
    std::getline(lines, line), std::getline(lines, line);
    while (std::getline(lines, line) && line.starts_with("  ")) {
      if (line[2] != ' ') check(Join(verbs, {line.substr(2, line.find(' ', 2) - 2)}));
    }
  };
  check({});
  CHECK(pages.size() >= 19);
  CHECK(pages.contains("bifrons-vq-encode.1"));
  CHECK(CountFiles(folder / "man1", ".1") == pages.size());
  for (const std::string& script : {bash, zsh, fish}) {
    INFO(script.substr(0, script.find('\n')));
    CHECK_THAT(script, !Contains("--steps") && !Contains("guidance=") && !Contains("-l guidance"));
  }
  CheckAllRefused({{{"completion"}, "bash, zsh or fish"},
                   {{"completion", "tcsh"}, "not tcsh"},
                   {{"completion", "bash", "zsh"}, "unexpected argument zsh"},
                   {{"man", "genrate"}, "(did you mean bifrons-generate?)"},
                   {{"man", "generate", "-o", "man1"}, "writes all pages"}});
}

// ---- one name for one thing, and those of other programs
// ----------------------------------------------------

TEST_CASE("the same names everywhere, and the old ones still") {
  const TemporaryFolder folder;
  const std::string list = WriteList(folder);
  for (const std::string name : {"-n", "--images", "--n"}) {
    const std::string out = folder / ("pictures" + name);
    RunWell(Join({"render", list, "-o", out, "-q", name, "2"}, kWithModel));
    CHECK(CountFiles(out, ".png") == 4);
  }
  RunWell(Generate({"--codes-out", folder / "codes.npy", "-o", folder / "out.png", "a dog"}));
  for (const std::string name : {"-o", "--output", "--out"}) {
    RunWell({"export", "-m", kModel, name, folder / ("model" + name)});
    RunWell({"convert", kModel, name, folder / ("model" + name + ".gguf")});
    RunWell(Join({"trace", "-p", "a dog", "--codes", folder / "codes.npy", name, folder / ("trace" + name)},
                 kWithModel));
  }
}

TEST_CASE("other programs' names of what there is") {
  const TemporaryFolder folder;
  const auto drawn = [&](const Arguments& more) {
    RunWell(Generate(Join(more, {"-o", folder / "out.png"})));
    return ReadText(folder / "out.png");
  };
  const std::string picture = drawn({"--seed", "7", "--cfg", "3", "--threads", "2", "a dog"});
  CHECK(drawn({"-s", "7", "--cfg-scale", "3", "-t", "2", "-p", "a dog"}) == picture);
  CHECK(drawn({"-s", "7", "--guidance", "3", "--prompt", "a dog"}) == picture);
  CHECK(drawn({"-s", "7", "--cfg", "3", "-p", "a dog", "--width", "12", "--height", "12"}) == picture);
  CHECK(drawn({"-s", "7", "--cfg", "3", "-p", "a dog", "-W", "12", "-H", "12", "-b", "1"}) == picture);
  const std::string list = WriteList(folder), out = folder / "pictures";
  RunWell(Join({"render", list, "-o", out, "-q", "-s", "7", "-t", "1", "--cfg-scale", "3", "--width", "12"},
               kWithModel));
  CHECK(CountFiles(out, ".png") == 2);
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  RunWell(Join({"chat", "-s", "7", "-t", "1", "--cfg-scale", "3", "--height", "12"}, kWithModel),
          "/draw a dog\n");
  fs::current_path(before);
  const auto parameters = ReadPictureParameters(folder / "chat_1.png");
  REQUIRE(parameters.ok());
  CHECK(ParseParameters(*parameters)->sampling.guidance == 3);
}

TEST_CASE("other programs' names of what there is not are refused with the reason") {
  const TemporaryFolder folder;
  const std::string list = WriteList(folder);
  const std::vector<Arguments> drawing = {Join(Generate({"-o", folder / "out.png"}), {"a dog"}),
                                          Join({"render", list, "-o", folder / "out"}, kWithModel),
                                          Join({"chat"}, kWithModel)};
  for (const Arguments& verb : drawing) {
    const auto refuse = [&](const Arguments& more, const std::string& says) {
      CheckRefused(Join(verb, more), kUsageExit, says, folder.path());
    };
    refuse({"--steps", "20"}, "one by one");
    refuse({"--steps=20"}, "one by one");
    refuse({"--steps"}, "one by one");
    refuse({"--negative-prompt", "blurry"}, "--negative-prompt: guidance compares with an empty prompt");
    refuse({"--width", "512"}, "--width 512: the model draws 12x12 pixels");
    refuse({"--width", "12", "--height", "512"}, "--height 512: the model draws 12x12 pixels");
    refuse({"-W", "512"}, "--width 512: the model draws 12x12 pixels");
    refuse({"--sampling-method", "euler_a"}, "--sampling-method: tokens are drawn by --temperature");
    refuse({"--width", "wide"}, "--width");
    refuse({"--width", "0"}, "--width");
  }
  CheckRefused(Join({"chat"}, Join(kWithModel, {"-b", "2"})), kUsageExit, "/draw draws one", folder.path());
  CheckRefused({"render", list, "-o", folder / "out", "-p", "a dog"}, kUsageExit,
               "a file with a prompt per line", folder.path());
  CheckRefused({"chat", "-p", "a dog"}, kUsageExit, "/draw", folder.path());
}

// ---- on a terminal
// ------------------------------------------------------------------------------------------

// What the program writes to a terminal that is its standard error, in an environment with nothing but
// `variables`; its standard output goes to `out`.
std::string ShownOnTerminal(const Arguments& arguments, const Arguments& variables, winsize size,
                            const std::string& out) {
  int terminal = -1, other = -1;
  REQUIRE(::openpty(&terminal, &other, nullptr, nullptr, &size) == 0);
  std::vector<char*> argv = {const_cast<char*>(TestedProgram())}, env;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  for (const std::string& variable : variables) env.push_back(const_cast<char*>(variable.c_str()));
  argv.push_back(nullptr), env.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, other, STDERR_FILENO);
  posix_spawn_file_actions_addclose(&actions, terminal);
  pid_t process = 0;
  REQUIRE(posix_spawn(&process, TestedProgram(), &actions, nullptr, argv.data(), env.data()) == 0);
  posix_spawn_file_actions_destroy(&actions);
  ::close(other);
  std::string shown;
  char bytes[4096];
  for (ssize_t n = 0; (n = ::read(terminal, bytes, sizeof bytes)) > 0;)
    shown.append(bytes, static_cast<size_t>(n));
  ::close(terminal);
  int status = -1;
  REQUIRE(waitpid(process, &status, 0) == process);
  INFO(shown);
  REQUIRE((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  return shown;
}

TEST_CASE("--preview shows pictures as the terminal can, beside standard output") {
  const TemporaryFolder folder;
  const Arguments piped = {"generate", "--dtype", "f32", "-s", "1", "--preview", "-o", "-", "a dog"};
  const Arguments tiny = Join(piped, {"--model", kModel});  // 12x12 pixels
  const std::string tiny_bytes = RunWell(Join(tiny, {"-q"})).out;
  const winsize window{.ws_row = 24, .ws_col = 80, .ws_xpixel = 800, .ws_ypixel = 480};
  const auto shown = [&](const Arguments& arguments, const Arguments& variables, const winsize& size) {
    const std::string text = ShownOnTerminal(arguments, variables, size, folder / "out");
    const auto png = ReadText(folder / "out");
    CHECK(png.starts_with("\x89PNG"));
    if (arguments == tiny) CHECK((png == tiny_bytes));
    return text;
  };
  const std::string kitty = "\x1b_Ga=T,f=32,s=", iterm2 = "\x1b]1337;File=inline=1;", sixel = "\x1bP0;1;0q",
                    color = "\x1b[38;";
  // Two cells of 10 by 20 pixels hold the tiny picture.
  CHECK_THAT(shown(tiny, {"TERM=xterm-kitty"}, window), Contains(kitty) && Contains("c=2,r=1"));
  CHECK_THAT(shown(tiny, {"TERM=xterm-256color", "TERM_PROGRAM=iTerm.app"}, window),
             Contains(iterm2) && Contains("width=2;height=1"));
  CHECK_THAT(shown(tiny, {"TERM=foot"}, window), Contains(sixel));
  CHECK_THAT(shown(tiny, {"TERM=tmux-256color", "LC_TERMINAL=iTerm2"}, window),
             !Contains(iterm2) && Contains(color));
  CHECK_THAT(shown(tiny, {"TERM=dumb"}, window), !Contains("\x1b"));
  // Nothing known of the window, nothing that holds a letter, more than any has.
  for (const winsize& odd :
       {winsize{}, winsize{.ws_row = 1, .ws_col = 1, .ws_xpixel = 1, .ws_ypixel = 1},
        winsize{.ws_row = 65535, .ws_col = 65535, .ws_xpixel = 65535, .ws_ypixel = 65535}})
    for (const std::string term : {"TERM=xterm-kitty", "TERM=foot"})
      CHECK(shown(tiny, {term}, odd).size() > 2);

  // Coloured characters, as many lines as the window has but two.
  const Arguments bundled = Join(piped, {"-q"});
  const std::string symbols = shown(bundled, {"TERM=xterm-256color"}, window);
  CHECK_THAT(symbols, Contains(color));
  CHECK(Count(symbols, "\n") == 22);
  const std::string plain = shown(bundled, {"TERM=dumb"}, window);
  CHECK(plain.find('\x1b') == plain.npos);
  CHECK(Count(plain, "\n") == 22);
  CHECK(plain.find("\r\n") == 44);  // of cells twice as high as wide

  // No terminal: a line, and the picture all the same.
  const ProgramResult nowhere = RunWell(tiny);
  CHECK_THAT(nowhere.err, Contains("--preview: standard error is no terminal; pictures are not shown\n"));
  CHECK((nowhere.out == tiny_bytes));
  CHECK(ShownOnTerminal(Generate({"-s", "1", "-o", folder / "x.png", "a dog"}), {"TERM=xterm-kitty"}, window,
                        folder / "out") == "");
}

// ---- values that are optional, or several
// ------------------------------------------------------------------

TEST_CASE("render's list may stand behind any option") {
  const TemporaryFolder folder;
  const std::string list = WriteList(folder);
  const auto drawn = [&](const std::string& name, const Arguments& options) {
    const std::string out = folder / name;
    RunWell(Join(Join({"render", "-o", out, "-q", "-s", "1"}, kWithModel), options));
    return CountFiles(out, ".png");
  };
  CHECK(drawn("grid", {"--grid", list}) == 3);  // two pictures, one sheet
  CHECK(drawn("columns", {"--grid", "2", list}) == 3);
  CHECK(drawn("one axis", {"--plot", "cfg=1,3", list}) == 6);  // of each prompt two and a sheet
  CHECK(drawn("two axes", {"--plot", "cfg=1,3", "temperature=0.5,1", list}) == 10);
  CHECK(drawn("twice", {"--plot", "cfg=1,3", "--plot=temperature=0.5,1", list}) == 10);
  CHECK(drawn("dashes", {"--plot", "cfg=1,3", "--", list}) == 6);
  CheckAllRefused(
      {{{"render", "--plot", list, "-o", "out"}, "--plot"},
       {{"render", list, "--plot", "cfg=1,3", "seed=1", "top_k=3", "-o", "out"}, "one axis or two"},
       {{"render", list, "-o", "out", "--plot"}, "--plot"}});
}

TEST_CASE("vq writes PNG, and under no other name") {
  const TemporaryFolder folder;
  const std::string picture = folder / "a.png", codes = folder / "codes.npy";
  WriteTestPicture(picture, 40, 30, 1);
  RunWell(Join({"vq", "encode", picture, "-o", codes}, kWithModel));
  RunWell(Join({"vq", "decode", codes, "-o", folder / "b.PNG"}, kWithModel));
  RunWell(Join({"vq", "roundtrip", picture, "-o", folder / "c.png"}, kWithModel));
  for (const std::string name : {"x.jpg", "x.webp", "x"}) {
    CheckRefused(Join({"vq", "decode", codes, "-o", folder / name}, kWithModel), kUsageExit,
                 "must end in .png", folder.path());
    CheckRefused(Join({"vq", "roundtrip", picture, "-o", folder / name}, kWithModel), kUsageExit,
                 "must end in .png", folder.path());
  }
}

TEST_CASE("trace leaves nothing behind when there is no model to trace") {
  const TemporaryFolder folder;
  const std::string codes = folder / "codes.npy", picture = folder / "a.png";
  WriteTestPicture(picture, 40, 30, 1);
  RunWell(Join({"vq", "encode", picture, "-o", codes}, kWithModel));
  const std::string out = folder / "deep/trace";
  CheckRefused({"trace", "-m", folder.path(), "-p", "a dog", "--codes", codes, "-o", out}, kBadDataExit,
               folder.path(), folder.path());
  CheckRefused({"trace", "-m", folder.path(), "--image", picture, "-o", out}, kBadDataExit, folder.path(),
               folder.path());
  // What cannot be made is told first.
  CheckRefused({"trace", "-m", folder.path(), "--image", picture, "-o", picture + "/trace"}, kFailureExit,
               picture + "/trace: cannot make this folder", folder.path());
}

// ---- generate's files
// ---------------------------------------------------------------------------------------

TEST_CASE("a picture's format is what its name ends in") {
  const TemporaryFolder folder;
  const auto begins = [&](const std::string& name, const std::string& with) {
    CHECK(RunWell(Generate({"-s", "1", "-o", folder / name, "a dog"})).out == folder / name + "\n");
    const auto parameters = ReadPictureParameters(folder / name);
    REQUIRE(parameters.ok());
    CHECK(ParseParameters(*parameters)->prompt == "a dog");
    return ReadText(folder / name).starts_with(with);
  };
  CHECK(begins("x.png", "\x89PNG"));
  CHECK(begins("x.jpg", "\xFF\xD8\xFF"));
  CHECK(begins("x.jpeg", "\xFF\xD8\xFF"));
  CHECK(begins("x.JPG", "\xFF\xD8\xFF"));
  CHECK(begins("x.webp", "RIFF"));
  CHECK(begins("x.webp", "RIFF"));  // ours: replaced
  RunWell(Generate({"--from", folder / "x.webp", "-o", folder / "again.png"}));
  CHECK(ReadText(folder / "again.png") == ReadText(folder / "x.png"));
  CHECK(RunWell(Generate({"-n", "2", "-o", folder / "y.webp", "a dog"})).out ==
        folder / "y_1.webp" + "\n" + folder / "y_2.webp" + "\n");
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  CHECK(RunWell(Generate({"--format", "jpg", "a dog"})).out == "out.jpg\n");
  CHECK(RunWell(Generate({"--from", "x.webp"})).out == "out.webp\n");
  CHECK(ReadText("out.webp") == ReadText("x.webp"));
  fs::current_path(before);
  for (const std::string name : {"x", "x.gif", "x.", ".png"})
    CheckRefused(Generate({"-o", folder / name, "a dog"}), kUsageExit, "must end in .png, .jpg or .webp",
                 folder.path());
  CheckRefused(Generate({"-o", folder / "z.png", "--format", "jpg", "a dog"}), kUsageExit, "--format jpg",
               folder.path());
}

TEST_CASE("standard output takes a picture, and nothing else") {
  const TemporaryFolder folder;
  RunWell(Generate({"-s", "1", "-o", folder / "x.png", "a dog"}));
  RunWell(Generate({"-s", "1", "-o", folder / "x.jpg", "a dog"}));
  const ProgramResult piped = RunWell(Generate({"-s", "1", "-o", "-", "a dog"}));
  CHECK((piped.out == ReadText(folder / "x.png")));
  CHECK((RunWell(Generate({"-s", "1", "-o", "-", "--format", "jpg", "a dog"})).out ==
         ReadText(folder / "x.jpg")));
  CHECK((RunWell({"generate", "-m", kModel, "--dtype", "f32", "-v", "-s", "1", "-o", "-", "a dog"}).out ==
         piped.out));
  CheckAllRefused({{Generate({"-o", "-", "-n", "2", "a dog"}), "one picture"},
                   {Generate({"-o", "-", "a dog", "a cat"}), "one picture"},
                   {Generate({"-o", "-", "--json", "a dog"}), "--json"}});
}

TEST_CASE("nothing is told to somebody who has read enough") {
  const TemporaryFolder folder;
  const std::string err = folder / "err";
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  ::close(ends[0]);
  for (const std::string arguments : {"man", "help render", "completion bash", "--version"}) {
    INFO(arguments);
    const std::string command = std::string("'") + TestedProgram() + "' " + arguments + " 2>'" + err + "' >&";
    const int status = std::system((command + std::to_string(ends[1])).c_str());
    CHECK(WEXITSTATUS(status) == 1);
    CHECK(ReadText(err).empty());
  }
  ::close(ends[1]);
}

TEST_CASE("the bundled model has a name") {
  const TemporaryFolder folder;
  const Arguments drawn = {"-q", "-s", "1", "a dog on a blue background"};
  RunWell(Join({"generate", "-o", folder / "a.png"}, drawn));
  RunWell(Join({"generate", "-m", "janus-mini", "-o", folder / "b.png"}, drawn));
  CHECK((ReadText(folder / "a.png") == ReadText(folder / "b.png")));
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  fs::create_directory("janus-mini");  // comes first
  const ProgramResult other = RunProgram({"info", "-m", "janus-mini"});
  fs::current_path(before);
  CHECK(other.exit_code == kBadDataExit);
}

TEST_CASE("--json prints every setting of what was drawn") {
  const TemporaryFolder folder;
  const std::string out = folder / "x.jpg";
  const auto line = nlohmann::json::parse(
      RunWell(Generate({"--json",  "-s",         "7",         "--cfg", "3.3",     "--temperature", "0.7",
                        "--top-k", "40",         "--top-p",   "0.9",   "--min-p", "0.01",          "--device",
                        "ref",     "--template", "janus-pro", "-o",    out,       "a dog"}))
          .out);
  const auto parameters = ReadPictureParameters(out);
  REQUIRE(parameters.ok());
  const PictureSettings settings = *ParseParameters(*parameters);
  const nlohmann::json expected = {{"file", out},
                                   {"prompt", "a dog"},
                                   {"seed", 7},
                                   {"guidance", 3.3},
                                   {"temperature", 0.7},
                                   {"top_k", 40},
                                   {"top_p", 0.9},
                                   {"min_p", 0.01},
                                   {"width", 12},
                                   {"height", 12},
                                   {"format", "jpg"},
                                   {"drawn_width", 12},
                                   {"drawn_height", 12},
                                   {"upscale", 1},
                                   {"image_tokens", settings.steps},
                                   {"model", "converted"},
                                   {"model_hash", settings.model_hash},
                                   {"template", "janus-pro"},
                                   {"weights", "stored"},
                                   {"compute", "f32"},
                                   {"kv", settings.kv_type},
                                   {"device", "ref"},
                                   {"isa", settings.isa},
                                   {"convolutions", "own"},
                                   {"version", settings.version}};
  CHECK(line == expected);
}

}  // namespace
}  // namespace bifrons
