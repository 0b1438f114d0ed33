#include "src/jobs/job_fields.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "src/base/printable.h"
#include "src/engine/metadata.h"
#include "src/jobs/file_name.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

constexpr int kMaxTopK = 1 << 30;
constexpr double kMaxGuidance = 1000;

enum Field : uint32_t {
  kPrompt,
  kImages,
  kSeed,
  kBestOf,
  kGuidance,
  kTemperature,
  kTopK,
  kTopP,
  kMinP,
  kFile,
  kFormat,
  kIndex,
  kWidth,
  kHeight,
  kSize,
  kNegativePrompt,
};

struct FieldName {
  const char* name;
  Field field;
};
constexpr std::array kNames = {
    FieldName{"prompt", kPrompt},
    FieldName{"n", kImages},
    FieldName{"seed", kSeed},
    FieldName{"best_of", kBestOf},
    FieldName{"cfg", kGuidance},
    FieldName{"guidance", kGuidance},
    FieldName{"cfg_scale", kGuidance},
    FieldName{"temperature", kTemperature},
    FieldName{"top_k", kTopK},
    FieldName{"top_p", kTopP},
    FieldName{"min_p", kMinP},
    FieldName{"file", kFile},
    FieldName{"file_name", kFile},
    FieldName{"format", kFormat},
    FieldName{"index", kIndex},
    FieldName{"width", kWidth},
    FieldName{"height", kHeight},
    FieldName{"size", kSize},
    FieldName{"negative_prompt", kNegativePrompt},
};

std::optional<Field> Find(std::string_view name) {
  const auto found =
      std::find_if(kNames.begin(), kNames.end(), [&](const FieldName& f) { return f.name == name; });
  return found == kNames.end() ? std::nullopt : std::optional(found->field);
}

std::string Limit(double value) {
  char buffer[32];
  return {buffer, std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed).ptr};
}

