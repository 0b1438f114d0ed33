// Mutations that keep JSON valid: lists grow and shrink, values move, keys vanish, strings change. Bytes
// alone seldom get past the parser. CMakeLists.txt links this into the targets whose files are JSON.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace bifrons {
namespace {

/// Enough brackets in a row to make the JSON library's recursive output deep: such inputs are mutated as
/// bytes.
bool IsDeep(std::string_view text) {
  constexpr int kDeep = 64;
  int depth = 0, deepest = 0;
  for (char c : text) {
    depth += (c == '[' || c == '{') - (c == ']' || c == '}');
    deepest = std::max(deepest, depth);
  }
  return deepest > kDeep;
}

/// A value of the tree; half the time a list, if there is one: few values are, and their lengths matter.
nlohmann::json* PickValue(nlohmann::json* root, std::minstd_rand& random) {
  std::vector<nlohmann::json*> all = {root}, lists;
  for (size_t i = 0; i < all.size(); i++) {
    if (all[i]->is_array()) lists.push_back(all[i]);
    if (!all[i]->is_structured()) continue;
    for (nlohmann::json& child : *all[i]) all.push_back(&child);
  }
  const std::vector<nlohmann::json*>& from = !lists.empty() && random() % 2 == 0 ? lists : all;
  return from[random() % from.size()];
}

void MutateValue(nlohmann::json* value, const nlohmann::json& other, std::minstd_rand& random) {
  const size_t size = value->size(), at = size ? random() % size : 0;
  if (value->is_array() && size > 0 && random() % 4 != 0) {
    const auto element = value->begin() + static_cast<std::ptrdiff_t>(at);
    if (random() % 3 == 0) {
      value->erase(element);
    } else {
      const nlohmann::json copy = *element;
      value->insert(element, 1 + random() % 16, copy);
    }
  } else if (value->is_object() && size > 0 && random() % 4 != 0) {
    value->erase(std::next(value->begin(), static_cast<std::ptrdiff_t>(at)));
  } else if (value->is_string() && !value->get_ref<const std::string&>().empty() && random() % 4 != 0) {
    std::string text = value->get<std::string>();
    const size_t byte = random() % text.size();
    if (random() % 2 == 0) {
      text.erase(byte, 1);
    } else {
      text[byte] = static_cast<char>(random() % 128);
    }
    *value = text;
  } else {
    *value = other;
  }
}

}  // namespace
}  // namespace bifrons

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  using nlohmann::json;
  std::minstd_rand random(seed);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (random() % 2 == 0 || bifrons::IsDeep(text)) return LLVMFuzzerMutate(data, size, max_size);
  json root = json::parse(text, nullptr, false);
  if (root.is_discarded()) return LLVMFuzzerMutate(data, size, max_size);
  json* value = bifrons::PickValue(&root, random);
  const json other = *bifrons::PickValue(&root, random);
  bifrons::MutateValue(value, other, random);
  const std::string out = root.dump(-1, ' ', false, json::error_handler_t::replace);
  if (out.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, out.data(), out.size());
  return out.size();
}
