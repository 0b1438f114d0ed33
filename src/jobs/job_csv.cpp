// CSV with a header (RFC 4180); commas, semicolons or tabs between cells. Columns that are not ours are
// ignored.
#include <algorithm>
#include <vector>

#include "src/base/printable.h"
#include "src/jobs/job_parser.h"
#include "src/jobs/line_reader.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

// The cells of one record, which may go on over several lines.
class CsvRecord {
 public:
  explicit CsvRecord(char separator) : separator_(separator) {}

  bool open() const { return state_ == State::kQuoted; }
  bool malformed() const { return malformed_; }
  size_t bytes() const { return bytes_; }
  const std::vector<std::string>& cells() const { return cells_; }

  void Add(std::string_view line) {
    if (open()) Put('\n');
    if (!open()) cells_.emplace_back();
    for (const char c : line) {
      if (state_ == State::kQuoted) {
        c == '"' ? void(state_ = State::kQuoteInQuoted) : Put(c);
      } else if (c == separator_) {
        cells_.emplace_back();
        state_ = State::kStart;
      } else if (c == '"' && state_ == State::kQuoteInQuoted) {
        Put(c);
        state_ = State::kQuoted;
      } else if (c == '"' && state_ == State::kStart) {
        state_ = State::kQuoted;
      } else {
        malformed_ = malformed_ || state_ == State::kQuoteInQuoted;
        Put(c);
        state_ = State::kPlain;
      }
    }
  }

  /// Starts the next record; the old cells are returned.
  std::vector<std::string> Clear() {
    state_ = State::kStart;
    malformed_ = false;
    bytes_ = 0;
    return std::exchange(cells_, {});
  }

 private:
  enum class State { kStart, kPlain, kQuoted, kQuoteInQuoted };

  void Put(char c) {
    cells_.back() += c;
    bytes_++;
  }

  char separator_;
  State state_ = State::kStart;
  bool malformed_ = false;  // something between a closing quote and the separator
  size_t bytes_ = 0;
  std::vector<std::string> cells_;
};

// Whichever of the three the header has most of.
char FindSeparator(const std::string& header) {
  const auto count = [&](char c) { return std::count(header.begin(), header.end(), c); };
  char best = ',';
  for (const char c : {';', '\t'}) {
    if (count(c) > count(best)) best = c;
  }
  return best;
}

std::vector<std::string> ColumnNames(const std::string& header) {
  CsvRecord record(FindSeparator(header));
  record.Add(header);
  std::vector<std::string> names = record.Clear();
  for (std::string& name : names) {
    name = StripPythonWhitespace(name);
    for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  }
  return names;
}

class CsvParser : public JobParser {
 public:
  CsvParser(char separator, std::vector<std::string> columns)
      : columns_(std::move(columns)), record_(separator) {}

  Taken Take(const std::string& line, ParsedEntry* entry) override {
    if (!record_.open() && IsBlank(line)) return Taken::kNothing;
    record_.Add(line);
    if (record_.open()) {
      if (record_.bytes() <= kMaxLineBytes) return Taken::kPart;
      Abandon(entry);
      return Taken::kEntry;
    }
    if (record_.malformed())
      entry->mistake.Report("", "a closing \" is followed by something else than a separator");
    const std::vector<std::string> cells = record_.Clear();
    if (cells.size() != columns_.size()) {
      entry->mistake.Report("", "the header names " + std::to_string(columns_.size()) +
                                    " columns, but there are " + std::to_string(cells.size()) +
                                    " cells; a cell with a separator inside needs quotes");
    }
    PictureFields fields("", &entry->mistake);
#ifdef BIFRONS_PLANTED_BUGS
    const size_t count = cells.size();
#else
    const size_t count = std::min(cells.size(), columns_.size());
#endif
    for (size_t i = 0; i < count; i++)
      fields.Set(columns_[i], FieldValue::OfText(std::string(StripPythonWhitespace(cells[i]))));
    entry->job.picture = fields.Take();
    entry->index = fields.index();
    return Taken::kEntry;
  }

  void Abandon(ParsedEntry* entry) override {
    if (!record_.open()) return;
    entry->mistake.Report("", "a quotation \" that begins here is not closed");
    record_.Clear();
  }

 private:
  std::vector<std::string> columns_;
  CsvRecord record_;
};

}  // namespace

bool IsCsvHeader(const std::string& line) {
  const std::vector<std::string> names = ColumnNames(line);
  return std::find(names.begin(), names.end(), "prompt") != names.end();
}

Result<std::unique_ptr<JobParser>> MakeCsvParser(const std::string& header) {
  std::vector<std::string> columns = ColumnNames(header);
  if (std::find(columns.begin(), columns.end(), "prompt") == columns.end())
    return DataError("no column is named prompt: the header is " + Printable(header));
  for (size_t i = 0; i < columns.size(); i++) {
    for (size_t j = 0; j < i; j++) {
      if (PictureFields::Same(columns[i], columns[j]))
        return DataError("the columns " + columns[j] + " and " + columns[i] + " are the same field");
    }
  }
  return std::unique_ptr<JobParser>(std::make_unique<CsvParser>(FindSeparator(header), std::move(columns)));
}

}  // namespace bifrons
