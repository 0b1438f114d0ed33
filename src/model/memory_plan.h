// How much memory a model takes: for `info`, and to refuse before the system would.
#pragma once

#include <cstdint>

#include "src/base/result.h"
#include "src/model/load_options.h"
#include "src/model/tensor_table.h"
#include "src/model/weight_source.h"

namespace bifrons {

/// Prompt and answer that are planned for: the longest answer is the program's default.
constexpr int64_t kPlannedPromptTokens = 64, kPlannedAnswerTokens = 512;
/// Images that are looked at before their questions' turn: enough that the batch never waits for one, few
/// enough that their features take little memory.
constexpr int64_t kImagesAhead = 4;

/// What a plan leaves alone of the memory that can be had: one part in so many. It is for what no plan knows
/// of: a photograph being read, libraries' buffers, threads' stacks, what the other programs come to need.
constexpr uint64_t kSpareShare = 16;
constexpr uint64_t WithoutSpare(uint64_t available) { return available - available / kSpareShare; }

/// What is computed in, and what keys and values are kept in.
struct Precision {
  DType compute, kv;
  Precision(DType both) : compute(both), kv(both) {}
  Precision(DType of_compute, DType of_kv) : compute(of_compute), kv(of_kv) {}
};

/// kUsage where a model's heads cannot be kept as `kv`: they are no whole blocks.
Status CheckKvType(const LlamaConfig& llama, DType kv);

/// Bytes that the engine takes beside weights and caches, at most.
struct WorkingMemory {
  uint64_t rows = 0;      // buffers of a prompt's chunk and of a step's rows
  uint64_t maps = 0;      // feature maps of the VQ networks, the vision tower's rows
  uint64_t pictures = 0;  // drawn and not taken yet, f32: two for each that is drawn at once
  uint64_t images = 0;    // features of images that are looked at ahead

  uint64_t total() const { return rows + maps + pictures + images; }
};

/// Of an engine that draws `pictures` and answers `answers` at once at most.
WorkingMemory PlanWorkingMemory(const JanusConfig& config, DType compute, const ModelParts& parts,
                                int64_t pictures, int64_t answers);

/// Bytes of the caches of a picture after a prompt of so many tokens: two rows, and two prefixes that it may
/// come to share.
uint64_t PictureCacheBytes(const LlamaConfig& llama, DType kv, int64_t prompt_tokens, int64_t image_tokens);
/// Of an answer of the planned length to a question about one image.
uint64_t PlannedAnswerCacheBytes(const JanusConfig& config, DType kv,
                                 int64_t prompt_tokens = kPlannedPromptTokens);
/// Bytes of an image's features in a conversation, f32.
uint64_t FeatureBytes(const JanusConfig& config);

/// Bytes, and parameters per part. Files are not counted: their pages leave the process as they are packed.
/// The tensor that is being packed stands beside what is packed, when there are no caches and activations
/// yet.
struct MemoryPlan {
  struct PartSize {
    int64_t parameters = 0;
    uint64_t bytes = 0;  // as stored
  };
  PartSize parts[5];     // by Part
  uint64_t weights = 0;  // what the wanted parts keep in memory, packed
  uint64_t tables = 0;   // of it tables that stand in no file: not every device keeps them (kernels/device.h)
  uint64_t kv_cache = 0;     // keys and values in whole pages: of pictures, or of answers about an image each
  uint64_t activations = 0;  // working memory, and the features of the images asked about

  const PartSize& part(Part p) const { return parts[static_cast<int>(p)]; }
  uint64_t total() const { return weights + kv_cache + activations; }
  /// Of a device that leaves tables in the host's memory.
  MemoryPlan WithoutTables() const;
};

/// For drawing `images` pictures at once after prompts of `prompt_tokens`, or answering about as many images.
MemoryPlan PlanMemory(const WeightSource& source, Precision precision, const ModelParts& parts,
                      int64_t images, int64_t prompt_tokens = kPlannedPromptTokens);

/// What a tensor that is stored in that type takes once the wanted parts are loaded, 0 if it is in none of
/// them. Matrices are packed as stored.
uint64_t PackedBytes(const TensorSpec& spec, DType stored, const ModelParts& parts);

/// kFailure with the numbers, without what to do, when one picture's or one answer's plan exceeds what
/// `available` bytes leave beside the spare part, on a device that keeps tables in that memory or does not.
Status CheckMemory(const WeightSource& source, Precision precision, const ModelParts& parts,
                   uint64_t available, bool keeps_tables);

}  // namespace bifrons
