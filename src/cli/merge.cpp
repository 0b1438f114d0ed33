// bifrons merge: whether rendered folders are complete, and one manifest of all.
#include "src/jobs/merge.h"

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "src/base/counted.h"
#include "src/base/name_sample.h"
#include "src/cli/answering.h"
#include "src/cli/commands.h"
#include "src/cli/output_file.h"
#include "src/jobs/manifest.h"
#include "src/jobs/shard.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

constexpr size_t kMostShown = 20;
constexpr int64_t kMostListed = 1'000'000;  // one by one, in JSON

std::string FailedText(const FailedJob& f) {
  return "job " + std::to_string(f.index) + " (" + f.where + "): " + f.error.message;
}

// An object per job; where that would be too many, one for all between its "index" and its "last".
nlohmann::ordered_json MissingJson(const std::vector<MissingJobs>& missing) {
  int64_t left = kMostListed;
  const auto fits = [&](const Run& run) {
    const bool fit = run.size() <= left;
    if (fit) left -= run.size();
    return fit;
  };
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  for (const MissingJobs& m : missing) {
    if (!fits(m.indices)) {
      out.push_back({{"index", m.indices.first}, {"last", m.indices.last}});
      continue;
    }
    for (int64_t index = m.indices.first; index <= m.indices.last; index++) out.push_back({{"index", index}});
    for (const Run& run : m.numbers) {
      if (fits(run)) {
        for (int64_t k = run.first; k <= run.last; k++) out.back()["numbers"].push_back(k);
      } else {
        out.back()["more_numbers"].push_back({run.first, run.last});
      }
    }
  }
  return out;
}

nlohmann::ordered_json ToJson(const MergeReport& r) {
  nlohmann::ordered_json out = {{"complete", r.complete}};
  out["expected"] = r.expected ? nlohmann::ordered_json(*r.expected) : nlohmann::ordered_json();
  out["undecided"] = r.undecided;
  out["finished"] = r.finished, out["duplicates"] = r.duplicates, out["others"] = r.others;
  out["repeated"] = r.repeated;
  out["manifests"] = nlohmann::ordered_json::array();
  for (const auto& p : r.parts)
    out["manifests"].push_back({{"file", p.manifest}, {"shard", p.shard}, {"finished", p.finished}});
  out["missing_shards"] = r.missing_shards;
  out["missing"] = MissingJson(r.missing);
  out["damaged"] = nlohmann::ordered_json::array();
  for (const DamagedFile& d : r.damaged) out["damaged"].push_back({{"file", d.path}, {"exists", d.exists}});
  out["failed"] = nlohmann::ordered_json::array();
  for (const FailedJob& f : r.failed) out["failed"].push_back(nlohmann::ordered_json::parse(FailedLine(f)));
  return out;
}

void PrintLines(const char* title, size_t count, const std::function<std::string(size_t)>& line) {
  for (size_t i = 0; i < count && i < kMostShown; i++)
    std::printf("%s %s\n", title, OneLine(line(i)).c_str());
  if (count > kMostShown) std::printf("%s … and %zu more (--json lists all)\n", title, count - kMostShown);
}

// Pictures and answers.
std::string Results(int64_t count) { return Counted(count, "result"); }

