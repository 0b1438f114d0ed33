// What a caller may choose when a model is loaded.
#pragma once

#include <optional>
#include <string>

#include "src/base/dtype.h"

namespace bifrons {

struct LoadOptions {
  std::string model;                   // folder or "random:…"; "" = ResolveModel's default (model_path.h)
  std::string backend = "cpu";         // "cpu", "ref"
  std::string isa;                     // "" = the best this processor has
  std::optional<DType> compute;        // none = bf16 where the processor multiplies it, else f32
  int threads = 0;                     // 0 = what affinity and cgroups allow
  std::string chat_template = "auto";  // "auto", "janus-pro", "janus-1.3b"
};

}  // namespace bifrons
