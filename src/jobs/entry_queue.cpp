#include "src/jobs/entry_queue.h"

#include <chrono>
#include <thread>
#include <utility>

#include "src/base/out_of_memory.h"

namespace bifrons {
namespace {
constexpr size_t kReadAhead = 16;  // entries; some hold images
}

EntryQueue::EntryQueue(std::unique_ptr<JobReader> reader) : state_(std::make_shared<State>()) {
  // Detached, as nothing but a requested stop ends a read from a terminal or a pipe; it shares nothing but
  // the state, which it owns too. It may outlive main: what it and other readers know is never destroyed
  // (`static const auto& x = *new …`; the fuzz targets' build refuses other statics).
  std::thread([state = state_, reader = std::move(reader)] { Read(state, *reader); }).detach();
}

EntryQueue::~EntryQueue() {
  const std::lock_guard lock(state_->mutex);
  state_->abandoned = true;
  state_->changed.notify_all();
}

void EntryQueue::Read(const std::shared_ptr<State>& state, JobReader& reader) {
  {
    std::unique_lock lock(state->mutex);
    state->changed.wait(lock, [&] { return state->wanted || state->abandoned; });
  }
  for (;;) {
    auto next = Guarded([&] { return reader.Next(); });
    std::unique_lock lock(state->mutex);
    state->passed_over = reader.passed_over();
    state->changed.wait(lock, [&] { return state->entries.size() < kReadAhead || state->abandoned; });
    if (state->abandoned) return;
    Status read = Guarded([&]() -> Status {
      BIFRONS_RETURN_IF_ERROR(next);
      if (*next) state->entries.push_back(std::move(**next));
      return {};
    });
    if (!read.ok() || !*next) state->end = std::move(read);
    state->changed.notify_all();
    if (state->end) return;
  }
}

int64_t EntryQueue::passed_over() const {
  const std::lock_guard lock(state_->mutex);
  return state_->passed_over;
}

EntryQueue::Item EntryQueue::Pop(double seconds) {
  if (taken_.empty()) {
    std::unique_lock lock(state_->mutex);
    if (!std::exchange(state_->wanted, true)) state_->changed.notify_all();
    state_->changed.wait_for(lock, std::chrono::duration<double>(seconds),
                             [&] { return !state_->entries.empty() || state_->end; });
    taken_.swap(state_->entries);
    if (taken_.empty()) return state_->end ? Item(End{*state_->end}) : Item(std::monostate());
    state_->changed.notify_all();
  }
  JobReader::Entry entry = std::move(taken_.front());
  taken_.pop_front();
  return entry;
}

}  // namespace bifrons
