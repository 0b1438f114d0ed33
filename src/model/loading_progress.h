// How far a model is loaded, by the bytes of the tensors that are packed.
#pragma once

#include <functional>
#include <memory>

#include "src/model/load_options.h"
#include "src/model/weight_source.h"

namespace bifrons {

/// While it lives, a source that tells of each tensor that is asked for stands before `source`: those before
/// it are packed by then.
class LoadingProgress {
 public:
  /// `told` hears shares from 0 to 1, none smaller than the last, and 1 in the end; may be empty. `source`
  /// must outlive this.
  LoadingProgress(std::unique_ptr<WeightSource>& source, const ModelParts& parts,
                  const std::function<void(double share)>& told);
  ~LoadingProgress();
  LoadingProgress(const LoadingProgress&) = delete;

 private:
  class Told;
  std::unique_ptr<WeightSource>& source_;
  Told* told_ = nullptr;  // in `source_`; nullptr: nobody wants to know
};

}  // namespace bifrons
