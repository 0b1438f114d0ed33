// Byte pair encoding of one piece of text.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "src/model/text/vocabulary.h"

namespace bifrons {

/// tokenizers: models::bpe::BPE without dropout.
class Bpe {
 public:
  struct Options {
    bool ignore_merges = false;      // a piece that is an entry is that entry, whatever the merges say
    bool byte_fallback = false;      // unknown characters become the entries <0x00> … <0xFF> of their bytes
    bool fuse_unknown = false;       // neighbouring unknown characters become one unknown id
    std::optional<int32_t> unknown;  // without it, unknown characters vanish
  };
  /// Joins the neighbours `left`, `right` into `merged`. All are ids.
  struct Merge {
    int32_t left, right, merged;
  };
  /// The earlier in the list a merge stands, the sooner it goes; of several for one pair the last one counts.
  /// Ids in `protected_ids` are never the result of a merge, nor of a whole piece's look-up (ignore_merges).
  Bpe(Vocabulary vocabulary, std::vector<Merge> merges, std::vector<int32_t> protected_ids, Options options);

  bool IsProtected(int32_t id) const;
  std::optional<int32_t> IdOf(std::string_view entry) const { return vocabulary_.IdOf(entry); }
  const Vocabulary& vocabulary() const { return vocabulary_; }

  /// Working memory of Encode, to be reused from piece to piece.
  struct Symbol {
    int32_t id;
    int32_t previous, next;  // positions, -1 at the ends; previous is -2 once merged away
  };
  struct Candidate {
    uint32_t rank;
    int32_t position;
  };
  struct Scratch {
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  /// Appends the ids of a piece: O(n log n) in its length.
  void Encode(std::string_view piece, Scratch& scratch, std::vector<int32_t>& ids) const;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  /// The rank of a pair's merge: its index in merges_. kNone where there is none.
  uint32_t FindMerge(int32_t left, int32_t right) const { return slots_[SlotOf(left, right)]; }
  size_t SlotOf(int32_t left, int32_t right) const;
  void AddSymbols(std::string_view piece, std::vector<Symbol>& symbols) const;
  void MergeByScan(std::vector<Symbol>& symbols) const;
  void MergeByHeap(Scratch& scratch) const;

  Vocabulary vocabulary_;
  Options options_;
  std::vector<int32_t> byte_ids_;       // ids of <0x00> … <0xFF>, or empty
  std::vector<int32_t> character_ids_;  // ids of the characters below 0x144, -1 where there is none
  std::vector<int32_t> protected_ids_;  // in ascending order
  std::vector<Merge> merges_;
  std::vector<uint32_t> slots_;  // ranks, kNone where free; open addressing, a power of two
};

}  // namespace bifrons
