// Sequences in pages that lie anywhere, for the ops of attention.
#pragma once

#include "kernels/op_matrix/case.h"

namespace bifrons::op_matrix {

/// Some rows of a batch: `rows` of a sequence of its own, after `start` positions.
struct Piece {
  int64_t rows, start;
};

/// A batch of pieces. Their pages are shuffled among each other and numbers that nobody has.
class Sequences {
 public:
  Sequences(Stage& stage, const KvShape& shape, const std::vector<Piece>& pieces);

  KvPages& pages() const { return pages_; }
  int64_t rows() const;
  const KvBatch& batch() const { return batch_; }
  /// What comes before the pieces' rows: of one sequence.
  const KvBatch& MakeHistory(Stage& stage, size_t piece) const;
  /// Positions [0, positions) of one sequence, as rows.
  const KvBatch& MakeRows(Stage& stage, size_t piece, int64_t positions) const;

 private:
  const KvBatch& MakeBatch(Stage& stage) const;

  std::vector<Piece> pieces_;
  std::vector<std::vector<int32_t>> numbers_;  // each piece's pages
  KvPages& pages_;
  const KvBatch& batch_;
};

}  // namespace bifrons::op_matrix
