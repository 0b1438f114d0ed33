#include "src/cli/bench_stages.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "src/base/json_visitor.h"
#include "src/base/mapped_file.h"

namespace bifrons {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 20;

// 0 where there is no such number.
double Number(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number()) return 0;
  const auto value = it->get<double>();
  return std::isfinite(value) ? value : 0;
}

void Add(const nlohmann::json& measured, const std::string& name, std::vector<Stage>* stages) {
  if (!measured.is_object()) return;
  const double ms = measured.contains("seconds") ? 1e3 * Number(measured, "seconds") : Number(measured, "ms");
  if (!(ms > 0)) return;
  stages->push_back({name, ms, Number(measured, "gbs"), Number(measured, "gmacs"),
                     Number(measured, "percent"), Number(measured, "pictures_per_second"),
                     Number(measured, "image_tokens_per_second")});
}

// "64", of a number that an object has.
std::string Count(const nlohmann::json& object, const char* key) {
  if (!object.is_object()) return "0";
  char text[32];
  std::snprintf(text, sizeof text, "%.0f", Number(object, key));
  return text;
}

std::vector<std::pair<std::string, std::string>> SettingsOf(const nlohmann::json& document) {
  std::vector<std::pair<std::string, std::string>> settings;
  for (const char* key :
       {"processor", "device", "isa", "threads", "model", "weights", "dtype", "kv", "position"}) {
    if (const auto it = document.find(key); it != document.end())
      settings.emplace_back(key, it->dump(-1, ' ', true));
  }
  return settings;
}

// What a run was made with, as its document and the columns of CSV name it.
constexpr const char* kCsvSettings[] = {"model", "weights", "dtype", "kv", "device", "isa", "threads"};

// A setting in CSV: texts in quotes, which are doubled within.
std::string Cell(const nlohmann::json& value) {
  if (!value.is_string()) return value.dump();
  std::string cell = "\"";
  for (const char c : value.get_ref<const std::string&>()) cell += c == '"' ? "\"\"" : std::string(1, c);
  return cell + '"';
}

}  // namespace

std::vector<Stage> StagesOf(const nlohmann::json& document) {
  std::vector<Stage> stages;
  const auto each = [&](const char* key, const auto& name) {
    const auto it = document.find(key);
    if (it == document.end()) return;
    if (it->is_array()) {
      for (const nlohmann::json& one : *it) Add(one, name(one), &stages);
    } else {
      Add(*it, name(*it), &stages);
    }
  };
  each("prefill", [](const auto& one) { return "prefill, " + Count(one, "tokens") + " tokens"; });
  each("decode", [](const auto& one) { return "decode step, " + Count(one, "rows") + " rows"; });
  each("vq_decode", [](const auto&) { return std::string("VQ decode, one picture"); });
  each("image", [](const auto&) { return std::string("seeing, one image"); });
  each("drawing", [](const auto& one) {
    const std::string count = Count(one, "pictures");
    return count + (count == "1" ? " picture at once" : " pictures at once");
  });
  return stages;
}

Result<EarlierRun> EarlierRun::Read(const std::string& path) {
  BIFRONS_TRY(const MappedFile file, MappedFile::Open(path));
  BIFRONS_RETURN_IF_ERROR(CheckJsonSize(file.bytes().size(), kMaxFileBytes, path));
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  BIFRONS_TRY(const nlohmann::json document, ReadJsonTree(text, kMaxFileBytes, path));
  EarlierRun run;
  run.stages = StagesOf(document);
  run.settings = SettingsOf(document);
  if (run.stages.empty())
    return DataError(path + ": has no measurement; it is to be what bench --json printed");
  return run;
}

std::string EarlierRun::Differences(const nlohmann::json& document) const {
  std::string differences;
  for (const auto& setting : SettingsOf(document)) {
    if (std::ranges::find(settings, setting) == settings.end())
      differences += (differences.empty() ? "" : ", ") + setting.first;
  }
  return differences;
}

std::optional<double> EarlierRun::MsOf(const std::string& stage) const {
  const auto it = std::ranges::find(stages, stage, &Stage::name);
  return it == stages.end() ? std::nullopt : std::optional(it->ms);
}

std::string ToCsv(const nlohmann::json& document, const EarlierRun* before) {
  std::string csv = "stage,ms,gbs,gmacs,percent_of_limit,pictures_per_second,image_tokens_per_second";
  std::string settings;  // the same behind every stage, so that files can be joined
  for (const char* key : kCsvSettings) {
    csv += std::string(",") + key;
    const auto it = document.find(key);
    settings += ',' + (it == document.end() ? "" : Cell(*it));
  }
  csv += before ? ",ms_before,times_as_fast\n" : "\n";
  const auto field = [&](double value) {  // empty where there is none
    char text[32] = ",";
    if (value > 0) std::snprintf(text, sizeof text, ",%.6g", value);
    csv += text;
  };
  for (const Stage& stage : StagesOf(document)) {
    csv += '"' + stage.name + '"';
    for (const double value : {stage.ms, stage.gbs, stage.gmacs, stage.percent, stage.pictures_per_second,
                               stage.image_tokens_per_second})
      field(value);
    csv += settings;
    if (before) {
      const double ms = before->MsOf(stage.name).value_or(0);
      field(ms);
      field(ms / stage.ms);
    }
    csv += '\n';
  }
  return csv;
}

}  // namespace bifrons
