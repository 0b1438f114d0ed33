// bifrons man -o: the manual's pages as files.
#include <cstdio>
#include <filesystem>

#include "src/cli/commands.h"
#include "src/cli/output_file.h"

namespace bifrons {

Result<int> RunMan(const ManualFiles& manual) {
  BIFRONS_RETURN_IF_ERROR(MakeFolder(manual.folder));
  for (const ManualPage& page : manual.pages) {
    const std::string path = std::filesystem::path(manual.folder) / (page.name + ".1");
    BIFRONS_TRY(const OutputFile file, OutputFile::Claim(path, manual.force));
    BIFRONS_RETURN_IF_ERROR(
        file.Write({reinterpret_cast<const uint8_t*>(page.text.data()), page.text.size()}));
    std::printf("%s\n", path.c_str());
  }
  return 0;
}

}  // namespace bifrons
