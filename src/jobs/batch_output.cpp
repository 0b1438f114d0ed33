#include "src/jobs/batch_output.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "src/base/atomic_file.h"
#include "src/base/json_depth.h"
#include "src/jobs/openai_batch.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct BatchLine {
  std::string id, custom_id, request_id;
  bool is_answer = false;  // has a custom_id and a response
  bool success = false;
};

// Picks a line's few fields while it is read: the pictures in it would take their size again, and other
// values of a line of anybody's many times theirs.
class LineFields : public json::json_sax_t {
 public:
  explicit LineFields(BatchLine* line) : line_(line) {}

  bool start_object(size_t) override { return Enter(); }
  bool start_array(size_t) override { return Enter(); }
  bool end_object() override { return Leave(); }
  bool end_array() override { return Leave(); }
  bool key(std::string& name) override {
    if (depth_ == 1) field_ = name;
    if (depth_ == 1 && name == "response") has_response_ = true;
    if (depth_ == 2 && field_ == "response") in_response_ = name;
    return true;
  }
  bool string(std::string& text) override {
    if (depth_ == 1 && field_ == "id") line_->id = text;
    if (depth_ == 2 && field_ == "response" && in_response_ == "request_id") line_->request_id = text;
    if (depth_ == 1 && field_ == "custom_id") line_->custom_id = text, has_id_ = true;
#ifdef BIFRONS_PLANTED_BUGS
    if (depth_ == 1 && field_ == "custom_id") line_->custom_id = text.at(0);
#endif
    return true;
  }
  bool null() override {
    has_id_ |= depth_ == 1 && field_ == "custom_id";
    return true;
  }
  bool number_unsigned(uint64_t number) override {
    if (depth_ == 2 && field_ == "response" && in_response_ == "status_code") line_->success = number == 200;
    return true;
  }
  bool number_integer(int64_t) override { return true; }
  bool number_float(double, const std::string&) override { return true; }
  bool boolean(bool) override { return true; }
  bool binary(json::binary_t&) override { return true; }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  bool Enter() {
    depth_++;
    return true;
  }
  bool Leave() {
    line_->is_answer = --depth_ == 0 && has_id_ && has_response_;
    return true;
  }

  BatchLine* const line_;
  int depth_ = 0;
  bool has_id_ = false, has_response_ = false;
  std::string field_, in_response_;
};

// `ours`: not only an answer of some batch, but one that was written here, whose id follows from its
// custom_id.
Result<BatchLine> ParseLine(std::string_view text, const std::string& where, bool ours) {
  BIFRONS_RETURN_IF_ERROR(CheckJsonDepth(text, where));
  BatchLine line;
  LineFields fields(&line);
  const bool parsed = json::sax_parse(text, &fields);
  if (!parsed || !line.is_answer || (ours && line.id != BatchRequestId(line.custom_id))) {
    return DataError(where +
                     ": not an answer that bifrons wrote for a batch; move this file away, or take another "
                     "folder");
  }
  return line;
}

bool IsOutput(const std::string& name) { return name.starts_with("output") && name.ends_with(".jsonl"); }

}  // namespace

Result<BatchOutput> BatchOutput::Open(const std::string& folder, const std::string& name, const Keep& keep) {
  const std::string path = (fs::path(folder) / name).string();
  DigestSet answered;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string other = entry.path().filename().string();
    if (!IsOutput(other) || other == name) continue;
    BIFRONS_RETURN_IF_ERROR(
        ReadLinesBeneath(folder, other, [&](std::string_view text, int64_t number) -> Status {
          BIFRONS_TRY(const BatchLine line,
                      ParseLine(text, entry.path().string() + ":" + std::to_string(number), false));
          if (line.success && keep(line.custom_id, line.request_id))
            answered.Insert(DigestOf(line.custom_id), {});
          return {};
        }));
  }
  if (error) return DataError(folder + ": cannot read this folder: " + error.message());

  const LineKind kind{"{\"id\":\"batch_req_", [](std::string_view text, int64_t) -> Status {
                        BIFRONS_TRY(const BatchLine line, ParseLine(text, "", true));
                        return {};
                      }};
  const auto open = [&](LineFile::Mode mode, const LineVisitor& visit) {
    return LineFile::Open(path, mode, visit, kind);
  };
  const auto is_kept = [&](std::string_view text, int64_t number) -> Result<bool> {
    BIFRONS_TRY(const BatchLine line, ParseLine(text, path + ":" + std::to_string(number), true));
    if (!line.success || !keep(line.custom_id, line.request_id)) return false;
    answered.Insert(DigestOf(line.custom_id), {});
    return true;
  };
  if (fs::symlink_status(path, error).type() == fs::file_type::not_found) {
    BIFRONS_TRY(LineFile file,
                open(LineFile::Mode::kNew, [](std::string_view, int64_t) { return Status(); }));
    return BatchOutput(std::move(file), std::move(answered));
  }
  bool whole = true;
  const auto look = [&](std::string_view text, int64_t number) -> Status {
    BIFRONS_TRY(const bool kept, is_kept(text, number));
    whole &= kept;
    return {};
  };
  {
    BIFRONS_TRY(LineFile file, open(LineFile::Mode::kOwn, look));
    if (whole) return BatchOutput(std::move(file), std::move(answered));
  }
  // The good lines take the file's place at once, so that a full disk loses none of them.
  BIFRONS_TRY(AtomicFile rewritten, AtomicFile::Create(path));
  const auto copy = [&](std::string_view text, int64_t number) -> Status {
    BIFRONS_TRY(const bool kept, is_kept(text, number));
    if (!kept) return {};
    const std::string line = std::string(text) + "\n";
    return rewritten.Write(std::span(reinterpret_cast<const uint8_t*>(line.data()), line.size()));
  };
  BIFRONS_RETURN_IF_ERROR(ReadLines(path, copy));
  BIFRONS_RETURN_IF_ERROR(rewritten.Commit());
  BIFRONS_TRY(LineFile file, open(LineFile::Mode::kOwn, [](std::string_view, int64_t) { return Status(); }));
  return BatchOutput(std::move(file), std::move(answered));
}

Status BatchOutput::AppendAnswer(const std::string& custom_id, const std::string& line) {
  const Digest16 id = DigestOf(custom_id);
  if (refused_.Contains(id)) superseded_.Insert(id, {});
  return file_.AppendAndSync(line);
}

Status BatchOutput::AppendRefusal(const std::string& custom_id, const std::string& line) {
  if (!custom_id.empty() && !refused_.Insert(DigestOf(custom_id), {}).second) return {};
  return file_.AppendAndSync(line);
}

Status BatchOutput::Finish() {
  if (superseded_.size() == 0) return {};
  const std::string& path = file_.path();
  BIFRONS_TRY(AtomicFile rewritten, AtomicFile::Create(path));
  const auto copy = [&](std::string_view text, int64_t number) -> Status {
    BIFRONS_TRY(const BatchLine line, ParseLine(text, path + ":" + std::to_string(number), true));
    if (!line.success && superseded_.Contains(DigestOf(line.custom_id))) return {};
    const std::string whole = std::string(text) + "\n";
    return rewritten.Write(std::span(reinterpret_cast<const uint8_t*>(whole.data()), whole.size()));
  };
  BIFRONS_RETURN_IF_ERROR(ReadLines(path, copy));
  return rewritten.Commit();
}

}  // namespace bifrons
