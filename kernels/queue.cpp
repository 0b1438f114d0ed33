// The arguments of every op, checked once for all devices.
#include "kernels/queue.h"

#include <optional>

#include "src/base/seconds_since.h"

namespace bifrons {
namespace {

// Whether the view's numbers lie in its buffer.
bool Inside(const View& v) {
  if (v.buffer == nullptr || v.stride < (v.rows() > 1 ? v.width() : 0)) return false;
  if (v.shape.elements() == 0) return v.offset <= v.buffer->bytes();
  const int64_t last = (v.rows() - 1) * v.stride + v.width();
  return v.offset + BytesOf(v.type, last) <= v.buffer->bytes();
}

bool Floats(const View& v) { return v.type == DType::kF32; }
bool FloatsOrBF16(const View& v) { return v.type == DType::kF32 || v.type == DType::kBF16; }

// f32 [n] of a norm and the like.
bool Vector(const View& v, int64_t n) {
  return Inside(v) && Floats(v) && v.contiguous() && v.shape == Shape{n};
}

bool Matrix(const View& v) { return Inside(v) && Floats(v) && v.shape.rank() == 2 && !v.own_layout; }

bool Map(const View& v) { return Inside(v) && FloatsOrBF16(v) && v.shape.rank() == 3 && v.contiguous(); }

bool SameShape(const View& a, const View& b) { return a.shape == b.shape; }

// Of all the numbers of some views; an empty one has none.
template <class... Views>
int64_t Bytes(const Views&... views) {
  return ((views.empty() ? 0 : static_cast<int64_t>(BytesOf(views.type, views.shape))) + ...);
}

// Keys and values of so many positions of a layer.
int64_t KvBytes(const KvShape& shape, int64_t positions) {
  return static_cast<int64_t>(shape.Bytes(positions)) / shape.layers;
}

// Whether x, y and the epilogue fit a product with the matrix.
bool IsProduct(const Linear& weight, const View& x, RowClass row_class, Epilogue epilogue, const View& y) {
  const int64_t out = epilogue == Epilogue::kSiluMul ? weight.out / 2 : weight.out;
  return Inside(x) && Inside(y) && Floats(x) && Floats(y) && x.shape == Shape{x.rows(), weight.in} &&
         y.shape == Shape{x.rows(), out} && x.contiguous() && y.contiguous() &&
         (row_class == RowClass::kPrefill || !(x.own_layout || y.own_layout)) &&
         !(y.own_layout && epilogue == Epilogue::kAdd);
}

OpCost ProductCost(const Linear& weight, const View& x, Epilogue epilogue, const View& y) {
  return {static_cast<int64_t>(weight.bytes) + Bytes(x, y) + (epilogue == Epilogue::kAdd ? Bytes(y) : 0),
          x.rows() * weight.in * weight.out};
}

// Whether k and v are the batch's, for a layer that there is.
bool AreKv(const View& k, const View& v, const KvBatch& batch, int64_t layer) {
  const KvShape& shape = batch.pages().shape();
  return Matrix(k) && Matrix(v) && SameShape(k, v) && k.rows() == batch.rows() && k.stride == v.stride &&
         k.width() == shape.kv_heads * shape.head_dim && layer >= 0 && layer < shape.layers;
}

}  // namespace

// ---- profiling ---------------------------------------------------------------------------------

// Reports the op that is given until End, with the cost that `cost` makes of its arguments. (A destructor
// could not report: memory may fail.)
class Queue::Report {
 public:
  template <class Cost>
  Report(Queue& queue, Zone zone, const Cost& cost) : queue_(queue) {
    if (!queue.profile_) return;
    op_ = Reported{queue.profile_, queue.name_, queue.place_, cost()};
    if (op_->place.zone == Zone::kRest) op_->place.zone = zone;
    queue.BeginOp();
  }
  void End() const {
    if (op_) queue_.EndOp(*op_);
  }

