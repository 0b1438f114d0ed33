#include "src/jobs/merge.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "src/base/file_hash.h"
#include "src/base/stop.h"
#include "src/base/thread_pool.h"
#include "src/jobs/job_reader.h"
#include "src/jobs/content_key.h"
#include "src/jobs/plan.h"
#include "src/jobs/shard.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

struct Line : MergedLine {
  size_t part = 0;
  bool exists = true, right = true;
};

// Everything that the folders say.
struct Contents {
  std::vector<std::optional<ManifestHeader>> headers;     // the last one of each part
  std::map<std::pair<std::string, int64_t>, Line> lines;  // by key and number
  std::vector<FailedJob> failed;
};

Status ReadFolder(const std::string& folder, MergeReport* report, Contents* contents) {
  BIFRONS_TRY(const auto manifests, FindManifests(folder));
  if (manifests.empty()) return DataError(folder + ": holds no manifest*.jsonl; was it rendered?");
  for (const std::string& path : manifests) {
    const size_t part = report->parts.size();
    report->parts.push_back({path, "", 0});
    contents->headers.emplace_back();
    const ManifestVisitor visitor{[&](ManifestHeader header) { contents->headers[part] = std::move(header); },
                                  [&](ManifestRecord record, std::string_view text) {
                                    const std::pair key(record.key, record.number);
                                    Line line{{std::move(record), folder, std::string(text)}, part};
                                    const auto [it, fresh] = contents->lines.try_emplace(key, line);
                                    if (fresh) return;
                                    report->duplicates += it->second.line != line.line;
                                    it->second = std::move(line);
                                  }};
    BIFRONS_RETURN_IF_ERROR(ReadLines(path, ManifestLines(path, visitor)));
    if (contents->headers[part]) report->parts[part].shard = contents->headers[part]->shard;
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("failed") || !name.ends_with(".jsonl")) continue;
    BIFRONS_RETURN_IF_ERROR(ReadLines(entry.path(), FailedLines(entry.path(), [&](FailedJob failed) {
                                        contents->failed.push_back(std::move(failed));
                                      })));
  }
  return {};
}

void CheckFiles(Contents* contents, bool read_files) {
  std::vector<Line*> lines;
  for (auto& [key, line] : contents->lines)
    if (!line.record.file.empty()) lines.push_back(&line);
  ThreadPool pool(AvailableThreads());
  pool.ParallelFor(static_cast<int64_t>(lines.size()), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      if (StopRequested()) return;
      Line& line = *lines[static_cast<size_t>(i)];
      const std::string path = (fs::path(line.folder) / line.record.file).string();
      std::error_code error;
      const auto size = fs::file_size(path, error);
      line.exists = !error;
      line.right = !error && size == static_cast<uintmax_t>(line.record.bytes);
      if (!line.right || !read_files) continue;
      const auto hash = Sha256OfFile(path);
      line.right = hash.ok() && *hash == line.record.sha256;
    }
  });
}

// All parts have to be of one list and one model; streams have none to compare.
Result<ManifestHeader> CommonHeader(const MergeReport& report, const Contents& contents, bool by_jobs) {
  const ManifestHeader* common = nullptr;
  size_t whose = 0;
  for (size_t i = 0; i < contents.headers.size(); i++) {
    const auto& header = contents.headers[i];
    if (!header) continue;
    if (!common) common = &*header, whose = i;
    const bool same = header->model_hash == common->model_hash && header->defaults == common->defaults &&
                      (by_jobs || header->list == common->list);
    if (!same) {
      return UsageError(report.parts[whose].manifest + " and " + report.parts[i].manifest +
                        " are of different lists, models or settings; check them one by one");
    }
  }
  if (!common) return DataError(report.parts[0].manifest + ": is empty");
  return *common;
}

// By the list itself: every job's key says what ought to be there.
Status FindMissing(const std::string& jobs, const Contents& contents, MergeReport* report) {
  BIFRONS_TRY(const JobDefaults defaults, DefaultsFromJson(report->header.defaults));
  BIFRONS_TRY(const auto reader, JobReader::Open(jobs));
  KeyCounter keys;
  int64_t expected = 0, known = 0;  // results; lines about them
  for (;;) {
    BIFRONS_TRY(const auto entry, reader->Next());
    if (!entry) break;
    const Job* const job = std::get_if<Job>(&*entry);
    if (!job) {
      const BadJob& bad = std::get<BadJob>(*entry);
      report->failed.push_back({bad.index, bad.where, "", bad.custom_id, "", bad.error});
      continue;
    }
    const std::string key =
        keys.Unique(ContentKey(*job, defaults, reader->format(), report->header.model_hash));
    const int64_t count = job->picture ? PictureCount(*job, defaults, reader->format()) : 1;
    expected += count;
    std::vector<int64_t> missing;
    for (int64_t k = 0; k < count; k++) {
      const auto it = contents.lines.find({key, k});
      if (it != contents.lines.end()) known++;
      if (it != contents.lines.end() && it->second.right) {
        report->finished++;
      } else {
        missing.push_back(k);
      }
    }
    if (missing.empty()) continue;
    if (static_cast<int64_t>(missing.size()) == count) missing.clear();
    report->missing.push_back({job->index, std::move(missing)});
  }
  report->expected = expected;
  report->others = static_cast<int64_t>(contents.lines.size()) - known;
  return {};
}

