// bifrons chat: questions and answers in turns, with images shown and pictures drawn in between.
#include <editline/readline.h>
#include <unistd.h>

#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <random>

#include "src/base/progress.h"
#include "src/base/stop.h"
#include "src/cli/answering.h"
#include "src/cli/commands.h"
#include "src/cli/drawn_size.h"
#include "src/cli/output_file.h"
#include "src/cli/preview.h"
#include "src/cli/signals.h"
#include "src/engine/draw.h"
#include "src/engine/metadata.h"
#include "src/engine/scheduler.h"
#include "src/model/text/utf8.h"
#include "vision/png.h"

namespace bifrons {
namespace {
namespace fs = std::filesystem;

constexpr const char* kHelp =
    "Type a question. Commands:\n"
    "  /image PATH    show an image; the next question is about it too\n"
    "  /draw PROMPT   draw a picture into chat_1.png, chat_2.png, …\n"
    "  /new           forget the conversation\n"
    "  /quit, /exit   leave (so does the end of the input)\n"
    "Ctrl-C stops an answer or a drawing.\n";

// Lines of the terminal, edited and remembered by libedit; of a pipe, as they are.
class LineReader {
 public:
  LineReader() : terminal_(::isatty(STDIN_FILENO) && ::isatty(STDOUT_FILENO)) {
    if (!terminal_) return;
    // Characters are typed in UTF-8, whether the environment says so or not.
    if (!std::setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
    ::rl_initialize();
    ::using_history();
    ::stifle_history(1000);
    const char* state = std::getenv("XDG_STATE_HOME");
    const char* home = std::getenv("HOME");
    if (!state && !home) return;
    const fs::path folder = (state ? fs::path(state) : fs::path(home) / ".local" / "state") / "bifrons";
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) return;  // a chat without a history is still a chat
    const fs::path history = folder / "chat_history";
    if (fs::exists(history, error) && !fs::is_regular_file(history, error)) return;  // libedit would wait
    history_ = history;
    ::read_history(history_.c_str());
  }
  bool terminal() const { return terminal_; }

  std::optional<std::string> Next() {
    waiting_for_input = true;
    auto line = Read();
    waiting_for_input = false;
    return line;
  }

 private:
  std::optional<std::string> Read() {
    if (!terminal_) {
      std::string line;
      return std::getline(std::cin, line) ? std::optional(line) : std::nullopt;
    }
    char* typed = ::readline("> ");
    if (!typed) {
      std::fputs("\n", stdout);  // what follows, the shell's prompt, stands on a line of its own
      return std::nullopt;
    }
    std::string line = typed;
    std::free(typed);
    if (!line.empty()) ::add_history(line.c_str());
    if (!history_.empty()) ::write_history(history_.c_str());
    return line;
  }

  bool terminal_;
  std::string history_;
};

class Chat {
 public:
  Chat(const ChatOptions& options, Janus& janus, PictureSettings settings)
      : options_(options),
        janus_(janus),
        settings_(std::move(settings)),
        request_(RequestFrom(options.answer)),
        scheduler_(janus, {}),
        preview_(options.preview, /*quiet=*/false) {
    request_.cache = std::make_shared<PromptCache>();
  }

  // The scheduler is idle between turns, so the image can be looked at here: what is wrong with it shows at
  // once.
  Status Show(const std::string& source) {
    BIFRONS_TRY(auto features, LoadAndLookAt(janus_, source, options_.answer.image));
    shown_.push_back(std::move(features));
    return {};
  }
  Status Ask(const std::string& question);
  Status Draw(const std::string& prompt);
  void Forget() {
    request_.turns.clear(), request_.images.clear(), shown_.clear();
    request_.cache = std::make_shared<PromptCache>();
  }

