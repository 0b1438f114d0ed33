#include "src/base/available_memory.h"

#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <string_view>

namespace bifrons {
namespace {

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();

// The number that `text` begins with, after blanks; none for "max", "unlimited", signs and what no 64 bits
// hold.
std::optional<uint64_t> NumberAt(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  const bool ends = end == text.data() + text.size() || *end == ' ' || *end == '\t';
  return ends ? std::optional(value) : std::nullopt;
}

// The number behind `key` at the beginning of a line of a file.
std::optional<uint64_t> NumberOf(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) return NumberAt(std::string_view(line).substr(key.size()));
  }
  return std::nullopt;
}

// Of a line such as "MemAvailable:   24048128 kB".
std::optional<uint64_t> BytesOf(const std::string& path, const std::string& key) {
  const auto kilobytes = NumberOf(path, key);
  if (!kilobytes || *kilobytes > kUnlimited / 1024) return std::nullopt;
  return *kilobytes * 1024;
}

uint64_t Left(uint64_t limit, uint64_t used) { return limit - std::min(limit, used); }

// A memory controller's files.
struct Controller {
  const char* mount;
  const char* limits[2];
  const char* used;
  // Of memory.stat. Version 1 counts a group alone without "total_", but its use with the groups below it.
  const char* file_pages[2];
};
constexpr Controller kVersion1{"/sys/fs/cgroup/memory",
                               {"/memory.limit_in_bytes", nullptr},
                               "/memory.usage_in_bytes",
                               {"total_inactive_file ", "total_active_file "}};
// Above `high` a group is not refused memory, but slowed down until it has given some back.
constexpr Controller kVersion2{
    "/sys/fs/cgroup", {"/memory.max", "/memory.high"}, "/memory.current", {"inactive_file ", "active_file "}};

uint64_t LeftInGroup(const Controller& controller, const std::string& folder) {
  uint64_t limit = kUnlimited;
  for (const char* name : controller.limits) {
    if (name) limit = std::min(limit, NumberOf(folder + name, "").value_or(kUnlimited));
  }
  if (limit == kUnlimited) return limit;
  uint64_t file_pages = 0;
  for (const char* key : controller.file_pages)
    file_pages += NumberOf(folder + "/memory.stat", key).value_or(0);
  return Left(limit, Left(NumberOf(folder + controller.used, "").value_or(0), file_pages));
}

// The tightest of this process's group and those around it; version 2 has one hierarchy ("0::/path"),
// version 1 a line for the memory controller. Inside a container the path may be the host's, of which the
// container sees no folder but the root.
uint64_t LeftInGroups(const std::string& root) {
  uint64_t left = kUnlimited;
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool version2 = controllers == ",,";
    if (!version2 && controllers.find(",memory,") == std::string::npos) continue;
    const Controller& controller = version2 ? kVersion2 : kVersion1;
    for (std::string path = line.substr(second + 1);; path.resize(path.rfind('/'))) {
      if (path == "/") path.clear();
      left = std::min(left, LeftInGroup(controller, root + controller.mount + path));
      if (path.find('/') == std::string::npos) break;
    }
  }
  return left;
}

uint64_t LeftInAddressSpace(const std::string& root) {
  const auto limit = NumberOf(root + "/proc/self/limits", "Max address space ");
  return limit ? Left(*limit, BytesOf(root + "/proc/self/status", "VmSize:").value_or(0)) : kUnlimited;
}

}  // namespace

uint64_t AvailableMemory(const std::string& root) {
  return std::min({BytesOf(root + "/proc/meminfo", "MemAvailable:").value_or(kUnlimited), LeftInGroups(root),
                   LeftInAddressSpace(root)});
}

uint64_t MostResidentMemory() {
  // getrusage counts what the process that started this one held.
  if (const auto most = BytesOf("/proc/self/status", "VmHWM:")) return *most;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace bifrons