 private:
  Queue& queue_;
  std::optional<Reported> op_;  // none: nobody profiles
};

void Queue::ReportTo(Profile& profile, std::string_view name) {
  profile.AddQueue(name);
  profile_ = &profile;
  name_ = place_.part = name;
}

void Queue::BeginOp() { begun_ = std::chrono::steady_clock::now(); }

void Queue::EndOp(const Reported& op) { op.Took(SecondsSince(begun_)); }

// ---- work that repeats --------------------------------------------------------------------------

void Queue::Repeat(Repetition& repetition, std::span<const View> views, const KvBatch& batch,
                   const std::function<void()>& give) {
  if (profile_ != nullptr) return give();
  DoRepeat(repetition, views, batch, give);
}

// A line that names the op, its condition and the shapes; `a` and `b` are two of its views.
#define CHECK_ARGUMENTS(condition, a, b)                                                                 \
  BIFRONS_CHECK(condition, "%s: %s %s, %s %s", __func__, NameOf((a).type), (a).shape.ToString().c_str(), \
                NameOf((b).type), (b).shape.ToString().c_str())

// ---- numbers in and out -------------------------------------------------------------------------

void Queue::Upload(TensorView from, View to) {
  CHECK_ARGUMENTS(Inside(to) && from.dtype == to.type && from.shape.elements() == to.shape.elements(), to,
                  to);
  if (to.shape.elements() == 0) return;
  const Report report(*this, Zone::kUpload, [&] { return OpCost{Bytes(to)}; });
  DoUpload(from, to);
  report.End();
}

Ticket Queue::Download(View from, void* to) {
  CHECK_ARGUMENTS(Inside(from), from, from);
  const Report report(*this, Zone::kDownload, [&] { return OpCost{Bytes(from)}; });
  const Ticket ticket = DoDownload(from, to);
  report.End();
  return ticket;
}

Tensor Queue::Fetch(View from) {
  Tensor to(from.type, from.shape);
  Wait(Download(from, to.data()));
  return to;
}

void Queue::Copy(View from, View to) {
  CHECK_ARGUMENTS(Inside(from) && Inside(to) && SameShape(from, to), from, to);
  CHECK_ARGUMENTS(from.type == to.type || (FloatsOrBF16(from) && FloatsOrBF16(to)), from, to);
  if (to.shape.elements() == 0) return;
  const Report report(*this, Zone::kCopy, [&] { return OpCost{Bytes(from, to)}; });
  DoCopy(from, to);
  report.End();
}

void Queue::CopyRows(View from, std::span<const int32_t> rows, View to) {
  CHECK_ARGUMENTS(Inside(from) && Inside(to) && from.type == to.type && from.width() == to.width(), from, to);
  CHECK_ARGUMENTS(static_cast<int64_t>(rows.size()) == to.rows(), from, to);
  for (const int32_t row : rows) CHECK_ARGUMENTS(row >= 0 && row < from.rows(), from, to);
  if (to.shape.elements() == 0) return;
  const Report report(*this, Zone::kCopy, [&] { return OpCost{2 * Bytes(to)}; });
  DoCopyRows(from, rows, to);
  report.End();
}

void Queue::Fill(View to, float value) {
  CHECK_ARGUMENTS(Inside(to) && (FloatsOrBF16(to) || to.type == DType::kI32), to, to);
  if (to.shape.elements() == 0) return;
  const Report report(*this, Zone::kFill, [&] { return OpCost{Bytes(to)}; });
  DoFill(to, value);
  report.End();
}

// ---- rows ---------------------------------------------------------------------------------------

void Queue::Multiply(const Linear& weight, View x, RowClass row_class, Epilogue epilogue, View y) {
  CHECK_ARGUMENTS(IsProduct(weight, x, row_class, epilogue, y), x, y);
  if (x.rows() == 0) return;
  const Report report(*this, Zone::kProduct, [&] { return ProductCost(weight, x, epilogue, y); });
  DoMultiply(weight, x, row_class, epilogue, y);
  report.End();
}

void Queue::MultiplyNormed(const Linear& weight, View x, View norm, float eps, RowClass row_class,
                           Epilogue epilogue, View y) {
  CHECK_ARGUMENTS(IsProduct(weight, x, row_class, epilogue, y) && !x.own_layout && Vector(norm, x.width()), x,
                  y);
  if (x.rows() == 0) return;
  const Report report(*this, Zone::kProduct, [&] {
    OpCost cost = ProductCost(weight, x, epilogue, y);
    cost.bytes += Bytes(norm);
    return cost;
  });
  DoMultiplyNormed(weight, x, norm, eps, row_class, epilogue, y);
  report.End();
}

void Queue::LookUp(const Table& table, View ids, View y) {
  CHECK_ARGUMENTS(Inside(ids) && Inside(y) && ids.type == DType::kI32 && ids.width() == 1, ids, y);
  CHECK_ARGUMENTS(FloatsOrBF16(y) && y.contiguous() && y.rows() == ids.rows() && y.width() == table.width,
                  ids, y);
  if (ids.rows() == 0) return;
  const Report report(*this, Zone::kLookUp, [&] { return OpCost{Bytes(ids) + 2 * Bytes(y)}; });
  DoLookUp(table, ids, y);
  report.End();
}

void Queue::RmsNorm(View x, View weight, float eps, View y) {
  CHECK_ARGUMENTS(Matrix(x) && Matrix(y) && SameShape(x, y) && Vector(weight, x.width()), x, y);
  if (x.rows() == 0) return;
  const Report report(*this, Zone::kNorm, [&] { return OpCost{Bytes(x, weight, y)}; });
  DoRmsNorm(x, weight, eps, y);
  report.End();
}

void Queue::LayerNorm(View x, View weight, View bias, float eps, View y) {
  CHECK_ARGUMENTS(Matrix(x) && Matrix(y) && SameShape(x, y), x, y);
  CHECK_ARGUMENTS(Vector(weight, x.width()) && Vector(bias, x.width()), weight, bias);
  if (x.rows() == 0) return;
  const Report report(*this, Zone::kNorm, [&] { return OpCost{Bytes(x, weight, bias, y)}; });
  DoLayerNorm(x, weight, bias, eps, y);
  report.End();
}

// ---- attention ----------------------------------------------------------------------------------

void Queue::StoreKv(View k, View v, const KvBatch& batch, int64_t layer) {
  CHECK_ARGUMENTS(AreKv(k, v, batch, layer), k, v);
  if (k.rows() == 0) return;
  const Report report(*this, Zone::kStoreKv,
                      [&] { return OpCost{Bytes(k, v) + KvBytes(batch.pages().shape(), k.rows())}; });
  DoStoreKv(k, v, batch, layer);
  report.End();
}

void Queue::RopeStoreKv(View q, View k, View v, const KvBatch& batch, View cos, View sin, int64_t layer) {
  const int64_t half = batch.pages().shape().head_dim / 2;
  CHECK_ARGUMENTS(AreKv(k, v, batch, layer), k, v);
  CHECK_ARGUMENTS(Matrix(q) && q.rows() == batch.rows() && q.stride == k.stride &&
                      q.width() % batch.pages().shape().head_dim == 0,
                  q, k);
  CHECK_ARGUMENTS(Matrix(cos) && Matrix(sin) && SameShape(cos, sin) && cos.width() == half &&
                      batch.pages().shape().head_dim % 2 == 0 && cos.contiguous() && sin.contiguous(),
                  cos, sin);
  if (q.rows() == 0) return;
  const Report report(*this, Zone::kStoreKv, [&] {
    return OpCost{2 * Bytes(q, k) + Bytes(v) + KvBytes(batch.pages().shape(), k.rows())};
  });
  DoRopeStoreKv(q, k, v, batch, cos, sin, layer);
  report.End();
}

void Queue::Attend(View q, const KvBatch& batch, int64_t layer, View y) {
  const KvShape& shape = batch.pages().shape();
  CHECK_ARGUMENTS(Matrix(q) && Matrix(y) && SameShape(q, y) && q.rows() == batch.rows() && y.contiguous(), q,
                  y);
  CHECK_ARGUMENTS(q.width() % (shape.kv_heads * shape.head_dim) == 0, q, y);
  CHECK_ARGUMENTS(layer >= 0 && layer < shape.layers, q, y);
  if (q.rows() == 0) return;
  const Report report(*this, Zone::kAttention, [&] {
    return OpCost{Bytes(q, y) + KvBytes(shape, batch.positions_read()),
                  2 * q.width() * batch.positions_seen()};
  });
  DoAttend(q, batch, layer, y);
  report.End();
}

void Queue::AttendAll(const FullAttention& attention, View q, View k, View v, View y) {
  CHECK_ARGUMENTS(Inside(q) && Inside(k) && Inside(v) && Inside(y) && FloatsOrBF16(q), q, y);
  CHECK_ARGUMENTS(q.type == k.type && q.type == v.type && q.type == y.type && q.stride == k.stride &&
                      q.stride == v.stride,
                  q, y);
  CHECK_ARGUMENTS((q.shape == Shape{q.rows(), attention.heads * attention.head_dim}) && SameShape(q, k) &&
                      SameShape(q, v) && SameShape(q, y) && y.contiguous(),
                  q, y);
  if (q.rows() == 0) return;
  const Report report(*this, Zone::kAttention, [&] {
    return OpCost{Bytes(q, k, v, y), 2 * q.rows() * q.shape.elements()};
  });
  DoAttendAll(attention, q, k, v, y);
  report.End();
}

// ---- tokens -------------------------------------------------------------------------------------

void Queue::Sample(View logits, std::span<const SampleRequest> requests, View tokens) {
  CHECK_ARGUMENTS(Matrix(logits) && Inside(tokens) && tokens.type == DType::kI32 && tokens.contiguous(),
                  logits, tokens);
  for (const SampleRequest& r : requests) {
    CHECK_ARGUMENTS(r.row >= 0 && r.row + (r.paired ? 1 : 0) < logits.rows() && r.to >= 0 &&
                        r.to < tokens.shape.elements(),
                    logits, tokens);
  }
  if (requests.empty()) return;
  const Report report(*this, Zone::kSample, [&] {
    int64_t rows = 0;
    for (const SampleRequest& r : requests) rows += r.paired ? 2 : 1;
    return OpCost{rows * Bytes(logits.Rows(0, 1))};
  });
  DoSample(logits, requests, tokens);
  report.End();
}

// ---- feature maps -------------------------------------------------------------------------------

void Queue::Convolve(const Conv2d& conv, View in, View residual, View out) {
  const ConvShape& shape = conv.shape;
  CHECK_ARGUMENTS(Map(in) && Map(out) && in.type == shape.type && out.type == shape.output_type, in, out);
  CHECK_ARGUMENTS(in.shape == shape.in() && out.shape == shape.out(), in, out);
  CHECK_ARGUMENTS(
      residual.empty() || (Map(residual) && SameShape(residual, out) && residual.type == out.type), residual,
      out);
  const Report report(*this, Zone::kConvolution, [&] {
    return OpCost{static_cast<int64_t>(conv.bytes) + Bytes(in, residual, out), shape.macs()};
  });
  DoConvolve(conv, in, residual, out);
  report.End();
}

void Queue::GroupNorm(View in, View gamma, View beta, int groups, float eps, bool silu, View out) {
  CHECK_ARGUMENTS(Map(in) && Map(out) && SameShape(in, out) && in.type == out.type, in, out);
  CHECK_ARGUMENTS(
      groups > 0 && in.shape[2] % groups == 0 && Vector(gamma, in.shape[2]) && Vector(beta, in.shape[2]),
      gamma, beta);
  const Report report(*this, Zone::kNorm, [&] { return OpCost{Bytes(in, gamma, beta, out)}; });
  DoGroupNorm(in, gamma, beta, groups, eps, silu, out);
  report.End();
}

void Queue::Upsample2x(View in, View out) {
  CHECK_ARGUMENTS(Map(in) && Map(out) && in.type == out.type, in, out);
  CHECK_ARGUMENTS((out.shape == Shape{2 * in.shape[0], 2 * in.shape[1], in.shape[2]}), in, out);
  const Report report(*this, Zone::kUpsample, [&] { return OpCost{Bytes(in, out)}; });
  DoUpsample2x(in, out);
  report.End();
}

void Queue::UnfoldPatches(View picture, int64_t patch, View rows) {
  CHECK_ARGUMENTS(Map(picture) && Floats(picture) && Matrix(rows) && patch > 0 && rows.contiguous(), picture,
                  rows);
  const int64_t patches = (picture.shape[1] / patch) * (picture.shape[2] / patch);
  CHECK_ARGUMENTS((rows.shape == Shape{patches, picture.shape[0] * patch * patch}), picture, rows);
  const Report report(*this, Zone::kUnfold, [&] { return OpCost{Bytes(picture, rows)}; });
  DoUnfoldPatches(picture, patch, rows);
  report.End();
}

void Queue::NearestCodeword(View z, View codebook, View squares, View codes) {
  CHECK_ARGUMENTS(Matrix(z) && Matrix(codebook) && z.contiguous() && codebook.contiguous() &&
                      codebook.rows() == z.width() && Vector(squares, codebook.width()),
                  z, codebook);
  CHECK_ARGUMENTS(
      Inside(codes) && codes.type == DType::kI32 && codes.contiguous() && (codes.shape == Shape{z.rows()}), z,
      codes);
  const Report report(*this, Zone::kNearestCodeword, [&] {
    return OpCost{Bytes(z, codebook, squares, codes), z.rows() * codebook.shape.elements()};
  });
  DoNearestCodeword(z, codebook, squares, codes);
  report.End();
}

void Queue::ToBytes(View in, View out) {
  CHECK_ARGUMENTS(Inside(in) && Inside(out) && Floats(in) && out.type == DType::kU8 && SameShape(in, out) &&
                      in.contiguous() && out.contiguous(),
                  in, out);
  const Report report(*this, Zone::kToBytes, [&] { return OpCost{Bytes(in, out)}; });
  DoToBytes(in, out);
  report.End();
}

}  // namespace bifrons
