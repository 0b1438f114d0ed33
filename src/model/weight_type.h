// What --type names: the type of a model's matrices, or one for each thing that they do.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/dtype.h"

namespace bifrons {

/// What a matrix does. Matrices that one product reads (q, k and v; gate and up) have one role, and so one
/// type.
enum class MatrixRole : uint8_t {
  kEmbed,    // the text embedding
  kQkv,      // of the transformer's attention
  kO,        // its output
  kGateUp,   // of the feed-forward
  kDown,     // its output
  kLmHead,   // hidden states → text logits
  kGenHead,  // hidden states → logits of image tokens
  kAligner,  // image tokens, or the vision tower's patches → hidden states
  kVision,   // all of the vision tower
};
inline constexpr int kMatrixRoles = 9;

/// "qkv"
const char* NameOf(MatrixRole role);
/// "embed, qkv, o, …"
std::string MatrixRoleNames();
/// Of a quantizable tensor of the table (tensor_table.h).
MatrixRole RoleOf(std::string_view tensor);

/// Types that weights can be made into.
inline constexpr DType kWeightTypes[] = {DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_K};

class WeightType {
 public:
  /// The same for all.
  WeightType(DType all);  // NOLINT(google-explicit-constructor): a type is one of the things --type names

  /// "q8_0"; "q4_k,down=q8_0,vision=bf16": all but some roles; "mixed": what costs most in q4_k is q8_0.
  /// None: there is no such type or role, or a role has two types.
  static std::optional<WeightType> Of(std::string_view name);
  /// Those that have a name of their own: "bf16", "q8_0", …, "mixed".
  static std::vector<std::string> Named();
  /// "bf16, q8_0, q4_0, q4_k or mixed"
  static std::string Names();

  DType For(MatrixRole role) const { return types_[static_cast<size_t>(role)]; }
  /// What Of makes it of again.
  const std::string& name() const { return name_; }

 private:
  std::array<DType, kMatrixRoles> types_;
  std::string name_;
};

}  // namespace bifrons
