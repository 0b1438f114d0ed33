#include "tests/process_device.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <map>
#include <mutex>
#include <tuple>
#include <type_traits>
#include <vector>

#include "kernels/ref/ref.h"
#include "src/base/available_memory.h"

namespace bifrons {
namespace {

// ---- what goes through the socket ---------------------------------------------------------------

// The ops that are only forwarded, by number; what else can be asked for comes after them.
template <auto... ops>
struct List {
  static constexpr uint8_t kCount = sizeof...(ops);
};
using Ops = List<&Queue::Upload, &Queue::Copy, &Queue::CopyRows, &Queue::Fill, &Queue::Multiply,
                 &Queue::MultiplyNormed, &Queue::LookUp, &Queue::RmsNorm, &Queue::LayerNorm, &Queue::StoreKv,
                 &Queue::RopeStoreKv, &Queue::Attend, &Queue::AttendAll, &Queue::CopyPositions,
                 &Queue::Sample, &Queue::Convolve, &Queue::GroupNorm, &Queue::Upsample2x,
                 &Queue::UnfoldPatches, &Queue::NearestCodeword, &Queue::ToBytes>;
enum Call : uint8_t {
  kAllocate = Ops::kCount,
  kFree,
  kLinear,
  kConv,
  kTable,
  kPages,
  kGrow,
  kBatch,
  kDownload
};

template <auto a, auto b>
constexpr bool Same() {
  if constexpr (std::is_same_v<decltype(a), decltype(b)>) return a == b;
  return false;
}
template <auto op, auto... ops>
constexpr uint8_t NumberOf(List<ops...>) {
  uint8_t number = 0;
  static_cast<void>(((Same<op, ops>() || (number++, false)) || ...));
  return number;
}

using Id = uint64_t;  // of what the other process keeps; 0: nothing

template <class T>
constexpr bool kIsKept =
    std::is_same_v<T, Linear> || std::is_same_v<T, Conv2d> || std::is_same_v<T, Table> ||
    std::is_same_v<T, KvPages> || std::is_same_v<T, KvBatch> || std::is_same_v<T, Buffer>;
template <class T>
constexpr bool kIsSpan = false;
template <class T>
constexpr bool kIsSpan<std::span<const T>> = true;

template <class T>
Id IdOf(const T&);

struct Stream {
  explicit Stream(int socket) : in_(fdopen(socket, "r")), out_(fdopen(dup(socket), "w")) {}
  ~Stream() { fclose(in_), fclose(out_); }
  Stream(const Stream&) = delete;
  void Flush() { BIFRONS_CHECK(fflush(out_) == 0, "the device's process is gone"); }

  // A number, a struct of numbers, a span of those, a tensor, a view, or the number of what is kept.
  template <class T>
  void Put(const T& value) {
    if constexpr (kIsKept<T>) {
      Put(IdOf(value));
    } else if constexpr (kIsSpan<T>) {
      PutBytes(value.data(), value.size_bytes());
    } else if constexpr (std::is_same_v<T, TensorView>) {
      Put(value.dtype), Put(value.shape), PutBytes(value.data, value.empty() ? 0 : value.bytes());
    } else {
      if constexpr (std::is_same_v<T, View>) Put(value.empty() ? Id{0} : IdOf(*value.buffer));
      fwrite(&value, sizeof value, 1, out_);
    }
  }
  void PutBytes(const void* data, size_t size) {
    Put(size);
    if (size > 0) fwrite(data, 1, size, out_);  // fwrite and fread may not be given null, even for nothing
  }

  /// False when the other side is gone.
  bool Read(void* to, size_t size) { return size == 0 || fread(to, 1, size, in_) == size; }
  template <class T>
  T Get() {
    T value;
    BIFRONS_CHECK(Read(&value, sizeof value));
    return value;
  }
  template <class T>
  std::vector<T> GetAll() {
    std::vector<T> values(Get<size_t>() / sizeof(T));
    BIFRONS_CHECK(Read(values.data(), values.size() * sizeof(T)));
    return values;
  }
  Tensor GetTensor() {
    const auto type = Get<DType>();
    Tensor tensor(type, Get<Shape>());
    const auto size = Get<size_t>();
    BIFRONS_CHECK(Read(tensor.data(), size));
    return size > 0 ? std::move(tensor) : Tensor();
  }
  FILE *in_, *out_;
};

// ---- the other process --------------------------------------------------------------------------

struct Servant {
  explicit Servant(int socket) : stream_(socket) {}

