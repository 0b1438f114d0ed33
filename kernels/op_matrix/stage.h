// A case's tensors on a device, each between guards, and its op.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/device.h"

namespace bifrons::op_matrix {

/// Guard numbers to the left and to the right of every row of a view.
struct Margins {
  int64_t left = 0, right = 0;
};

/// What an op left behind.
struct Outcome {
  std::vector<Tensor> results;  // of Out and InOut, in their order
  bool intact = true;           // nothing else was written
};

class Stage {
 public:
  explicit Stage(Device& device) : device_(device), queue_(device.MakeQueue()) {}
  ~Stage() { queue_->Wait(queue_->Record()); }  // what host memory is kept for is done
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  Device& device() { return device_; }
  Queue& queue() { return *queue_; }

  /// What an op only reads.
  View In(const TensorView& numbers, Margins margins = {}) { return Place(Use::kIn, numbers, margins); }
  /// What it writes: NaN before.
  View Out(DType type, Shape shape, Margins margins = {}) {
    return Place(Use::kOut, {nullptr, type, shape}, margins);
  }
  /// What it reads and writes.
  View InOut(const TensorView& numbers, Margins margins = {}) { return Place(Use::kOut, numbers, margins); }
  /// What it writes and only ops read again.
  View Between(DType type, Shape shape) { return Place(Use::kBetween, {nullptr, type, shape}, {}); }
  /// Weights, pages and the like, for as long as the stage.
  template <class T>
  T& Keep(std::unique_ptr<T> thing) {
    const std::shared_ptr<T> kept = std::move(thing);
    kept_.push_back(kept);
    return *kept;
  }

  /// The op itself, which can be run again and again.
  std::function<void(Queue&)> op;
  /// What shows its effect where that is in no view (keys and values); given after the op.
  std::function<void(Queue&)> look;

  /// Runs both once and fetches everything.
  Outcome Run();

 private:
  enum class Use : uint8_t { kIn, kOut, kBetween };
  struct Placed {
    Use use;
    std::unique_ptr<Buffer> buffer;
    Tensor image;  // u8: the whole buffer as it was
    View view;
  };
  View Place(Use use, const TensorView& numbers, Margins margins);

  Device& device_;
  std::vector<std::shared_ptr<void>> kept_;
  std::vector<Placed> placed_;
  std::unique_ptr<Queue> queue_;  // goes first
};

}  // namespace bifrons::op_matrix
