// A queue: work for a device, done in the order in which it was given. The forward passes (src/model, vision)
// are written once against it.
//
// Conventions
//   * An op is given and forgotten; its numbers are there when a ticket taken afterwards has been waited
//     for. A device may do the work at once, or when somebody waits, or beside the host.
//   * Two queues know nothing of each other's order; After makes one wait for the other, without the host.
//     A queue is used by one thread at a time. One that goes ends or forgets what it was given.
//   * Weights and pages must stay until what was given with them is done; buffers and batches need not.
//   * Row activations are f32 [rows, width]. A Linear's `compute` is the arithmetic: with bf16 the
//     activations are rounded to bf16 where they enter a product, and sums are f32.
//   * Feature maps are [height, width, channels] (channels innermost), contiguous, f32 or bf16.
//   * An output is no input's memory, unless a comment says that it may be.
//   * A row never feels its neighbours: an output row depends on its own inputs and the RowClass only,
//     never on how many rows share the call or on the thread count.
//   * Views that do not fit an op or their buffer are a bug of the caller's and end the program with a line
//     that says which.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "kernels/profile.h"
#include "kernels/sampling.h"
#include "kernels/view.h"
#include "kernels/weights.h"

namespace bifrons {

/// What a row is part of. Kernels are chosen by class, never by row count, so that a picture drawn alone and
/// in a batch takes the same path.
enum class RowClass : uint8_t {
  kDecode,   // sampled tokens: guidance pairs, speculation windows, captions
  kPrefill,  // a prompt's chunk or an image's patches: the shape depends on the request alone
};

/// What becomes of a product x · Wᵀ + bias.
enum class Epilogue : uint8_t {
  kNone,     // y = product
  kAdd,      // y += product: the residual stream
  kGelu,     // y = gelu(product), the exact erf form
  kSiluMul,  // y[:, i] = silu(product[:, i]) · product[:, out/2 + i]: gates first, then what they gate
};

/// Of attention among all rows.
struct FullAttention {
  int64_t heads = 0, head_dim = 0;
  /// bf16: q, k, v and the softmax's weights are rounded to bf16 for the products.
  DType compute = DType::kF32;
};

/// One token to be drawn: from row `row` of some logits, guided by the unconditional row after it when
/// `paired`.
struct SampleRequest {
  int64_t row = 0;
  bool paired = false;
  Sampling sampling;
  NoiseKey noise;
  int64_t to = 0;  // where the token goes, in numbers
};

/// A moment in a queue's order.
struct Ticket {
  const class Queue* queue = nullptr;  // none: long past
  uint64_t number = 0;                 // of the queue's moments
};

/// What a device keeps of ops that it is given again and again (Queue::Repeat).
class Repetition {
 public:
  virtual ~Repetition() = default;
};

class Queue {
 public:
  virtual ~Queue() = default;
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  // ---- order ---------------------------------------------------------------------------------------------
  /// The moment when all that was given so far is done.
  virtual Ticket Record() = 0;
  /// What is given from now on begins after `ticket`, of any queue of the device.
  virtual void After(const Ticket& ticket) = 0;
  /// The host waits. Throws std::bad_alloc when the device had not the memory for what was given.
  virtual void Wait(const Ticket& ticket) = 0;
  /// Whether Wait would return at once.
  virtual bool Done(const Ticket& ticket) = 0;

  // ---- profiling --------------------------------------------------------------------------------
  /// Every op from now on is reported to `profile`, which must stay as long as the queue: at the latest when
  /// a ticket taken after the op has been waited for. `name`, a literal, is the queue's in the profile.
  void ReportTo(Profile& profile, std::string_view name);

  // ---- work that repeats ------------------------------------------------------------------------
  /// For one giver; it must go before the weights in its ops, and be of use to this queue alone.
  virtual std::unique_ptr<Repetition> MakeRepetition() { return std::make_unique<Repetition>(); }
  /// The ops that `give` gives to this queue. Whenever `views` are in the same places as another time and
  /// `batch` has rows of as many sequences, these are the same ops on the same views, weights and layers: a
  /// device may have kept them, and not call `give`. While somebody profiles, it is always called.
  void Repeat(Repetition& repetition, std::span<const View> views, const KvBatch& batch,
              const std::function<void()>& give);

