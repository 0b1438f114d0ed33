// Reading JSON without keeping it: a visitor says of every value whether it is passed over, gone into or
// taken.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

/// Of one value that a visitor takes. Published files have a few hundred; the memory of as many values is 15
/// MB.
constexpr size_t kMaxJsonValues = 100'000;

/// Where a value stands: the keys and indices that lead to it from the root.
class JsonPlace {
 public:
  /// 0 at the root.
  size_t depth() const { return steps_.size(); }
  /// The key of step `i` from the root, empty for an element of a list.
  std::string_view key(size_t i) const { return steps_[i].key; }
  /// Of the last step, which is an element of a list.
  size_t index() const { return steps_.back().index; }
  /// "model.merges[3]"; empty at the root.
  std::string ToString() const;

 private:
  friend class JsonEvents;
  struct Step {
    std::string key;
    size_t index = 0;
    bool in_list = false;
  };
  std::vector<Step> steps_;
};

class JsonVisitor {
 public:
  enum class Kind { kScalar, kObject, kList };
  enum class Use {
    kSkip,  // costs nothing, however large it is
    kOpen,  // its members or elements are asked about one by one; a scalar is taken
    kTake,  // becomes a tree, which is at most kMaxJsonValues large and kMaxJsonDepth deep
  };
  virtual ~JsonVisitor() = default;

  /// Asked where a value begins. Of a repeated key, every value is asked about.
  virtual Use Choose(const JsonPlace& place, Kind kind) = 0;
  /// Receives what was taken. An error ends the reading.
  virtual Status Take(const JsonPlace& place, nlohmann::json& value) = 0;
};

/// Reads `text`. Memory: what the visitor keeps, and at most four bytes for each of the longest string, or of
/// the longest part without any string or number, which is what the JSON library needs. Errors begin with
/// `path`; that for text that is not JSON is `path` + ": " + `if_invalid`.
Status VisitJson(std::string_view text, const std::string& path, const std::string& if_invalid,
                 JsonVisitor& visitor);

/// A small file as a tree: an object of at most kMaxJsonValues values, at most kMaxJsonDepth deep, in at most
/// `max_bytes`. Anything else is an error.
Result<nlohmann::json> ReadJsonTree(std::string_view text, size_t max_bytes, const std::string& path);

/// An error when a JSON file has more than `max_bytes`, to be asked before it is read.
Status CheckJsonSize(size_t bytes, size_t max_bytes, const std::string& path);

}  // namespace bifrons
