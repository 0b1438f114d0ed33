// CSV with a header (RFC 4180); commas, semicolons or tabs between cells, or what Excel's "sep=" says.
// Columns that are not ours are ignored, and told.
#include <algorithm>
#include <vector>

#include "src/base/printable.h"
#include "src/jobs/job_parser.h"
#include "src/jobs/line_reader.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

// Spreadsheets end at 16,384 columns.
constexpr size_t kMaxColumns = 100'000;
constexpr size_t kMaxCellBytes = size_t{16} << 20;
constexpr size_t kMaxHeaderBytes = size_t{4} << 20;

// The cells of one record, which may go on over several lines. Those beyond `most` are counted only.
class CsvRecord {
 public:
  CsvRecord(char separator, size_t most) : separator_(separator), most_(most) {}

  bool open() const { return state_ == State::kQuoted; }
  bool malformed() const { return malformed_; }
  bool too_long() const { return too_long_; }
  /// Nothing but separators and white space.
  bool empty() const { return empty_; }
  size_t bytes() const { return bytes_; }
  size_t count() const { return count_; }
  const std::vector<std::string>& cells() const { return cells_; }

  void Add(std::string_view line) {
    open() ? Put("\n") : NextCell();
    while (!line.empty()) {
      const char c = line.front();
      if (state_ == State::kQuoted) {
        Put(TakeUntil('"', &line));
        if (!line.empty()) state_ = State::kQuoteInQuoted, line.remove_prefix(1);
      } else if (c == separator_) {
        line.remove_prefix(1);
        NextCell();
      } else if (c == '"' && state_ == State::kStart) {
        line.remove_prefix(1);
        state_ = State::kQuoted;
      } else if (c == '"' && state_ == State::kQuoteInQuoted) {
        line.remove_prefix(1);
        Put("\"");
        state_ = State::kQuoted;
      } else {
        malformed_ |= state_ == State::kQuoteInQuoted;
        Put(TakeUntil(separator_, &line));
        state_ = State::kPlain;
      }
    }
  }

  /// The next record begins.
  void Clear() {
    for (size_t i = 0; i < std::min(count_, cells_.size()); i++) {
      if (cells_[i].capacity() > kKeptBytes) std::string().swap(cells_[i]);
      cells_[i].clear();
    }
    state_ = State::kStart;
    malformed_ = too_long_ = false;
    empty_ = true;
    count_ = bytes_ = cell_bytes_ = 0;
  }

 private:
  enum class State { kStart, kPlain, kQuoted, kQuoteInQuoted };
  static constexpr size_t kKeptBytes = 256;  // of a cell, for the next record's

  static std::string_view TakeUntil(char end, std::string_view* line) {
    const std::string_view taken = line->substr(0, line->find(end));
    line->remove_prefix(taken.size());
    return taken;
  }

  void NextCell() {
    state_ = State::kStart;
    cell_bytes_ = 0;
    if (count_++ >= cells_.size() && cells_.size() < most_) cells_.emplace_back();
  }

  void Put(std::string_view text) {
    bytes_ += text.size();
    cell_bytes_ += text.size();
    empty_ = empty_ && text.find_first_not_of(" \t\n\r") == std::string_view::npos;
    too_long_ |= cell_bytes_ > kMaxCellBytes;
    if (count_ <= cells_.size() && !too_long_) cells_[count_ - 1] += text;
  }

  char separator_;
  size_t most_;
  State state_ = State::kStart;
  bool malformed_ = false;  // something between a closing quote and the separator
  bool too_long_ = false;   // one of the cells
  bool empty_ = true;
  size_t count_ = 0, bytes_ = 0, cell_bytes_ = 0;
  std::vector<std::string> cells_;  // of this record, and room of earlier ones
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

// People write a field's name as a title, and as the program's options are written.
std::string ColumnName(std::string_view cell) {
  std::string name(StripPythonWhitespace(cell));
  for (char& c : name) {
    c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c == '-' || c == ' ' ? '_' : c);
  }
  return name;
}

struct Column {
  size_t at;
  std::string name;
};

class CsvParser : public JobParser {
 public:
  /// `columns`: those that are fields, of `count`; `ignored`: the names of others.
  CsvParser(char separator, std::vector<Column> columns, std::vector<std::string> ignored, size_t count)
      : columns_(std::move(columns)),
        ignored_(std::move(ignored)),
        count_(count),
        record_(separator, count) {}

  std::vector<std::string> ignored_columns() const override { return ignored_; }

