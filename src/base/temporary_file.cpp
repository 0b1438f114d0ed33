#include "src/base/temporary_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <ctime>
#include <fstream>

#include "src/base/lower_hex.h"
#include "src/base/sha256.h"

namespace bifrons {
namespace {

constexpr std::string_view kPrefix = ".bifrons-", kEnding = ".tmp";
constexpr size_t kDigits = 8;  // of a host's and a boot's hash
constexpr std::time_t kDay = 24 * 60 * 60;

std::string Short(const std::string& text) { return Sha256::Hex(text).substr(0, kDigits); }

// "HOST-BOOT" of this system.
struct System {
  std::string host, boot;
  System() {
    std::array<char, 256> name{};
    ::gethostname(name.data(), name.size() - 1);
    host = Short(name.data());
    std::string id;
    std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), id);
    boot = Short(id);
  }
};

const System& ThisSystem() {
  static const auto& system = *new System;
  return system;
}

bool IsHash(std::string_view text) { return IsLowerHex(text, kDigits); }

bool IsNumber(std::string_view text) {
  return !text.empty() && text.size() <= 20 && text.find_first_not_of("0123456789") == std::string_view::npos;
}

struct Origin {
  std::string_view host, boot;
};

// Of a name of ours; false for any other, however similar.
bool ParseName(std::string_view name, Origin* origin) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kEnding)) return false;
  name.remove_prefix(kPrefix.size()), name.remove_suffix(std::min(name.size(), kEnding.size()));
  std::array<std::string_view, 4> parts;
  for (std::string_view& part : parts) {
    const bool last = &part == &parts.back();
    const size_t end = last ? name.size() : name.find('-');
    if (end == std::string_view::npos) return false;
    part = name.substr(0, end);
    name.remove_prefix(std::min(end + 1, name.size()));
  }
  *origin = {parts[0], parts[1]};
  return IsHash(parts[0]) && IsHash(parts[1]) && IsNumber(parts[2]) && IsNumber(parts[3]);
}

void RemoveIfAbandoned(int folder, const char* name, bool this_boot) {
  // For writing, as NFS has no exclusive lock of a file that is open for reading.
  const int file = ::openat(folder, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return;
  struct stat opened {
  }, named{};
  if (::fstat(file, &opened) == 0 && S_ISREG(opened.st_mode) &&
      (this_boot || opened.st_mtime < std::time(nullptr) - kDay) && ::flock(file, LOCK_EX | LOCK_NB) == 0 &&
      // Its process may have ended well meanwhile, and the name may be another file's by now.
      ::fstatat(folder, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && named.st_ino == opened.st_ino &&
      named.st_dev == opened.st_dev) {
    ::unlinkat(folder, name, 0);
  }
  ::close(file);
}

}  // namespace

std::string TemporaryName() {
  static std::atomic<uint64_t> number{0};
  const System& system = ThisSystem();
  return std::string(kPrefix) + system.host + "-" + system.boot + "-" + std::to_string(::getpid()) + "-" +
         std::to_string(number++) + std::string(kEnding);
}

void MarkAsAlive(int file) { ::flock(file, LOCK_EX); }

void RemoveAbandoned(int folder) {
  const int fd = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  DIR* const entries = ::fdopendir(fd);
  if (!entries) {
    ::close(fd);
    return;
  }
  while (const dirent* const entry = ::readdir(entries)) {
    Origin origin;
    if (!ParseName(entry->d_name, &origin) || origin.host != ThisSystem().host) continue;
    RemoveIfAbandoned(fd, entry->d_name, origin.boot == ThisSystem().boot);
  }
  ::closedir(entries);
}

}  // namespace bifrons
