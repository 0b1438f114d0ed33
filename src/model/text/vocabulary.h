// The entries of a tokenizer's vocabulary and their ids, found both ways.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bifrons {

/// Texts lie one after another in one buffer of less than 4 GB: 20 to 30 bytes an entry besides its text,
/// where a map of strings takes 150. Looking up takes the same time whatever a file's author chose as
/// entries.
class Vocabulary {
 public:
  /// Of an entry that is there already, the id changes.
  void Set(std::string_view entry, int32_t id);
  /// To be called after the last Set, for EntryOf. If two entries share an id: the index of one of them.
  std::optional<size_t> SortIds();

  size_t size() const { return entries_.size(); }
  /// In the order in which they came.
  std::string_view entry(size_t i) const {
    const size_t begin = i == 0 ? 0 : entries_[i - 1].end;
    return std::string_view(texts_).substr(begin, entries_[i].end - begin);
  }
  int32_t id(size_t i) const { return entries_[i].id; }

  std::optional<int32_t> IdOf(std::string_view entry) const;
  std::optional<std::string_view> EntryOf(int32_t id) const;

 private:
  struct Entry {
    uint32_t end;  // of its text, which begins where the entry before ends
    int32_t id;
  };
  size_t SlotOf(std::string_view entry) const;
  void Grow();

  std::string texts_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;  // 1 + index of an entry, 0 where free; open addressing, a power of two
  std::vector<uint32_t> by_id_;  // indices of entries
};

}  // namespace bifrons
