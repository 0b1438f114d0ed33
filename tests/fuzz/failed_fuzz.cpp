// Any bytes as a file of failed jobs.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "src/jobs/failures.h"
#include "tests/fuzz/lines.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bifrons;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto take = [](const FailedJob& failed) {
    if (failed.index < 0 || failed.error.message.empty()) abort();
    int count = 0;
    VisitLines(FailedLine(failed), FailedLines("f", [&](const FailedJob& again) {
                 count++;
                 if (again.index != failed.index || again.error.kind != failed.error.kind) abort();
               }));
    if (count != 1) abort();
  };
  VisitLines(text, [&](std::string_view line, int64_t) -> Status {
    VisitLines(line, FailedLines("f", take));
    return {};
  });
  return 0;
}
