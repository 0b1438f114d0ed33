// Commands that have to fail: one line on standard error, the documented exit code, nothing left behind.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "tests/run_program.h"

namespace bifrons {

constexpr int kFailureExit = 1, kUsageExit = 2, kBadDataExit = 3;

/// Runs a command that has to fail inside `folder`, whose files must be the same afterwards.
inline void CheckRefused(const Arguments& arguments, int exit_code, const std::string& says,
                         const fs::path& folder) {
  const auto files = [&] {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) names.push_back(entry.path().string());
    std::sort(names.begin(), names.end());
    return names;
  };
  const auto before = files();
  const ProgramResult result = RunProgram(arguments);
  std::string command;
  for (const std::string& a : arguments) command += " " + a.substr(0, 200);
  INFO("bifrons" << command);
  INFO("stderr: " << result.err);
  CHECK(result.signal == 0);
  CHECK(result.exit_code == exit_code);
  CHECK(result.err.starts_with("bifrons: "));
  CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
  CHECK(result.err.ends_with("\n"));
  CHECK_THAT(result.err, Catch::Contains(says));
  CHECK(files() == before);
}

}  // namespace bifrons
