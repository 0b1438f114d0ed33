#include "src/model/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "src/model/text/unicode_delta.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

// A published pattern has under a thousand characters.
constexpr size_t kMaxPatternBytes = 65536;
// Of the pattern as PCRE2 gets it, where \w is a thousand bytes. PCRE2 itself refuses more than 64 KB once
// compiled.
constexpr size_t kMaxTranslatedBytes = 1 << 20;
// A match of a published pattern takes a few steps per character of a word. This much is a tenth of a second.
constexpr uint32_t kMatchLimit = 2'000'000;
constexpr uint32_t kHeapLimitKiB = 65536;

// PCRE2 counts U+180E as white space, Unicode (since 6.3) and Oniguruma do not.
constexpr char kSpace[] = "\\t-\\r\\x{85}\\p{Z}";
constexpr char kNotSpace[] =
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-"
    "\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}";

// Oniguruma's word characters: Alphabetic, marks, digits, connectors, and Latin-1's superscripts and
// fractions.
std::string WordClass() {
  return std::string(
             "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}\\x{24b6}-\\x{24e9}"
             "\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}") +
         kLetterDelta + kMarkDelta;
}

const char* DeltaOf(char category) {
  switch (category) {
    case 'L':
      return kLetterDelta;
    case 'M':
      return kMarkDelta;
    case 'N':
      return kNumberDelta;
    case 'P':
      return kPunctuationDelta;
    case 'S':
      return kSymbolDelta;
  }
  return nullptr;
}

