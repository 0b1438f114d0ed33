#include "src/jobs/json_values.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "src/base/json_depth.h"
#include "src/base/printable.h"
#include "src/jobs/job_fields.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

using nlohmann::json;

constexpr size_t kLookAhead = size_t{1} << 20;  // bytes that tell JSON from prompts, at most
constexpr const char* kRestUnread = "; nothing from here on was read";

bool IsSpace(int c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// What comes next, byte by byte, without taking it.
class LookAhead {
 public:
  explicit LookAhead(LineReader& lines) : lines_(lines) {}
  const Status& status() const { return status_; }

  bool ObjectBegins(size_t at) {
    if (At(at) != '{') return false;
    at = Skip(at + 1, /*lines=*/true);
    const int c = At(at);
    if (c == '"' || c == '}') return true;
    // Python's way to print one: no JSON, and no prompt either.
    const size_t end = c == '\'' ? EndOfText(at) : 0;
    return end > 0 && At(Skip(end, false)) == ':';
  }

  bool ArrayBegins(size_t at, int depth = 0) {
    if (At(at) != '[') return false;
    at = Skip(at + 1, /*lines=*/true);
    const int c = At(at);
    if (c == '{') return ObjectBegins(at);
    if (c == '[') return depth < kMaxJsonDepth && ArrayBegins(at, depth + 1);
    if (c == ']') return LineEnds(at + 1);
    size_t end = c == '"' || c == '\'' ? EndOfText(at) : EndOfWord(at);
    if (end == 0) return false;
    end = Skip(end, false);
    return At(end) == ',' || LineEnds(end) || (At(end) == ']' && LineEnds(end + 1));
  }

  size_t Skip(size_t at, bool lines) {
    while (IsSpace(At(at)) && (lines || At(at) != '\n')) at++;
    return at;
  }

 private:
  // -1: there is none, or it is too far away.
  int At(size_t i) {
    if (i >= text_.size() && i < kLookAhead && !ended_) {
      auto more = lines_.Peek(i);
      if (!more.ok()) status_ = more.error();
      if (more.ok()) text_ = *more;
      ended_ = i >= text_.size();
    }
    return i < text_.size() && i < kLookAhead ? static_cast<unsigned char>(text_[i]) : -1;
  }

  bool LineEnds(size_t at) {
    const int c = At(Skip(at, false));
    return c == '\n' || c == -1;
  }

  // Behind the quotation that begins there; 0 if it does not end in its line.
  size_t EndOfText(size_t at) {
    const int quote = At(at);
    for (size_t i = at + 1; At(i) != '\n' && At(i) != -1; i++) {
      if (At(i) == quote) return i + 1;
      if (At(i) == '\\') i++;
    }
    return 0;
  }

  // Behind the number, true, false or null that begins there; 0 if there is none.
  size_t EndOfWord(size_t at) {
    std::string word;
    while (word.size() < 64 && (std::isalnum(At(at)) || At(at) == '-' || At(at) == '+' || At(at) == '.'))
      word += static_cast<char>(At(at++));
    return json::accept(word) ? at : 0;
  }

  LineReader& lines_;
  std::string_view text_;
  bool ended_ = false;
  Status status_;
};

// The name of the field whose value would come next.
bool IsListName(std::string_view text) {
  const auto strip = [&] {
    while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  };
  strip();
  if (!text.ends_with(':')) return false;
  text.remove_suffix(1);
  strip();
  if (!text.ends_with('"')) return false;
  text.remove_suffix(1);
  return std::any_of(std::begin(kListNames), std::end(kListNames), [&](std::string_view name) {
    return text.ends_with(name) && text.substr(0, text.size() - name.size()).ends_with('"');
  });
}

}  // namespace

Result<bool> JsonBegins(LineReader& lines) {
  LookAhead next(lines);
  const size_t at = next.Skip(0, false);
  const bool begins = next.ObjectBegins(at) || next.ArrayBegins(at);
  if (!next.status().ok()) return next.status().error();
  return begins;
}

JsonValues::JsonValues(LineReader lines, std::string comments)
    : lines_(std::move(lines)), comments_(std::move(comments)), line_(lines_.number()) {}

bool JsonValues::More() {
  while (piece_.empty() && !ended_ && status_.ok()) {
    auto next = lines_.NextPiece();
    if (!next.ok()) {
      status_ = next.error();
    } else if (!*next) {
      ended_ = true;
    } else {
      piece_ = **next;
    }
  }
  return !piece_.empty();
}

