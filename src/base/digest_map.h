// Tables of very many things, known by 16 bytes each: a million of them take some 25 to 35 MB, not 200.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace bifrons {

/// Half a SHA-256. Two texts with the same one are not to be expected in this world.
struct Digest16 {
  uint64_t high = 0, low = 0;
  bool operator==(const Digest16&) const = default;
};

Digest16 DigestOf(std::string_view text);

/// Of this process, so that nobody can make up keys that meet in one place of a table.
struct TableSecret {
  uint64_t high, low;
  static const TableSecret& Get();
};

/// Open addressing with linear probing. Nothing is ever taken out. A pointer to a value holds until the next
/// Insert.
template <class Value>
class DigestMap {
 public:
  size_t size() const { return size_; }
  size_t bytes() const { return slots_.capacity() * sizeof(Slot); }

  /// The value, and whether it was put there now.
  std::pair<Value*, bool> Insert(Digest16 key, const Value& value) {
    if (size_ + 1 > slots_.size() - slots_.size() / 8) Grow();
    Slot& slot = slots_[Place(slots_, key = Real(key))];
    const bool fresh = slot.key == kNone;
    if (fresh) slot.key = key, slot.value = value, size_++;
    return {&slot.value, fresh};
  }
  /// Null if it is not there.
  const Value* Find(Digest16 key) const {
    if (slots_.empty()) return nullptr;
    const Slot& slot = slots_[Place(slots_, Real(key))];
    return slot.key == kNone ? nullptr : &slot.value;
  }
  bool Contains(Digest16 key) const { return Find(key) != nullptr; }

 private:
  struct Slot {
    Digest16 key;
    [[no_unique_address]] Value value{};
  };
  static constexpr Digest16 kNone{};

  static Digest16 Real(Digest16 key) { return key == kNone ? Digest16{1, 1} : key; }

  // Where it is, or the empty place where it would be.
  static size_t Place(const std::vector<Slot>& slots, const Digest16& key) {
    const TableSecret& secret = TableSecret::Get();
    const auto mixed = static_cast<unsigned __int128>(key.high ^ secret.high) * (key.low ^ secret.low);
    const uint64_t hash = static_cast<uint64_t>(mixed >> 64) ^ static_cast<uint64_t>(mixed);
    auto at = static_cast<size_t>(static_cast<unsigned __int128>(hash) * slots.size() >> 64);
    while (slots[at].key != kNone && slots[at].key != key) at = at + 1 < slots.size() ? at + 1 : 0;
    return at;
  }

  void Grow() {
    std::vector<Slot> larger(slots_.size() + slots_.size() / 3 + 64);
    for (const Slot& slot : slots_)
      if (slot.key != kNone) larger[Place(larger, slot.key)] = slot;
    slots_ = std::move(larger);
  }

  std::vector<Slot> slots_;
  size_t size_ = 0;
};

struct Nothing {};
using DigestSet = DigestMap<Nothing>;

}  // namespace bifrons
