// bifrons: parse, run the verb, print one line if it failed.
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "src/base/out_of_memory.h"
#include "src/base/progress.h"
#include "src/base/stop.h"
#include "src/cli/commands.h"
#include "src/cli/fetch_model.h"
#include "src/cli/signals.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

// How the command's model is to be loaded; nullptr where it has none.
LoadOptions* LoadOf(Command& command) {
  return std::visit(
      [](auto& options) -> LoadOptions* {
        if constexpr (requires { options.load; }) return &options.load;
        if constexpr (requires { options.answer; }) return &options.answer.load;
        return nullptr;
      },
      command);
}

// Whoever waits for a model longer than a moment sees how far it is.
void ShowLoading(Command& command) {
  LoadOptions* const load = LoadOf(command);
  if (!load || IsQuiet(command)) return;
  const auto bar = std::make_shared<ProgressBar>("loading", true, std::chrono::seconds(1));
  load->progress = [bar](double share) {
    if (share < 1) {
      bar->Update(share, 1, "");
    } else {
      bar->Hide();
    }
  };
}

// Where a command's model reports its work, if that is asked for.
const Profile* ProfileOf(Command& command) {
  const LoadOptions* const load = LoadOf(command);
  return load ? load->profile.get() : nullptr;
}

Result<int> RunProgram(int argc, char** argv) {
  BIFRONS_TRY(Command command, ParseCommandLine(argc, argv));
  BIFRONS_RETURN_IF_ERROR(FetchModel(command));
  ShowLoading(command);
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
    Result<int> operator()(const SelftestOptions& o) const { return RunSelftest(o); }
    Result<int> operator()(const KlOptions& o) const { return RunKl(o); }
    Result<int> operator()(const ExportOptions& o) const { return RunExport(o); }
    Result<int> operator()(const ConvertCommand& o) const { return RunConvert(o); }
    Result<int> operator()(const RenderCommand& o) const { return RunRender(o); }
    Result<int> operator()(const MergeOptions& o) const { return RunMerge(o); }
    Result<int> operator()(const PullCommand& o) const { return RunPull(o); }
    Result<int> operator()(const ManualFiles& o) const { return RunMan(o); }
  };
  auto result = std::visit(Visitor{}, command);
  const Profile* const profile = ProfileOf(command);
  if (profile && !profile->Rows().empty()) std::fputs(profile->Table().c_str(), stderr);
  return result;
}

// A stream that is closed would be the next file that is opened. What takes its place can neither be read nor
// written, as the stream itself.
void OccupyStandardStreams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(stream, F_GETFD) < 0) (void)::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

// Each large block is mapped by itself and goes back to the system when it is freed. glibc takes them from
// its heap once a few were, and there keeps holes that no aligned block of the same size fits: 1.4 GB of them
// after random:janus-pro-1b was loaded.
void MapLargeBlocks() {
#ifdef __GLIBC__
  constexpr int kLarge = 8 << 20;  // matrices; most photographs are smaller
  mallopt(M_MMAP_THRESHOLD, kLarge);
  mallopt(M_TRIM_THRESHOLD, 2 * kLarge);
#endif
}

}  // namespace
}  // namespace bifrons

int main(int argc, char** argv) {
  bifrons::MapLargeBlocks();
  bifrons::OccupyStandardStreams();
  bifrons::InstallSignalHandlers();
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file beyond the limit is an error of write
  const auto result = bifrons::Guarded([&] { return bifrons::RunProgram(argc, argv); });
  bifrons::Error error;
  if (!result.ok()) {
    error = result.error();
  } else {
    if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return *result;
    // Whoever reads has seen enough, as `head` has; of a picture the verb itself tells.
    if (errno == EPIPE) return static_cast<int>(bifrons::ErrorKind::kFailure);
    error = bifrons::Failure("cannot write to standard output");
  }
  if (bifrons::StopRequested()) error.kind = static_cast<bifrons::ErrorKind>(bifrons::SignalExitCode());
  if (bifrons::ClaimLastLine())
    std::fprintf(stderr, "bifrons: %s\n", bifrons::OneLine(std::move(error.message)).c_str());
  return static_cast<int>(error.kind);
}