void Print(const MergeReport& r) {
  for (const auto& p : r.parts) {
    const std::string shard = p.shard == Shard{}.ToString() ? "" : "shard " + p.shard + ", ";
    std::printf("%s\n", OneLine(p.manifest + ": " + shard + Results(p.finished) + " finished").c_str());
  }
  PrintLines("failed:", r.failed.size(), [&](size_t i) { return FailedText(r.failed[i]); });
  std::vector<std::string> gone, damaged;
  for (const DamagedFile& d : r.damaged) (d.exists ? damaged : gone).push_back(d.path);
  PrintLines("missing:", gone.size(), [&](size_t i) { return gone[i] + ": is not there"; });
  PrintLines("damaged:", damaged.size(),
             [&](size_t i) { return damaged[i] + ": is not what its manifest says"; });
  if (!r.missing.empty()) std::printf("missing: jobs %s\n", ShownMissing(r.missing, kMostShown).c_str());
  PrintLines("missing: shard", r.missing_shards.size(), [&](size_t i) { return r.missing_shards[i]; });
  if (r.undecided) {
    std::printf(
        "the last list comes to %lld; cannot tell which of the %lld finished are its own, as there were "
        "other lists or settings: give --jobs LIST\n",
        static_cast<long long>(r.expected.value_or(0)), static_cast<long long>(r.finished));
    return;
  }
  const bool by_jobs = !r.failed.empty() && r.jobs;
  std::string line = by_jobs      ? std::to_string(*r.jobs) + " jobs: " + std::to_string(r.finished_jobs)
                     : r.expected ? std::to_string(r.finished) + " of " + Results(*r.expected)
                                  : Results(r.finished);
  line += " finished";
  if (!r.failed.empty()) line += ", " + std::to_string(r.failed.size()) + " failed (see failed*.jsonl)";
  if (!r.expected && r.header.provisional) {
    line += " (no process lived until it had read the list: how many it asks for, only --jobs can tell)";
  } else if (!r.expected) {
    line += " (the list was a stream: how many it asked for, only --jobs can tell)";
  }
  if (r.repeated > 0)
    line += ", " + std::to_string(r.repeated) + " in more than one manifest (the last counts)";
  if (r.duplicates > 0) line += ", " + Counted(r.duplicates, "duplicate line");
  if (r.others > 0) line += ", " + std::to_string(r.others) + " of other lists or settings";
  const char* verdict = ": incomplete; render again with the same command";
  if (r.complete) verdict = r.expected == 0 ? ": the list is empty" : ": complete";
  if (r.only_failed) verdict = "";
  std::printf("%s%s\n", line.c_str(), verdict);
}

// Names in a manifest are those beside it.
void WarnOfPicturesElsewhere(const std::string& output, const std::vector<std::string>& folders) {
  namespace fs = std::filesystem;
  const fs::path path(output);
  const fs::path beside = path.has_parent_path() ? path.parent_path() : fs::path(".");
  NameSample elsewhere;
  for (const std::string& folder : folders) {
    std::error_code error;
    if (!fs::equivalent(folder, beside, error)) elsewhere.Add(folder);
  }
  if (elsewhere.count() == 0) return;
  const std::string name = path.filename().string();
  const bool is_manifest = name.starts_with("manifest") && name.ends_with(".jsonl");
  const std::string text = output + " names pictures without their folders: copy the pictures of " +
                           elsewhere.ToString() + " beside " + name +
                           (is_manifest ? "" : "; render goes on from it as manifest*.jsonl");
  std::fprintf(stderr, "bifrons: warning: %s\n", OneLine(text).c_str());
}

}  // namespace

Result<int> RunMerge(const MergeOptions& options) {
  std::optional<OutputFile> output;
  if (!options.output.empty()) {
    BIFRONS_TRY(output, OutputFile::Claim(options.output, options.force));
    // What it is made of would be lost, and another run goes on from it.
    for (const std::string& folder : options.folders) {
      BIFRONS_TRY(const auto manifests, FindManifests(folder));
      for (const std::string& manifest : manifests)
        BIFRONS_RETURN_IF_ERROR(output->CheckIsNot(manifest, "a manifest to merge"));
    }
  }
  BIFRONS_TRY(const MergeReport report,
              CheckFolders({options.folders, options.jobs, !options.quick, output.has_value()}));
  if (output) {
    BIFRONS_TRY(AtomicFile file, output->Create());
    BIFRONS_RETURN_IF_ERROR(WriteMergedManifest(report, file));
    WarnOfPicturesElsewhere(output->path(), report.folders);
  }
  if (options.json) {
    std::printf("%s\n", JsonLine(ToJson(report)).c_str());
  } else {
    Print(report);
  }
  if (report.complete) return 0;
  return static_cast<int>(report.only_failed ? ErrorKind::kBadData : ErrorKind::kFailure);
}

}  // namespace bifrons
