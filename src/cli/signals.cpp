#include "src/cli/signals.h"

#include <poll.h>
#include <unistd.h>

#include <csignal>

#include "src/base/stop.h"

namespace bifrons {

std::atomic<bool> waiting_for_input{false}, interrupt_ends_turn{false};

namespace {

std::atomic<int> exit_code{0};  // the last signal's
std::atomic<bool> last_line_claimed{false};

// Runs in handlers: everything in it may be called there.
[[noreturn]] void EndNow() {
  // Whoever is asked for a line of input has the prompt on this one.
  static constexpr char kLine[] = "\nbifrons: interrupted\n";
  const size_t skipped = waiting_for_input && interrupt_ends_turn ? 0 : 1;
  struct pollfd error = {STDERR_FILENO, POLLOUT, 0};  // a pipe that nobody reads would keep us
  if (ClaimLastLine() && ::poll(&error, 1, 0) == 1) {
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, kLine + skipped, sizeof kLine - 1 - skipped);
  }
  ::_exit(exit_code);
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
  Handle(SIGALRM, OnAlarm);
  Handle(SIGINT, OnSignal);
  Handle(SIGTERM, OnSignal);
}

int SignalExitCode() { return exit_code; }

void AllowSecondsToEnd(unsigned seconds) { ::alarm(seconds); }

bool ClaimLastLine() { return !last_line_claimed.exchange(true); }

}  // namespace bifrons
