#include "src/model/text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstdio>

#include "src/base/seeded_hash.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

// Below this many symbols a scan for the best pair beats a heap.
constexpr size_t kScanLimit = 24;
constexpr char32_t kTableCharacters = 0x144;

}  // namespace

Bpe::Bpe(Vocabulary vocabulary, std::vector<Merge> merges, std::vector<int32_t> protected_ids,
         Options options)
    : vocabulary_(std::move(vocabulary)),
      options_(options),
      protected_ids_(std::move(protected_ids)),
      merges_(std::move(merges)) {
  std::sort(protected_ids_.begin(), protected_ids_.end());
  slots_.assign(std::bit_ceil(merges_.size() + merges_.size() / 2 + 1), kNone);
  for (size_t rank = 0; rank < merges_.size(); rank++) {
    const Merge& m = merges_[rank];
    // Plain characters must not add up to a special token either.
    if (!IsProtected(m.merged)) slots_[SlotOf(m.left, m.right)] = static_cast<uint32_t>(rank);
  }
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

bool Bpe::IsProtected(int32_t id) const {
  return std::binary_search(protected_ids_.begin(), protected_ids_.end(), id);
}

/// The slot that holds the pair's rank, or the free one that it would get.
size_t Bpe::SlotOf(int32_t left, int32_t right) const {
  const uint64_t pair =
      static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  const size_t mask = slots_.size() - 1;
  size_t slot = SeededHash{}(pair)&mask;
  while (slots_[slot] != kNone &&
         (merges_[slots_[slot]].left != left || merges_[slots_[slot]].right != right)) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

void Bpe::Encode(std::string_view piece, Scratch& scratch, std::vector<int32_t>& ids) const {
  if (options_.ignore_merges) {
    const auto id = IdOf(piece);
    if (id && !IsProtected(*id)) {
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
    uint32_t best = kNone;
    size_t best_at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); i++) {
      const uint32_t rank = FindMerge(symbols[i].id, symbols[i + 1].id);
      if (rank < best) best = rank, best_at = i;
    }
    if (best == kNone) return;
    symbols[best_at].id = merges_[best].merged;
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
    const uint32_t rank = FindMerge(symbols[i].id, symbols[i + 1].id);
    if (rank != kNone) heap.push_back({rank, static_cast<int32_t>(i)});
  }
  std::make_heap(heap.begin(), heap.end(), later);
  const auto consider = [&](int32_t position) {
    if (position < 0 || symbols[position].next < 0) return;
    const uint32_t rank = FindMerge(symbols[position].id, symbols[symbols[position].next].id);
    if (rank != kNone) {
      heap.push_back({rank, position});
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
    // One of the pair has changed since: its new neighbours have candidates of their own.
    if (FindMerge(left.id, right.id) != top.rank) continue;
    left.id = merges_[top.rank].merged;
    left.next = right.next;
    right.previous = -2;
    if (left.next >= 0) symbols[left.next].previous = top.position;
    consider(left.previous);
    consider(top.position);
  }
}

}  // namespace bifrons
