// The name of a model's contents, for pictures' metadata.
#pragma once

#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

/// SHA-256 (hex) over the names (without folders) and contents of `files`, in the order of the names; of one
/// file, which may be called what one likes, over its contents. Each file's hash is remembered under
/// $XDG_CACHE_HOME/bifrons (or ~/.cache/bifrons) by its path, size and time; a cache that cannot be written
/// costs time, no error. Errors: Sha256OfFile's; a file that changed meanwhile (kBadData).
Result<std::string> HashFiles(std::vector<std::string> files, const std::stop_token& stop = {});

/// HashFiles beside other work: gigabytes take seconds, and most who need the hash need it late.
class ModelHash {
 public:
  /// Of files that are being read from now on.
  explicit ModelHash(std::vector<std::string> files);

  /// Begins on a thread of its own, which ends with this object. Where there can be none, Get does all.
  void Begin();
  /// Waits for what has begun. May be called from any thread, again after an error. Errors: HashFiles', and a
  /// file that is another one by now than when this was made (kBadData): what was loaded has no hash.
  Result<std::string> Get();

 private:
  const std::vector<std::string> files_;
  std::vector<std::string> identities_;  // of each file; empty for one that was not there
  std::mutex mutex_;                     // for who waits, and what there is then
  std::optional<std::string> hash_;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace bifrons
