// The fields of a picture job, by the same names in every format, and how a mistake in one is reported.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/jobs/job.h"

namespace bifrons {

constexpr int64_t kMaxJobSeed = (int64_t{1} << 53) - 1;  // what every JSON reader keeps exactly
constexpr int64_t kMaxJobImages = 1'000'000;
constexpr double kMaxJobTemperature = 1000;

/// The first mistake in an entry. What follows it is ignored, so that readers need no branches.
struct Mistake {
  std::optional<Error> error;
  std::string field;

  /// "`field` `what`"; `field` may be "".
  void Report(const std::string& at_field, const std::string& what);
};

/// A field's value as a file has it, which must outlive this. The names given to its functions are for
/// messages.
class FieldValue {
 public:
  /// Out of a format without types, where 7 is a number or a text as the field wants it.
  static FieldValue OfText(std::string_view text);
  static FieldValue OfJson(const nlohmann::json& value);

  /// JSON's null, or an empty text out of a format without types: as if the field were not there.
  bool absent() const;
  /// For messages: short, one line.
  std::string shown() const;

  /// Not empty, no NUL.
  std::string Text(const std::string& name, Mistake* mistake) const;
  int64_t Whole(const std::string& name, int64_t low, int64_t high, Mistake* mistake) const;
  double Number(const std::string& name, double low, double high, Mistake* mistake) const;

 private:
  double ToNumber() const;  // NaN: it is none

  const nlohmann::json* json_ = nullptr;  // null: out of a format without types
  std::optional<std::string_view> text_;
};

/// Gathers the fields of one picture job.
class PictureFields {
 public:
  /// `prefix` stands before the fields' names in messages.
  PictureFields(std::string prefix, Mistake* mistake) : prefix_(std::move(prefix)), mistake_(mistake) {}

  /// Takes a field; false if there is none of that name.
  bool Set(std::string_view name, const FieldValue& value);
  static bool Knows(std::string_view name);
  /// Whether both names mean the same field.
  static bool Same(std::string_view a, std::string_view b);
  /// "prompt, n, seed, …"
  static std::string Names();
  /// The same one by one, and what else each may be called.
  static std::vector<std::string> AllNames();

  std::optional<int64_t> index() const { return index_; }
  /// The job; a missing prompt is a mistake.
  PictureJob Take();

 private:
  void SetSize(const std::string& name, const FieldValue& value);

  std::string prefix_;
  Mistake* mistake_;
  PictureJob job_;
  std::optional<int64_t> index_;
  uint32_t given_ = 0;  // one bit a field
};

}  // namespace bifrons