void JsonValues::Advance(size_t bytes) {
  if (bytes == 0) return;
  fresh_line_ = piece_[bytes - 1] == '\n';  // pieces end there
  line_ += fresh_line_;
  piece_.remove_prefix(bytes);
}

Result<std::optional<JsonValues::Value>> JsonValues::Next() {
  for (;;) {
    if (place_ == Place::kStopped) return std::optional<Value>();
    if (!More()) {
      if (!status_.ok()) return status_.error();
      if (place_ == Place::kTop) return std::optional<Value>();
      return std::optional(Broken("the list that begins in line " + std::to_string(list_line_) +
                                  " is not closed: the file ends here"));
    }
    if (IsSpace(piece_[0])) {
      Advance(1);
      continue;
    }
    text_.Take();  // an exception may have left some
    auto value = place_ == Place::kTop ? ReadTop() : place_ == Place::kList ? ReadElement() : ReadObject();
    if (!status_.ok()) return status_.error();
    if (value) return value;
  }
}

std::optional<JsonValues::Value> JsonValues::ReadTop() {
  switch (piece_[0]) {
    case ',':  // as behind the elements of an array whose brackets are gone
      Advance(1);
      return {};
    case '[':
      EnterList(/*in_object=*/false);
      return {};
    case '{':
      return ReadObject();
    default:
      return ReadLine();
  }
}

void JsonValues::EnterList(bool in_object) {
  place_ = Place::kList;
  in_object_ = in_object;
  list_line_ = line_;
  after_value_ = false;
  Advance(1);
}

// A line that begins no object and no array: a comment, or the parser says what is wrong with it.
std::optional<JsonValues::Value> JsonValues::ReadLine() {
  Value value;
  value.line = line_;
  TakeRestOfLine();
  Finish(&value, Scan());
  if (StripPythonWhitespace(value.text).empty()) return {};
  if (!comments_.empty() && value.text.starts_with(comments_)) {
    passed_over_++;
    return {};
  }
  return value;
}

std::optional<JsonValues::Value> JsonValues::ReadElement() {
  const char c = piece_[0];
  if (c == ']') {
    place_ = in_object_ ? Place::kBeside : Place::kTop;
    Advance(1);
    return {};
  }
  if (c == ',') {
    if (!after_value_) return Broken("a comma stands where an entry should begin");
    after_value_ = false;
    Advance(1);
    return {};
  }
  if (after_value_) return Broken("a comma is missing before this");
  Value value;
  value.line = line_;
  value.in_array = true;
  Scan scan;
  while (!scan.complete && !scan.torn && More()) Take(ScanSome(piece_, &scan));
  if (!scan.complete && !scan.scalar) {
    value.problem = std::string("not valid JSON: the entry is not closed") +
                    (scan.torn ? ": a text ends with line " + std::to_string(line_) : "") + kRestUnread;
    Stop();
  }
  // As far as it is there already: a stray quotation mark must not make an entry of half a text.
  while (scan.complete && !piece_.empty() && IsSpace(piece_[0]) && piece_[0] != '\n') Advance(1);
  if (scan.complete && !piece_.empty() && piece_[0] != ',' && piece_[0] != ']' && piece_[0] != '\n') {
    value.problem = std::string("not valid JSON: a comma is missing behind the entry") + kRestUnread;
    Stop();
  }
  after_value_ = true;
  Finish(&value, scan);
  return value;
}

// An object between values; or what stands in one behind its list.
std::optional<JsonValues::Value> JsonValues::ReadObject() {
  const bool beside = place_ == Place::kBeside;
  Value value;
  value.line = line_;
  value.in_array = beside;
  Scan scan;
  scan.stop_at_array = true;
  if (beside) {
    text_.Append("{\"\":0");
    scan.depth = 1;
  }
  bool another = false;  // object begins, and this one is not closed
  while (!scan.complete && !scan.torn && More()) {
    another = !beside && fresh_line_ && line_ != value.line && piece_[0] == '{';
    if (another) break;
    Take(ScanSome(piece_, &scan));
    if (!scan.at_array) continue;
    scan.at_array = false;
    if (!IsListName(text_.text())) {
      // some other field's value
    } else if (HoldsList(scan, beside)) {
      const std::string object = text_.Take() + "0}";
      EnterList(/*in_object=*/true);
      return LookBeside(object, value.line);
    } else {
      scan.stop_at_array = false;
    }
    scan.deepest = std::max(scan.deepest, ++scan.depth);
    scan.values++;
    Take(1);
  }
  if (beside) {
    if (!scan.complete) return Broken("the object that holds the list is not closed");
    place_ = Place::kTop;
    return LookBeside(text_.Take(), value.line);
  }
  if (scan.complete) {
    LookAtRestOfLine();
  } else if (const int64_t last = line_ - fresh_line_; last > value.line) {
    value.problem = "not valid JSON: the object is not closed by the end of line " + std::to_string(last);
    if (!another) value.problem += SkipToNextObject();
  }
  Finish(&value, scan);
  return value;
}

