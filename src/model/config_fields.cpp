#include "src/model/config_fields.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace bifrons {

const nlohmann::json* Fields::Find(const char* key) const {
  const auto it = object_->find(key);
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

Fields Fields::Object(const char* key) const {
  static const auto& kEmpty = *new Json(Json::object());
  const Json* found = Find(key);
  if (found && !found->is_object()) Report(key, "must be an object");
  return Fields(found && found->is_object() ? *found : kEmpty, prefix_ + key + ".", *problem_);
}

int64_t Fields::Int(const char* key, int64_t fallback, int64_t low, int64_t high) const {
  const Json* found = Find(key);
  return found ? ToInt(key, *found, low, high) : fallback;
}

double Fields::Number(const char* key, double fallback, double low, double high) const {
  const Json* found = Find(key);
  return found ? ToNumber(key, *found, low, high) : fallback;
}

bool Fields::Bool(const char* key, bool fallback) const {
  const Json* found = Find(key);
  if (!found) return fallback;
  if (!found->is_boolean()) Report(key, "must be true or false");
  return found->is_boolean() ? found->get<bool>() : fallback;
}

std::string Fields::Text(const char* key, const std::string& fallback) const {
  const Json* found = Find(key);
  if (!found) return fallback;
  if (!found->is_string()) Report(key, "must be a string");
  return found->is_string() ? found->get<std::string>() : fallback;
}

int64_t Fields::Side(const char* key, int64_t fallback) const {
  const Json* found = Find(key);
  if (!found) return fallback;
  if (!found->is_array()) return ToInt(key, *found, 1, kMaxSide);
  if (found->size() != 2 || (*found)[0] != (*found)[1]) {
    Report(key, "is " + Shown(*found) + "; only squares are supported");
    return fallback;
  }
  return ToInt(key, (*found)[0], 1, kMaxSide);
}

std::vector<int64_t> Fields::IntList(const char* key, std::vector<int64_t> fallback, int64_t high) const {
  const Json* found = Find(key);
  if (!found) return fallback;
  if (!found->is_array() || found->empty()) {
    Report(key, "must be a list of numbers");
    return fallback;
  }
  size_t count = found->size();
#ifndef BIFRONS_PLANTED_BUGS
  if (count > kMaxLevels) {
    Report(key,
           "has " + std::to_string(count) + " levels; at most " + std::to_string(kMaxLevels) + " make sense");
    count = kMaxLevels;
  }
#endif
  std::array<int64_t, kMaxLevels> values{};
  for (size_t i = 0; i < count; i++) values.data()[i] = ToInt(key, (*found)[i], 1, high);
  return {values.data(), values.data() + std::min<size_t>(count, kMaxLevels)};
}

std::vector<double> Fields::Numbers(const char* key, std::vector<double> fallback, double low,
                                    double high) const {
  const Json* found = Find(key);
  if (!found) return fallback;
  std::vector<double> values = std::move(fallback);
  if (!found->is_array()) {
    std::fill(values.begin(), values.end(), ToNumber(key, *found, low, high));
    return values;
  }
  if (found->size() != values.size()) {
    Report(key,
           "has " + std::to_string(found->size()) + " numbers, expected " + std::to_string(values.size()));
    return values;
  }
  for (size_t i = 0; i < values.size(); i++) values[i] = ToNumber(key, (*found)[i], low, high);
  return values;
}

std::string Fields::Shown(const Json& value) {
  const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() <= 60 ? text : text.substr(0, 60) + "…";
}

int64_t Fields::ToInt(const char* key, const Json& value, int64_t low, int64_t high) const {
  const bool fits = value.is_number_unsigned() ? value.get<uint64_t>() <= static_cast<uint64_t>(high)
                                               : value.is_number_integer() && value.get<int64_t>() <= high;
  if (!fits || value.get<int64_t>() < low) {
    Report(key, "is " + Shown(value) + ", not a whole number from " + std::to_string(low) + " to " +
                    std::to_string(high));
    return low;
  }
  return value.get<int64_t>();
}

double Fields::ToNumber(const char* key, const Json& value, double low, double high) const {
  const double number = value.is_number() ? value.get<double>() : std::nan("");
  if (!(number >= low && number <= high)) {
    Report(key,
           "is " + Shown(value) + ", not a number from " + Json(low).dump() + " to " + Json(high).dump());
    return low;
  }
  return number;
}

}  // namespace bifrons