  void Serve() {
    for (uint8_t call; stream_.Read(&call, sizeof call);) {
      if (call < Ops::kCount) {
        DoOp(call, Ops());
      } else {
        Do(static_cast<Call>(call), stream_.Get<Id>());
      }
    }
  }

  template <class T>
  T& Kept(Id id) {
    return *static_cast<T*>(kept_.at(id).get());
  }
  template <class T>
  void Keep(Id id, std::unique_ptr<T> made) {
    kept_[id] = std::shared_ptr<T>(std::move(made));
  }

  // An op's argument of type T.
  template <class T, class Plain = std::remove_cvref_t<T>>
  decltype(auto) Argument() {
    if constexpr (kIsKept<Plain>) {
      return static_cast<Plain&>(Kept<Plain>(stream_.Get<Id>()));
    } else if constexpr (kIsSpan<Plain>) {
      return stream_.GetAll<std::remove_const_t<typename Plain::element_type>>();
    } else if constexpr (std::is_same_v<Plain, TensorView>) {
      return (uploaded_ = stream_.GetTensor()).view();
    } else if constexpr (std::is_same_v<Plain, View>) {
      const Id buffer = stream_.Get<Id>();
      View view = stream_.Get<View>();
      view.buffer = buffer ? &Kept<Buffer>(buffer) : nullptr;
      return view;
    } else {
      return stream_.Get<Plain>();
    }
  }
  template <class... Args>
  void Invoke(void (Queue::*op)(Args...)) {
    std::tuple<decltype(Argument<Args>())...> arguments{Argument<Args>()...};  // braces: in order
    std::apply([&](auto&... argument) { (queue_.get()->*op)(argument...); }, arguments);
  }
  template <auto... ops>
  void DoOp(uint8_t number, List<ops...>) {
    uint8_t i = 0;
    ((i++ == number ? Invoke(ops) : void()), ...);
  }

  void Do(Call call, Id id) {
    switch (call) {
      case kAllocate:
        return Keep(id, device_->Allocate(stream_.Get<size_t>()));
      case kFree:
        kept_.erase(id), numbers_.erase(id);
        return;
      case kLinear: {
        const auto compute = stream_.Get<DType>();
        std::vector<Tensor> parts(stream_.Get<size_t>());
        const Tensor bias = stream_.GetTensor();
        std::vector<TensorView> views;
        for (Tensor& part : parts) views.push_back((part = stream_.GetTensor()).view());
        return Keep(id, device_->PackLinear(views, bias.view(), compute));
      }
      case kConv: {
        const auto shape = stream_.Get<ConvShape>();
        const Tensor weight = stream_.GetTensor(), bias = stream_.GetTensor();
        return Keep(id, device_->PackConv(shape, weight.view(), bias.view()));
      }
      case kTable:
        return Keep(id, device_->PackTable((numbers_[id] = stream_.GetTensor()).view()));
      case kPages:
        return Keep(id, device_->MakeKvPages(stream_.Get<KvShape>()));
      case kGrow:
        return Kept<KvPages>(id).Grow(stream_.Get<int64_t>());
      case kBatch: {
        auto& pages = Kept<KvPages>(stream_.Get<Id>());
        const auto numbers = stream_.GetAll<int32_t>();
        std::vector<KvSpan> spans;
        for (const int32_t* n = numbers.data(); n < numbers.data() + numbers.size(); n += 3 + n[2])
          spans.push_back({n[0], n[1], {n + 3, static_cast<size_t>(n[2])}});
        return Keep(id, queue_->MakeBatch(pages, spans));
      }
      case kDownload: {
        const Tensor t = queue_->Fetch(Argument<View>());
        stream_.PutBytes(t.data(), t.bytes());
        return stream_.Flush();
      }
    }
  }

