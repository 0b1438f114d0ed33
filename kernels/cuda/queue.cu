// Order, and numbers in and out.
#include "kernels/cuda/queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/cuda/copies.cuh"

namespace bifrons::cuda {
namespace {

// Uploads and downloads of so many bytes may be under way before the host waits for the first of them.
constexpr size_t kRingBytes = size_t{8} << 20, kPieceBytes = kRingBytes / 4;

// From one row to the next; of a single row too, where a view's stride may be anything.
size_t Pitch(const View& v) { return v.rows() <= 1 ? v.row_bytes() : v.stride_bytes(); }

// copy(bytes before it in the view, first byte, rows, bytes of a row) for pieces that the ring has room for.
template <class Copy>
void ForPieces(const View& view, const Copy& copy) {
  const bool one = view.contiguous();
  const size_t rows = one ? 1 : static_cast<size_t>(view.rows());
  const size_t row_bytes = one ? static_cast<size_t>(view.rows()) * view.row_bytes() : view.row_bytes();
  if (row_bytes == 0) return;
  const size_t rows_at_once = std::max<size_t>(1, kPieceBytes / row_bytes);
  for (size_t r = 0; r < rows; r += rows_at_once) {
    const size_t count = std::min(rows_at_once, rows - r);
    for (size_t b = 0; b < row_bytes; b += kPieceBytes) {
      const size_t bytes = std::min(kPieceBytes, row_bytes - b);
      copy(r * row_bytes + b, Bytes(view) + r * Pitch(view) + b, count, bytes);
    }
  }
}

template <class From, class To>
void Convert(cudaStream_t stream, const View& from, const View& to) {
  Launch(ConvertRows<From, To>, Blocks(to.shape.elements(), kCopyThreads), kCopyThreads, 0, stream,
         RowsOf<const From>(from), to.rows(), to.width(), RowsOf<To>(to));
}

template <class T>
void FillWith(cudaStream_t stream, T value, const View& to) {
  Launch(FillRows<T>, Blocks(to.shape.elements(), kCopyThreads), kCopyThreads, 0, stream, value, to.rows(),
         to.width(), RowsOf<T>(to));
}

template <class T>
void CopyNumbered(cudaStream_t stream, const View& from, std::span<const int32_t> rows, const View& to) {
  RowNumbers numbers = {};
  for (size_t first = 0; first < rows.size(); first += RowNumbers::kMost) {
    const size_t count = std::min<size_t>(RowNumbers::kMost, rows.size() - first);
    std::copy_n(rows.begin() + static_cast<ptrdiff_t>(first), count, numbers.rows);
    const View part = to.Rows(static_cast<int64_t>(first), static_cast<int64_t>(count));
    Launch(CopyNumberedRows<T>, static_cast<unsigned>(count), kCopyThreads, 0, stream, RowsOf<const T>(from),
           numbers, to.width(), RowsOf<T>(part));
  }
}

CudaQueue& QueueOf(const Ticket& ticket) {
  return static_cast<CudaQueue&>(const_cast<Queue&>(*ticket.queue));
}

bool HasCome(const Event& event) {
  const cudaError_t error = cudaEventQuery(event.get());
  if (error == cudaErrorNotReady) {
    cudaGetLastError();  // else the next launch would be blamed for it
    return false;
  }
  Check(error, "the device's work");
  return true;
}

}  // namespace

Event::Event(bool timed) {
  Check(cudaEventCreateWithFlags(&event_, timed ? cudaEventDefault : cudaEventDisableTiming), "an event");
}

Event::~Event() { cudaEventDestroy(event_); }

CudaQueue::CudaQueue(DeviceMemory& memory, bool has_tiles)
    : memory_(memory),
      has_tiles_(has_tiles),
      stream_(memory.MakeStream()),
      ring_(kRingBytes, "a queue's uploads and downloads") {}

CudaQueue::~CudaQueue() {
  cudaStreamSynchronize(stream());  // what fails now nobody has waited for
  cudnn_ = nullptr;                 // before its stream
  memory_.EndStream(stream_);
}

// ---- order ----------------------------------------------------------------------------------------------

Ticket CudaQueue::Record() {
  auto event = std::make_shared<Event>();
  Check(cudaEventRecord(event->get(), stream()), "a ticket");
  const std::lock_guard lock(mutex_);
  events_.push_back(std::move(event));
  recorded_++;
  while (!events_.empty() && HasCome(*events_.front())) Reach(reached_ + 1);  // or they pile up
  return {this, recorded_};
}

void CudaQueue::After(const Ticket& ticket) {
  if (ticket.queue == nullptr || ticket.queue == this) return;
  if (const auto event = QueueOf(ticket).EventOf(ticket.number)) {
    Check(cudaStreamWaitEvent(stream(), event->get()), "waiting for another queue");
  }
}

void CudaQueue::Wait(const Ticket& ticket) {
  if (ticket.queue != nullptr) QueueOf(ticket).WaitFor(ticket.number);
}

bool CudaQueue::Done(const Ticket& ticket) {
  return ticket.queue == nullptr || QueueOf(ticket).IsReached(ticket.number);
}

std::shared_ptr<Event> CudaQueue::EventOf(uint64_t moment) {
  const std::lock_guard lock(mutex_);
  BIFRONS_CHECK(moment <= recorded_, "a ticket that was never given");
  return moment <= reached_ ? nullptr : events_[moment - reached_ - 1];
}

void CudaQueue::WaitFor(uint64_t moment) {
  const auto event = EventOf(moment);
  if (event == nullptr) return;
  Check(cudaEventSynchronize(event->get()), "the device's work");
  const std::lock_guard lock(mutex_);
  Reach(moment);
}

bool CudaQueue::IsReached(uint64_t moment) {
  const auto event = EventOf(moment);
  if (event == nullptr) return true;
  if (!HasCome(*event)) return false;
  const std::lock_guard lock(mutex_);
  Reach(moment);
  return true;
}

void CudaQueue::Reach(uint64_t moment) {
  for (; reached_ < moment; reached_++) events_.pop_front();
  while (!pieces_.empty() && pieces_.front().moment <= moment) {
    const Piece& piece = pieces_.front();
    if (piece.to != nullptr) std::memcpy(piece.to, piece.at, piece.bytes);
    tail_ = piece.end;
    pieces_.pop_front();
  }
  while (!timed_.empty() && timed_.front().moment <= moment) {
    const Timed timed = std::move(timed_.front());
    timed_.pop_front();
    float milliseconds = 0;
    Check(cudaEventElapsedTime(&milliseconds, timed.begun->get(), timed.ended->get()), "an op's time");
    timed.op.Took(static_cast<double>(milliseconds) * 1e-3);
  }
}

void CudaQueue::BeginOp() {
  begun_ = std::make_unique<Event>(true);
  Check(cudaEventRecord(begun_->get(), stream()), "an op's time");
}

void CudaQueue::EndOp(const Reported& op) {
  auto ended = std::make_unique<Event>(true);
  Check(cudaEventRecord(ended->get(), stream()), "an op's time");
  const std::lock_guard lock(mutex_);
  timed_.push_back({op, std::move(begun_), std::move(ended), recorded_ + 1});
}

// ---- memory for ops -------------------------------------------------------------------------------------

// A scratch that is too small comes back behind the ops that were given it.
uint8_t* CudaQueue::ScratchBytes(size_t bytes) {
  if (scratch_ == nullptr || scratch_->bytes() < bytes) {
    scratch_ = nullptr;  // first, so that both never take memory at once
    scratch_ = std::make_unique<CudaBuffer>(memory_, bytes, "intermediate results");
  }
  return scratch_->data();
}

unsigned* CudaQueue::Counters(int64_t count) {
  const size_t bytes = static_cast<size_t>(count) * sizeof(unsigned);
  if (counters_ == nullptr || counters_->bytes() < bytes) {
    counters_ = std::make_unique<CudaBuffer>(memory_, bytes, "counters");
    Check(cudaMemsetAsync(counters_->data(), 0, bytes, stream()), "counters");
  }
  return reinterpret_cast<unsigned*>(counters_->data());
}

uint8_t* CudaQueue::TakePiece(size_t bytes) {
  constexpr size_t kAlignment = 256;
  const size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  // A piece does not go on at the ring's beginning.
  if (head_ % kRingBytes + size > kRingBytes) head_ = (head_ / kRingBytes + 1) * kRingBytes;
  const uint64_t begin = head_;
  head_ += size;
  while (true) {
    uint64_t moment = 0;
    {
      const std::lock_guard lock(mutex_);
      if (pieces_.empty()) tail_ = begin;
      if (head_ - tail_ <= kRingBytes) break;
      moment = pieces_.front().moment;
    }
    WaitFor(moment);
  }
  return ring_.data() + begin % kRingBytes;
}

Ticket CudaQueue::EndPiece(const uint8_t* at, void* to, size_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    pieces_.push_back({head_, recorded_ + 1, at, to, bytes});
  }
  return Record();
}

