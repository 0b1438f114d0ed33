#include "tests/deferred_device.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <new>
#include <random>
#include <utility>
#include <vector>

#include "kernels/host/kv_pages.h"
#include "kernels/host/memory.h"
#include "kernels/ref/ref.h"
#include "tests/free_ranges.h"

namespace bifrons {
namespace {

constexpr int kPoison = 0xFF;  // NaN as f32 and bf16, −1 as i32

// Address space for all buffers; closed but for the time of an op.
class Arena {
 public:
  static constexpr size_t kBytes = size_t{8} << 30;

  Arena() {
    void* p = mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    BIFRONS_CHECK(p != MAP_FAILED);
    begin_ = static_cast<uint8_t*>(p);
  }
  ~Arena() { munmap(begin_, kBytes); }
  Arena(const Arena&) = delete;

  uint8_t* begin() const { return begin_; }
  void Open() const { Protect(PROT_READ | PROT_WRITE); }
  void Close() const { Protect(PROT_NONE); }

  uint8_t* Take(size_t bytes) {
    const size_t size = Rounded(bytes);
    const auto at = free_.Take(size);
    if (!at) throw std::bad_alloc();
    used_ = std::max(used_, *at + size);
    Poison(begin_ + *at, bytes);
    return begin_ + *at;
  }
  void GiveBack(uint8_t* p, size_t bytes) {
    Poison(p, bytes);
    free_.GiveBack(static_cast<size_t>(p - begin_), Rounded(bytes));
  }

 private:
  static size_t Rounded(size_t bytes) { return std::max<size_t>(64, (bytes + 63) / 64 * 64); }
  void Protect(int access) const {
    constexpr size_t kPage = 4096;
    BIFRONS_CHECK(mprotect(begin_, (used_ + kPage - 1) / kPage * kPage, access) == 0);
  }
  void Poison(uint8_t* p, size_t bytes) const {
    Open();
    std::memset(p, kPoison, bytes);
    Close();
  }

  uint8_t* begin_;
  size_t used_ = 0;  // bytes from the beginning that were ever taken
  FreeRanges free_{kBytes};
};

class DeferredQueue;
struct Handle;

// What all queues share; under one mutex, so that the waiting thread works alone.
struct Shared {
  std::mutex mutex;
  Arena arena;
  std::mt19937_64 random;
  struct Free {
    void operator()(Handle* handle) const;
  };
  std::vector<std::unique_ptr<Handle, Free>> dropped;
  std::vector<DeferredQueue*> queues;
  bool losing = false;  // work is dropped, as for want of memory, until a wait has told of it
};

// A buffer's memory: work that was given keeps it when its handle is dropped.
struct Block : host::HostBuffer {
  Block(Shared& s, size_t bytes) : HostBuffer(bytes, s.arena.Take(bytes)), shared(s) {}
  ~Block() override { shared.arena.GiveBack(data(), bytes()); }
  Shared& shared;
};

// A buffer as its users hold it. When they drop it, it goes on existing without its block, so that a view of
// it can be told from others.
struct Handle : Buffer {
  Handle(Shared& s, size_t bytes) : Buffer(bytes), shared(s) {
    const std::lock_guard lock(shared.mutex);
    block = std::make_shared<Block>(shared, bytes);
  }
  static void operator delete(Handle* dropped, std::destroying_delete_t) {
    Shared& shared = dropped->shared;
    const std::lock_guard lock(shared.mutex);
    dropped->block = nullptr;
    shared.dropped.emplace_back(dropped);
  }
  Shared& shared;
  std::shared_ptr<Block> block;
};

void Shared::Free::operator()(Handle* handle) const {
  handle->~Handle();
  ::operator delete(handle);
}

// Pages of keys and values in the arena.
struct Pages final : host::HostKvPages {
  Pages(Shared& s, const KvShape& shape) : HostKvPages(shape), shared(s) {}
  // A queue asks for pages while it works, and so has this mutex before theirs.
  void Grow(int64_t pages) override {
    const std::lock_guard lock(shared.mutex);
    HostKvPages::Grow(pages);
  }
  std::unique_ptr<host::HostBuffer> MakeSlab(size_t bytes) override {
    return std::make_unique<Slab>(std::make_unique<Block>(shared, bytes));
  }
  struct Slab : host::HostBuffer {
    explicit Slab(std::unique_ptr<Block> b) : HostBuffer(b->bytes(), b->data()), block(std::move(b)) {}
    ~Slab() override {
      const std::lock_guard lock(block->shared.mutex);
      block = nullptr;
    }
    std::unique_ptr<Block> block;
  };
  Shared& shared;
};

struct Work {
  std::function<void(Queue& ref)> run;  // none: wait for `after`
  Ticket after;
  std::vector<std::shared_ptr<Block>> blocks;
};

// A batch that given work keeps when its handle is dropped.
struct BatchHandle : KvBatch {
  explicit BatchHandle(std::shared_ptr<KvBatch> b) : KvBatch(*b), batch(std::move(b)) {}
  std::shared_ptr<KvBatch> batch;
};

std::shared_ptr<KvBatch> Held(const KvBatch& batch) { return static_cast<const BatchHandle&>(batch).batch; }

class DeferredQueue final : public Queue {
 public:
  DeferredQueue(Shared& shared, std::unique_ptr<Queue> ref) : shared_(shared), ref_(std::move(ref)) {
    const std::lock_guard lock(shared_.mutex);
    shared_.queues.push_back(this);
  }
  ~DeferredQueue() override {
    const std::lock_guard lock(shared_.mutex);
    std::erase(shared_.queues, this);
    pending_.clear();  // nobody will wait any more
  }

