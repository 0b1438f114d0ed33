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

// The last line is whole too, or nobody would look at it.
void Write(const fs::path& path, const uint8_t* data, size_t size) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size)) << '\n';
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bifrons;
  static const std::string folder = MakeFolder();
  const fs::path own = fs::path(folder) / "output.jsonl", other = fs::path(folder) / "output-other.jsonl";
  std::error_code ignored;
  fs::remove(own, ignored), fs::remove(other, ignored);
  Write(size % 2 ? own : other, data, size);
  const auto opened = BatchOutput::Open(folder, "output.jsonl",
                                        [](const std::string& custom_id, const std::string& request_id) {
                                          return (custom_id.size() + request_id.size()) % 2 == 0;
                                        });
  if (opened.ok()) (void)opened->IsAnswered("a");
  return 0;
}
