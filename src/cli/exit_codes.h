// The exit codes, as --help and the manual pages tell them.
#pragma once

namespace bifrons {

struct ExitCode {
  int code;
  const char* meaning;
};

inline constexpr ExitCode kExitCodes[] = {
    {0, "success"},
    {1, "failure"},
    {2, "wrong usage"},
    {3,
     "a model or data file that is bad or not there, jobs or images that failed while the rest was done, or "
     "a self-test that found "
     "something wrong"},
    {130, "interrupted (SIGINT)"},
    {143, "ended (SIGTERM)"},
};

}  // namespace bifrons
