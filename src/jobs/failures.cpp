#include "src/jobs/failures.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "src/base/json_depth.h"
#include "src/jobs/job_fields.h"

namespace bifrons {
namespace {

using nlohmann::json;

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
  std::string prompt;
  if (job.picture) prompt = job.picture->prompt;
  if (job.answer && !job.answer->turns.empty()) prompt = job.answer->turns.back().question;
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
      return DataError(where + ": not a line about a failed job");
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
  std::error_code error;
  const std::filesystem::file_status there = std::filesystem::symlink_status(path, error);
  if (std::filesystem::exists(there) && !std::filesystem::is_regular_file(there) &&
      !std::filesystem::is_symlink(there))
    return Failure(path + ": not a regular file; move it away, or take another folder");
  std::filesystem::remove(path, error);
  if (error) return Failure(path + ": cannot remove what an earlier run left: " + error.message());
  return FailedFile(path);
}

Status FailedFile::Append(const FailedJob& failed) {
  if (!file_) {
    BIFRONS_TRY(LineFile file, LineFile::Open(path_, LineFile::Mode::kEmpty, {}));
    file_.emplace(std::move(file));
  }
  return file_->Append(FailedLine(failed));
}

}  // namespace bifrons
