// GGUF: counts, metadata by keys, the tensors' names, shapes and places, their bytes.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/model/checkpoint/checkpoint.h"

namespace bifrons {

/// The key of what stands in a GGUF for a file of a model's folder ("config.json"); "" where there is none.
std::string_view GgufKeyOf(std::string_view file_name);

struct Gguf {
  /// Of the strings among the metadata those that have a meaning here, by their keys; within the file's
  /// bytes.
  std::map<std::string, std::string_view, std::less<>> strings;
  TensorMap tensors;

  /// "" where there is none.
  std::string_view Find(std::string_view key) const {
    const auto it = strings.find(key);
    return it == strings.end() ? std::string_view() : it->second;
  }
};

/// Versions 2 and 3 with general.architecture "janus"; any other is an error that names it, whatever else the
/// file holds. As strict as ggml's reader about names, counts, shapes and alignment; tensors may lie in any
/// order, within the file and apart from each other. Of a type that is not one of ours a tensor is kept as
/// not loadable. Tensors point into `bytes`. Time is linear in the header, but for the sorting of the
/// tensors. `file` is for messages.
Result<Gguf> ReadGguf(std::span<const uint8_t> bytes, const std::string& file);

}  // namespace bifrons