  Taken Take(const std::string& line, ParsedEntry* entry) override {
    if (!record_.open() && IsBlank(line) && !entry->mistake.error) return Taken::kNothing;
    record_.Add(line);
    if (record_.open() && record_.bytes() <= kMaxLineBytes && !record_.too_long()) return Taken::kPart;
    if (record_.open()) {
      Abandon(entry);
      return Taken::kEntry;
    }
    if (record_.empty() && !entry->mistake.error) {
      record_.Clear();
      return Taken::kPassedOver;
    }
    if (record_.malformed())
      entry->mistake.Report("", "a closing \" is followed by something else than a separator");
    if (record_.too_long())
      entry->mistake.Report("", "a cell is longer than " + std::to_string(kMaxCellBytes >> 20) + " MB");
    if (record_.count() != count_) {
      entry->mistake.Report("", "the header names " + std::to_string(count_) + " columns, but there are " +
                                    std::to_string(record_.count()) +
                                    " cells; a cell with a separator inside needs quotes");
    }
    PictureFields fields("", &entry->mistake);
    for (const Column& column : columns_) {
#ifndef BIFRONS_PLANTED_BUGS
      if (column.at >= record_.count()) break;
#endif
      fields.Set(column.name, FieldValue::OfText(StripPythonWhitespace(record_.cells()[column.at])));
    }
    entry->job.picture = fields.Take();
    entry->index = fields.index();
    record_.Clear();
    return Taken::kEntry;
  }

  void Abandon(ParsedEntry* entry) override {
    if (record_.too_long()) {
      entry->mistake.Report("", "a quotation \" that begins here is not closed within " +
                                    std::to_string(kMaxCellBytes >> 20) + " MB, which were not read");
    } else if (record_.bytes() > kMaxLineBytes) {
      entry->mistake.Report("", "the record is longer than " + std::to_string(kMaxLineBytes >> 20) +
                                    " MB, which were not read");
    } else if (record_.open()) {
      entry->mistake.Report("", "a quotation \" that begins here is not closed");
    }
    record_.Clear();
  }

 private:
  std::vector<Column> columns_;
  std::vector<std::string> ignored_;
  size_t count_;
  CsvRecord record_;
};

}  // namespace

bool IsCsvHeader(const std::string& line) {
  if (line.size() > kMaxHeaderBytes) return false;
  CsvRecord record(FindSeparator(line), kMaxColumns);
  record.Add(line);
  return std::any_of(record.cells().begin(), record.cells().end(),
                     [](const std::string& cell) { return ColumnName(cell) == "prompt"; });
}

std::optional<char> CsvSeparator(std::string_view line) {
  if (line.size() == 7 && line.starts_with('"') && line.ends_with('"')) line = line.substr(1, 5);
  const bool says = line.size() == 5 && ColumnName(line.substr(0, 4)) == "sep=" && line[4] != '"';
  return says ? std::optional(line[4]) : std::nullopt;
}

Result<std::unique_ptr<JobParser>> MakeCsvParser(
    std::optional<char> separator, const std::string& first,
    const std::function<Result<std::optional<std::string>>()>& next) {
  const char between = separator.value_or(FindSeparator(first));
  CsvRecord header(between, kMaxColumns);
  header.Add(first);
  while (header.open()) {
    BIFRONS_TRY(const std::optional<std::string> line, next());
    if (line) header.Add(*line);
    if (!line || header.bytes() > kMaxHeaderBytes)
      return DataError("a quotation \" in the header is not closed");
  }
  if (header.count() > kMaxColumns)
    return DataError("the header names more than " + std::to_string(kMaxColumns) + " columns");
  std::vector<Column> columns;
  std::vector<std::string> ignored;
  for (size_t i = 0; i < header.count(); i++) {
    std::string name = ColumnName(header.cells()[i]);
    if (!PictureFields::Knows(name)) {
      if (!name.empty()) ignored.push_back(std::move(name));
      continue;
    }
    for (const Column& other : columns) {
      if (PictureFields::Same(other.name, name))
        return DataError("the columns " + other.name + " and " + name + " are the same field");
    }
    columns.push_back({i, std::move(name)});
  }
  if (std::none_of(columns.begin(), columns.end(), [](const Column& c) { return c.name == "prompt"; }))
    return DataError("no column is named prompt: the header is " + Printable(first));
  return std::unique_ptr<JobParser>(
      std::make_unique<CsvParser>(between, std::move(columns), std::move(ignored), header.count()));
}

}  // namespace bifrons