// Whether the object that is being read is none of a job, so that its next field is the list.
bool JsonValues::HoldsList(const Scan& scan, bool beside) const {
  if (text_.state() != BoundedText::State::kWhole || scan.values > kMaxEntryValues) return false;
  const json object = json::parse(text_.text() + "0}", nullptr, false);
  if (!object.is_object()) return false;
  const auto has = [&](const char* name) { return object.contains(name); };
  return beside || !(has("prompt") || has("custom_id") || has("body") || has("tag"));
}

// Fields beside the list: those of a job would be lost.
std::optional<JsonValues::Value> JsonValues::LookBeside(const std::string& text, int64_t line) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return Broken("what stands behind the list is not valid JSON");
  Value value;
  value.line = line;
  for (const auto& [name, field] : object.items()) {
    const bool known = PictureFields::Knows(name);
    if (known && value.problem.empty())
      value.problem = Printable(name) + " stands beside the list; it must stand in every entry";
    if (!known && !name.empty() &&
        std::find(std::begin(kListNames), std::end(kListNames), name) == std::end(kListNames))
      passed_over_++;
  }
  if (value.problem.empty()) return {};
  return value;
}

// Behind an object at most another one begins in the same line; whatever else stands there belongs to it, and
// makes it invalid.
void JsonValues::LookAtRestOfLine() {
  while (!fresh_line_ && More()) {
    const char c = piece_[0];
    if (c == '{' || c == '[') return;
    if (!IsSpace(c) && c != ',') return TakeRestOfLine();
    Advance(1);
  }
}

void JsonValues::TakeRestOfLine() {
  for (bool more = More(); more; more = !fresh_line_ && More()) {
    const size_t text = piece_.size() - piece_.ends_with('\n');
    text_.Append(piece_.substr(0, text));
    Advance(piece_.size());
  }
}

// After a broken object of several lines. What is skipped, for the message.
std::string JsonValues::SkipToNextObject() {
  int64_t last = 0;
  while (More() && !(fresh_line_ && (piece_[0] == '{' || piece_[0] == '['))) {
    last = line_;
    Advance(piece_.size());
  }
  return last == 0 ? "" : "; what follows it, to line " + std::to_string(last) + ", was not read";
}

void JsonValues::Take(size_t bytes) {
  text_.Append(piece_.substr(0, bytes));
  Advance(bytes);
}

void JsonValues::Finish(Value* value, const Scan& scan) {
  value->bytes = text_.bytes();
  value->too_large = scan.values > kMaxEntryValues || scan.deepest > kMaxJsonDepth;
  if (value->problem.empty()) value->problem = text_.Problem("entry");
  value->text = text_.Take();
}

JsonValues::Value JsonValues::Broken(const std::string& problem) {
  Value value;
  value.line = line_;
  value.problem = "not valid JSON: " + problem + kRestUnread;
  text_.Take();
  Stop();
  return value;
}

// How many bytes belong to the value.
size_t JsonValues::ScanSome(std::string_view text, Scan* scan) {
  size_t i = 0;
  const auto complete = [&](size_t end) {
    scan->complete = true;
    return end;
  };
  while (i < text.size()) {
    const char c = text[i];
    if (scan->in_string) {
      if (c == '\n') {
        scan->torn = true;
        return i;
      }
      i++;
      if (scan->escaped) {
        scan->escaped = false;
      } else if (c == '\\') {
        scan->escaped = true;
      } else if (c == '"') {
        scan->in_string = false;
        if (scan->depth == 0) return complete(i);
      }
      continue;
    }
    if (scan->depth == 0 && scan->scalar && (IsSpace(c) || c == ',' || c == ']' || c == '}'))
      return complete(i);
    i++;
    switch (c) {
      case '"':
        scan->in_string = true;
        break;
      case '[':
        if (scan->stop_at_array && scan->depth == 1) {
          scan->at_array = true;
          return i - 1;
        }
        [[fallthrough]];
      case '{':
        scan->deepest = std::max(scan->deepest, ++scan->depth);
        scan->values++;
        break;
      case ']':
      case '}':
        if (--scan->depth <= 0) return complete(i);
        break;
      case ',':
        scan->values++;
        break;
      default:
        scan->scalar |= scan->depth == 0;
    }
  }
  return i;
}

}  // namespace bifrons