  Ticket Record() override {
    const std::lock_guard lock(shared_.mutex);
    return {this, given_};
  }
  void After(const Ticket& ticket) override {
    if (ticket.queue == nullptr) return;
    Work work;
    work.after = ticket;
    Give(std::move(work));
  }
  bool Done(const Ticket& ticket) override {
    const std::lock_guard lock(shared_.mutex);
    return IsDone(ticket);
  }
  // Somebody waits: any queue that may goes on, until the ticket is reached.
  void Wait(const Ticket& ticket) override {
    const std::lock_guard lock(shared_.mutex);
    while (!IsDone(ticket)) {
      std::vector<DeferredQueue*> ready;
      for (DeferredQueue* queue : shared_.queues) {
        if (queue->CanGoOn()) ready.push_back(queue);
      }
      BIFRONS_CHECK(!ready.empty(), "the queues wait for each other");
      ready[shared_.random() % ready.size()]->GoOn();
    }
    if (std::exchange(shared_.losing, false)) throw std::bad_alloc();
  }

  std::unique_ptr<KvBatch> MakeBatch(KvPages& pages, std::span<const KvSpan> spans) override {
    return std::make_unique<BatchHandle>(ref_->MakeBatch(pages, spans));
  }
  void CopyPositions(KvPages& pages, int32_t from, int64_t positions, int32_t to) override {
    Work work;
    work.run = [=, &pages](Queue& ref) { ref.CopyPositions(pages, from, positions, to); };
    Give(std::move(work));
  }

 private:
  void Give(Work work) {
    const std::lock_guard lock(shared_.mutex);
    pending_.push_back(std::move(work));
    given_++;
  }
  bool IsDone(const Ticket& ticket) const {
    if (ticket.queue == nullptr) return true;
    const auto found = std::find(shared_.queues.begin(), shared_.queues.end(), ticket.queue);
    BIFRONS_CHECK(found != shared_.queues.end(), "a ticket of a queue that is gone is waited for");
    return (*found)->done_ >= ticket.number;
  }
  bool CanGoOn() const {
    return !pending_.empty() && (pending_.front().run || IsDone(pending_.front().after));
  }
  void GoOn() {
    const Work work = std::move(pending_.front());
    pending_.pop_front();
    if (work.run && !shared_.losing) {
      const auto begun = std::chrono::steady_clock::now();
      shared_.arena.Open();
      work.run(*ref_);
      shared_.arena.Close();
      last_took_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    }
    done_++;
  }

  // Known when the op is done, and told then.
  void BeginOp() override {}
  void EndOp(const Reported& op) override {
    Work work;
    work.run = [this, op](Queue&) { op.Took(last_took_); };
    Give(std::move(work));
  }

