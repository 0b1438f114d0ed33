#include "src/model/text/bpe.h"

#include <algorithm>
#include <cstdio>

#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

// Below this many symbols a scan for the best pair beats a heap.
constexpr size_t kScanLimit = 24;
constexpr char32_t kTableCharacters = 0x144;

uint64_t PairOf(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

size_t SlotOf(uint64_t pair, size_t slots) {
  pair *= 0x9E3779B97F4A7C15u;
  return (pair ^ pair >> 32) & (slots - 1);
}

}  // namespace

Bpe::Bpe(Vocabulary vocabulary, Options options)
    : vocabulary_(std::move(vocabulary)), options_(options), merges_(16, Merge{0, 0, -1}) {
  for (char32_t c = 0; c < kTableCharacters; c++) {
    std::string text;
    AppendUtf8(c, text);
    character_ids_.push_back(IdOf(text).value_or(-1));
  }
  if (options_.byte_fallback) {
    for (int b = 0; b < 256; b++) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", b);
      byte_ids_.push_back(IdOf(name).value_or(-1));
    }
  }
}

std::optional<int32_t> Bpe::IdOf(std::string_view entry) const {
  const auto found = vocabulary_.find(entry);
  if (found == vocabulary_.end()) return std::nullopt;
  return found->second;
}

void Bpe::AddMerge(int32_t left, int32_t right, uint32_t rank, int32_t merged) {
  if (2 * (merge_count_ + 1) > merges_.size()) Grow();
  const uint64_t pair = PairOf(left, right);
  size_t slot = SlotOf(pair, merges_.size());
  while (merges_[slot].merged >= 0 && merges_[slot].pair != pair) slot = (slot + 1) & (merges_.size() - 1);
  if (merges_[slot].merged < 0) merge_count_++;
  merges_[slot] = {pair, rank, merged};
}

void Bpe::Grow() {
  std::vector<Merge> old(merges_.size() * 2, Merge{0, 0, -1});
  old.swap(merges_);
  for (const Merge& m : old) {
    if (m.merged < 0) continue;
    size_t slot = SlotOf(m.pair, merges_.size());
    while (merges_[slot].merged >= 0) slot = (slot + 1) & (merges_.size() - 1);
    merges_[slot] = m;
  }
}

const Bpe::Merge* Bpe::FindMerge(int32_t left, int32_t right) const {
  const uint64_t pair = PairOf(left, right);
  for (size_t slot = SlotOf(pair, merges_.size());; slot = (slot + 1) & (merges_.size() - 1)) {
    const Merge& m = merges_[slot];
    if (m.merged < 0) return nullptr;
    if (m.pair == pair) return &m;
  }
}

void Bpe::Encode(std::string_view piece, Scratch& scratch, std::vector<int32_t>& ids) const {
  if (options_.ignore_merges) {
    const auto id = IdOf(piece);
    if (id && !protected_ids_.contains(*id)) {
      ids.push_back(*id);
      return;
    }
  }
  scratch.symbols.clear();
  AddSymbols(piece, scratch.symbols);
  if (scratch.symbols.size() <= kScanLimit) {
    MergeByScan(scratch.symbols);
  } else {
    MergeByHeap(scratch);
  }
  for (const Symbol& s : scratch.symbols) {
    if (s.previous != -2) ids.push_back(s.id);
  }
}

// tokenizers: BPE::merge_word, its order of unknown ids included.
void Bpe::AddSymbols(std::string_view piece, std::vector<Symbol>& symbols) const {
  const auto add = [&](int32_t id) {
    const auto at = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, at - 1, at + 1});
  };
  bool pending_unknown = false;
  for (size_t i = 0; i < piece.size();) {
    const CodePoint c = DecodeUtf8(piece.substr(i));
    const std::string_view character = piece.substr(i, c.bytes);
    i += c.bytes;
    const int32_t id = c.value < kTableCharacters ? character_ids_[c.value] : IdOf(character).value_or(-1);
    if (id >= 0) {
      if (pending_unknown) add(*options_.unknown);
      pending_unknown = false;
      add(id);
      continue;
    }
    const auto has_byte = [&](char b) { return byte_ids_[static_cast<uint8_t>(b)] >= 0; };
    if (!byte_ids_.empty() && std::all_of(character.begin(), character.end(), has_byte)) {
      for (char b : character) add(byte_ids_[static_cast<uint8_t>(b)]);
    } else if (options_.unknown) {
      if (pending_unknown && !options_.fuse_unknown) add(*options_.unknown);
      pending_unknown = true;
    }
  }
  if (pending_unknown) add(*options_.unknown);
  if (!symbols.empty()) symbols.back().next = -1;
}

void Bpe::MergeByScan(std::vector<Symbol>& symbols) const {
  while (symbols.size() > 1) {
    const Merge* best = nullptr;
    size_t best_at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); i++) {
      const Merge* m = FindMerge(symbols[i].id, symbols[i + 1].id);
      if (m && (!best || m->rank < best->rank)) best = m, best_at = i;
    }
    if (!best) return;
    symbols[best_at].id = best->merged;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best_at) + 1);
  }
}

void Bpe::MergeByHeap(Scratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  std::vector<Candidate>& heap = scratch.heap;
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  heap.clear();
  for (size_t i = 0; i + 1 < symbols.size(); i++) {
    if (const Merge* m = FindMerge(symbols[i].id, symbols[i + 1].id)) {
      heap.push_back({m->rank, static_cast<int32_t>(i), m->merged});
    }
  }
  std::make_heap(heap.begin(), heap.end(), later);
  const auto consider = [&](int32_t position) {
    if (position < 0 || symbols[position].next < 0) return;
    if (const Merge* m = FindMerge(symbols[position].id, symbols[symbols[position].next].id)) {
      heap.push_back({m->rank, position, m->merged});
      std::push_heap(heap.begin(), heap.end(), later);
    }
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Candidate top = heap.back();
    heap.pop_back();
    Symbol& left = symbols[top.position];
    if (left.previous == -2 || left.next < 0) continue;
    Symbol& right = symbols[left.next];
    const Merge* m = FindMerge(left.id, right.id);
    // One of the pair has changed since: its new neighbours have candidates of their own.
    if (!m || m->merged != top.merged || m->rank != top.rank) continue;
    left.id = top.merged;
    left.next = right.next;
    right.previous = -2;
    if (left.next >= 0) symbols[left.next].previous = top.position;
    consider(left.previous);
    consider(top.position);
  }
}

}  // namespace bifrons
