#include "src/model/checkpoint/wrapper_prefix.h"

#include <algorithm>
#include <optional>
#include <string_view>

namespace bifrons {
namespace {

constexpr std::string_view kWrappers[] = {"_orig_mod.", "module.", "base_model.model."};

/// How many bytes of `name` wrappers have put there.
size_t WrapperBytes(std::string_view name) {
  size_t bytes = 0;
  for (bool found = true; found;) {
    found = false;
    for (const std::string_view wrapper : kWrappers) {
      if (!name.substr(bytes).starts_with(wrapper)) continue;
      bytes += wrapper.size();
      found = true;
    }
  }
  return bytes;
}

}  // namespace

std::string WrapperPrefixOf(const TensorMap& tensors) {
  std::optional<std::string_view> common;
  for (const auto& [name, tensor] : tensors) {
    if (tensor.dims.empty()) continue;
    if (!common) common = std::string_view(name).substr(0, WrapperBytes(name));
    const auto differs = std::mismatch(common->begin(), common->end(), name.begin(), name.end()).first;
    common = common->substr(0, static_cast<size_t>(differs - common->begin()));
    if (common->empty()) return "";
  }
  // Cut back to whole wrappers where names part within one.
  return common ? std::string(common->substr(0, WrapperBytes(*common))) : "";
}

}  // namespace bifrons
