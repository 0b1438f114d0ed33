// What a process leaves that is killed while it writes where there are no nameless files.
#pragma once

#include <csignal>

#include "src/base/atomic_file.h"
#include "tests/run_program.h"

namespace bifrons {

/// A process that is writing a file in `folder` under a temporary name.
class AbandonedFile {
 public:
  explicit AbandonedFile(const fs::path& folder) {
    int ready[2];
    REQUIRE(pipe(ready) == 0);
    process_ = fork();
    if (process_ == 0) {
      const int open = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY);
      const auto file = AtomicFile::CreateIn(open, "theirs", "theirs", {true, /*nameless=*/false});
      [[maybe_unused]] const auto written = ::write(ready[1], "x", 1);
      for (;;) pause();
    }
    close(ready[1]);
    char byte;
    REQUIRE(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (name.find("-" + std::to_string(process_) + "-") != std::string::npos) name_ = name;
    }
    REQUIRE_FALSE(name_.empty());
  }
  ~AbandonedFile() { Kill(); }

  /// What it is called meanwhile.
  const std::string& name() const { return name_; }
  void Kill() {
    if (process_ <= 0) return;
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
    process_ = 0;
  }

 private:
  pid_t process_ = 0;
  std::string name_;
};

}  // namespace bifrons
