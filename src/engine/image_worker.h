// The thread for work on whole images, beside the loop of steps.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace bifrons {

/// Two queues, each in order; while both have work they take turns, so that an image to be asked about does
/// not wait for sixteen pictures to be decoded.
class ImageWorker {
 public:
  enum class Work { kLook, kDecode };

  ImageWorker() : thread_([this] { Run(); }) {}
  /// Finishes what is queued.
  ~ImageWorker();
  ImageWorker(const ImageWorker&) = delete;

  /// A task throws nothing.
  void Post(Work work, std::function<void()> task);
  /// Tasks posted and not finished.
  int64_t unfinished(Work work) const;
  /// Held while a task runs: whoever locks it has the models of whole images to himself.
  std::mutex& busy() { return busy_; }

 private:
  void Run();
  std::deque<std::function<void()>>& queue(Work work) { return queues_[static_cast<int>(work)]; }

  mutable std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<std::function<void()>> queues_[2];
  int64_t unfinished_[2] = {};
  bool stop_ = false;
  std::mutex busy_;
  std::thread thread_;  // last: it uses the others
};

}  // namespace bifrons
