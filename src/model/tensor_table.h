// THE tensor table: every tensor of a Janus model, once. Loading, checking, `info`, the memory plan, random
// models, export and the tests read this and nothing else.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/tensor.h"
#include "src/model/config.h"

namespace bifrons {

/// What turns the stored tensor into ours.
enum class Transform : uint8_t {
  kNone,
  kQueryOfQkv,  // the first, second or third part of a merged [3·out, in] (original SigLIP)
  kKeyOfQkv,
  kValueOfQkv,
  kDropLeadingOne,  // [1, n, d] → [n, d]
};

enum class Part : uint8_t { kLanguage, kGeneration, kVqDecoder, kVqEncoder, kVision };

struct TensorSpec {
  std::string name;                        // ours: "llama.layers.3.attention.q"
  std::string original;                    // deepseek-ai's name
  std::string converted;                   // deepseek-community's name
  Shape shape;                             // ours, after the transform
  Transform transform = Transform::kNone;  // in the original layout; the others need none
  Part part = Part::kLanguage;
  bool required = true;  // false: the model works without it (an untied lm_head, the vision tower)
  /// A matrix that products read, or the text embedding: what may be stored in blocks (blocks.h). All else is
  /// small, or read number by number.
  bool quantizable = false;
};

/// In the order of the forward pass.
std::vector<TensorSpec> TensorTable(const JanusConfig& config);

/// The name that the files of `layout` have.
const std::string& NameIn(Layout layout, const TensorSpec& spec);

/// The shape that the files of `layout` store: a merged qkv has three times the rows, the original's position
/// embedding a leading 1.
Shape StoredShape(const TensorSpec& spec, Layout layout);

/// The names that the files of a layout use, whatever the model's depths.
class PublishedNames {
 public:
  explicit PublishedNames(Layout layout);
  /// Whether a Janus of any number of layers, levels and blocks may have a tensor of that name.
  bool Contains(std::string_view name) const;

 private:
  std::set<std::string> names_;  // with every index 0
};

/// Whether a published tensor outside the table is known to be of no use to a Janus (so nothing to warn
/// about).
bool IsDropped(const std::string& published_name);

}  // namespace bifrons
