// Byte pair encoding of one piece of text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace bifrons {

/// Finds entries by text without building a std::string.
struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};
using Vocabulary = std::unordered_map<std::string, int32_t, TextHash, std::equal_to<>>;

/// tokenizers: models::bpe::BPE without dropout.
class Bpe {
 public:
  struct Options {
    bool ignore_merges = false;      // a piece that is an entry is that entry, whatever the merges say
    bool byte_fallback = false;      // unknown characters become the entries <0x00> … <0xFF> of their bytes
    bool fuse_unknown = false;       // neighbouring unknown characters become one unknown id
    std::optional<int32_t> unknown;  // without it, unknown characters vanish
  };
  Bpe(Vocabulary vocabulary, Options options);

  /// Joins the neighbours `left`, `right` into `merged`; a smaller rank goes first. A later call for the same
  /// pair replaces the earlier one.
  void AddMerge(int32_t left, int32_t right, uint32_t rank, int32_t merged);
  /// `id` is never the result of a whole piece's look-up (ignore_merges).
  void Protect(int32_t id) { protected_ids_.insert(id); }

  std::optional<int32_t> IdOf(std::string_view entry) const;
  const Vocabulary& vocabulary() const { return vocabulary_; }

  /// Working memory of Encode, to be reused from piece to piece.
  struct Symbol {
    int32_t id;
    int32_t previous, next;  // positions, -1 at the ends; previous is -2 once merged away
  };
  struct Candidate {
    uint32_t rank;
    int32_t position, merged;
  };
  struct Scratch {
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  /// Appends the ids of a piece: O(n log n) in its length.
  void Encode(std::string_view piece, Scratch& scratch, std::vector<int32_t>& ids) const;

 private:
  struct Merge {
    uint64_t pair;  // left << 32 | right
    uint32_t rank;
    int32_t merged;  // -1: an empty slot
  };
  const Merge* FindMerge(int32_t left, int32_t right) const;
  void AddSymbols(std::string_view piece, std::vector<Symbol>& symbols) const;
  void MergeByScan(std::vector<Symbol>& symbols) const;
  void MergeByHeap(Scratch& scratch) const;
  void Grow();

  Vocabulary vocabulary_;
  Options options_;
  std::vector<int32_t> byte_ids_;       // ids of <0x00> … <0xFF>, or empty
  std::vector<int32_t> character_ids_;  // ids of the characters below 0x144, -1 where there is none
  std::unordered_set<int32_t> protected_ids_;
  std::vector<Merge> merges_;  // open addressing, a power of two of slots
  size_t merge_count_ = 0;
};

}  // namespace bifrons
