#include "src/hub/repository.h"

#include <algorithm>

#include "src/base/lower_hex.h"
#include "src/base/printable.h"
#include "src/hub/listing.h"

namespace bifrons {
namespace {

constexpr size_t kLongestName = 96;  // validate_repo_id of huggingface_hub
constexpr size_t kLongestRevision = 250;

bool IsAlphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// One half of a repository's name. The cache joins the two by "--", which therefore stands in neither.
bool IsNamePart(std::string_view part) {
  const auto allowed = [](char c) { return IsAlphanumeric(c) || c == '-' || c == '_' || c == '.'; };
  const auto at_edge = [](char c) { return c != '-' && c != '.'; };
  return !part.empty() && std::all_of(part.begin(), part.end(), allowed) && at_edge(part.front()) &&
         at_edge(part.back()) && part.find("--") == part.npos && part.find("..") == part.npos;
}

bool IsName(std::string_view name) {
  const size_t slash = name.find('/');
  return slash != name.npos && name.size() <= kLongestName && IsNamePart(name.substr(0, slash)) &&
         IsNamePart(name.substr(slash + 1)) && !name.ends_with(".git");
}

// A revision becomes a path below refs/, and "refs/pr/1" is one.
bool IsRevision(std::string_view revision) {
  return revision.size() <= kLongestRevision && IsPlainRelativePath(revision);
}

}  // namespace

bool IsCommit(std::string_view revision) { return IsLowerHex(revision, 40); }

bool LooksLikeRepository(std::string_view text) {
  const size_t at = text.find('@');
  return IsName(text.substr(0, at)) && (at == text.npos || IsRevision(text.substr(at + 1)));
}

Result<Repository> ParseRepository(std::string_view text) {
  std::string_view rest = text;
  if (rest.starts_with("hf:")) rest.remove_prefix(3);
  constexpr std::string_view kSite = "https://huggingface.co/";
  if (rest.starts_with(kSite)) rest.remove_prefix(kSite.size());
  if (!LooksLikeRepository(rest)) {
    return UsageError("\"" + Printable(text) +
                      "\" names no repository: it must be ORG/NAME or ORG/NAME@REVISION, such as "
                      "deepseek-community/Janus-Pro-1B");
  }
  Repository repository;
  const size_t at = rest.find('@');
  repository.name = rest.substr(0, at);
  if (at != rest.npos) repository.revision = rest.substr(at + 1);
  return repository;
}

}  // namespace bifrons