// The whole text is one finite number.
std::optional<double> ParseNumber(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace

void Mistake::Report(const std::string& at_field, const std::string& what) {
  if (error) return;
  error = DataError(at_field.empty() ? what : at_field + " " + what);
  field = at_field;
}

FieldValue FieldValue::OfText(std::string_view text) {
  FieldValue value;
  value.text_ = text;
  return value;
}

FieldValue FieldValue::OfJson(const nlohmann::json& json) {
  FieldValue value;
  value.json_ = &json;
  if (json.is_string()) value.text_ = json.get_ref<const std::string&>();
  return value;
}

bool FieldValue::absent() const { return json_ ? json_->is_null() : text_->empty(); }

std::string FieldValue::shown() const {
  if (text_) return '"' + Printable(*text_) + '"';
  return Printable(json_->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

double FieldValue::ToNumber() const {
  if (json_) return json_->is_number() ? json_->get<double>() : NAN;
  return ParseNumber(*text_).value_or(NAN);
}

std::string FieldValue::Text(const std::string& name, Mistake* mistake) const {
  if (!text_) {
    mistake->Report(name, "is " + shown() + "; it must be a text");
  } else if (text_->empty()) {
    mistake->Report(name, "is empty");
  } else if (text_->find('\0') != std::string::npos) {
    mistake->Report(name, "holds a NUL character");
  } else {
    return std::string(*text_);
  }
  return "";
}

int64_t FieldValue::Whole(const std::string& name, int64_t low, int64_t high, Mistake* mistake) const {
  const double value = ToNumber();
  if (value >= static_cast<double>(low) && value <= static_cast<double>(high) && value == std::floor(value))
    return static_cast<int64_t>(value);
  mistake->Report(name, "is " + shown() + "; it must be a whole number from " + std::to_string(low) + " to " +
                            std::to_string(high));
  return low;
}

double FieldValue::Number(const std::string& name, double low, double high, Mistake* mistake) const {
  const double value = ToNumber();
  if (value >= low && value <= high) return value;
  mistake->Report(name, "is " + shown() + "; it must be a number from " + Limit(low) + " to " + Limit(high));
  return low;
}

bool PictureFields::Knows(std::string_view name) { return Find(name).has_value(); }

bool PictureFields::Same(std::string_view a, std::string_view b) { return Knows(a) && Find(a) == Find(b); }

std::string PictureFields::Names() {
  std::string names;
  uint32_t listed = 1u << kNegativePrompt;
  for (const FieldName& f : kNames) {
    if (listed >> f.field & 1) continue;
    listed |= 1u << f.field;
    names += (names.empty() ? "" : ", ") + std::string(f.name);
  }
  return names;
}

std::vector<std::string> PictureFields::AllNames() {
  std::vector<std::string> names;
  for (const FieldName& f : kNames)
    if (f.field != kNegativePrompt) names.emplace_back(f.name);
  return names;
}

void PictureFields::SetSize(const std::string& name, const FieldValue& value) {
  const std::string text = value.Text(name, mistake_);
  if (text.empty() || text == "auto") return;
  const size_t x = text.find('x');
  const auto side = [&](std::string_view digits) {
    int64_t pixels = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), pixels);
    const bool whole = error == std::errc() && end == digits.data() + digits.size();
    return whole && pixels >= 1 && pixels <= kMaxResizedSide ? static_cast<int>(pixels) : 0;
  };
  if (x != std::string::npos) {
    job_.width = side(std::string_view(text).substr(0, x));
    job_.height = side(std::string_view(text).substr(x + 1));
  }
  if (job_.width == 0 || job_.height == 0)
    mistake_->Report(name, "is " + value.shown() +
                               "; it must be \"auto\" or a size such as \"384x384\", each side from 1 to " +
                               std::to_string(kMaxResizedSide));
}

bool PictureFields::Set(std::string_view key, const FieldValue& value) {
  const std::optional<Field> field = Find(key);
  if (!field) return false;
  if (value.absent()) return true;
  const std::string name = prefix_ + std::string(key);
  if (given_ >> *field & 1) mistake_->Report(name, "says again what another field says");
  given_ |= 1u << *field;
  DrawSettings& settings = job_.settings;
  switch (*field) {
    case kPrompt:
      job_.prompt = value.Text(name, mistake_);
      if (StripPythonWhitespace(job_.prompt).empty()) mistake_->Report(name, "is nothing but white space");
      break;
    case kImages:
      job_.images = static_cast<int>(value.Whole(name, 1, kMaxJobImages, mistake_));
      break;
    case kSeed:
      job_.seed = value.Whole(name, 0, kMaxJobSeed, mistake_);
      break;
    case kBestOf:
      job_.best_of = static_cast<int>(value.Whole(name, 1, kMaxBestOf, mistake_));
      break;
    case kGuidance:
      settings.guidance = static_cast<float>(value.Number(name, -kMaxGuidance, kMaxGuidance, mistake_));
      break;
    case kTemperature:
      settings.temperature = static_cast<float>(value.Number(name, 0, kMaxJobTemperature, mistake_));
      break;
    case kTopK:
      settings.top_k = static_cast<int>(value.Whole(name, 0, kMaxTopK, mistake_));
      break;
    case kTopP:
      settings.top_p = static_cast<float>(value.Number(name, 0, 1, mistake_));
      break;
    case kMinP:
      settings.min_p = static_cast<float>(value.Number(name, 0, 1, mistake_));
      break;
    case kFile:
      job_.file = value.Text(name, mistake_);
      if (!job_.file.empty()) {
        if (const Status safe = CheckFileName(job_.file); !safe.ok())
          mistake_->Report(name, safe.error().message);
      }
      break;
    case kFormat:
      job_.format = value.Text(name, mistake_);
      if (job_.format == "jpeg") job_.format = "jpg";
      if (job_.format != "png" && job_.format != "jpg" && job_.format != "webp")
        mistake_->Report(name, "is " + value.shown() + "; it must be png, jpg or webp");
      break;
    case kIndex:
      index_ = value.Whole(name, 0, kMaxJobSeed, mistake_);
      break;
    case kWidth:
      job_.width = static_cast<int>(value.Whole(name, 1, kMaxResizedSide, mistake_));
      break;
    case kHeight:
      job_.height = static_cast<int>(value.Whole(name, 1, kMaxResizedSide, mistake_));
      break;
    case kSize:
      SetSize(name, value);
      break;
    case kNegativePrompt:
      mistake_->Report(name,
                       "is not supported: guidance compares with an empty prompt, not with another one");
      break;
  }
  if ((given_ >> kSize & 1) && (given_ & (1u << kWidth | 1u << kHeight)))
    mistake_->Report(name, "says again what another field says");
  return true;
}

PictureJob PictureFields::Take() {
  if (!(given_ >> kPrompt & 1)) mistake_->Report(prefix_ + "prompt", "is missing");
  return std::move(job_);
}

}  // namespace bifrons
