// Which parts of an address space are free: the bookkeeping of the tests' device memories.
#pragma once

#include <cstddef>
#include <iterator>
#include <map>
#include <optional>

namespace bifrons {

class FreeRanges {
 public:
  /// All of [0, bytes) is free.
  explicit FreeRanges(size_t bytes) : free_{{0, bytes}} {}

  /// The offset of the first room for so many bytes.
  std::optional<size_t> Take(size_t bytes) {
    for (auto it = free_.begin(); it != free_.end(); ++it) {
      if (it->second < bytes) continue;
      const auto [at, room] = *it;
      free_.erase(it);
      if (room > bytes) free_[at + bytes] = room - bytes;
      return at;
    }
    return std::nullopt;
  }

  void GiveBack(size_t at, size_t bytes) {
    auto it = free_.emplace(at, bytes).first;
    if (auto next = std::next(it); next != free_.end() && it->first + it->second == next->first) {
      it->second += next->second;
      free_.erase(next);
    }
    if (it == free_.begin()) return;
    if (auto before = std::prev(it); before->first + before->second == it->first) {
      before->second += it->second;
      free_.erase(it);
    }
  }

 private:
  std::map<size_t, size_t> free_;  // offset → bytes
};

}  // namespace bifrons
