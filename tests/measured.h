// What a reader costs: its processor time and the memory at its peak, in a process of its own.
#pragma once

#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

#include "src/base/mapped_file.h"
#include "src/base/result.h"
#include "tests/run_program.h"

namespace bifrons {

struct Cost {
  double seconds = 0;   // of all processors
  double bytes = 0;     // resident at the peak above what was resident before, mapped files included
  std::string problem;  // what the reader returned: an error's message, or nothing
};

// Sanitizers change what things cost. The fuzz targets run the same readers under them.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

/// "VmHWM" or "VmRSS" of this process, in bytes.
inline double MemoryField(const char* field) {
  std::FILE* status = std::fopen("/proc/self/status", "r");
  char line[256];
  double kilobytes = 0;
  while (std::fgets(line, sizeof line, status)) {
    if (std::strncmp(line, field, std::strlen(field)) == 0)
      kilobytes = std::atof(line + std::strlen(field) + 1);
  }
  std::fclose(status);
  return 1024 * kilobytes;
}

/// Runs `read` in a child process. It may not take more than 3 GB of address space.
inline Cost Measure(const std::function<std::string()>& read) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const rlimit limit = {rlim_t{3} << 30, rlim_t{3} << 30};
    setrlimit(RLIMIT_AS, &limit);
    malloc_trim(0);  // or what the parent freed would serve the reader
    if (std::FILE* peak = std::fopen("/proc/self/clear_refs", "w")) {
      std::fputs("5", peak);  // the peak begins anew
      std::fclose(peak);
    }
    const double before = MemoryField("VmRSS");
    timespec from{}, to{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    const std::string problem = read();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    const double numbers[2] = {
        static_cast<double>(to.tv_sec - from.tv_sec) + 1e-9 * static_cast<double>(to.tv_nsec - from.tv_nsec),
        MemoryField("VmHWM") - before};
    const std::string report = std::string(reinterpret_cast<const char*>(numbers), sizeof numbers) + problem;
    const bool written = write(ends[1], report.data(), report.size()) == static_cast<ssize_t>(report.size());
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  std::string report;
  char buffer[4096];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;)
    report.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  INFO("the reader ended with status " << status);
  REQUIRE(status == 0);
  REQUIRE(report.size() >= 2 * sizeof(double));
  Cost cost;
  std::memcpy(&cost.seconds, report.data(), sizeof(double));
  std::memcpy(&cost.bytes, report.data() + sizeof(double), sizeof(double));
  cost.problem = report.substr(2 * sizeof(double));
  return cost;
}

inline constexpr double kMegabyte = 1 << 20;

inline std::string_view TextOf(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

template <class T>
std::string ProblemOf(const Result<T>& result) {
  return result.ok() ? "" : result.error().message;
}

using Writer = std::function<void(size_t n, std::string& out)>;
using Reader = std::function<std::string(const MappedFile& file)>;

/// What reading a file may cost, and the error that it is to end in; none where it is to be read.
struct Limits {
  double factor = 8;  // bytes of memory for each of the file, its own mapping included
  double fixed = 16 * kMegabyte;
  std::string problem = "";
};

/// Writes the file for n / 4 and for n; checks what both cost, and that the second takes no more than nine
/// times as long: sixteen would be quadratic.
inline void Check(const char* name, size_t n, const Writer& write, const Reader& read, const Limits& limits) {
  if (kSanitized) return;
  const TemporaryFolder folder;
  const auto measure = [&](const std::string& path) {
    return Measure([&] {
      const auto file = MappedFile::Open(path);
      return file.ok() ? read(*file) : file.error().message;
    });
  };
  double seconds[2] = {};
  for (int i = 0; i < 2; i++) {
    const std::string path = folder / std::to_string(i);
    size_t bytes = 0;
    {
      std::string text;
      write(i == 0 ? n / 4 : n, text);
      bytes = text.size();
      WriteText(path, text);
    }
    const Cost cost = measure(path);
    const double megabytes = static_cast<double>(bytes) / kMegabyte;
    INFO(name << ": " << megabytes << " MB took " << cost.seconds << " s and " << cost.bytes / kMegabyte
              << " MB; \"" << cost.problem << "\"");
    if (std::getenv("BIFRONS_SHOW_COSTS"))
      std::printf("%-40s %7.1f MB %7.3f s %8.1f MB %6.2f per byte  %.60s\n", name, megabytes, cost.seconds,
                  cost.bytes / kMegabyte, cost.bytes / static_cast<double>(bytes), cost.problem.c_str());
    if (limits.problem.empty()) {
      CHECK(cost.problem.empty());
    } else {
      CHECK_THAT(cost.problem, Catch::Contains(limits.problem));
    }
    CHECK(cost.problem.size() < 2000);
    seconds[i] = cost.seconds;
    CHECK(cost.bytes <= limits.factor * static_cast<double>(bytes) + limits.fixed);
  }
  const double most = 9 * seconds[0] + 0.05;
  // Beside busy programs, which empty the caches, one run may take long; what grows too fast does in each.
  for (int more = 0; more < 3 && seconds[1] > most; more++)
    seconds[1] = std::min(seconds[1], measure(folder / "1").seconds);
  INFO(name << ": " << seconds[0] << " s, then " << seconds[1] << " s for four times as much");
  CHECK(seconds[1] <= most);
}

/// Before anything is kept of it.
inline Limits Refused(const std::string& problem) {
  return {.factor = 1.2, .fixed = 4 * kMegabyte, .problem = problem};
}

}  // namespace bifrons
