#include "src/engine/image_worker.h"

namespace bifrons {

ImageWorker::~ImageWorker() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  posted_.notify_all();
  thread_.join();
}

void ImageWorker::Post(Work work, std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    queue(work).push_back(std::move(task));
    unfinished_[static_cast<int>(work)]++;
  }
  posted_.notify_all();
}

int64_t ImageWorker::unfinished(Work work) const {
  const std::lock_guard lock(mutex_);
  return unfinished_[static_cast<int>(work)];
}

void ImageWorker::Run() {
  Work next = Work::kLook;
  std::unique_lock lock(mutex_);
  for (;;) {
    posted_.wait(lock, [&] { return stop_ || !queues_[0].empty() || !queues_[1].empty(); });
    if (queues_[0].empty() && queues_[1].empty()) return;
    const Work other = next == Work::kLook ? Work::kDecode : Work::kLook;
    const Work work = queue(next).empty() ? other : next;
    auto task = std::move(queue(work).front());
    queue(work).pop_front();
    lock.unlock();
    {
      const std::lock_guard busy(busy_);
      task();
    }
    task = nullptr;
    lock.lock();
    unfinished_[static_cast<int>(work)]--;
    next = work == Work::kLook ? Work::kDecode : Work::kLook;
  }
}

}  // namespace bifrons
