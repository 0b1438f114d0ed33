#include "src/jobs/job_reader.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "src/base/json_depth.h"
#include "src/jobs/job_parser.h"
#include "src/jobs/json_values.h"
#include "src/jobs/line_reader.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

using nlohmann::json;

JobFormat FormatOfValue(const JsonValues::Value& value) {
  ParsedEntry parsed;
  if (!value.problem.empty() || value.too_large) parsed.mistake.Report("", "not to be parsed");
  const json object = ParseValue(value.text, &parsed);
  const auto has = [&](const char* key) {
    // The first entry may be the broken one of many good ones.
    return parsed.mistake.error ? value.text.find('"' + std::string(key) + '"') != std::string::npos
                                : object.contains(key);
  };
  if (has("custom_id") || has("body")) return JobFormat::kOpenAi;
  if (has("tag") && has("include")) return JobFormat::kGenEval;
  return JobFormat::kJson;
}

std::unique_ptr<JobParser> MakeParser(JobFormat format) {
  if (format == JobFormat::kOpenAi) return MakeOpenAiParser();
  if (format == JobFormat::kGenEval) return MakeGenEvalParser();
  return MakeJsonParser();
}

bool IsNamedCsv(const std::string& path) { return path.ends_with(".csv") || path.ends_with(".tsv"); }

// Bytes from the beginning that are ASCII, eight at a time.
size_t AsciiBytes(std::string_view text) {
  size_t i = 0;
  for (uint64_t word; i + sizeof word <= text.size(); i += sizeof word) {
    std::memcpy(&word, text.data() + i, sizeof word);
    if (word & 0x8080808080808080) break;
  }
  return i;
}

void CheckText(const std::string& text, Mistake* mistake) {
  if (const size_t nul = text.find('\0'); nul != std::string::npos)
    mistake->Report("", "a NUL character stands at byte " + std::to_string(nul + 1));
  for (size_t i = AsciiBytes(text); i < text.size();) {
    const CodePoint c = DecodeUtf8(std::string_view(text).substr(i));
    if (!c.valid) return mistake->Report("", "not UTF-8 at byte " + std::to_string(i + 1));
    i += static_cast<size_t>(c.bytes);
    if (c.bytes == 1) i += AsciiBytes(std::string_view(text).substr(i));
  }
}

// The indices of entries: their positions, except where they name one of their own.
class Indices {
 public:
  /// The next entry's. One that another entry has is a mistake.
  int64_t Next(std::optional<int64_t> own, Mistake* mistake) {
    const int64_t index = own.value_or(position_);
    position_++;
    uint64_t& taken = taken_[index >> 6];
    const uint64_t bit = uint64_t{1} << (index & 63);
    if (taken & bit) mistake->Report("index", "is " + std::to_string(index) + ", which another entry has");
    taken |= bit;
    return index;
  }

 private:
  int64_t position_ = 0;
  std::unordered_map<int64_t, uint64_t> taken_;  // 64 indices each
};

// What readers of all formats have in common.
class ListReader : public JobReader {
 public:
  ListReader(std::string name, JobFormat format, std::unique_ptr<JobParser> parser)
      : name_(std::move(name)), format_(format), parser_(std::move(parser)) {}

  JobFormat format() const override { return format_; }
  std::vector<std::string> ignored_columns() const override { return parser_->ignored_columns(); }

  Result<std::optional<Entry>> Next() override {
    line_ = 0, bytes_ = 0;
    try {
      return Read();
    } catch (const std::bad_alloc&) {
    } catch (const std::length_error&) {
    }
    // All of the entry is freed by now.
    ReleaseFreedMemory();
    ParsedEntry parsed;
    parser_->Abandon(&parsed);
    parsed = {};
    parsed.line = line_;
    parsed.mistake.Report("", NoMemoryToRead(bytes_ == 0 ? "entry" : "line", bytes_));
    return std::optional(Finish(std::move(parsed)));
  }

 protected:
  virtual Result<std::optional<Entry>> Read() = 0;

  /// Of what is being read now: for the message if memory ends.
  void Reading(int64_t line, size_t bytes) { line_ = line, bytes_ += bytes; }

  JobParser& parser() { return *parser_; }

