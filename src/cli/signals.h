// How signals end the program: by itself where it can within a second, and for certain after that.
#pragma once

#include <atomic>

namespace bifrons {

/// From now on SIGINT and SIGTERM request a stop (src/base/stop.h). A second later the program is ended
/// wherever it stands, and by a second signal at once: unfinished files have no name yet, or a temporary one.
/// A file that ends before it did when it was opened (SIGBUS) ends the program with a line and exit code 3.
void InstallSignalHandlers();

/// As shells say it: 130 after SIGINT, 143 after SIGTERM, 0 before any.
int SignalExitCode();

/// While this is set, a signal ends the program at once: nothing is under way that could be finished.
extern std::atomic<bool> waiting_for_input;
/// While this is set, SIGINT is meant for one turn of a chat, and no second is counted.
extern std::atomic<bool> interrupt_ends_turn;

/// After a signal: the program has so many seconds from now on, instead of what is left of the one.
void AllowSecondsToEnd(unsigned seconds);

/// Whether nobody has printed yet why the program ends; from now on somebody has.
bool ClaimLastLine();

}  // namespace bifrons
