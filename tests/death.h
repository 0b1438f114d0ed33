// How what is planted to fail ends, in a process of its own.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <string>

namespace bifrons {

struct Death {
  int signal = 0;   // 0: it did not die
  std::string err;  // what it said on standard error
};

/// Runs `body` in a copy of this process, which must have no other threads that body needs.
template <class Body>
Death DeathOf(const Body& body) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    for (const int signal : {SIGABRT, SIGSEGV}) std::signal(signal, SIG_DFL);  // not Catch's handlers
    dup2(ends[1], STDERR_FILENO);
    body();
    _exit(0);
  }
  close(ends[1]);
  Death death;
  char part[512];
  for (ssize_t n; (n = read(ends[0], part, sizeof part)) > 0;) death.err.append(part, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  if (WIFSIGNALED(status)) death.signal = WTERMSIG(status);
  return death;
}

}  // namespace bifrons
