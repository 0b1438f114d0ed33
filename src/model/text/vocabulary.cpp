#include "src/model/text/vocabulary.h"

#include <algorithm>
#include <numeric>

#include "src/base/seeded_hash.h"

namespace bifrons {

/// The slot that holds the entry, or the free one that it would get.
size_t Vocabulary::SlotOf(std::string_view text) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = SeededHash{}(text)&mask;
  while (slots_[slot] != 0 && entry(slots_[slot] - 1) != text) slot = (slot + 1) & mask;
  return slot;
}

void Vocabulary::Set(std::string_view text, int32_t id) {
  if (3 * (entries_.size() + 1) > 2 * slots_.size()) Grow();
  uint32_t& slot = slots_[SlotOf(text)];
  if (slot != 0) {
    entries_[slot - 1].id = id;
    return;
  }
  texts_ += text;
  entries_.push_back({static_cast<uint32_t>(texts_.size()), id});
  slot = static_cast<uint32_t>(entries_.size());
}

void Vocabulary::Grow() {
  slots_.assign(std::max<size_t>(16, 2 * slots_.size()), 0);
  for (size_t i = 0; i < entries_.size(); i++) slots_[SlotOf(entry(i))] = static_cast<uint32_t>(i + 1);
}

std::optional<size_t> Vocabulary::SortIds() {
  by_id_.resize(entries_.size());
  std::iota(by_id_.begin(), by_id_.end(), 0);
  std::sort(by_id_.begin(), by_id_.end(),
            [&](uint32_t a, uint32_t b) { return entries_[a].id < entries_[b].id; });
  const auto twice = std::adjacent_find(
      by_id_.begin(), by_id_.end(), [&](uint32_t a, uint32_t b) { return entries_[a].id == entries_[b].id; });
  if (twice == by_id_.end()) return std::nullopt;
  return std::max(twice[0], twice[1]);
}

std::optional<int32_t> Vocabulary::IdOf(std::string_view text) const {
  if (slots_.empty()) return std::nullopt;
  const uint32_t found = slots_[SlotOf(text)];
  if (found == 0) return std::nullopt;
  return entries_[found - 1].id;
}

std::optional<std::string_view> Vocabulary::EntryOf(int32_t id) const {
  const auto found = std::lower_bound(by_id_.begin(), by_id_.end(), id,
                                      [&](uint32_t i, int32_t wanted) { return entries_[i].id < wanted; });
  if (found == by_id_.end() || entries_[*found].id != id) return std::nullopt;
  return entry(*found);
}

}  // namespace bifrons