  Entry Finish(ParsedEntry parsed) {
    parsed.job.where = name_ + " line " + std::to_string(parsed.line);
    parsed.job.index = indices_.Next(parsed.index, &parsed.mistake);
    if (!parsed.mistake.error) return std::move(parsed.job);
    Error error = std::move(*parsed.mistake.error);
    error.message = OneLine(error.message);
    error.field = std::move(parsed.mistake.field);
    return BadJob{parsed.job.index, std::move(parsed.job.where), std::move(parsed.job.custom_id),
                  std::move(error), parsed.duplicate};
  }

 private:
  std::string name_;
  JobFormat format_;
  std::unique_ptr<JobParser> parser_;
  Indices indices_;
  int64_t line_ = 0;
  size_t bytes_ = 0;
};

// Prompts, and CSV.
class LineJobReader : public ListReader {
 public:
  LineJobReader(std::string name, JobFormat format, std::unique_ptr<JobParser> parser, LineReader lines,
                std::optional<LineReader::Line> first, std::string comments, int64_t passed_over)
      : ListReader(std::move(name), format, std::move(parser)),
        lines_(std::move(lines)),
        first_(std::move(first)),
        comments_(std::move(comments)),
        passed_over_(passed_over) {}

  int64_t passed_over() const override { return passed_over_; }

 private:
  Result<std::optional<Entry>> Read() override {
    ParsedEntry parsed;
    for (;;) {
      BIFRONS_TRY(const std::optional<LineReader::Line> line, NextLine());
      if (!line) {
        if (parsed.line == 0) return std::optional<Entry>();
        parser().Abandon(&parsed);
        return std::optional(Finish(std::move(parsed)));
      }
      const bool begins = parsed.line == 0;
      if (begins && IsComment(line->text)) {
        passed_over_++;
        continue;
      }
      if (begins) parsed.line = line->number;
      Reading(parsed.line, line->bytes);
      if (!line->problem.empty()) {
        parsed.mistake.Report("", line->problem);
        parser().Abandon(&parsed);
        return std::optional(Finish(std::move(parsed)));
      }
      CheckText(line->text, &parsed.mistake);
      switch (parser().Take(line->text, &parsed)) {
        case JobParser::Taken::kPassedOver:
          passed_over_++;
          [[fallthrough]];
        case JobParser::Taken::kNothing:
          parsed = {};
          break;
        case JobParser::Taken::kPart:
          break;
        case JobParser::Taken::kEntry:
          return std::optional(Finish(std::move(parsed)));
      }
    }
  }

  bool IsComment(const std::string& line) const {
    return !comments_.empty() && StripPythonWhitespace(line).starts_with(comments_);
  }

  Result<std::optional<LineReader::Line>> NextLine() {
    if (first_) return std::exchange(first_, std::nullopt);
    return lines_.Next();
  }

  LineReader lines_;
  std::optional<LineReader::Line> first_;  // read to recognise the format
  std::string comments_;
  int64_t passed_over_;
};

class JsonJobReader : public ListReader {
 public:
  JsonJobReader(std::string name, JobFormat format, JsonValues values, std::optional<JsonValues::Value> first,
                int64_t passed_over)
      : ListReader(std::move(name), format, MakeParser(format)),
        values_(std::move(values)),
        first_(std::move(first)),
        passed_over_(passed_over) {}

  int64_t passed_over() const override { return passed_over_ + values_.passed_over(); }

 private:
  Result<std::optional<Entry>> Read() override {
    BIFRONS_TRY(const std::optional<JsonValues::Value> value, NextValue());
    if (!value) return std::optional<Entry>();
    Reading(value->line, value->bytes);
    ParsedEntry parsed;
    parsed.line = value->line;
    if (!value->problem.empty()) {
      parsed.mistake.Report("", value->problem);
    } else if (value->too_large) {
      parsed.mistake.Report("", "it holds more than " + std::to_string(kMaxEntryValues) +
                                    " values, or is nested deeper than " + std::to_string(kMaxJsonDepth) +
                                    " levels");
      parsed.no_json = value->in_array && !json::accept(value->text);
    } else {
      CheckText(value->text, &parsed.mistake);
      if (parsed.mistake.error && value->in_array)
        parsed.no_json = !json::accept(ReplaceInvalidUtf8(value->text));
    }
    parser().Take(value->text, &parsed);
    if (value->in_array && parsed.no_json) {
      values_.Stop();
      parsed.mistake.error->message += "; nothing from here on was read";
    }
    return std::optional(Finish(std::move(parsed)));
  }

  Result<std::optional<JsonValues::Value>> NextValue() {
    if (first_) return std::exchange(first_, std::nullopt);
    return values_.Next();
  }

