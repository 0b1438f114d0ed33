#include "src/jobs/failures.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "src/base/json_depth.h"
#include "src/jobs/job_fields.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

using nlohmann::json;

// Of lines of ours; keeps none.
LineKind KindOfLines(const std::string& path) {
  return {"{\"index\":", FailedLines(path, [](const FailedJob&) {})};
}
// Of a prompt that may be the reason, as memory did not suffice for it.
constexpr size_t kMaxShownPrompt = 10'000;

constexpr std::pair<ErrorKind, const char*> kKinds[] = {
    {ErrorKind::kFailure, "failure"}, {ErrorKind::kUsage, "usage"}, {ErrorKind::kBadData, "data"}};

bool IsIndex(const json& value) {
#ifdef BIFRONS_PLANTED_BUGS
  return !value.is_null();
#else
  return value.is_number_unsigned() && value.get<uint64_t>() <= static_cast<uint64_t>(kMaxJobSeed);
#endif
}

}  // namespace

FailedJob FailedOf(const Job& job, const std::string& key, const Error& error) {
  std::string_view text;
  if (job.picture) text = job.picture->prompt;
  if (job.answer && !job.answer->turns.empty()) text = job.answer->turns.back().question;
  std::string prompt(text.substr(0, kMaxShownPrompt));
  if (prompt.size() < text.size()) prompt = ReplaceInvalidUtf8(prompt) + "...";
  return {job.index, job.where, key, job.custom_id, prompt, error};
}

std::string FailedLine(const FailedJob& f) {
  nlohmann::ordered_json line = {{"index", f.index}, {"where", f.where}};
  if (!f.key.empty()) line["job"] = f.key;
  if (!f.custom_id.empty()) line["custom_id"] = f.custom_id;
  if (!f.prompt.empty()) line["prompt"] = f.prompt;
  if (!f.error.field.empty()) line["field"] = f.error.field;
  line["reason"] = f.error.message;
  for (const auto& [kind, name] : kKinds) {
    if (kind == f.error.kind) line["kind"] = name;
  }
  return line.dump(-1, ' ', false, json::error_handler_t::replace);
}

LineVisitor FailedLines(const std::string& path, const std::function<void(FailedJob)>& visit) {
  return [path, visit](std::string_view text, int64_t number) -> Status {
    const std::string where = path + ":" + std::to_string(number);
    BIFRONS_RETURN_IF_ERROR(CheckJsonDepth(text, where));
    const json line = json::parse(text, nullptr, false);
    const auto string = [&](const char* name) {
      const auto it = line.find(name);
      return it != line.end() && it->is_string() ? it->get<std::string>() : std::string();
    };
    if (!line.is_object() || !line.contains("index") || !IsIndex(line["index"]) || string("reason").empty())
      return DataError(where +
                       ": not a line about a failed job; move this file away, or take another folder");
    FailedJob failed{line["index"],       string("where"),  string("job"),
                     string("custom_id"), string("prompt"), Failure(string("reason"))};
    failed.error.field = string("field");
    for (const auto& [kind, name] : kKinds) {
      if (string("kind") == name) failed.error.kind = kind;
    }
    visit(std::move(failed));
    return {};
  };
}

Result<FailedFile> FailedFile::Open(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::symlink_status(path, error).type() == fs::file_type::not_found) return FailedFile(path);
  const LineKind kind = KindOfLines(path);
  const auto left = LineFile::Open(path, LineFile::Mode::kOwn, kind.check, kind);
  if (!left.ok()) return left.error();
  fs::remove(path, error);
  if (error) return Failure(path + ": cannot remove what an earlier run left: " + error.message());
  return FailedFile(path);
}

Status FailedFile::Append(const FailedJob& failed) {
  if (!file_) {
    BIFRONS_TRY(LineFile file, LineFile::Open(path_, LineFile::Mode::kNew, {}, KindOfLines(path_)));
    file_.emplace(std::move(file));
  }
  return file_->Append(FailedLine(failed));
}

}  // namespace bifrons
