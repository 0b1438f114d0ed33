// How a network gets its weights while it is built.
#pragma once

#include <concepts>
#include <functional>
#include <string>
#include <utility>

#include "src/base/tensor.h"

namespace bifrons {

/// Gives a tensor by our name ("vq.decoder.levels.0.res.1.conv1.weight") with the shape that the tensor table
/// promises for it; f32, bf16 or f16. Any callable of that signature is a Fetch; `release`, where there is
/// one, hears of every name whose view will not be used any more.
class Fetch {
 public:
  using Get = std::function<TensorView(const std::string& name)>;
  using Release = std::function<void(const std::string& name)>;

  template <class F>
  requires std::constructible_from<Get, F> &&
      (!std::same_as<std::remove_cvref_t<F>, Fetch>)Fetch(F get, Release release = {})
      : get_(std::move(get)), release_(std::move(release)) {}

  TensorView operator()(const std::string& name) const { return get_(name); }
  void Done(const std::string& name) const {
    if (release_) release_(name);
  }
  /// A small tensor, widened to f32 and released.
  std::vector<float> Floats(const std::string& name) const {
    std::vector<float> values = ToFloats(get_(name));
    Done(name);
    return values;
  }

 private:
  Get get_;
  Release release_;
};

}  // namespace bifrons
