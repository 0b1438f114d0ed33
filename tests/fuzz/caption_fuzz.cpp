// Any bytes as the results file of an earlier `caption --jsonl`.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "src/engine/caption_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int fd = memfd_create("results", MFD_CLOEXEC);
  // What follows the last line break is passed over as torn, so that one more is seldom too much.
  const std::string text = std::string(reinterpret_cast<const char*>(data), size) + "\n";
  if (ftruncate(fd, 0) != 0 || pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    abort();
  auto file = bifrons::JsonLinesFile::Open("/proc/self/fd/" + std::to_string(fd), false);
  if (file.ok()) (void)file->Holds("a.png", "What?");
  return 0;
}
