#include "src/model/weight_type.h"

#include "src/base/check.h"

namespace bifrons {
namespace {

constexpr const char* kRoleNames[kMatrixRoles] = {"embed",   "qkv",      "o",       "gate_up", "down",
                                                  "lm_head", "gen_head", "aligner", "vision"};

// What `samples/types_by_role.sh -n 2` tells of janus-mini, in 1e-6 nats of KL:
//   role           q8_0      q4_k      q4_0
//   embed          0.76    159.42    289.72
//   qkv            3.38    555.17   1194.62
//   o              1.06     57.62     90.97
//   gate_up        1.18     75.07     82.84
//   down           1.63     64.34     69.99
//   gen_head       8.60    418.39   1508.15
//   aligner        0.67     14.62     21.44
// qkv and gen_head cost most in four bits. With these two in eight, a 1B model is 13 % larger than in q4_k
// alone, and janus-mini a third as far from what is stored.
constexpr std::string_view kMixedName = "mixed";
constexpr std::string_view kMixed = "q4_k,qkv=q8_0,gen_head=q8_0";

std::optional<DType> TypeNamed(std::string_view name) {
  for (const DType type : kWeightTypes) {
    if (name == NameOf(type)) return type;
  }
  return std::nullopt;
}

std::optional<MatrixRole> RoleNamed(std::string_view name) {
  for (int i = 0; i < kMatrixRoles; i++) {
    if (name == kRoleNames[i]) return static_cast<MatrixRole>(i);
  }
  return std::nullopt;
}

std::string_view TakeUntil(char separator, std::string_view* text) {
  const size_t end = text->find(separator);
  const std::string_view taken = text->substr(0, end);
  text->remove_prefix(end == text->npos ? text->size() : end + 1);
  return taken;
}

}  // namespace

const char* NameOf(MatrixRole role) { return kRoleNames[static_cast<size_t>(role)]; }

std::string MatrixRoleNames() {
  std::string names;
  for (const char* name : kRoleNames) names += (names.empty() ? "" : ", ") + std::string(name);
  return names;
}

MatrixRole RoleOf(std::string_view tensor) {
  if (tensor.starts_with("siglip.")) return MatrixRole::kVision;
  if (tensor.starts_with("aligner.") || tensor.starts_with("gen_aligner.")) return MatrixRole::kAligner;
  if (tensor.starts_with("gen_head.")) return MatrixRole::kGenHead;
  if (tensor == "lm_head") return MatrixRole::kLmHead;
  if (tensor == "llama.embed") return MatrixRole::kEmbed;
  const std::string_view last = tensor.substr(tensor.rfind('.') + 1);
  if (last == "q" || last == "k" || last == "v") return MatrixRole::kQkv;
  if (last == "o") return MatrixRole::kO;
  if (last == "gate" || last == "up") return MatrixRole::kGateUp;
  BIFRONS_CHECK(last == "down", "%.*s is no matrix of the table", static_cast<int>(tensor.size()),
                tensor.data());
  return MatrixRole::kDown;
}

WeightType::WeightType(DType all) : name_(bifrons::NameOf(all)) { types_.fill(all); }

std::optional<WeightType> WeightType::Of(std::string_view name) {
  std::string_view rest = name == kMixedName ? kMixed : name;
  const auto all = TypeNamed(TakeUntil(',', &rest));
  if (!all || name.ends_with(',')) return std::nullopt;
  WeightType made(*all);
  made.name_ = name;
  std::array<bool, kMatrixRoles> said{};
  while (!rest.empty()) {
    std::string_view value = TakeUntil(',', &rest);
    const auto role = RoleNamed(TakeUntil('=', &value));
    const auto type = TypeNamed(value);
    if (!role || !type || said[static_cast<size_t>(*role)]) return std::nullopt;
    said[static_cast<size_t>(*role)] = true;
    made.types_[static_cast<size_t>(*role)] = *type;
  }
  return made;
}

std::vector<std::string> WeightType::Named() {
  std::vector<std::string> names;
  for (const DType type : kWeightTypes) names.emplace_back(bifrons::NameOf(type));
  names.emplace_back(kMixedName);
  return names;
}

std::string WeightType::Names() {
  std::string text;
  for (const std::string& name : Named())
    text += (text.empty() ? "" : name == kMixedName ? " or " : ", ") + name;
  return text;
}

}  // namespace bifrons
