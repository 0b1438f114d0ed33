// Any bytes as the answers to a batch that an earlier run left.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "src/jobs/batch_output.h"

namespace {

namespace fs = std::filesystem;

std::string MakeFolder() {
  std::string name = "/dev/shm/bifrons-fuzz-XXXXXX";
  if (!mkdtemp(name.data())) abort();
  static const std::string folder = name;
  std::atexit([] {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  });
  return folder;
}

void Write(const fs::path& path, const uint8_t* data, size_t size) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bifrons;
  static const std::string folder = MakeFolder();
  const fs::path own = fs::path(folder) / "output.jsonl", other = fs::path(folder) / "output-other.jsonl";
  std::error_code ignored;
  for (const fs::path& path : {own, other}) {
    fs::remove(own, ignored), fs::remove(other, ignored);
    Write(path, data, size);
    size_t kept = 0;
    const auto opened = BatchOutput::Open(folder, "output.jsonl", [&](const std::string& id) {
      kept++;
      return id.size() % 2 == 0;
    });
    if (opened.ok() && kept > 0) (void)opened->IsAnswered("a");
  }
  return 0;
}