void CudaQueue::Bring(const void* from, size_t bytes, uint8_t* to) {
  for (size_t begin = 0; begin < bytes; begin += kPieceBytes) {
    const size_t count = std::min(kPieceBytes, bytes - begin);
    uint8_t* piece = TakePiece(count);
    std::memcpy(piece, static_cast<const uint8_t*>(from) + begin, count);
    Check(cudaMemcpyAsync(to + begin, piece, count, cudaMemcpyHostToDevice, stream()), "an upload");
    EndPiece(piece, nullptr, count);
  }
}

// ---- numbers in and out ---------------------------------------------------------------------------------

void CudaQueue::DoUpload(TensorView from, View to) {
  const auto* source = static_cast<const uint8_t*>(from.data);
  ForPieces(to, [&](size_t first, uint8_t* target, size_t rows, size_t row_bytes) {
    uint8_t* piece = TakePiece(rows * row_bytes);
    std::memcpy(piece, source + first, rows * row_bytes);
    Check(cudaMemcpy2DAsync(target, std::max(Pitch(to), row_bytes), piece, row_bytes, row_bytes, rows,
                            cudaMemcpyHostToDevice, stream()),
          "an upload");
    EndPiece(piece, nullptr, rows * row_bytes);
  });
}

Ticket CudaQueue::DoDownload(View from, void* to) {
  auto* target = static_cast<uint8_t*>(to);
  Ticket last;
  ForPieces(from, [&](size_t first, const uint8_t* source, size_t rows, size_t row_bytes) {
    uint8_t* piece = TakePiece(rows * row_bytes);
    Check(cudaMemcpy2DAsync(piece, row_bytes, source, std::max(Pitch(from), row_bytes), row_bytes, rows,
                            cudaMemcpyDeviceToHost, stream()),
          "a download");
    last = EndPiece(piece, target + first, rows * row_bytes);
  });
  return last;
}