// By indices, which count the list's entries unless jobs have their own.
void FindMissingIndices(MergeReport* report) {
  std::map<int64_t, std::pair<int64_t, std::set<int64_t>>> found;  // index → pictures of the job, those there
  for (const MergedLine& line : report->lines) {
    auto& [of, numbers] = found[line.record.index];
    of = std::max(of, line.record.of);
    numbers.insert(line.record.number);
  }
  report->finished = static_cast<int64_t>(report->lines.size());
  report->expected = report->header.results;
  if (!report->header.jobs) return;
  if (!found.empty() && found.rbegin()->first >= *report->header.jobs) return;
  std::set<int64_t> failed;
  for (const FailedJob& f : report->failed) failed.insert(f.index);
  for (int64_t index = 0; index < *report->header.jobs; index++) {
    const auto it = found.find(index);
    MissingJob missing{index, {}};
    if (it != found.end()) {
      for (int64_t k = 0; k < it->second.first; k++)
        if (!it->second.second.contains(k)) missing.numbers.push_back(k);
      if (missing.numbers.empty()) continue;
    }
    if (!failed.contains(index)) report->missing.push_back(std::move(missing));
  }
}

void FindMissingShards(const Contents& contents, MergeReport* report) {
  std::map<int64_t, std::set<int64_t>> there;  // by the number of shards
  for (const auto& header : contents.headers) {
    if (!header) continue;
    if (const auto shard = ParseShard(header->shard); shard.ok()) there[shard->count].insert(shard->index);
  }
  for (const auto& [count, indices] : there) {
    for (int64_t i = 0; i < count; i++)
      if (!indices.contains(i)) report->missing_shards.push_back(Shard{i, count}.ToString());
  }
}

}  // namespace

Result<MergeReport> CheckFolders(const MergeRequest& request) {
  MergeReport report;
  Contents contents;
  std::set<std::string> seen;
  for (const std::string& folder : request.folders) {
    std::error_code error;
    if (!seen.insert(fs::weakly_canonical(folder, error).string()).second) continue;
    BIFRONS_RETURN_IF_ERROR(ReadFolder(folder, &report, &contents));
  }
  BIFRONS_TRY(report.header, CommonHeader(report, contents, !request.jobs.empty()));
  CheckFiles(&contents, request.read_files);
  if (StopRequested()) return Interrupted();
  std::set<int64_t> finished;  // indices
  for (const auto& [key, line] : contents.lines) {
    if (line.right) {
      report.parts[line.part].finished++;
      report.lines.push_back(line);
      finished.insert(line.record.index);
    } else {
      report.damaged.push_back({(fs::path(line.folder) / line.record.file).string(), line.exists});
    }
  }
  std::ranges::sort(report.lines, [](const MergedLine& a, const MergedLine& b) {
    return std::tie(a.record.index, a.record.number, a.record.key) <
           std::tie(b.record.index, b.record.number, b.record.key);
  });
  if (!request.jobs.empty()) {
    BIFRONS_RETURN_IF_ERROR(FindMissing(request.jobs, contents, &report));
  }
  // What another process did after one had failed is done.
  std::set<std::string> done;
  for (const MergedLine& line : report.lines) done.insert(line.record.key);
  for (FailedJob& failed : contents.failed) {
    const bool known =
        std::ranges::any_of(report.failed, [&](const FailedJob& f) { return f.where == failed.where; });
    if (!known && (failed.key.empty() || !done.contains(failed.key)))
      report.failed.push_back(std::move(failed));
  }
  std::ranges::sort(report.failed, {}, &FailedJob::index);
  if (request.jobs.empty()) {
    FindMissingIndices(&report);
  } else {
    std::set<int64_t> failed;
    for (const FailedJob& f : report.failed) failed.insert(f.index);
    std::erase_if(report.missing, [&](const MissingJob& m) { return failed.contains(m.index); });
  }
  report.complete = report.failed.empty() && report.missing.empty() && report.damaged.empty() &&
                    report.finished >= report.expected.value_or(0);
  if (report.finished < report.expected.value_or(0)) FindMissingShards(contents, &report);
  return report;
}

std::string MergedManifest(const MergeReport& report) {
  ManifestHeader header = report.header;
  header.shard = Shard{}.ToString();
  std::string text = HeaderLine(header) + "\n";
  for (const MergedLine& line : report.lines) text += line.line + "\n";
  return text;
}

std::string ShownMissing(const std::vector<MissingJob>& missing, size_t most) {
  std::string text;
  size_t shown = 0;
  for (size_t i = 0; i < missing.size(); shown++) {
    if (shown == most) return text + ", …";
    if (!text.empty()) text += ", ";
    text += std::to_string(missing[i].index);
    if (!missing[i].numbers.empty()) {
      const auto& numbers = missing[i].numbers;
      text += numbers.size() == 1 ? " (picture " : " (pictures ";
      for (size_t k = 0; k < numbers.size() && k < most; k++)
        text += (k ? " " : "") + std::to_string(numbers[k]);
      text += numbers.size() > most ? " …)" : ")";
      i++;
      continue;
    }
    size_t last = i;
    while (last + 1 < missing.size() && missing[last + 1].numbers.empty() &&
           missing[last + 1].index == missing[last].index + 1) {
      last++;
    }
    if (last > i) text += "-" + std::to_string(missing[last].index);
    i = last + 1;
  }
  return text;
}

}  // namespace bifrons