// Ruby's syntax into PCRE2's, token by token. Where the same text means something else to the two engines and
// there is no equivalent, `error` says what.
class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  Result<std::string> Run() {
    while (i_ < in_.size() && error_.empty()) {
      const char c = in_[i_];
      if (c == '\\') {
        Escape();
      } else if (in_class_) {
        ClassCharacter(c);
      } else {
        Character(c);
      }
      if (out_.size() > kMaxTranslatedBytes) error_ = "the expression is too large";
    }
    if (!error_.empty()) return Failure(error_);
    return std::move(out_);
  }

 private:
  std::string_view Rest() const { return in_.substr(i_); }
  void Copy(size_t n) {
    out_.append(in_, i_, n);
    i_ += n;
  }
  // A set of characters given as the inside of a class, here or as a class of its own.
  void Set(const std::string& inside, bool negated = false) {
    if (!in_class_) {
      out_ += (negated ? "[^" : "[") + inside + "]";
    } else if (!negated) {
      out_ += inside;
    } else {
      error_ = "a negated class inside [...] is not supported";
    }
  }

  void Escape() {
    if (i_ + 1 >= in_.size()) {
      error_ = "ends in a backslash";
      return;
    }
    const char c = in_[i_ + 1];
    const std::string word = WordClass();
    switch (c) {
      case 's':
        Set(kSpace);
        break;
      case 'S':
        Set(kNotSpace);
        break;
      case 'w':
        Set(word);
        break;
      case 'W':
        Set(word, true);
        break;
      case 'd':
        Set(std::string("\\p{Nd}"));
        break;
      case 'D':
        Set("\\p{Nd}", true);
        break;
      case 'h':
        Set("0-9A-Fa-f");
        break;
      case 'H':
        Set("0-9A-Fa-f", true);
        break;
      case 'p':
      case 'P':
        Property(c == 'P');
        return;
      case 'u':
        Hexadecimal();
        return;
      case 'b':
        if (in_class_) {
          out_ += "\\x08";
        } else {
          out_ += "(?:(?<=[" + word + "])(?![" + word + "])|(?<![" + word + "])(?=[" + word + "]))";
        }
        break;
      case 'B':
        out_ += "(?:(?<=[" + word + "])(?=[" + word + "])|(?<![" + word + "])(?![" + word + "]))";
        break;
      default:
        if (std::string_view("QEKORXyYGCNcCM").find(c) != std::string_view::npos) {
          error_ = std::string("\\") + c + " is not supported";
          return;
        }
        out_ += '\\';
        out_ += c;
    }
    i_ += 2;
  }

  // \p{L} and its like are widened to the newer Unicode of the library; other properties are PCRE2's.
  void Property(bool negated) {
    const size_t close = in_.find('}', i_);
    if (i_ + 2 >= in_.size() || in_[i_ + 2] != '{' || close == std::string_view::npos) {
      error_ = "\\p without {...}";
      return;
    }
    std::string name(in_.substr(i_ + 3, close - i_ - 3));
    if (name.starts_with('^')) {
      negated = !negated;
      name.erase(0, 1);
    }
    const char* delta = name.size() == 1 ? DeltaOf(name[0]) : nullptr;
    if (delta && (!negated || !in_class_)) {
      Set("\\p{" + name + "}" + delta, negated);
    } else {
      out_ += (negated ? "\\P{" : "\\p{") + name + "}";
    }
    i_ = close + 1;
  }

  void Hexadecimal() {
    const std::string_view digits = in_.substr(std::min(i_ + 2, in_.size())).substr(0, 4);
    if (digits.size() < 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) {
      error_ = "\\u without four hexadecimal digits";
      return;
    }
    out_ += "\\x{" + std::string(digits) + "}";
    i_ += 6;
  }

  void ClassCharacter(char c) {
    if (c == '[' && Rest().starts_with("[:")) {
      error_ = "[:...:] is not supported";
    } else if (c == '[') {
      error_ = "nested [...] is not supported: escape the bracket";
    } else if (c == '&' && Rest().starts_with("&&")) {
      error_ = "&& inside [...] is not supported";
    } else {
      in_class_ = c != ']' || i_ == class_start_;
      Copy(1);
    }
  }

  void Character(char c) {
    if (c == '[') {
      in_class_ = true;
      Copy(Rest().starts_with("[^") ? 2 : 1);
      class_start_ = i_;
    } else if (c == '(' && Rest().starts_with("(?")) {
      Copy(2);
      // Ruby's m is "dot matches line feeds": PCRE2's s.
      while (i_ < in_.size() && std::string_view("imx-").find(in_[i_]) != std::string_view::npos) {
        out_ += in_[i_] == 'm' ? 's' : in_[i_];
        i_++;
      }
    } else if (c == '{') {
      Interval();
    } else {
      Copy(1);
    }
  }

  void Interval() {
    const size_t close = in_.find('}', i_);
    const std::string_view inside = close == std::string_view::npos ? "" : in_.substr(i_ + 1, close - i_ - 1);
    const bool is_interval =
        !inside.empty() && inside != "," && inside.find_first_not_of("0123456789,") == std::string_view::npos;
    if (!is_interval) {
      Copy(1);
      return;
    }
    if (close + 1 < in_.size() && in_[close + 1] == '+') {
      error_ = "{...}+ is not supported (possessive to one engine, repeated to another)";
      return;
    }
    out_ += inside.starts_with(',') ? "{0" : "{";
    i_++;
    Copy(inside.size() + 1);
  }

  std::string_view in_;
  size_t i_ = 0, class_start_ = 0;
  bool in_class_ = false;
  std::string out_, error_;
};

pcre2_match_data* DataOf(const std::shared_ptr<void>& p) { return static_cast<pcre2_match_data*>(p.get()); }

}  // namespace

Result<Regex> Regex::Compile(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes) return Failure("the expression is longer than 65536 bytes");
  BIFRONS_TRY(std::string translated, Translator(pattern).Run());
  BIFRONS_TRY(Regex regex, CompileTranslated(translated));
  // Both engines need quadratic time for this one on a run of spaces that something follows.
  regex.trailing_space_ = pattern == "\\s+$";
  return regex;
}