  // ---- numbers in and out -----------------------------------------------------------------------
  /// `from` may go away at once. Same type and number of elements; a `from` that is no matrix fills rows in
  /// order.
  void Upload(TensorView from, View to);
  /// Fills `to` (from.shape.elements() numbers of from's type), which must stay until the ticket has been
  /// waited for.
  Ticket Download(View from, void* to);
  /// Download and Wait.
  Tensor Fetch(View from);
  /// to = from, of one shape; f32 is rounded to bf16 and bf16 widened where the types differ.
  void Copy(View from, View to);
  /// to[r, :] = from[rows[r], :], of one type.
  void CopyRows(View from, std::span<const int32_t> rows, View to);
  /// All numbers of an f32, bf16 or i32 view.
  void Fill(View to, float value);

  // ---- rows -------------------------------------------------------------------------------------
  /// y = epilogue(x [rows, in] · Wᵀ + bias), contiguous; y [rows, out], or [rows, out/2] for kSiluMul. For
  /// RowClass::kPrefill x and y may be in own layout: what one Multiply wrote another reads, of as many rows
  /// and the same compute; with compute bf16 such numbers may have been rounded to bf16 already.
  void Multiply(const Linear& weight, View x, RowClass row_class, Epilogue epilogue, View y);
  /// Multiply of RmsNorm(x, norm, eps), which stands nowhere; x in plain rows. With compute bf16 numbers may
  /// be rounded to it before their row is scaled, which then is done to the sums.
  void MultiplyNormed(const Linear& weight, View x, View norm, float eps, RowClass row_class,
                      Epilogue epilogue, View y);
  /// y[r, :] = table[ids[r], :] as f32 or bf16 numbers; ids i32 [rows] or [rows, 1]. A negative id is taken
  /// for 0: who sampled it will hear of it (Sample).
  void LookUp(const Table& table, View ids, View y);
  /// y = x / sqrt(mean(x²) + eps) · weight; x, y [rows, dim], weight f32 [dim]. y may be x.
  void RmsNorm(View x, View weight, float eps, View y);
  /// y = (x − mean) / sqrt(variance + eps) · weight + bias over each row; x, y [rows, dim], weight, bias f32
  /// [dim]. y may be x.
  void LayerNorm(View x, View weight, View bias, float eps, View y);

  // ---- attention --------------------------------------------------------------------------------
  /// Spans of a batch's rows, in order. The page numbers are copied. Like a buffer, a batch may be dropped
  /// before what was given with it is done; the pages themselves must stay.
  virtual std::unique_ptr<KvBatch> MakeBatch(KvPages& pages, std::span<const KvSpan> spans) = 0;
  /// Writes keys and values k, v [rows, kv_heads · head_dim] of the batch's rows into `layer` of their pages,
  /// rounded to the pages' type.
  void StoreKv(View k, View v, const KvBatch& batch, int64_t layer);
  /// Rotates every head of head_dim values of every row of q [rows, heads · head_dim] and k in place
  /// (rotate-half convention: element i pairs with i + head_dim/2), then StoreKv. cos, sin: f32 [positions,
  /// head_dim/2]; a row uses its position's. q, k and v have one stride.
  void RopeStoreKv(View q, View k, View v, const KvBatch& batch, View cos, View sin, int64_t layer);
  /// Causal attention over the pages, scale head_dim^-0.5, softmax in f32; the row at position p sees 0…p. q,
  /// y [rows, heads · head_dim], heads a multiple of kv_heads.
  void Attend(View q, const KvBatch& batch, int64_t layer, View y);
  /// Attention of n rows to each other, not causal: q, k, v [n, heads · head_dim] of one type (f32 or bf16),
  /// which may be columns of one matrix; y the same, contiguous. Scale head_dim^-0.5, softmax in f32. Rows of
  /// one request only, like RowClass::kPrefill.
  void AttendAll(const FullAttention& attention, View q, View k, View v, View y);
  /// The first `positions` positions of a page, all layers', to another page.
  virtual void CopyPositions(KvPages& pages, int32_t from, int64_t positions, int32_t to) = 0;
  /// What stands in these pages is not needed any more. A device in the host's memory gives them back to the
  /// system until they are written again; others keep them.
  virtual void Discard(KvPages&, std::span<const int32_t> /*numbers*/) {}

  // ---- tokens -----------------------------------------------------------------------------------
  /// One token per request from the rows of `logits` f32 [rows, n], to tokens[to] (i32, contiguous) of its
  /// own. The token is a function of the request and its rows alone: SampleRow (kernels/sample_row.h) says
  /// which. −1 where a logit is NaN.
  void Sample(View logits, std::span<const SampleRequest> requests, View tokens);

