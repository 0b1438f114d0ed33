// Typed, bounded access to the fields of JSON files that describe a model.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

constexpr int64_t kMaxSide = 1 << 13;  // pixels, of pictures that models are for
constexpr int64_t kMaxLevels = 10;     // of anything that is listed level by level

/// The first thing found wrong, and which file it is about.
struct Problem {
  std::string path;
  std::optional<Error> error;

  void Report(const std::string& what) {
    if (!error) error = DataError(path + ": " + what);
  }
};

/// One JSON object; mistakes go to `problem`, so that readers need no branches. A field that is null is as
/// absent.
class Fields {
 public:
  using Json = nlohmann::json;

  Fields(const Json& object, std::string prefix, Problem& problem)
      : object_(&object), prefix_(std::move(prefix)), problem_(&problem) {}

  /// nullptr when absent or null.
  const Json* Find(const char* key) const;
  bool Has(const char* key) const { return Find(key) != nullptr; }

  Fields Object(const char* key) const;
  int64_t Int(const char* key, int64_t fallback, int64_t low, int64_t high) const;
  double Number(const char* key, double fallback, double low, double high) const;
  bool Bool(const char* key, bool fallback) const;
  std::string Text(const char* key, const std::string& fallback) const;
  /// A side in pixels: a number, or a list of two equal ones.
  int64_t Side(const char* key, int64_t fallback) const;
  /// At most kMaxLevels whole numbers from 1 to `high`.
  std::vector<int64_t> IntList(const char* key, std::vector<int64_t> fallback, int64_t high) const;
  /// As many numbers as `fallback` has, or one for all of them.
  std::vector<double> Numbers(const char* key, std::vector<double> fallback, double low, double high) const;

  /// Refuses a variant of the architecture: the field, where present, must have the value that the code
  /// implements.
  template <class T>
  void Require(const char* key, const T& only) const {
    const Json* found = Find(key);
    if (found && *found != only)
      Report(key, "is " + Shown(*found) + "; only " + Json(only).dump() + " is supported");
  }

  void Report(const char* key, const std::string& what) const {
    problem_->Report("field " + prefix_ + key + " " + what);
  }

 private:
  static std::string Shown(const Json& value);
  int64_t ToInt(const char* key, const Json& value, int64_t low, int64_t high) const;
  double ToNumber(const char* key, const Json& value, double low, double high) const;

  const Json* object_;
  std::string prefix_;
  Problem* problem_;
};

}  // namespace bifrons