  // Work that keeps its views' blocks.
  struct Holding {
    DeferredQueue& queue;
    Work work;
    void Later(std::function<void(Queue& ref)> run) {
      work.run = std::move(run);
      queue.Give(std::move(work));
    }
  };
  // Lets the views point at their blocks. A call of its own, because it must come before they are captured.
  Holding Hold(std::initializer_list<View*> views) {
    const std::lock_guard lock(shared_.mutex);
    Work work;
    for (View* view : views) {
      if (view->empty()) continue;
      work.blocks.push_back(static_cast<Handle*>(view->buffer)->block);
      BIFRONS_CHECK(work.blocks.back(), "a buffer that was dropped is used");
      view->buffer = work.blocks.back().get();
    }
    return {*this, std::move(work)};
  }

  void DoUpload(TensorView from, View to) override {
    auto bytes = std::make_shared<std::vector<uint8_t>>(
        static_cast<const uint8_t*>(from.data), static_cast<const uint8_t*>(from.data) + from.bytes());
    Hold({&to}).Later([=](Queue& ref) { ref.Upload({bytes->data(), from.dtype, from.shape}, to); });
  }
  Ticket DoDownload(View from, void* to) override {
    std::memset(to, kPoison, BytesOf(from.type, from.shape));
    Hold({&from}).Later([=](Queue& ref) { ref.Download(from, to); });
    return Record();
  }
  void DoCopy(View from, View to) override {
    Hold({&from, &to}).Later([=](Queue& ref) { ref.Copy(from, to); });
  }
  void DoCopyRows(View from, std::span<const int32_t> rows, View to) override {
    Hold({&from, &to}).Later([=, rows = std::vector<int32_t>(rows.begin(), rows.end())](Queue& ref) {
      ref.CopyRows(from, rows, to);
    });
  }
  void DoFill(View to, float value) override {
    Hold({&to}).Later([=](Queue& ref) { ref.Fill(to, value); });
  }
  void DoMultiply(const Linear& weight, View x, RowClass row_class, Epilogue epilogue, View y) override {
    Hold({&x, &y}).Later([=, &weight](Queue& ref) { ref.Multiply(weight, x, row_class, epilogue, y); });
  }
  void DoMultiplyNormed(const Linear& weight, View x, View norm, float eps, RowClass row_class,
                        Epilogue epilogue, View y) override {
    Hold({&x, &norm, &y}).Later([=, &weight](Queue& ref) {
      ref.MultiplyNormed(weight, x, norm, eps, row_class, epilogue, y);
    });
  }
  void DoLookUp(const Table& table, View ids, View y) override {
    Hold({&ids, &y}).Later([=, &table](Queue& ref) { ref.LookUp(table, ids, y); });
  }
  void DoRmsNorm(View x, View weight, float eps, View y) override {
    Hold({&x, &weight, &y}).Later([=](Queue& ref) { ref.RmsNorm(x, weight, eps, y); });
  }
  void DoLayerNorm(View x, View weight, View bias, float eps, View y) override {
    Hold({&x, &weight, &bias, &y}).Later([=](Queue& ref) { ref.LayerNorm(x, weight, bias, eps, y); });
  }
  void DoStoreKv(View k, View v, const KvBatch& batch, int64_t layer) override {
    Hold({&k, &v}).Later([=, held = Held(batch)](Queue& ref) { ref.StoreKv(k, v, *held, layer); });
  }
  void DoRopeStoreKv(View q, View k, View v, const KvBatch& batch, View cos, View sin,
                     int64_t layer) override {
    Hold({&q, &k, &v, &cos, &sin}).Later([=, held = Held(batch)](Queue& ref) {
      ref.RopeStoreKv(q, k, v, *held, cos, sin, layer);
    });
  }
  void DoAttend(View q, const KvBatch& batch, int64_t layer, View y) override {
    Hold({&q, &y}).Later([=, held = Held(batch)](Queue& ref) { ref.Attend(q, *held, layer, y); });
  }
  void DoAttendAll(const FullAttention& attention, View q, View k, View v, View y) override {
    Hold({&q, &k, &v, &y}).Later([=](Queue& ref) { ref.AttendAll(attention, q, k, v, y); });
  }
  void DoSample(View logits, std::span<const SampleRequest> requests, View tokens) override {
    Hold({&logits, &tokens})
        .Later([=, requests = std::vector<SampleRequest>(requests.begin(), requests.end())](Queue& ref) {
          ref.Sample(logits, requests, tokens);
        });
  }
  void DoConvolve(const Conv2d& conv, View in, View residual, View out) override {
    Hold({&in, &residual, &out}).Later([=, &conv](Queue& ref) { ref.Convolve(conv, in, residual, out); });
  }
  void DoGroupNorm(View in, View gamma, View beta, int groups, float eps, bool silu, View out) override {
    Hold({&in, &gamma, &beta, &out}).Later([=](Queue& ref) {
      ref.GroupNorm(in, gamma, beta, groups, eps, silu, out);
    });
  }
  void DoUpsample2x(View in, View out) override {
    Hold({&in, &out}).Later([=](Queue& ref) { ref.Upsample2x(in, out); });
  }
  void DoUnfoldPatches(View picture, int64_t patch, View rows) override {
    Hold({&picture, &rows}).Later([=](Queue& ref) { ref.UnfoldPatches(picture, patch, rows); });
  }
  void DoNearestCodeword(View z, View codebook, View squares, View codes) override {
    Hold({&z, &codebook, &squares, &codes}).Later([=](Queue& ref) {
      ref.NearestCodeword(z, codebook, squares, codes);
    });
  }
  void DoToBytes(View in, View out) override {
    Hold({&in, &out}).Later([=](Queue& ref) { ref.ToBytes(in, out); });
  }