  Stream stream_;
  std::unique_ptr<Device> device_ = ref::MakeRefDevice(1);
  std::unique_ptr<Queue> queue_ = device_->MakeQueue();
  Tensor uploaded_;
  std::map<Id, Tensor> numbers_;  // of tables
  std::map<Id, std::shared_ptr<void>> kept_;
};

// ---- this process -------------------------------------------------------------------------------

// Calls go in the order of their giving, whoever gives them.
struct Line {
  explicit Line(int socket) : stream(socket) {}
  template <class... Args>
  void Send(uint8_t call, const Args&... args) {
    const std::lock_guard lock(mutex);
    stream.Put(call);
    (stream.Put(args), ...);
  }
  std::recursive_mutex mutex;
  Stream stream;
  std::atomic<Id> last = 0;
};

// What the other process keeps under a number, until this goes.
template <class Base>
struct Remote final : Base {
  template <class... Args>
  explicit Remote(Line& l, Args&&... args) : Base(std::forward<Args>(args)...), line(l), id(++l.last) {}
  ~Remote() override { line.Send(kFree, id); }
  void Grow(int64_t pages) { line.Send(kGrow, id, pages); }  // overrides KvPages' own
  Line& line;
  const Id id;
};
template <class T>
Id IdOf(const T& kept) {
  return static_cast<const Remote<T>&>(kept).id;
}

struct ProcessQueue final : Queue {
  explicit ProcessQueue(Line& line) : line_(line) {}
  Ticket Record() override { return {this, 0}; }
  void After(const Ticket&) override {}
  void Wait(const Ticket&) override {}
  bool Done(const Ticket&) override { return true; }
  std::unique_ptr<KvBatch> MakeBatch(KvPages& pages, std::span<const KvSpan> spans) override {
    auto batch = std::make_unique<Remote<KvBatch>>(line_, pages, spans);
    std::vector<int32_t> numbers;  // of each span: rows, start, pages, and their numbers
    for (const KvSpan& span : spans) {
      for (const auto n : {span.rows, span.start, static_cast<int64_t>(span.pages.size())})
        numbers.push_back(static_cast<int32_t>(n));
      numbers.insert(numbers.end(), span.pages.begin(), span.pages.end());
    }
    line_.Send(kBatch, batch->id, pages, std::span<const int32_t>(numbers));
    return batch;
  }
  void CopyPositions(KvPages& pages, int32_t from, int64_t positions, int32_t to) override {
    Give<&Queue::CopyPositions>(pages, from, positions, to);
  }
  template <auto op, class... Args>
  void Give(const Args&... args) {
    line_.Send(NumberOf<op>(Ops()), args...);
  }
  void DoUpload(TensorView from, View to) override { Give<&Queue::Upload>(from, to); }
  Ticket DoDownload(View from, void* to) override {
    const std::lock_guard lock(line_.mutex);  // answers come in the order of the questions
    line_.Send(kDownload, Id{0}, from);
    line_.stream.Flush();
    BIFRONS_CHECK(line_.stream.Read(to, line_.stream.Get<size_t>()));
    return Record();
  }
  void DoCopy(View a, View b) override { Give<&Queue::Copy>(a, b); }
  void DoCopyRows(View a, std::span<const int32_t> r, View b) override { Give<&Queue::CopyRows>(a, r, b); }
  void DoFill(View to, float value) override { Give<&Queue::Fill>(to, value); }
  void DoMultiply(const Linear& w, View x, RowClass c, Epilogue e, View y) override {
    Give<&Queue::Multiply>(w, x, c, e, y);
  }
  void DoMultiplyNormed(const Linear& w, View x, View n, float eps, RowClass c, Epilogue e, View y) override {
    Give<&Queue::MultiplyNormed>(w, x, n, eps, c, e, y);
  }
  void DoLookUp(const Table& t, View ids, View y) override { Give<&Queue::LookUp>(t, ids, y); }
  void DoRmsNorm(View x, View w, float eps, View y) override { Give<&Queue::RmsNorm>(x, w, eps, y); }
  void DoLayerNorm(View x, View w, View b, float e, View y) override {
    Give<&Queue::LayerNorm>(x, w, b, e, y);
  }
  void DoStoreKv(View k, View v, const KvBatch& b, int64_t l) override { Give<&Queue::StoreKv>(k, v, b, l); }
  void DoRopeStoreKv(View q, View k, View v, const KvBatch& b, View cos, View sin, int64_t l) override {
    Give<&Queue::RopeStoreKv>(q, k, v, b, cos, sin, l);
  }
  void DoAttend(View q, const KvBatch& b, int64_t l, View y) override { Give<&Queue::Attend>(q, b, l, y); }
  void DoAttendAll(const FullAttention& a, View q, View k, View v, View y) override {
    Give<&Queue::AttendAll>(a, q, k, v, y);
  }
  void DoSample(View logits, std::span<const SampleRequest> requests, View tokens) override {
    Give<&Queue::Sample>(logits, requests, tokens);
  }
  void DoConvolve(const Conv2d& c, View in, View add, View out) override {
    Give<&Queue::Convolve>(c, in, add, out);
  }
  void DoGroupNorm(View in, View gamma, View beta, int groups, float eps, bool silu, View out) override {
    Give<&Queue::GroupNorm>(in, gamma, beta, groups, eps, silu, out);
  }
  void DoUpsample2x(View in, View out) override { Give<&Queue::Upsample2x>(in, out); }
  void DoUnfoldPatches(View a, int64_t n, View b) override { Give<&Queue::UnfoldPatches>(a, n, b); }
  void DoNearestCodeword(View z, View c, View s, View codes) override {
    Give<&Queue::NearestCodeword>(z, c, s, codes);
  }
  void DoToBytes(View in, View out) override { Give<&Queue::ToBytes>(in, out); }

