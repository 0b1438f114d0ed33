#include "src/model/text/json_field.h"

#include <utility>

#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

// Of a normalizer, a pre-tokenizer, …; each may hold a compiled expression. Published ones have up to ten.
constexpr size_t kMaxSteps = 64;

}  // namespace

Error JsonField::Wrong(const std::string& what) const { return DataError(OneLine(where + ": " + what)); }

JsonField JsonField::At(const char* key) const {
  const std::string inner = where + (where.ends_with(": ") ? "" : ".") + key;
  if (!value || !value->is_object()) return {nullptr, inner};
  const auto found = value->find(key);
  return {found == value->end() || found->is_null() ? nullptr : &*found, inner};
}

JsonField JsonField::At(size_t i) const { return {&(*value)[i], where + "[" + std::to_string(i) + "]"}; }

Result<bool> ReadBool(const JsonField& f, bool fallback) {
  if (!f.present()) return fallback;
  if (!f.value->is_boolean()) return f.Wrong("must be true or false");
  return f.value->get<bool>();
}

Result<std::string> ReadString(const JsonField& f) {
  if (!f.present() || !f.value->is_string()) return f.Wrong("must be a string");
  return f.value->get_ref<const std::string&>();
}

Result<std::vector<JsonField>> ReadSequence(const JsonField& component, const char* list_name) {
  std::vector<JsonField> pending{component}, steps;
  while (!pending.empty()) {
    const JsonField f = std::move(pending.back());
    pending.pop_back();
    if (!f.present()) continue;
    if (!f.value->is_object()) return f.Wrong("must be an object or null");
    BIFRONS_TRY(const std::string type, ReadString(f.At("type")));
    if (type != "Sequence") {
      steps.push_back(f);
      continue;
    }
    const JsonField list = f.At(list_name);
    if (!list.present() || !list.value->is_array()) return list.Wrong("must be a list");
    if (steps.size() + pending.size() + list.value->size() > kMaxSteps) {
      return list.Wrong("more than " + std::to_string(kMaxSteps) + " steps are refused");
    }
    for (size_t i = list.value->size(); i > 0; i--) pending.push_back(list.At(i - 1));
  }
  return steps;
}

}  // namespace bifrons
