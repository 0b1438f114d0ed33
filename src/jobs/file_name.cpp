#include "src/jobs/file_name.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <memory>
#include <string_view>

#include "src/base/printable.h"
#include "src/base/shortest.h"
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

constexpr std::string_view kNotInWindows = "<>:\"|?*\\";

// The first name of a part that Windows keeps for a device, whatever follows behind a dot; "" if there is
// none.
std::string_view DeviceName(std::string_view part) {
  std::string_view name = part.substr(0, part.find('.'));
  name = name.substr(0, name.find_last_not_of(' ') + 1);
  std::string upper(name);
  for (char& c : upper) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  constexpr std::string_view kDevices[] = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"};
  if (std::find(std::begin(kDevices), std::end(kDevices), upper) != std::end(kDevices)) return name;
  if (!upper.starts_with("COM") && !upper.starts_with("LPT")) return "";
  constexpr std::string_view kPorts[] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³"};
  return std::find(std::begin(kPorts), std::end(kPorts), upper.substr(3)) != std::end(kPorts) ? name : "";
}

bool EndsBadly(std::string_view part) { return part.ends_with('.') || part.ends_with(' '); }

// Calls `use` with every part between slashes.
template <class Use>
void ForParts(std::string_view name, const Use& use) {
  for (size_t at = 0; at <= name.size();) {
    const size_t end = std::min(name.find('/', at), name.size());
    use(name.substr(at, end - at));
    at = end + 1;
  }
}

std::string FitForWindows(const std::string& name) {
  std::string fit;
  ForParts(name, [&](std::string_view part) {
    if (part.data() != name.data()) fit += '/';
    if (part == "." || part == "..") return void(fit += part);  // CheckFileName refuses them
    std::string altered(part);
    for (char& c : altered) c = kNotInWindows.find(c) == std::string_view::npos ? c : '-';
    for (size_t i = altered.size(); i > 0 && EndsBadly(altered.substr(0, i)); i--) altered[i - 1] = '_';
    altered.insert(DeviceName(altered).size(), DeviceName(altered).empty() ? "" : "_");
    fit += altered;
  });
  return fit;
}

}  // namespace

Status CheckNewName(const std::string& name) {
  BIFRONS_RETURN_IF_ERROR(CheckFileName(name));
  if (const size_t at = name.find_first_of(kNotInWindows); at != std::string::npos)
    return DataError(std::string("has a ") + name[at] + ", which no file's name has on Windows");
  Status status;
  ForParts(name, [&](std::string_view part) {
    if (!status.ok()) return;
    if (EndsBadly(part))
      status = DataError("has a part that ends with a dot or a space, which Windows drops");
    if (const std::string_view device = DeviceName(part); !device.empty())
      status = DataError("has a part that is called " + std::string(device) + ", as a device is on Windows");
  });
  return status;
}

std::string CanonicalName(const std::string& name) {
  const auto lower = [](char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); };
  std::string canonical(name);
  std::transform(name.begin(), name.end(), canonical.begin(), lower);
  if (std::all_of(name.begin(), name.end(), [](char c) { return (c & 0x80) == 0; })) return canonical;
  utf8proc_uint8_t* mapped = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(name.data()),
                                 static_cast<utf8proc_ssize_t>(name.size()), &mapped,
                                 static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (size < 0) return canonical;  // no UTF-8
  canonical.clear();
  for (std::string_view rest(reinterpret_cast<const char*>(mapped), static_cast<size_t>(size));
       !rest.empty();) {
    const CodePoint c = DecodeUtf8(rest);
    rest.remove_prefix(static_cast<size_t>(c.bytes));
    const auto upper = utf8proc_toupper(static_cast<utf8proc_int32_t>(c.value));
    AppendUtf8(static_cast<char32_t>(utf8proc_tolower(upper)), canonical);
  }
  return canonical;
}

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
                    : part.field == "cfg"         ? ShortestText(fields.guidance)
                    : part.field == "temperature" ? ShortestText(fields.temperature)
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
  return FitForWindows(name);
}

}  // namespace bifrons
