#include "src/hub/listing.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "src/base/json_depth.h"
#include "src/base/lower_hex.h"
#include "src/base/printable.h"

namespace bifrons {
namespace {

using nlohmann::json;

constexpr size_t kLongestPart = 250;  // of a part, as file systems have it

std::string TextOf(const json& object, const char* field) {
  const auto it = object.find(field);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

Result<RemoteFile> ParseFile(const json& entry, const std::string& from) {
  RemoteFile file;
  file.name = entry.is_object() ? TextOf(entry, "rfilename") : "";
  if (!IsPlainRelativePath(file.name))
    return DataError(from + ": lists a file whose name is none: \"" + Printable(file.name) + "\"");
  const auto wrong = [&](const char* what) {
    return DataError(from + ": the " + what + " of " + Printable(file.name) + " is none");
  };
  const auto lfs = entry.find("lfs");
  const bool large = lfs != entry.end() && lfs->is_object();
  const json& described = large ? *lfs : entry;
  if (const auto size = described.find("size"); size != described.end() && !size->is_null()) {
    if (!size->is_number_unsigned() || size->get<uint64_t>() > kLargestFile) return wrong("size");
    file.size = size->get<int64_t>();
  }
  file.hash = large ? TextOf(*lfs, "sha256") : TextOf(entry, "blobId");
  if (!file.hash.empty() && !IsLowerHex(file.hash, large ? 64 : 40)) return wrong("hash");
  return file;
}

}  // namespace

bool IsPlainRelativePath(std::string_view path) {
  while (true) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part.size() > kLongestPart) return false;
#ifndef BIFRONS_PLANTED_BUGS
    if (part == "..") return false;
#endif
    for (const char c : part)
      if (static_cast<unsigned char>(c) < 32 || c == 127 || c == '\\') return false;
    if (slash == path.npos) return true;
    path.remove_prefix(slash + 1);
  }
}

Result<Listing> ParseListing(std::string_view text, const std::string& from) {
  BIFRONS_RETURN_IF_ERROR(CheckJsonDepth(text, from));
  const json parsed = json::parse(text, nullptr, false);
  const Error none =
      DataError(from + ": the answer is no listing of a repository; is this the hub's address?");
  if (!parsed.is_object()) return none;
  Listing listing;
  listing.commit = TextOf(parsed, "sha");
  const auto files = parsed.find("siblings");
  if (!IsLowerHex(listing.commit, 40) || files == parsed.end() || !files->is_array()) return none;
  std::set<std::string> names;
  for (const json& entry : *files) {
    BIFRONS_TRY(RemoteFile file, ParseFile(entry, from));
    if (!names.insert(file.name).second)
      return DataError(from + ": lists " + Printable(file.name) + " twice");
    listing.files.push_back(std::move(file));
  }
  return listing;
}

}  // namespace bifrons
