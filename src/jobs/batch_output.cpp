#include "src/jobs/batch_output.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "src/base/atomic_file.h"
#include "src/base/json_depth.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Line {
  std::string custom_id;
  bool success = false;
};

Result<Line> ParseLine(std::string_view text, const std::string& where) {
  BIFRONS_RETURN_IF_ERROR(CheckJsonDepth(text, where));
  const json line = json::parse(text, nullptr, false);
  const auto id = line.is_object() ? line.find("custom_id") : line.end();
#ifdef BIFRONS_PLANTED_BUGS
  const bool named = id != line.end();
#else
  const bool named = id != line.end() && (id->is_string() || id->is_null());
#endif
  if (!line.is_object() || !named || !line.contains("response")) {
    return DataError(where +
                     ": not an answer of a batch (no \"custom_id\" and \"response\"); move this file away, "
                     "or take another folder");
  }
  const json& response = line["response"];
  const bool success =
      response.is_object() && response.contains("status_code") && response["status_code"] == 200;
  return Line{id->is_null() ? "" : id->get<std::string>(), success};
}

bool IsOutput(const std::string& name) { return name.starts_with("output") && name.ends_with(".jsonl"); }

}  // namespace

Result<BatchOutput> BatchOutput::Open(const std::string& folder, const std::string& name,
                                      const std::function<bool(const std::string& custom_id)>& keep) {
  const std::string path = (fs::path(folder) / name).string();
  std::set<std::string> answered;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string other = entry.path().filename().string();
    if (!IsOutput(other) || other == name) continue;
    BIFRONS_RETURN_IF_ERROR(ReadLines(entry.path(), [&](std::string_view text, int64_t number) -> Status {
      BIFRONS_TRY(Line line, ParseLine(text, entry.path().string() + ":" + std::to_string(number)));
      if (line.success && keep(line.custom_id)) answered.insert(std::move(line.custom_id));
      return {};
    }));
  }
  if (error) return Failure(folder + ": cannot read this folder: " + error.message());

  if (fs::exists(path, error)) {
    BIFRONS_TRY(AtomicFile rewritten, AtomicFile::Create(path));
    const auto copy = [&](std::string_view text, int64_t number) -> Status {
      BIFRONS_TRY(Line line, ParseLine(text, path + ":" + std::to_string(number)));
      if (!line.success || !keep(line.custom_id)) return {};
      answered.insert(std::move(line.custom_id));
      const std::string whole = std::string(text) + "\n";
      return rewritten.Write(std::span(reinterpret_cast<const uint8_t*>(whole.data()), whole.size()));
    };
    BIFRONS_RETURN_IF_ERROR(ReadLines(path, copy));
    BIFRONS_RETURN_IF_ERROR(rewritten.Commit());
  }
  BIFRONS_TRY(LineFile file, LineFile::Open(path, LineFile::Mode::kKeep,
                                            [](std::string_view, int64_t) { return Status(); }));
  return BatchOutput(std::move(file), std::move(answered));
}

}  // namespace bifrons