void CudaQueue::DoCopy(View from, View to) {
  if (from.type == to.type && from.contiguous() && to.contiguous()) {
    Check(cudaMemcpyAsync(Bytes(to), Bytes(from), static_cast<size_t>(to.rows()) * to.row_bytes(),
                          cudaMemcpyDeviceToDevice, stream()),
          "a copy");
  } else if (from.type == to.type) {
    Check(cudaMemcpy2DAsync(Bytes(to), Pitch(to), Bytes(from), Pitch(from), to.row_bytes(),
                            static_cast<size_t>(to.rows()), cudaMemcpyDeviceToDevice, stream()),
          "a copy");
  } else if (to.type == DType::kBF16) {
    Convert<float, BF16>(stream(), from, to);
  } else {
    Convert<BF16, float>(stream(), from, to);
  }
}

void CudaQueue::DoCopyRows(View from, std::span<const int32_t> rows, View to) {
  switch (BytesOf(to.type, 1)) {
    case 1:
      return CopyNumbered<uint8_t>(stream(), from, rows, to);
    case 2:
      return CopyNumbered<uint16_t>(stream(), from, rows, to);
    default:
      return CopyNumbered<uint32_t>(stream(), from, rows, to);
  }
}

void CudaQueue::DoFill(View to, float value) {
  if (to.type == DType::kF32) FillWith(stream(), value, to);
  if (to.type == DType::kBF16) FillWith(stream(), ToBF16(value), to);
  if (to.type == DType::kI32) FillWith(stream(), static_cast<int32_t>(value), to);
}

}  // namespace bifrons::cuda
