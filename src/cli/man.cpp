// bifrons man -o: the manual's pages as files.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "src/cli/commands.h"
#include "src/cli/output_file.h"

namespace bifrons {
namespace {

// Its first line says what a page is of.
bool IsOurPage(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  std::string line(128, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(std::min(static_cast<size_t>(file.gcount()), line.find('\n')));
  return line.starts_with(".TH BIFRONS") && line.find("\"bifrons ") != line.npos;
}

}  // namespace

Result<int> RunMan(const ManualFiles& manual) {
  BIFRONS_RETURN_IF_ERROR(MakeFolder(manual.folder));
  std::vector<std::string> paths;
  std::vector<OutputFile> files;  // all of them before any is written
  for (const ManualPage& page : manual.pages) {
    paths.push_back(std::filesystem::path(manual.folder) / (page.name + ".1"));
    BIFRONS_TRY(OutputFile file, OutputFile::Claim(paths.back(), manual.force || IsOurPage(paths.back())));
    files.push_back(std::move(file));
  }
  for (size_t i = 0; i < files.size(); i++) {
    const std::string& text = manual.pages[i].text;
    BIFRONS_RETURN_IF_ERROR(files[i].Write({reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
    std::printf("%s\n", paths[i].c_str());
  }
  return 0;
}

}  // namespace bifrons
