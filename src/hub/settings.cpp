#include "src/hub/settings.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "src/base/printable.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLongestToken = 4096;  // real ones have 37 characters

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool IsTrue(const char* name) {
  std::string value = Environment(name);
  for (char& c : value) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

// Python expands these, and files that set variables for it count on that.
std::string Expanded(const std::string& path, const std::string& home) {
  std::string out;
  size_t at = 0;
  if (path == "~" || path.starts_with("~/")) out = home, at = 1;
  while (at < path.size()) {
    const bool braced = path.compare(at, 2, "${") == 0;
    const size_t begin = at + (braced ? 2 : 1);
    size_t end = begin;
    while (end < path.size() && (std::isalnum(static_cast<unsigned char>(path[end])) || path[end] == '_'))
      end++;
    const char* value = path[at] == '$' && end > begin && (!braced || path[end] == '}')
                            ? std::getenv(path.substr(begin, end - begin).c_str())
                            : nullptr;
    if (value) {
      out += value, at = end + (braced ? 1 : 0);
    } else {
      out += path[at++];
    }
  }
  return out;
}

std::string ReadTokenFile(const std::string& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return "";
  std::array<char, kLongestToken + 1> bytes;
  std::ifstream file(path, std::ios::binary);
  file.read(bytes.data(), bytes.size());
  return {bytes.data(), static_cast<size_t>(file.gcount())};
}

std::string Stripped(std::string text) {
  const auto blank = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), blank));
  text.erase(std::find_if_not(text.rbegin(), text.rend(), blank).base(), text.end());
  return text;
}

}  // namespace

Result<HubSettings> ReadHubSettings() {
  const std::string home = Environment("HOME"), set_home = Environment("HF_HOME");
  std::string hub_home = set_home;
  if (hub_home.empty()) {
    const std::string caches = Environment("XDG_CACHE_HOME");
    hub_home = (caches.empty() ? "~/.cache" : caches) + "/huggingface";
  }
  HubSettings settings;
  settings.cache = Environment("HF_HUB_CACHE");
  if (settings.cache.empty()) settings.cache = Environment("HUGGINGFACE_HUB_CACHE");
  if (settings.cache.empty()) settings.cache = hub_home + "/hub";
  if (home.empty() && settings.cache.starts_with("~"))
    return UsageError("neither $HF_HOME nor $HOME is set: there is no folder to keep models in");
  settings.cache = Expanded(settings.cache, home);

  settings.endpoint = Environment("HF_ENDPOINT");
  if (settings.endpoint.empty()) settings.endpoint = "https://huggingface.co";
  while (settings.endpoint.ends_with("/")) settings.endpoint.pop_back();
  if (!settings.endpoint.starts_with("https://") && !settings.endpoint.starts_with("http://"))
    return UsageError("HF_ENDPOINT is no address: " + Printable(settings.endpoint) +
                      " does not begin with https:// or http://");

  if (!IsTrue("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
    settings.token = Stripped(Environment("HF_TOKEN"));
    std::string path = Environment("HF_TOKEN_PATH");
    if (path.empty()) path = hub_home + "/token";
    if (settings.token.empty()) settings.token = Stripped(ReadTokenFile(Expanded(path, home)));
  }
  // A line break in it would be another header.
  const auto visible = [](char c) { return c > ' ' && c < 127; };
  if (settings.token.size() > kLongestToken ||
      !std::all_of(settings.token.begin(), settings.token.end(), visible))
    return UsageError("the hub's token (HF_TOKEN or the file token) is none: it must be one word of letters");
  settings.offline = IsTrue("HF_HUB_OFFLINE") || IsTrue("TRANSFORMERS_OFFLINE");
  return settings;
}

}  // namespace bifrons
