#include "src/cli/signals.h"

#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <string_view>

#include "src/base/result.h"
#include "src/base/stop.h"

namespace bifrons {

std::atomic<bool> waiting_for_input{false}, interrupt_ends_turn{false};

namespace {

std::atomic<int> exit_code{0};  // the last signal's
std::atomic<bool> last_line_claimed{false};

// Runs in handlers: everything in it may be called there.
[[noreturn]] void EndWith(std::string_view line, int code) {
  struct pollfd error = {STDERR_FILENO, POLLOUT, 0};  // a pipe that nobody reads would keep us
  if (ClaimLastLine() && ::poll(&error, 1, 0) == 1) {
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
  }
  ::_exit(code);
}

[[noreturn]] void EndNow() {
  // Whoever is asked for a line of input has the prompt on this one.
  const bool asked = waiting_for_input && interrupt_ends_turn;
  EndWith(asked ? "\nbifrons: interrupted\n" : "bifrons: interrupted\n", exit_code);
}

// Models and lists are read where they are mapped, and what is missing there cannot be told to who reads.
void OnMissingPage(int, siginfo_t* info, void*) {
  if (info->si_code == BUS_ADRERR) {
    EndWith(
        "bifrons: a file became shorter while it was read, or its disk failed; try again when the file is "
        "whole\n",
        static_cast<int>(ErrorKind::kBadData));
  }
  ::signal(SIGBUS, SIG_DFL);  // which the next try meets
}

void OnSignal(int signal) {
  exit_code = 128 + signal;
  if (StopRequested() || waiting_for_input) EndNow();
  RequestStop();
  if (signal != SIGINT || !interrupt_ends_turn) ::alarm(1);
}

void OnAlarm(int) {
  if (StopRequested()) EndNow();
}

void Handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

void InstallSignalHandlers() {
  struct sigaction missing {};
  missing.sa_sigaction = OnMissingPage;
  missing.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &missing, nullptr);
  Handle(SIGALRM, OnAlarm);
  Handle(SIGINT, OnSignal);
  Handle(SIGTERM, OnSignal);
}

int SignalExitCode() { return exit_code; }

void AllowSecondsToEnd(unsigned seconds) { ::alarm(seconds); }

bool ClaimLastLine() { return !last_line_claimed.exchange(true); }

}  // namespace bifrons
