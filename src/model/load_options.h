// What a caller may choose when a model is loaded.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "kernels/profile.h"
#include "src/base/dtype.h"
#include "src/model/weight_type.h"

namespace bifrons {

/// The parts of a model to load; each takes memory of its own.
struct ModelParts {
  bool language = true;        // the transformer: whatever is drawn or answered
  bool drawing = true;         // generation head and aligner
  bool vq_decoder = true;      // codes → pixels
  bool vq_encoder = false;     // pixels → codes
  bool understanding = false;  // vision tower, its aligner, lm_head
};

/// What answering questions takes: nothing is drawn.
inline constexpr ModelParts kUnderstandingParts{
    .language = true, .drawing = false, .vq_decoder = false, .vq_encoder = false, .understanding = true};

/// The first GPU where there is one for us and the model fits it, else the cpu.
inline constexpr const char* kAutoDevice = "auto";

/// What makes a GPU's convolutions: kernels of our own, or NVIDIA's cuDNN.
enum class Convolutions : uint8_t { kOwn, kCudnn };

struct LoadOptions {
  std::string model;  // folder, GGUF or "random:…"; "" = ResolveModel's default (model_path.h)
  std::string device = kAutoDevice;          // or one of MakeDevice's
  std::string isa;                           // of the cpu, and then that is the device; "" = the best it has
  std::optional<DType> compute;              // none = what the device likes best
  std::optional<WeightType> weights;         // of matrices and the text embedding; none = as stored
  std::optional<DType> kv;                   // of keys and values (IsKvType); none = `compute`
  std::optional<Convolutions> convolutions;  // none = own
  int threads = 0;                           // 0 = what affinity and cgroups allow
  std::string chat_template = "auto";        // "auto", "janus-pro", "janus-1.3b"
  ModelParts parts;
  bool skip_missing_parts = false;   // leave out parts that the model lacks, instead of refusing it
  bool hash = false;                 // begin to hash the model's files meanwhile: pictures tell it
  bool tell_device = false;          // on stderr, when there is no GPU
  std::shared_ptr<Profile> profile;  // what the queues report to, from then on; must outlive the model
  std::function<void(double share)> progress;  // hears how much is loaded; 1 when it has ended, well or not
};

}  // namespace bifrons
