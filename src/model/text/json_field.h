// Fields of a tokenizer's JSON, with messages that say where they stand.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

/// A value and the place it was found at.
struct JsonField {
  const nlohmann::json* value;  // null where the field is absent or null
  std::string where;            // "tokenizer.json: model.vocab"

  bool present() const { return value != nullptr; }
  /// "WHERE: what", in one line.
  Error Wrong(const std::string& what) const;
  /// An object's field; absent where this is no object.
  JsonField At(const char* key) const;
  /// An element of a list, which this must be.
  JsonField At(size_t i) const;
};

/// Error: neither absent nor a boolean.
Result<bool> ReadBool(const JsonField&, bool fallback);

/// Error: not a string.
Result<std::string> ReadString(const JsonField&);

/// A component's list of steps: a Sequence's own list, those of Sequences within it included, one component,
/// or none. Error: not of that form, or more than 64 steps.
Result<std::vector<JsonField>> ReadSequence(const JsonField& component, const char* list_name);

}  // namespace bifrons
