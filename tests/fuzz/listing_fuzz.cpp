// Any bytes as the hub's listing of a repository: every name stays below a folder, every hash can name a
// blob.
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "src/base/check.h"
#include "src/base/lower_hex.h"
#include "src/hub/choose_files.h"
#include "src/hub/listing.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto listing = bifrons::ParseListing({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!listing.ok()) {
    BIFRONS_CHECK(listing.error().message.find('\n') == std::string::npos);
    return 0;
  }
  BIFRONS_CHECK(bifrons::IsLowerHex(listing->commit, 40));
  for (const bifrons::RemoteFile& file : listing->files) {
    const std::filesystem::path path = file.name;
    BIFRONS_CHECK(path.is_relative() && path == path.lexically_normal() && *path.begin() != "..");
    BIFRONS_CHECK(file.size >= -1 && file.hash.find('/') == std::string::npos);
  }
  auto chosen = bifrons::ChooseFiles(listing->files, "fuzz");
  if (!chosen.ok()) return 0;
  for (const bifrons::RemoteFile& file : *chosen) BIFRONS_CHECK(file.name.find('/') == std::string::npos);
  return 0;
}
