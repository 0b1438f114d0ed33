#include "src/jobs/file_name.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>
#include <string_view>

#include "src/base/printable.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

constexpr size_t kMaxNameBytes = 255;   // of a file in the usual file systems (NAME_MAX)
constexpr size_t kMaxPathBytes = 3800;  // leaves room for the output folder below PATH_MAX
// Slugs leave this much for what is appended to a name: another extension, a temporary file's ending.
constexpr size_t kReservedBytes = 32;
constexpr size_t kMaxSlugCharacters = 60;
constexpr int kMaxDigits = 20;

bool IsLetterOrDigit(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:  // marks are part of the letters before them
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return true;
    default:
      return false;
  }
}

// Never ends or begins with -, never is empty; whole characters only.
std::string Slug(std::string_view prompt, size_t max_bytes) {
  std::string slug;
  size_t characters = 0;
  bool gap = false;
  while (!prompt.empty()) {
    const CodePoint c = DecodeUtf8(prompt);
    const std::string_view bytes = prompt.substr(0, static_cast<size_t>(c.bytes));
    prompt.remove_prefix(bytes.size());
    if (!c.valid || !IsLetterOrDigit(c.value)) {
      gap = !slug.empty();
      continue;
    }
    if (characters + gap + 1 > kMaxSlugCharacters || slug.size() + gap + bytes.size() > max_bytes) break;
    if (gap) slug += '-';
    slug += bytes;
    characters += gap + 1u;
    gap = false;
  }
  return slug.empty() ? std::string("picture").substr(0, max_bytes) : slug;
}

template <class T>
std::string Digits(T value, int at_least) {
  std::string text = std::to_string(value);
  if (text.size() < static_cast<size_t>(at_least))
    text.insert(0, static_cast<size_t>(at_least) - text.size(), '0');
  return text;
}

std::string Shortest(float value) {
  char buffer[64];
  return {buffer, std::to_chars(buffer, buffer + sizeof(buffer), value).ptr};
}

}  // namespace

Status CheckFileName(const std::string& name) {
  if (name.empty()) return DataError("is empty");
  if (name.starts_with('/')) return DataError("is an absolute path; it must stay in the output folder");
  if (name.size() > kMaxPathBytes)
    return DataError("is longer than " + std::to_string(kMaxPathBytes) + " bytes");
  for (size_t i = 0; i < name.size();) {
    const CodePoint c = DecodeUtf8(std::string_view(name).substr(i));
    if (!c.valid) return DataError("is not UTF-8");
    if (c.value < 0x20 || (c.value >= 0x7F && c.value <= 0x9F)) return DataError("holds a control character");
    i += static_cast<size_t>(c.bytes);
  }
  for (size_t at = 0; at <= name.size();) {
    const size_t end = std::min(name.find('/', at), name.size());
    const std::string component = name.substr(at, end - at);
    at = end + 1;
    if (component == "..") return DataError("has a \"..\"; it must stay in the output folder");
    if (component.empty() || component == ".")
      return DataError("has an empty part or a \".\" between its slashes");
    if (component.size() > kMaxNameBytes)
      return DataError("has a part longer than " + std::to_string(kMaxNameBytes) + " bytes");
  }
  return {};
}

std::string CanonicalName(const std::string& name) {
  return std::filesystem::path(name).lexically_normal().string();
}

Result<NameTemplate> NameTemplate::Parse(const std::string& text) {
  const std::string shown = "the name template \"" + Printable(text) + "\"";
  NameTemplate result;
  std::string literal;
  for (size_t i = 0; i < text.size(); i++) {
    const char c = text[i];
    if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
      literal += c;
      i++;
      continue;
    }
    if (c == '}') return UsageError(shown + " has a } without a {; write }} for a brace");
    if (c != '{') {
      literal += c;
      continue;
    }
    const size_t end = text.find('}', i);
    if (end == std::string::npos) return UsageError(shown + " has a { without a }; write {{ for a brace");
    std::string field = text.substr(i + 1, end - i - 1);
    i = end;
    int digits = field == "index" ? 5 : 1;
    if (const size_t colon = field.find(':'); colon != std::string::npos) {
      const std::string width = field.substr(colon + 1);
      field.resize(colon);
      const auto parsed = std::from_chars(width.data(), width.data() + width.size(), digits);
      const bool counts = field == "index" || field == "number" || field == "seed";
      if (!counts || parsed.ec != std::errc() || parsed.ptr != width.data() + width.size() || digits < 1 ||
          digits > kMaxDigits) {
        return UsageError(shown + ": only index, number and seed take a number of digits, from 1 to " +
                          std::to_string(kMaxDigits) + ", as in {index:3}");
      }
    }
    constexpr std::string_view kFields[] = {"index", "number", "seed", "slug", "cfg", "temperature"};
    if (std::find(std::begin(kFields), std::end(kFields), field) == std::end(kFields)) {
      return UsageError(shown + " has an unknown field {" + Printable(field) +
                        "}; there are {index}, {number}, {seed}, {slug}, {cfg}, {temperature}");
    }
    if (!literal.empty()) result.parts_.push_back({std::exchange(literal, {}), "", 0});
    result.parts_.push_back({"", field, digits});
  }
  if (!literal.empty()) result.parts_.push_back({literal, "", 0});

  // What fields fill in never has a slash or a dot at its start, so the longest values show what can go
  // wrong.
  NameFields longest;
  longest.index = longest.number = std::numeric_limits<int64_t>::max();
  longest.seed = std::numeric_limits<uint64_t>::max();
  longest.guidance = longest.temperature = -1.17549435e-38f;
  if (const Status safe = CheckFileName(result.Fill(longest)); !safe.ok())
    return UsageError(shown + " makes a name that " + safe.error().message);
  return result;
}

std::string NameTemplate::Fill(const NameFields& fields) const {
  // Texts of all parts but the slugs, which share what the others leave of their component.
  std::vector<std::string> texts;
  for (const Part& part : parts_) {
    texts.push_back(part.field.empty()            ? part.literal
                    : part.field == "index"       ? Digits(fields.index, part.digits)
                    : part.field == "number"      ? Digits(fields.number, part.digits)
                    : part.field == "seed"        ? Digits(fields.seed, part.digits)
                    : part.field == "cfg"         ? Shortest(fields.guidance)
                    : part.field == "temperature" ? Shortest(fields.temperature)
                                                  : "");
  }
  std::string name;
  for (size_t i = 0; i < parts_.size(); i++) {
    if (parts_[i].field != "slug") {
      name += texts[i];
      continue;
    }
    size_t used = name.size() - (name.rfind('/') + 1);
    size_t slugs = 1;
    for (size_t k = i + 1; k < parts_.size(); k++) {
      const size_t slash = texts[k].find('/');
      used += std::min(slash, texts[k].size());
      if (slash != std::string::npos) break;
      slugs += parts_[k].field == "slug";
    }
    constexpr size_t kRoom = kMaxNameBytes - kReservedBytes;
    name += Slug(fields.prompt, std::max<size_t>(used < kRoom ? (kRoom - used) / slugs : 0, 1));
  }
  return name;
}

}  // namespace bifrons
