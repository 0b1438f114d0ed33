// bifrons: parse, run the verb, print one line if it failed.
#include <csignal>
#include <cstdio>
#include <new>
#include <string>

#include "src/cli/commands.h"

namespace bifrons {

std::atomic<bool> interrupted{false};
std::atomic<bool> waiting_for_input{false};

namespace {

void OnSignal(int) {
  // The second signal ends the program at once; unfinished files are temporary ones.
  if (interrupted.exchange(true) || waiting_for_input) std::_Exit(kExitInterrupted);
}

Result<int> Run(int argc, char** argv) {
  BIFRONS_TRY(const Command command, ParseCommandLine(argc, argv));
  struct Visitor {
    Result<int> operator()(const HelpText& help) const {
      std::fputs(help.text.c_str(), stdout);
      return 0;
    }
    Result<int> operator()(const GenerateOptions& o) const { return RunGenerate(o); }
    Result<int> operator()(const CaptionOptions& o) const { return RunCaption(o); }
    Result<int> operator()(const AskOptions& o) const { return RunAsk(o); }
    Result<int> operator()(const ChatOptions& o) const { return RunChat(o); }
    Result<int> operator()(const VqOptions& o) const { return RunVq(o); }
    Result<int> operator()(const InfoOptions& o) const { return RunInfo(o); }
    Result<int> operator()(const TokenizeOptions& o) const { return RunTokenize(o); }
    Result<int> operator()(const TraceOptions& o) const { return RunTrace(o); }
    Result<int> operator()(const BenchOptions& o) const { return RunBench(o); }
    Result<int> operator()(const ExportOptions& o) const { return RunExport(o); }
  };
  return std::visit(Visitor{}, command);
}

// File names and prompts in messages may hold line breaks; an error is one line.
std::string OneLine(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  return text;
}

}  // namespace
}  // namespace bifrons

int main(int argc, char** argv) {
  std::signal(SIGINT, bifrons::OnSignal);
  std::signal(SIGTERM, bifrons::OnSignal);
  std::signal(SIGPIPE, SIG_IGN);
  bifrons::Error error;
  try {
    const auto result = bifrons::Run(argc, argv);
    if (result.ok()) {
      if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return *result;
      error = bifrons::Failure("cannot write to standard output");
    } else {
      error = result.error();
    }
  } catch (const std::bad_alloc&) {
    error = bifrons::Failure("out of memory");
  } catch (const std::exception& e) {  // a library's; ours are Results
    error = bifrons::Failure(e.what());
  }
  if (bifrons::interrupted) error.kind = static_cast<bifrons::ErrorKind>(bifrons::kExitInterrupted);
  std::fprintf(stderr, "bifrons: %s\n", bifrons::OneLine(error.message).c_str());
  return static_cast<int>(error.kind);
}
