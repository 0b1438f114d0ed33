#include "src/model/model_hash.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "src/base/atomic_file.h"
#include "src/base/file_hash.h"
#include "src/base/lower_hex.h"
#include "src/base/mapped_file.h"
#include "src/base/out_of_memory.h"
#include "src/base/sha256.h"

namespace bifrons {
namespace fs = std::filesystem;
namespace {

fs::path CacheFolder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache) return fs::path(cache) / "bifrons";
  if (const char* home = std::getenv("HOME"); home && *home) return fs::path(home) / ".cache/bifrons";
  return {};
}

// What tells a file from another, and from itself once it was written to; empty where there is none.
std::string IdentityOf(const fs::path& file) {
  std::error_code error;
  const fs::path absolute = fs::canonical(file, error);
  if (error) return {};
  const auto size = fs::file_size(absolute, error);
  if (error) return {};
  const auto time = fs::last_write_time(absolute, error).time_since_epoch().count();
  if (error) return {};
  return absolute.string() + '\n' + std::to_string(size) + '\n' + std::to_string(time);
}

// The cache entry's own file; empty when there is nowhere to keep one.
fs::path CacheEntry(const std::string& identity) {
  if (identity.empty() || CacheFolder().empty()) return {};
  return CacheFolder() / ("sha256-" + Sha256::Hex(identity));
}

Error Changed(const std::string& path) {
  return DataError(path + ": changed while it was read; try again when it is whole");
}

bool IsHash(std::string_view text) { return IsLowerHex(text, 64); }

Result<std::string> HashFile(const std::string& path, const std::stop_token& stop) {
  const std::string identity = IdentityOf(path);
  const fs::path entry = CacheEntry(identity);
  std::error_code error;
  if (!entry.empty() && fs::exists(entry, error)) {
    auto cached = MappedFile::Open(entry.string());
    if (cached.ok()) {
      const std::string hash(cached->bytes().begin(), cached->bytes().end());
      if (IsHash(hash)) return hash;
    }
  }
  BIFRONS_TRY(const std::string hash, Sha256OfFile(path, stop));
  if (IdentityOf(path) != identity) return Changed(path);
  if (!entry.empty()) {
    fs::create_directories(entry.parent_path(), error);
    const Status written =
        WriteFileAtomically(entry.string(), {reinterpret_cast<const uint8_t*>(hash.data()), hash.size()});
    if (!written.ok()) return hash;  // a read-only home is no reason to fail
  }
  return hash;
}

}  // namespace

Result<std::string> HashFiles(std::vector<std::string> files, const std::stop_token& stop) {
  if (files.size() == 1) return HashFile(files[0], stop);
  std::vector<std::pair<std::string, std::string>> named;
  for (const std::string& file : files) named.emplace_back(fs::path(file).filename().string(), file);
  std::sort(named.begin(), named.end());
  Sha256 all;
  for (const auto& [name, file] : named) {
    BIFRONS_TRY(const std::string hash, HashFile(file, stop));
    const std::string line = name + ' ' + hash + '\n';
    all.Update({reinterpret_cast<const uint8_t*>(line.data()), line.size()});
  }
  return all.Finish();
}

ModelHash::ModelHash(std::vector<std::string> files) : files_(std::move(files)) {
  for (const std::string& file : files_) identities_.push_back(IdentityOf(file));
}

void ModelHash::Begin() {
  const std::lock_guard lock(mutex_);
  if (thread_.joinable() || hash_) return;
  const auto hash = [this](const std::stop_token& stop) {
    auto hash = Guarded([&] { return HashFiles(files_, stop); });
    if (hash.ok()) hash_ = std::move(*hash);
  };
  try {
    thread_ = std::jthread(hash);
  } catch (const std::system_error&) {
  }
}

Result<std::string> ModelHash::Get() {
  const std::lock_guard lock(mutex_);
  if (thread_.joinable()) thread_.join();
  if (!hash_) {
    BIFRONS_TRY(hash_, HashFiles(files_));
  }
  for (size_t i = 0; i < files_.size(); i++) {
    if (!identities_[i].empty() && IdentityOf(files_[i]) != identities_[i]) return Changed(files_[i]);
  }
  return *hash_;
}

}  // namespace bifrons
