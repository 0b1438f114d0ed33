// Uses what a reader accepted, so that the sanitizers see a tensor that lies outside its file.
#pragma once

#include <cstdint>

#include "src/base/result.h"
#include "src/model/checkpoint/checkpoint.h"

namespace bifrons {

/// Materialises every loadable tensor and reads its bytes. A fuzzer's input is small, and so must these be.
inline void TouchAll(const Result<TensorMap>& tensors) {
  if (!tensors.ok()) return;
  static volatile uint8_t sum;
  for (const auto& [name, stored] : *tensors) {
    Tensor owner;
    const Result<TensorView> view = Materialise(name, stored, &owner);
    if (!view.ok()) continue;
    const uint8_t* bytes = static_cast<const uint8_t*>(view->data);
    uint8_t s = 0;
    for (size_t i = 0; i < view->bytes(); i++) s = static_cast<uint8_t>(s + bytes[i]);
    sum = s;
  }
}

}  // namespace bifrons
