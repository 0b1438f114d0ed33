// The values of JSON text that are entries of a list, each as soon as it is complete: lines of JSON, objects
// over many lines, the elements of an array, or of an array that an object holds. Only one is in memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "src/jobs/line_reader.h"

namespace bifrons {

/// Names under which an object may hold the list.
constexpr std::string_view kListNames[] = {"jobs", "prompts", "requests", "entries", "items", "data"};

/// An entry has a few dozen, a long conversation a few thousand. A parsed value takes some twenty times the
/// room of its text.
constexpr size_t kMaxEntryValues = 100'000;

/// Whether what comes next is an array or object of JSON; prompts of web UIs may begin with [ or { as well.
/// Errors: LineReader::Peek's.
Result<bool> JsonBegins(LineReader& lines);

class JsonValues {
 public:
  struct Value {
    int64_t line = 0;        // where it begins, from 1
    std::string text;        // the value, not parsed yet; only its beginning where there is a problem
    size_t bytes = 0;        // of the whole
    std::string problem;     // why it cannot be read; "" where it may be
    bool too_large = false;  // more values, or deeper, than may be parsed
    bool in_array = false;   // what follows can be found only if this is valid JSON
  };

  /// `lines` stands at the beginning of a line. Between values, lines that begin with `comments` are passed
  /// over; "" = none.
  JsonValues(LineReader lines, std::string comments);

  /// Waits for the next value; nothing at the end. Errors: the input cannot be read (kFailure).
  Result<std::optional<Value>> Next();
  /// Nothing more is to be read.
  void Stop() { place_ = Place::kStopped; }

  /// Of the line that is being read.
  int64_t line() const { return line_; }
  /// Comments, and fields beside a list, so far.
  int64_t passed_over() const { return passed_over_; }

 private:
  enum class Place {
    kTop,     // between values, none of which needs another
    kList,    // in an array
    kBeside,  // behind a list, in the object that holds it
    kStopped,
  };
  /// Where in a value the scan is: enough to find its end if it is valid.
  struct Scan {
    int depth = 0, deepest = 0;
    size_t values = 1;  // at most
    bool in_string = false, escaped = false, scalar = false;
    bool complete = false, torn = false;           // torn: a line ends in a string
    bool stop_at_array = false, at_array = false;  // before one that a field of the outermost object holds
  };
  static size_t ScanSome(std::string_view text, Scan* scan);

  bool More();
  void Advance(size_t bytes);
  void Take(size_t bytes);
  void TakeRestOfLine();
  // What is read where `place_` says so; nothing: go on.
  std::optional<Value> ReadTop();
  std::optional<Value> ReadLine();
  std::optional<Value> ReadElement();
  std::optional<Value> ReadObject();
  void EnterList(bool in_object);
  bool HoldsList(const Scan& scan, bool beside) const;
  std::optional<Value> LookBeside(const std::string& text, int64_t line);
  void LookAtRestOfLine();
  std::string SkipToNextObject();
  void Finish(Value* value, const Scan& scan);
  Value Broken(const std::string& problem);

  LineReader lines_;
  std::string comments_;
  Place place_ = Place::kTop;
  std::string_view piece_;  // of the line that is being read; empty: to be fetched
  bool fresh_line_ = true;  // nothing of the line has been taken
  bool ended_ = false;
  Status status_;
  int64_t line_;
  int64_t list_line_ = 0;     // where the array begins
  bool in_object_ = false;    // the array stands in an object
  bool after_value_ = false;  // in an array: a comma or the end must come
  BoundedText text_{kMaxLineBytes};
  int64_t passed_over_ = 0;
};

}  // namespace bifrons
