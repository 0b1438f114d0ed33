#include "kernels/op_matrix/sequences.h"

#include <algorithm>
#include <numeric>

namespace bifrons::op_matrix {
namespace {

std::vector<std::vector<int32_t>> Deal(const KvShape& shape, const std::vector<Piece>& pieces) {
  std::vector<std::vector<int32_t>> dealt(pieces.size());
  int64_t total = 0;
  for (size_t i = 0; i < pieces.size(); i++) {
    const int64_t positions = pieces[i].start + pieces[i].rows;
    dealt[i].resize(static_cast<size_t>((positions + shape.page_positions - 1) / shape.page_positions));
    total += std::ssize(dealt[i]);
  }
  std::vector<int32_t> numbers(static_cast<size_t>(total + 3));
  std::iota(numbers.begin(), numbers.end(), 0);
  Random random(5);
  for (size_t i = numbers.size() - 1; i > 0; i--)
    std::swap(numbers[i], numbers[static_cast<size_t>(random.Below(static_cast<int64_t>(i) + 1))]);
  for (std::vector<int32_t>& pages : dealt) {
    for (int32_t& page : pages) page = numbers.back(), numbers.pop_back();
  }
  return dealt;
}

KvPages& MakePages(Stage& stage, const KvShape& shape, const std::vector<std::vector<int32_t>>& numbers) {
  KvPages& pages = stage.Keep(stage.device().MakeKvPages(shape));
  for (const std::vector<int32_t>& list : numbers) {  // little by little, as a running engine does
    for (const int32_t page : list) pages.Grow(page + 1);
  }
  return pages;
}

}  // namespace

Sequences::Sequences(Stage& stage, const KvShape& shape, const std::vector<Piece>& pieces)
    : pieces_(pieces),
      numbers_(Deal(shape, pieces)),
      pages_(MakePages(stage, shape, numbers_)),
      batch_(MakeBatch(stage)) {}

int64_t Sequences::rows() const { return batch_.rows(); }

const KvBatch& Sequences::MakeBatch(Stage& stage) const {
  std::vector<KvSpan> spans;
  for (size_t i = 0; i < pieces_.size(); i++)
    spans.push_back({pieces_[i].rows, pieces_[i].start, numbers_[i]});
  return stage.Keep(stage.queue().MakeBatch(pages_, spans));
}

const KvBatch& Sequences::MakeHistory(Stage& stage, size_t piece) const {
  return MakeRows(stage, piece, pieces_[piece].start);
}

const KvBatch& Sequences::MakeRows(Stage& stage, size_t piece, int64_t positions) const {
  const KvSpan span{positions, 0, numbers_[piece]};
  return stage.Keep(stage.queue().MakeBatch(pages_, {&span, 1}));
}

}  // namespace bifrons::op_matrix