 private:
  const ChatOptions& options_;
  Janus& janus_;
  PictureSettings settings_;
  AnswerRequest request_;             // the conversation so far
  std::vector<ImageFeatures> shown_;  // since the last question
  Scheduler scheduler_;
  const Preview preview_;
};

Status Chat::Ask(const std::string& question) {
  AnswerRequest request = request_;
  request.turns.push_back({static_cast<int64_t>(shown_.size()), question, ""});
  request.images.insert(request.images.end(), shown_.begin(), shown_.end());
  std::string text;
  const auto print = [&](const std::string& more) {
    text += more;
    std::fwrite(more.data(), 1, more.size(), stdout);
    std::fflush(stdout);
    return !StopRequested();
  };
  const auto answer = AnswerOne(scheduler_, request, print);
  if (!answer.ok() && !Scheduler::IsCancelled(answer.error())) return answer.error();
  std::fputs("\n", stdout);
  request.turns.back().answer = text;
  request_ = std::move(request);
  shown_.clear();
  return {};
}

Status Chat::Draw(const std::string& prompt) {
  BIFRONS_RETURN_IF_ERROR(CheckPrompt(janus_, prompt));
  DrawRequest request{prompt, std::random_device{}() & 0x7FFFFFFF, {}};
  request.sampling.guidance = options_.guidance.value_or(janus_.config().guidance_default);
  // As generate does: with it the picture can be drawn again.
  std::fprintf(stderr, "seed %llu\n", static_cast<unsigned long long>(request.seed));
  std::vector<DrawnPicture> pictures;
  {
    ProgressBar bar("drawing", true);
    const auto progress = [&](const DrawProgress& p) {
      bar.Update(p.share(), 1, "");
      return !StopRequested();
    };
    BIFRONS_TRY(pictures, bifrons::Draw(scheduler_, {&request, 1}, progress));
  }
  BIFRONS_TRY(settings_.model_hash, janus_.source().Hash());
  settings_.prompt = prompt, settings_.seed = request.seed, settings_.sampling = request.sampling;
  BIFRONS_TRY(const auto png, EncodePng(settings_.width, settings_.height, pictures[0].image.rgb,
                                        {{"parameters", FormatParameters(settings_)}}));
  BIFRONS_TRY(NumberedFiles files, NumberedFiles::Begin("chat", ".png", /*several=*/true));
  BIFRONS_TRY(const std::string file, files.Write(png));
  preview_.Show(pictures[0].image);
  std::printf("%s\n", file.c_str());
  return {};
}

// "/image  dog.png" → {"/image", "dog.png"}
std::pair<std::string, std::string> SplitCommand(const std::string& line) {
  const size_t space = std::min(line.find(' '), line.size());
  return {line.substr(0, space), std::string(StripPythonWhitespace(std::string_view(line).substr(space)))};
}

// A path without the quotes that a shell would take away, and that terminals put around what is dropped on
// them; with them where a file is called so.
std::string WithoutQuotes(const std::string& path) {
  const bool quoted =
      path.size() > 2 && path.front() == path.back() && (path.front() == '"' || path.front() == '\'');
  std::error_code error;
  return quoted && !fs::exists(path, error) ? path.substr(1, path.size() - 2) : path;
}

}  // namespace

Result<int> RunChat(const ChatOptions& options) {
  LoadOptions load = options.answer.load;
  load.parts.understanding = true;
  load.hash = true;
  BIFRONS_RETURN_IF_ERROR(CheckDrawnSize("chat", load, options.size));
  BIFRONS_TRY(const std::unique_ptr<Janus> janus, Janus::Load(load));
  Chat chat(options, *janus, DescribeModel(*janus));
  for (const std::string& image : options.images) BIFRONS_RETURN_IF_ERROR(chat.Show(image));
  if (StopRequested()) return Interrupted();

  LineReader lines;
  const bool typed = ::isatty(STDIN_FILENO);
  bool failed = false;
  interrupt_ends_turn = lines.terminal();  // with nobody there to go on, it ends the chat
  if (lines.terminal()) std::fputs(kHelp, stdout);
  while (const auto line = lines.Next()) {
    const std::string valid = ReplaceInvalidUtf8(*line);
    const std::string text(StripPythonWhitespace(valid));
    if (text.empty()) continue;
    const auto [command, argument] = SplitCommand(text);
    Status status;
    if (!text.starts_with('/')) {
      status = text == "exit" || text == "quit" ? UsageError(text + ": /" + text + " leaves the chat")
                                                : chat.Ask(text);
    } else if (command == "/quit" || command == "/exit") {
      break;
    } else if (command == "/new") {
      chat.Forget();
    } else if (command == "/image" && !argument.empty()) {
      status = chat.Show(WithoutQuotes(argument));
    } else if (command == "/draw" && !argument.empty()) {
      status = chat.Draw(argument);
    } else if (command == "/help") {
      std::fputs(kHelp, stdout);
    } else {
      status = UsageError(command +
                          (command == "/image" || command == "/draw" ? ": say which" : ": no such command") +
                          "; /help lists the commands");
    }
    if (StopRequested() && !(lines.terminal() && SignalExitCode() == 128 + SIGINT)) return Interrupted();
    // A chat outlives what goes wrong in it.
    if (!status.ok()) {
      std::fprintf(stderr, "bifrons: %s\n", OneLine(status.error().message).c_str());
      failed = true;
    }
    std::fflush(stdout);
    ClearStop();
  }
  // Who types has seen it; a script looks at the exit code.
  return failed && !typed ? static_cast<int>(ErrorKind::kFailure) : 0;
}

}  // namespace bifrons
