#include "src/base/json_visitor.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "src/base/json_depth.h"
#include "src/base/printable.h"

namespace bifrons {

using nlohmann::json;

std::string JsonPlace::ToString() const {
  std::string text;
  for (const Step& step : steps_) {
    if (step.in_list) {
      text += "[" + std::to_string(step.index) + "]";
    } else {
      text += (text.empty() ? "" : ".") + Printable(step.key);
    }
  }
  return text;
}

/// The parser's events. What is open has one step of the place each, and one more for its current member.
class JsonEvents : public nlohmann::json_sax<json> {
 public:
  JsonEvents(const std::string& path, const std::string& if_invalid, JsonVisitor& visitor)
      : path_(path), if_invalid_(if_invalid), visitor_(visitor) {}

  Status TakeError() { return std::move(error_); }

  bool null() override { return Scalar(nullptr); }
  bool boolean(bool value) override { return Scalar(value); }
  bool number_integer(number_integer_t value) override { return Scalar(value); }
  bool number_unsigned(number_unsigned_t value) override { return Scalar(value); }
  bool number_float(number_float_t value, const string_t&) override { return Scalar(value); }
  bool binary(binary_t&) override { return true; }  // JSON text has none
  bool string(string_t& value) override { return Scalar(std::move(value)); }
  bool start_object(size_t) override { return Begin(JsonVisitor::Kind::kObject, json::object()); }
  bool start_array(size_t) override { return Begin(JsonVisitor::Kind::kList, json::array()); }
  bool end_object() override { return End(); }
  bool end_array() override { return End(); }

  bool key(string_t& value) override {
    if (skipped_ > 0) return true;
    (tree_.empty() ? place_.steps_.back().key : key_).swap(value);
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override {
    return Fail(DataError(path_ + ": " + if_invalid_));
  }

 private:
  bool Fail(Status error) {
    error_ = std::move(error);
    return false;
  }
  bool TakeNow(json& value) {
    Status taken = visitor_.Take(place_, value);
    return taken.ok() || Fail(std::move(taken));
  }

  template <class T>
  bool Scalar(T&& value) {
    if (skipped_ > 0) return true;
    if (!tree_.empty()) return Add(std::forward<T>(value)) != nullptr;
    NextElement();
    if (visitor_.Choose(place_, JsonVisitor::Kind::kScalar) == JsonVisitor::Use::kSkip) return true;
    json scalar(std::forward<T>(value));
    return TakeNow(scalar);
  }

  bool Begin(JsonVisitor::Kind kind, json&& empty) {
    if (skipped_ > 0) return skipped_++, true;
    if (!tree_.empty()) {
      // Walking and destroying a tree take stack in proportion to its depth.
      if (place_.depth() + tree_.size() >= kMaxJsonDepth) return Fail(TooDeep(path_));
      json* added = Add(std::move(empty));
      if (added) tree_.push_back(added);
      return added != nullptr;
    }
    NextElement();
    switch (visitor_.Choose(place_, kind)) {
      case JsonVisitor::Use::kSkip:
        skipped_ = 1;
        break;
      case JsonVisitor::Use::kOpen:
        place_.steps_.push_back({"", static_cast<size_t>(-1), kind == JsonVisitor::Kind::kList});
        break;
      case JsonVisitor::Use::kTake:
        root_ = std::move(empty);
        values_ = 1;
        tree_.push_back(&root_);
        break;
    }
    return true;
  }

  bool End() {
    if (skipped_ > 0) return skipped_--, true;
    if (tree_.empty()) return place_.steps_.pop_back(), true;
    tree_.pop_back();
    return !tree_.empty() || TakeNow(root_);
  }

  /// To be called for every value that is asked about.
  void NextElement() {
    if (!place_.steps_.empty()) place_.steps_.back().index++;
  }

  /// Into the innermost value that is being built; nullptr when there are too many.
  json* Add(json&& value) {
    if (++values_ > kMaxJsonValues) {
      const std::string where = place_.ToString();
      Fail(DataError(path_ + ": " + where + (where.empty() ? "" : ": ") + "holds more than " +
                     std::to_string(kMaxJsonValues) + " values"));
      return nullptr;
    }
    json& parent = *tree_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    json& member = parent[key_];
    member = std::move(value);
    return &member;
  }

  const std::string& path_;
  const std::string& if_invalid_;
  JsonVisitor& visitor_;
  Status error_;
  JsonPlace place_;
  size_t skipped_ = 0;  // levels open within something that is passed over
  json root_;           // what is being taken
  std::vector<json*> tree_;
  std::string key_;
  size_t values_ = 0;
};

Status VisitJson(std::string_view text, const std::string& path, const std::string& if_invalid,
                 JsonVisitor& visitor) {
  JsonEvents events(path, if_invalid, visitor);
  if (!json::sax_parse(text.begin(), text.end(), &events)) return events.TakeError();
  return {};
}

Result<json> ReadJsonTree(std::string_view text, size_t max_bytes, const std::string& path) {
  BIFRONS_RETURN_IF_ERROR(CheckJsonSize(text.size(), max_bytes, path));
  BIFRONS_RETURN_IF_ERROR(CheckJsonDepth(text, path));
  struct Whole : JsonVisitor {
    json tree;
    Use Choose(const JsonPlace&, Kind) override { return Use::kTake; }
    Status Take(const JsonPlace&, json& value) override {
      tree = std::move(value);
      return {};
    }
  } whole;
  BIFRONS_RETURN_IF_ERROR(VisitJson(text, path, "is not a JSON object", whole));
  if (!whole.tree.is_object()) return DataError(path + ": is not a JSON object");
  return std::move(whole.tree);
}

Status CheckJsonSize(size_t bytes, size_t max_bytes, const std::string& path) {
  if (bytes <= max_bytes) return {};
  return DataError(path + ": is too large: it has " + std::to_string(bytes) + " bytes, and at most " +
                   std::to_string(max_bytes) + " make sense for such a file");
}

}  // namespace bifrons