  JsonValues values_;
  std::optional<JsonValues::Value> first_;  // read to recognise the format
  int64_t passed_over_;
};

// What a file that begins so is; null: nothing that is known by its beginning.
const char* KnownBinary(std::string_view beginning) {
  constexpr struct {
    std::string_view start;
    const char* name;
  } kKnown[] = {{"\x89PNG", "a PNG picture"},
                {"\xFF\xD8\xFF", "a JPEG picture"},
                {"GIF87a", "a GIF picture"},
                {"GIF89a", "a GIF picture"},
                {"%PDF-", "a PDF document"}};
  for (const auto& known : kKnown)
    if (beginning.starts_with(known.start)) return known.name;
  const bool webp = beginning.starts_with("RIFF") && beginning.substr(0, 12).ends_with("WEBP");
  return webp ? "a WebP picture" : beginning.find('\0') != beginning.npos ? "binary" : nullptr;
}

// Files that other programs would have to turn into text, and those that hold none.
Status CheckIsText(const std::string& name, std::string_view beginning) {
  if (beginning.starts_with("\xFF\xFE") || beginning.starts_with("\xFE\xFF"))
    return DataError(name + ": this is UTF-16; save it as UTF-8");
  if (beginning.starts_with("PK\x03\x04"))
    return DataError(name + ": this is a ZIP archive, as Excel's files are; save it as CSV in UTF-8");
  if (beginning.starts_with("\x1F\x8B"))
    return DataError(name + ": this is compressed by gzip; unpack it first");
  if (const char* const known = KnownBinary(beginning))
    return DataError(name + ": this is " + known + ", not a list of prompts");
  return {};
}

}  // namespace

Result<std::unique_ptr<JobReader>> JobReader::Open(const std::string& path, const std::string& comments) {
  BIFRONS_TRY(LineReader lines, LineReader::Open(path));
  const std::string name = path == "-" ? "standard input" : path;
  int64_t passed_over = 0;
  const auto unreadable = [](const Error& error) { return DataError(error.message); };
  // The next line that is neither empty nor a comment; of one that may be JSON, only where `json` says so.
  std::optional<LineReader::Line> first;
  const auto find_line = [&](bool* json) -> Status {
    for (;;) {
      if (json) {
        BIFRONS_TRY(*json, JsonBegins(lines));
        if (*json) return {};
      }
      BIFRONS_TRY(first, lines.Next());
      if (!first || !first->problem.empty()) return {};
      const std::string_view text = StripPythonWhitespace(first->text);
      const bool comment = !comments.empty() && text.starts_with(comments);
      if (!text.empty() && !comment) return {};
      passed_over += comment;
    }
  };

  bool is_json = false;
  if (const Status found = find_line(&is_json); !found.ok()) return unreadable(found.error());
  if (is_json) {
    JsonValues values(std::move(lines), comments);
    auto value = values.Next();
    if (!value.ok()) return unreadable(value.error());
    const JobFormat format = *value ? FormatOfValue(**value) : JobFormat::kJson;
    return std::unique_ptr<JobReader>(
        std::make_unique<JsonJobReader>(name, format, std::move(values), std::move(*value), passed_over));
  }
  const auto text = [&] { return first ? first->text : std::string(); };
  BIFRONS_RETURN_IF_ERROR(CheckIsText(name, text()));
  const std::optional<char> separator = CsvSeparator(text());
  if (separator) {
    if (const Status found = find_line(nullptr); !found.ok()) return unreadable(found.error());
  }
  const bool whole = first && first->problem.empty();
  if (!separator && !(whole && IsCsvHeader(text())) && !(first && IsNamedCsv(path))) {
    return std::unique_ptr<JobReader>(
        std::make_unique<LineJobReader>(name, JobFormat::kLines, MakeLinesParser(), std::move(lines),
                                        std::move(first), comments, passed_over));
  }
  if (first && !whole) return DataError(name + ": the header: " + first->problem);
  auto parser = MakeCsvParser(separator, text(), [&]() -> Result<std::optional<std::string>> {
    BIFRONS_TRY(auto line, lines.Next());
    return line && line->problem.empty() ? std::optional(std::move(line->text)) : std::nullopt;
  });
  if (!parser.ok()) return Error{parser.error().kind, name + ": " + parser.error().message};
  return std::unique_ptr<JobReader>(std::make_unique<LineJobReader>(
      name, JobFormat::kCsv, std::move(*parser), std::move(lines), std::nullopt, comments, passed_over));
}

}  // namespace bifrons