Result<Regex> Regex::Literal(std::string_view characters) {
  std::string quoted;
  for (size_t i = 0; i < characters.size();) {
    const CodePoint c = DecodeUtf8(characters.substr(i));
    char escape[16];
    std::snprintf(escape, sizeof escape, "\\x{%x}", static_cast<unsigned>(c.value));
    quoted += escape;
    i += c.bytes;
  }
  return CompileTranslated(quoted);
}

Result<Regex> Regex::Numeric() { return CompileTranslated(std::string("[\\p{N}") + kNumericDelta + "]"); }

Result<Regex> Regex::CompileTranslated(const std::string& pattern) {
  std::shared_ptr<pcre2_compile_context> context(pcre2_compile_context_create(nullptr),
                                                 pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  size_t offset = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                       PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                       &code, &offset, context.get());
  if (!compiled) {
    char message[128] = "";
    pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
    return Failure(message);
  }
  // Where the processor has no compiler of PCRE2's, matching interprets.
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  Regex regex;
  regex.code_.reset(compiled, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); });
  return regex;
}

Regex::Matcher::Matcher(const Regex& regex) : regex_(regex) {
  match_data_.reset(pcre2_match_data_create(1, nullptr),
                    [](void* p) { pcre2_match_data_free(static_cast<pcre2_match_data*>(p)); });
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  match_context_.reset(context,
                       [](void* p) { pcre2_match_context_free(static_cast<pcre2_match_context*>(p)); });
  BIFRONS_CHECK(match_data_ && context, "out of memory");
  pcre2_set_match_limit(context, kMatchLimit);
  pcre2_set_heap_limit(context, kHeapLimitKiB);
}

void Regex::Matcher::Reset(std::string_view text) {
  text_ = text;
  position_ = 0;
  last_end_.reset();
}

int Regex::Matcher::Search(uint32_t options) {
  return pcre2_match(static_cast<const pcre2_code*>(regex_.code_.get()),
                     reinterpret_cast<PCRE2_SPTR>(text_.data()), text_.size(), position_, options,
                     DataOf(match_data_), static_cast<pcre2_match_context*>(match_context_.get()));
}

std::optional<ByteRange> Regex::Matcher::Next() {
  if (regex_.trailing_space_) return NextTrailingSpace();
  // The rule on empty matches is that of the library's binding (onig: FindMatches).
  while (position_ <= text_.size()) {
    int found = Search(PCRE2_NO_UTF_CHECK);
    // The compiled form has a fixed stack, the interpreter a heap with a limit.
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) found = Search(PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT);
    if (found < 0) break;
    const size_t* range = pcre2_get_ovector_pointer(DataOf(match_data_));
    const size_t begin = range[0], end = range[1];
    if (end <= begin && last_end_ == end) {
      position_ += position_ < text_.size() ? DecodeUtf8(text_.substr(position_)).bytes : 1;
      continue;
    }
    position_ = end;
    last_end_ = end;
    return ByteRange{begin, end};
  }
  position_ = text_.size() + 1;
  return std::nullopt;
}

// `\s+$` in linear time. Within a run of white space the longest part that ends before a line feed or at the
// text's end matches; what remains of the run then holds no such end.
std::optional<ByteRange> Regex::Matcher::NextTrailingSpace() {
  while (position_ < text_.size()) {
    const CodePoint first = DecodeUtf8(text_.substr(position_));
    if (!IsWhiteSpace(first.value)) {
      position_ += first.bytes;
      continue;
    }
    const size_t begin = position_;
    size_t end = begin, last_line_feed = begin;
    while (end < text_.size()) {
      const CodePoint c = DecodeUtf8(text_.substr(end));
      if (!IsWhiteSpace(c.value)) break;
      if (c.value == '\n') last_line_feed = end;
      end += c.bytes;
    }
    position_ = end;
    if (end == text_.size()) return ByteRange{begin, end};
    if (last_line_feed > begin) return ByteRange{begin, last_line_feed};
  }
  return std::nullopt;
}

}  // namespace bifrons
