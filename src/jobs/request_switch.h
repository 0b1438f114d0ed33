// Parameters of OpenAI's requests that the model has no use for.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "src/jobs/job_fields.h"

namespace bifrons {

/// A parameter that would change the answer, except with one of these values.
struct RequestSwitch {
  const char* name;
  std::vector<nlohmann::json> harmless;
  const char* reason;  // for refusing another value
};

/// Whether `key` is one of the switches; its value then is a mistake or harmless.
inline bool CheckSwitch(std::span<const RequestSwitch> switches, const std::string& key,
                        const nlohmann::json& value, Mistake* mistake) {
  for (const RequestSwitch& s : switches) {
    if (key != s.name) continue;
    if (std::find(s.harmless.begin(), s.harmless.end(), value) == s.harmless.end()) {
      mistake->Report("body." + key,
                      "is " + FieldValue::OfJson(value).shown() + ", which is not supported: " + s.reason);
    }
    return true;
  }
  return false;
}

}  // namespace bifrons
