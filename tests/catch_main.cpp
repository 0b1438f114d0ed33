// The tests' main: the programs that they start keep models' hashes in a folder of this run, not in the
// user's.
#define CATCH_CONFIG_RUNNER
#include <stdlib.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

int main(int argc, char** argv) {
  std::string cache = (std::filesystem::temp_directory_path() / "bifrons-cache-XXXXXX").string();
  if (::mkdtemp(cache.data()) == nullptr) return 1;
  ::setenv("XDG_CACHE_HOME", cache.c_str(), 1);
  const int failed = Catch::Session().run(argc, argv);
  std::error_code ignored;
  std::filesystem::remove_all(cache, ignored);
  return failed;
}