  Line& line_;
};

struct ProcessDevice final : Device {
  ProcessDevice(int socket, pid_t process) : line_(std::make_unique<Line>(socket)), process_(process) {}
  ~ProcessDevice() override {
    line_ = nullptr;
    waitpid(process_, nullptr, 0);
  }
  std::string backend() const override { return "process"; }
  std::string isa() const override { return "scalar"; }
  std::string name() const override { return "a process"; }
  int threads() const override { return 1; }
  DType default_compute() const override { return DType::kF32; }
  uint64_t FreeMemory() override { return AvailableMemory(); }
  bool keeps_tables() const override { return true; }
  double MeasureBandwidth() override { return 1; }
  double MeasureMacRate(DType) override { return 1; }

  std::unique_ptr<Buffer> Allocate(size_t bytes) override {
    auto buffer = std::make_unique<Remote<Buffer>>(*line_, bytes);
    line_->Send(kAllocate, buffer->id, bytes);
    return buffer;
  }
  std::unique_ptr<Linear> PackLinear(std::span<const TensorView> parts, TensorView bias,
                                     DType compute) override {
    auto linear = std::make_unique<Remote<Linear>>(*line_);
    linear->in = parts[0].shape[1], linear->compute = compute;
    const std::lock_guard lock(line_->mutex);
    line_->Send(kLinear, linear->id, compute, parts.size(), bias);
    for (const TensorView& part : parts) {
      line_->stream.Put(part);
      linear->out += part.shape[0], linear->bytes += part.bytes();
    }
    return linear;
  }
  std::unique_ptr<Conv2d> PackConv(const ConvShape& shape, TensorView weight, TensorView bias) override {
    auto conv = std::make_unique<Remote<Conv2d>>(*line_);
    conv->shape = shape, conv->bytes = weight.bytes();
    line_->Send(kConv, conv->id, shape, weight, bias);
    return conv;
  }
  std::unique_ptr<Table> PackTable(TensorView rows) override {
    auto table = std::make_unique<Remote<Table>>(*line_);
    table->rows = rows.shape[0], table->width = rows.shape[1], table->bytes = rows.bytes();
    line_->Send(kTable, table->id, rows);
    return table;
  }
  DeviceTensor PackTensor(TensorView values) override {
    DeviceTensor tensor = NewTensor(values.dtype, values.shape);
    ProcessQueue(*line_).Upload(values, tensor.view());
    return tensor;
  }
  std::unique_ptr<KvPages> MakeKvPages(const KvShape& shape) override {
    auto pages = std::make_unique<Remote<KvPages>>(*line_, shape, shape.Bytes(shape.page_positions));
    line_->Send(kPages, pages->id, shape);
    return pages;
  }
  std::unique_ptr<Queue> MakeQueue() override { return std::make_unique<ProcessQueue>(*line_); }
  std::unique_ptr<Line> line_;
  pid_t process_;
};

}  // namespace

std::unique_ptr<Device> MakeProcessDevice() {
  int sockets[2];
  BIFRONS_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
  const pid_t process = fork();
  BIFRONS_CHECK(process >= 0);
  close(sockets[process == 0 ? 0 : 1]);
  if (process != 0) return std::make_unique<ProcessDevice>(sockets[0], process);
  Servant(sockets[1]).Serve();
  _exit(0);
}

}  // namespace bifrons