  // ---- feature maps -----------------------------------------------------------------------------
  /// out = conv(in) (+ residual of out's shape and type, unless empty; it may be out's memory).
  void Convolve(const Conv2d& conv, View in, View residual, View out);
  /// Group normalisation over (height, width, channels/groups), then swish when `silu`. gamma, beta f32
  /// [channels]. Statistics and arithmetic in f32. `out` has in's shape and type and may be in's memory.
  void GroupNorm(View in, View gamma, View beta, int groups, float eps, bool silu, View out);
  /// out [2h, 2w, c] = nearest-neighbour doubling of in [h, w, c].
  void Upsample2x(View in, View out);
  /// Patches of a picture f32 [channels, height, width] as rows [patches, channels · patch²], patches row by
  /// row, a patch's numbers by channel, line, column. What is left beyond the last whole patch is not seen.
  void UnfoldPatches(View picture, int64_t patch, View rows);
  /// codes i32 [n] = for each row of z f32 [n, dim], scaled to length 1, the column of codebook f32 [dim,
  /// size] with the least z² + e² − 2·z·e; squares f32 [size] are the e². Of equals the first.
  void NearestCodeword(View z, View codebook, View squares, View codes);
  /// Bytes u8 of the numbers of an f32 map, nominally −1…1: clip((x + 1) / 2 · 255), truncated; NaN is 0.
  /// janus generation_inference.py: np.clip((dec + 1) / 2 * 255, 0, 255)
  void ToBytes(View in, View out);

 protected:
  Queue() = default;

  /// An op that is reported.
  struct Reported {
    Profile* profile = nullptr;
    std::string_view queue;
    Place place;
    OpCost cost;
    void Took(double seconds) const { profile->Add(queue, place, cost, seconds); }
  };
  /// Around the giving of every reported op; a device tells EndOp's op once how long it took. By themselves
  /// they do so at once, by the host's clock, which suits a device that works as it is given.
  virtual void BeginOp();
  virtual void EndOp(const Reported& op);

 private:
  friend class Within;
  class Report;

  Profile* profile_ = nullptr;
  std::string_view name_;
  Place place_;  // kRest: the op's own zone
  std::chrono::steady_clock::time_point begun_;

  virtual void DoRepeat(Repetition&, std::span<const View>, const KvBatch&,
                        const std::function<void()>& give) {
    give();
  }
  // Every op as a device does it, after its arguments have been checked.
  virtual void DoUpload(TensorView from, View to) = 0;
  virtual Ticket DoDownload(View from, void* to) = 0;
  virtual void DoCopy(View from, View to) = 0;
  virtual void DoCopyRows(View from, std::span<const int32_t> rows, View to) = 0;
  virtual void DoFill(View to, float value) = 0;
  virtual void DoMultiply(const Linear& weight, View x, RowClass row_class, Epilogue epilogue, View y) = 0;
  virtual void DoMultiplyNormed(const Linear& weight, View x, View norm, float eps, RowClass row_class,
                                Epilogue epilogue, View y) = 0;
  virtual void DoLookUp(const Table& table, View ids, View y) = 0;
  virtual void DoRmsNorm(View x, View weight, float eps, View y) = 0;
  virtual void DoLayerNorm(View x, View weight, View bias, float eps, View y) = 0;
  virtual void DoStoreKv(View k, View v, const KvBatch& batch, int64_t layer) = 0;
  virtual void DoRopeStoreKv(View q, View k, View v, const KvBatch& batch, View cos, View sin,
                             int64_t layer) = 0;
  virtual void DoAttend(View q, const KvBatch& batch, int64_t layer, View y) = 0;
  virtual void DoAttendAll(const FullAttention& attention, View q, View k, View v, View y) = 0;
  virtual void DoSample(View logits, std::span<const SampleRequest> requests, View tokens) = 0;
  virtual void DoConvolve(const Conv2d& conv, View in, View residual, View out) = 0;
  virtual void DoGroupNorm(View in, View gamma, View beta, int groups, float eps, bool silu, View out) = 0;
  virtual void DoUpsample2x(View in, View out) = 0;
  virtual void DoUnfoldPatches(View picture, int64_t patch, View rows) = 0;
  virtual void DoNearestCodeword(View z, View codebook, View squares, View codes) = 0;
  virtual void DoToBytes(View in, View out) = 0;
};

/// As long as it lives, what is given to the queue is for this part, or of this zone: the inner one counts.
/// Free of charge where nobody profiles.
class Within {
 public:
  Within(Queue& queue, std::string_view part, int level = -1) : place_(queue.place_), before_(place_) {
    place_.part = part, place_.level = level;
  }
  Within(Queue& queue, Zone zone) : place_(queue.place_), before_(place_) { place_.zone = zone; }
  ~Within() { place_ = before_; }
  Within(const Within&) = delete;
  Within& operator=(const Within&) = delete;

 private:
  Place& place_;
  Place before_;
};

}  // namespace bifrons
