#include "kernels/op_matrix/stage.h"

#include <cstring>

namespace bifrons::op_matrix {
namespace {

constexpr size_t kGuardBytes = 64;  // a multiple of what devices align memory to

size_t RowOffset(const View& v, int64_t row) { return v.offset + BytesOf(v.type, row * v.stride); }

// A whole buffer as bytes: one row of them.
View AllBytes(Buffer& buffer) {
  const auto bytes = static_cast<int64_t>(buffer.bytes());
  return {&buffer, 0, DType::kU8, {1, bytes}, bytes};
}

// A signalling NaN in f32 and in bf16: who reads it shows that, and who copies it by arithmetic quietens it.
Tensor GuardBytes(size_t bytes) {
  Tensor guards(DType::kU8, {1, static_cast<int64_t>(bytes)});
  for (size_t i = 0; i < bytes; i++) guards.as<uint8_t>()[i] = i % 2 == 0 ? 0xA5 : 0xFF;
  return guards;
}

}  // namespace

View Stage::Place(Use use, const TensorView& numbers, Margins margins) {
  View view{nullptr, kGuardBytes + BytesOf(numbers.dtype, margins.left), numbers.dtype, numbers.shape};
  view.stride = margins.left + view.width() + margins.right;
  const size_t bytes = 2 * kGuardBytes + BytesOf(view.type, view.rows() * view.stride);
  Tensor image = GuardBytes(bytes);
  for (int64_t r = 0; r < view.rows() && !numbers.empty(); r++) {
    std::memcpy(image.as<uint8_t>() + RowOffset(view, r),
                static_cast<const uint8_t*>(numbers.data) + static_cast<size_t>(r) * view.row_bytes(),
                view.row_bytes());
  }
  placed_.push_back({use, device_.Allocate(bytes), std::move(image), view});
  Placed& placed = placed_.back();
  placed.view.buffer = placed.buffer.get();
  queue_->Upload(placed.image.view(), AllBytes(*placed.buffer));
  return placed.view;
}

Outcome Stage::Run() {
  op(*queue_);
  if (look) look(*queue_);
  Outcome outcome;
  for (Placed& placed : placed_) {
    const View& view = placed.view;
    const Tensor after = queue_->Fetch(AllBytes(*placed.buffer));
    uint8_t* image = placed.image.as<uint8_t>();
    if (placed.use == Use::kOut) outcome.results.emplace_back(view.type, view.shape);
    for (int64_t r = 0; r < view.rows() && placed.use != Use::kIn; r++) {
      const uint8_t* row = after.as<uint8_t>() + RowOffset(view, r);
      if (placed.use == Use::kOut) {
        auto* result = static_cast<uint8_t*>(outcome.results.back().data());
        std::memcpy(result + static_cast<size_t>(r) * view.row_bytes(), row, view.row_bytes());
      }
      std::memcpy(image + RowOffset(view, r), row, view.row_bytes());  // it may be written; the rest may not
    }
    outcome.intact &= std::memcmp(after.data(), image, after.bytes()) == 0;
  }
  return outcome;
}

}  // namespace bifrons::op_matrix
