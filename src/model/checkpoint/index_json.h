// *.index.json of a sharded checkpoint: which file holds which tensor.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

/// Larger files are refused. 10,000 tensors need 1 MB.
constexpr size_t kMaxIndexBytes = size_t{64} << 20;
/// More files than that are refused; the largest published models have a few hundred.
constexpr size_t kMaxShards = 10'000;

/// The index's weight_map. At most five bytes of memory per byte of the file.
class WeightIndex {
 public:
  /// Plain names of files in the index's own folder, each once.
  const std::vector<std::string>& files() const { return files_; }

  size_t size() const { return entries_.size(); }
  /// Names of tensors in ascending order, each once.
  std::string_view tensor(size_t i) const {
    return std::string_view(names_).substr(entries_[i].begin, entries_[i].bytes);
  }
  /// Index into files().
  size_t file_of(size_t i) const { return entries_[i].file; }

 private:
  friend class IndexVisitor;
  struct Entry {
    uint32_t begin, bytes;  // of the tensor's name, within names_
    uint32_t file;
  };
  std::string names_;
  std::vector<Entry> entries_;
  std::vector<std::string> files_;
};

/// Of a name that stands twice, the last one counts. A file that is not a plain name is refused: shards lie
/// beside their index. `path` is for messages.
Result<WeightIndex> ParseIndex(std::string_view text, const std::string& path);

}  // namespace bifrons
