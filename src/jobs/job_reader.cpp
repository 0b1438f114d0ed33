#include "src/jobs/job_reader.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "src/jobs/job_parser.h"
#include "src/jobs/line_reader.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

using nlohmann::json;

JobFormat FormatOfObject(const std::string& line) {
  Mistake broken;
  const json object = ParseObject(line, &broken);
  const auto has = [&](const char* key) {
    // The first line may be the broken one of many good ones.
    return broken.error ? line.find('"' + std::string(key) + '"') != std::string::npos : object.contains(key);
  };
  if (has("custom_id") || has("body")) return JobFormat::kOpenAi;
  if (has("tag") && has("include")) return JobFormat::kGenEval;
  return JobFormat::kJson;
}

bool IsNamedCsv(const std::string& path) { return path.ends_with(".csv") || path.ends_with(".tsv"); }

JobFormat Recognise(const std::string& line, const std::string& path) {
  if (LooksLikeObject(line)) return FormatOfObject(line);
  return IsCsvHeader(line) || IsNamedCsv(path) ? JobFormat::kCsv : JobFormat::kLines;
}

Result<std::unique_ptr<JobParser>> MakeParser(JobFormat format, const std::string& line) {
  switch (format) {
    case JobFormat::kLines:
      return MakeLinesParser();
    case JobFormat::kJson:
      return MakeJsonParser();
    case JobFormat::kOpenAi:
      return MakeOpenAiParser();
    case JobFormat::kGenEval:
      return MakeGenEvalParser();
    case JobFormat::kCsv:
      break;
  }
  return MakeCsvParser(line);
}

void CheckText(const std::string& text, Mistake* mistake) {
  if (const size_t nul = text.find('\0'); nul != std::string::npos)
    mistake->Report("", "a NUL character stands at byte " + std::to_string(nul + 1));
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = DecodeUtf8(std::string_view(text).substr(i));
    if (!c.valid) return mistake->Report("", "not UTF-8 at byte " + std::to_string(i + 1));
    i += static_cast<size_t>(c.bytes);
  }
}

// The indices of entries: their positions, except where they name one of their own.
class Indices {
 public:
  /// The next entry's. An own one that another entry has is a mistake.
  int64_t Next(std::optional<int64_t> own, Mistake* mistake) {
    const int64_t position = position_++;
    const int64_t index = own.value_or(position);
    const bool taken = own_.contains(index) || (index < position && !named_.contains(index));
    if (taken) mistake->Report("index", "is " + std::to_string(index) + ", which another entry has");
    if (own) own_.insert(*own), named_.insert(position);
    return index;
  }

 private:
  int64_t position_ = 0;
  std::unordered_set<int64_t> own_;    // indices that entries named
  std::unordered_set<int64_t> named_;  // positions of those entries
};

class LineJobReader : public JobReader {
 public:
  LineJobReader(std::string name, LineReader lines, std::optional<LineReader::Line> first, JobFormat format,
                std::unique_ptr<JobParser> parser)
      : name_(std::move(name)),
        lines_(std::move(lines)),
        first_(std::move(first)),
        format_(format),
        parser_(std::move(parser)) {}

  JobFormat format() const override { return format_; }

  Result<std::optional<Entry>> Next() override {
    ParsedEntry parsed;
    for (;;) {
      BIFRONS_TRY(const std::optional<LineReader::Line> line, NextLine());
      if (!line) {
        if (parsed.line == 0) return std::optional<Entry>();
        parser_->Abandon(&parsed);
        return std::optional(Finish(std::move(parsed)));
      }
      const bool begins = parsed.line == 0;
      if (begins) parsed.line = line->number;
      if (line->too_long) {
        parsed.mistake.Report("", "the line is longer than " + std::to_string(kMaxLineBytes >> 20) + " MB");
        parser_->Abandon(&parsed);
        return std::optional(Finish(std::move(parsed)));
      }
      CheckText(line->text, &parsed.mistake);
      switch (parser_->Take(line->text, &parsed)) {
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

 private:
  Result<std::optional<LineReader::Line>> NextLine() {
    if (first_) return std::exchange(first_, std::nullopt);
    return lines_.Next();
  }

  Entry Finish(ParsedEntry parsed) {
    parsed.job.where = name_ + " line " + std::to_string(parsed.line);
    parsed.job.index = indices_.Next(parsed.index, &parsed.mistake);
    if (!parsed.mistake.error) return std::move(parsed.job);
    Error error = std::move(*parsed.mistake.error);
    error.message = OneLine(error.message);
    error.field = std::move(parsed.mistake.field);
    return BadJob{parsed.job.index, std::move(parsed.job.where), std::move(parsed.job.custom_id),
                  std::move(error)};
  }

  std::string name_;
  LineReader lines_;
  std::optional<LineReader::Line> first_;  // read to recognise the format
  JobFormat format_;
  std::unique_ptr<JobParser> parser_;
  Indices indices_;
};

}  // namespace

Result<std::unique_ptr<JobReader>> JobReader::Open(const std::string& path) {
  BIFRONS_TRY(LineReader lines, LineReader::Open(path));
  const std::string name = path == "-" ? "standard input" : path;
  std::optional<LineReader::Line> first;
  do {
    Result<std::optional<LineReader::Line>> line = lines.Next();
    if (!line.ok()) return UsageError(line.error().message);
    first = std::move(*line);
  } while (first && !first->too_long && (IsBlank(first->text) || first->text.starts_with('#')));
  const std::string text = first ? first->text : "";
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF"))
    return DataError(name + ": this is UTF-16; save it as UTF-8");
  const JobFormat format = first ? Recognise(text, path) : JobFormat::kLines;
  Result<std::unique_ptr<JobParser>> parser = MakeParser(format, text);
  if (!parser.ok()) return Error{parser.error().kind, name + ": " + parser.error().message};
  if (format == JobFormat::kCsv) first.reset();
  return std::unique_ptr<JobReader>(std::make_unique<LineJobReader>(name, std::move(lines), std::move(first),
                                                                    format, std::move(parser).value()));
}

}  // namespace bifrons