  Shared& shared_;
  std::unique_ptr<Queue> ref_;
  std::deque<Work> pending_;
  uint64_t given_ = 0, done_ = 0;
  double last_took_ = 0;  // seconds, of the work that was done last
};

class DeferredDevice final : public Device {
 public:
  DeferredDevice(uint64_t seed, int threads) : ref_(ref::MakeRefDevice(threads)) {
    shared_.random.seed(seed);
  }

  void LoseWork() {
    const std::lock_guard lock(shared_.mutex);
    shared_.losing = true;
  }

  std::string backend() const override { return "deferred"; }
  std::string isa() const override { return ref_->isa(); }
  std::string name() const override { return ref_->name(); }
  int threads() const override { return ref_->threads(); }
  DType default_compute() const override { return ref_->default_compute(); }
  uint64_t FreeMemory() override { return ref_->FreeMemory(); }
  bool keeps_tables() const override { return ref_->keeps_tables(); }
  double MeasureBandwidth() override { return ref_->MeasureBandwidth(); }
  double MeasureMacRate(DType compute) override { return ref_->MeasureMacRate(compute); }

  std::unique_ptr<Buffer> Allocate(size_t bytes) override { return std::make_unique<Handle>(shared_, bytes); }
  std::unique_ptr<Linear> PackLinear(std::span<const TensorView> parts, TensorView bias,
                                     DType compute) override {
    return ref_->PackLinear(parts, bias, compute);
  }
  std::unique_ptr<Conv2d> PackConv(const ConvShape& shape, TensorView weight, TensorView bias) override {
    return ref_->PackConv(shape, weight, bias);
  }
  std::unique_ptr<Table> PackTable(TensorView rows) override { return ref_->PackTable(rows); }
  DeviceTensor PackTensor(TensorView values) override {
    DeviceTensor tensor = NewTensor(values.dtype, values.shape);
    const std::lock_guard lock(shared_.mutex);
    const View view = tensor.view();
    shared_.arena.Open();
    std::memcpy(static_cast<Handle*>(view.buffer)->block->data(), values.data, values.bytes());
    shared_.arena.Close();
    return tensor;
  }
  std::unique_ptr<KvPages> MakeKvPages(const KvShape& shape) override {
    return std::make_unique<Pages>(shared_, shape);
  }
  std::unique_ptr<Queue> MakeQueue() override {
    return std::make_unique<DeferredQueue>(shared_, ref_->MakeQueue());
  }

  const volatile uint8_t* arena() const { return shared_.arena.begin(); }

 private:
  std::unique_ptr<Device> ref_;
  Shared shared_;
};

}  // namespace

std::unique_ptr<Device> MakeDeferredDevice(uint64_t seed, int threads) {
  return std::make_unique<DeferredDevice>(seed, threads);
}

void LoseWork(Device& deferred) { static_cast<DeferredDevice&>(deferred).LoseWork(); }

const volatile uint8_t* ArenaOf(const Device& deferred) {
  return static_cast<const DeferredDevice&>(deferred).arena();
}

}  // namespace bifrons
