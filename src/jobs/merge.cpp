#include "src/jobs/merge.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <tuple>
#include <unordered_set>

#include "src/base/atomic_file.h"
#include "src/base/file_beneath.h"
#include "src/base/stop.h"
#include "src/base/thread_pool.h"
#include "src/jobs/content_key.h"
#include "src/jobs/job_reader.h"
#include "src/jobs/plan.h"
#include "src/jobs/shard.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostShardsShown = 1000;  // one by one

// A line about a picture or an answer: as much of it as is needed.
struct ResultLine {
  Digest16 key;
  int64_t index = 0, number = 0, of = 1;
  size_t part = 0, folder = 0;
  size_t text_hash = 0;
  std::string file{}, sha256{};
  int64_t bytes = 0;
  std::string text{};  // where lines are kept
  size_t moment = 0;   // later lines of a manifest have later ones
  size_t list = 0;     // under whose header it stands, by FolderContents::lists
  bool exists = true, right = true;
};

// Everything that the folders say.
struct FolderContents {
  std::vector<std::string> folders;
  std::vector<std::optional<ManifestHeader>> headers;  // the last one of each part
  std::vector<ResultLine> lines;                       // the last one about each result
  std::vector<ResultLine> earlier;                     // those of earlier manifests, one a result in each
  DigestMap<size_t> places;                            // in `lines`, until they are sorted
  std::vector<FailedJob> failed;
  DigestSet listed;                     // keys of the list's jobs (with --jobs)
  std::map<std::string, size_t> lists;  // by their hashes, numbered from 1: all that the headers name
};

Status ReadFolder(const std::string& folder, bool keep_lines, MergeReport* report, FolderContents* contents) {
  BIFRONS_TRY(const auto manifests, FindManifests(folder));
  if (manifests.empty()) return DataError(folder + ": holds no manifest*.jsonl; was it rendered?");
  contents->folders.push_back(folder);
  size_t moments = 0;
  for (const std::string& path : manifests) {
    const size_t part = report->parts.size();
    report->parts.push_back({path, "", 0});
    contents->headers.emplace_back();
    size_t list = 0;
    const auto take = [&](ManifestRecord r, std::string_view text, int64_t) {
      ResultLine line{
          .key = KeyDigest(r.key), .index = r.index, .number = r.number, .of = r.of, .part = part};
      line.folder = contents->folders.size() - 1;
      line.text_hash = std::hash<std::string_view>()(text);
      line.file = std::move(r.file), line.sha256 = std::move(r.sha256), line.bytes = r.bytes;
      if (keep_lines) line.text = text;
      line.moment = moments++, line.list = list;
      const auto [place, fresh] =
          contents->places.Insert(ResultDigest(line.key, line.number), contents->lines.size());
      if (fresh) return contents->lines.push_back(std::move(line));
      ResultLine& before = contents->lines[*place];
      if (before.part == part) {
        report->duplicates += before.text_hash != line.text_hash;
      } else {
        std::string().swap(before.text);
        contents->earlier.push_back(std::move(before));
      }
      before = std::move(line);
    };
    const auto begin = [&](ManifestHeader header) {
      list = header.list.empty()
                 ? 0
                 : contents->lists.emplace(header.list, contents->lists.size() + 1).first->second;
      contents->headers[part] = std::move(header);
    };
    const ManifestVisitor visitor{begin, take};
    BIFRONS_RETURN_IF_ERROR(
        ReadLinesBeneath(folder, fs::path(path).filename().string(), ManifestLines(path, visitor)));
    if (contents->headers[part]) report->parts[part].shard = contents->headers[part]->shard;
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("failed") || !name.ends_with(".jsonl")) continue;
    const auto take = [&](FailedJob failed) { contents->failed.push_back(std::move(failed)); };
    BIFRONS_RETURN_IF_ERROR(ReadLinesBeneath(folder, name, FailedLines(entry.path(), take)));
  }
  return {};
}

Status CheckFiles(const std::vector<std::string>& folders, bool read_files, std::vector<ResultLine>* lines) {
  ThreadPool pool(AvailableThreads());
  const auto check = [&](int64_t begin, int64_t end, int) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end) && !StopRequested(); i++) {
      ResultLine& line = (*lines)[i];
      if (line.file.empty()) continue;
      const auto file = FileBeneath::Open(folders[line.folder], line.file);
      line.exists = file.ok();
      line.right = file.ok() && file->bytes() == line.bytes;
      if (!line.right || !read_files) continue;
      const auto hash = file->Sha256();
      line.right = hash.ok() && *hash == line.sha256;
    }
  };
  pool.ParallelFor(static_cast<int64_t>(lines->size()), check);
  return StopRequested() ? Status(Interrupted()) : Status();
}

// What manifests that were read before the last about a result have of it.
void CountEarlier(const FolderContents& contents, MergeReport* report) {
  DigestSet repeated;
  for (const ResultLine& line : contents.earlier) {
    if (!line.right) continue;
    report->parts[line.part].finished++;
    const Digest16 result = ResultDigest(line.key, line.number);
    if (contents.lines[*contents.places.Find(result)].right)
      report->repeated += repeated.Insert(result, {}).second;
  }
}

// All parts have to be of one list and one model; streams have none to compare, and who was ended before it
// had read the list does not know.
Result<ManifestHeader> CommonHeader(const MergeReport& report, const FolderContents& contents, bool by_jobs) {
  std::optional<ManifestHeader> common;
  size_t whose = 0;
  for (size_t i = 0; i < contents.headers.size(); i++) {
    const auto& header = contents.headers[i];
    if (!header) continue;
    if (!common) common = header, whose = i;
    const bool same_list =
        by_jobs || header->provisional || common->provisional || header->list == common->list;
    if (header->model_hash != common->model_hash || header->weights != common->weights ||
        header->kv != common->kv || header->defaults != common->defaults || !same_list) {
      return UsageError(report.parts[whose].manifest + " and " + report.parts[i].manifest +
                        " are of different lists, models or settings; check them one by one");
    }
    // Parts of 0.1 do not say the model's size.
    const int64_t width = common->width > 0 ? common->width : header->width;
    const int64_t height = common->height > 0 ? common->height : header->height;
    if (common->provisional && !header->provisional) common = header, whose = i;
    if (common->list == header->list && common->digest.empty()) common->digest = header->digest;
    common->width = width, common->height = height;
  }
  if (!common) return DataError(report.parts[0].manifest + ": is empty");
  return *common;
}

// Those from 0 to count-1 that are not among `there`, which is sorted.
std::vector<Run> Gaps(const std::vector<int64_t>& there, int64_t count) {
  std::vector<Run> gaps;
  int64_t next = 0;
  for (const int64_t number : there) {
    if (number >= count) break;
    if (number > next) gaps.push_back({next, number - 1});
    next = std::max(next, number + 1);
  }
  if (next < count) gaps.push_back({next, count - 1});
  return gaps;
}

// Neighbours of which nothing is there become one.
void AddMissing(MissingJobs missing, std::vector<MissingJobs>* all) {
  const bool joins = !all->empty() && all->back().numbers.empty() && missing.numbers.empty() &&
                     all->back().indices.last + 1 == missing.indices.first;
  if (joins) {
    all->back().indices.last = missing.indices.last;
  } else {
    all->push_back(std::move(missing));
  }
}

// By the list itself: every job's key says what ought to be there.
Result<std::vector<MissingJobs>> FindMissing(const std::string& jobs, FolderContents& contents,
                                             MergeReport* report) {
  BIFRONS_TRY(const JobDefaults defaults, DefaultsFromJson(report->header.defaults));
  BIFRONS_TRY(const auto reader, JobReader::Open(jobs, defaults.comments));
  const auto by_key = [](const ResultLine& a, const ResultLine& b) {
    return std::tie(a.key.high, a.key.low, a.number) < std::tie(b.key.high, b.key.low, b.number);
  };
  std::ranges::sort(contents.lines, by_key);
  std::vector<MissingJobs> all;
  const ManifestHeader& header = report->header;
  const PlanModel model{.hash = IdentityOf(header.model_hash, header.weights, header.kv),
                        .width = header.width,
                        .height = header.height};
  KeyCounter keys;
  int64_t expected = 0, known = 0;  // results; lines about them
  report->jobs = 0;
  for (;;) {
    BIFRONS_TRY(const auto entry, reader->Next());
    if (!entry) break;
    ++*report->jobs;
    const Job* const job = std::get_if<Job>(&*entry);
    if (!job) {
      const BadJob& bad = std::get<BadJob>(*entry);
      report->failed.push_back({bad.index, bad.where, "", bad.custom_id, "", bad.error});
      continue;
    }
    const std::string key = keys.Unique(ContentKey(*job, defaults, reader->format(), model));
    contents.listed.Insert(KeyDigest(key), {});
    const int64_t count = job->picture ? PictureCount(*job, defaults, reader->format()) : 1;
    expected += count;
    std::vector<int64_t> there;
    const ResultLine first{.key = KeyDigest(key)};
    for (auto it = std::ranges::lower_bound(contents.lines, first, by_key);
         it != contents.lines.end() && it->key == first.key && it->number < count; ++it) {
      known++;
      if (it->right) there.push_back(it->number);
    }
    report->finished += static_cast<int64_t>(there.size());
    std::vector<Run> missing = Gaps(there, count);
    report->finished_jobs += missing.empty();
    if (missing.empty()) continue;
    if (there.empty()) missing.clear();
    all.push_back({{job->index, job->index}, std::move(missing)});
  }
  report->expected = expected;
  report->others = static_cast<int64_t>(contents.lines.size()) - known;
  return all;
}

using Lines = std::vector<const ResultLine*>;

std::string DigestOfResults(const Lines& lines) {
  ResultSetDigest digest;
  for (const ResultLine* line : lines) digest.Add(ResultDigest(line->key, line->number));
  return digest.Text();
}

// Leaves those of the last list, as far as can be told: what was kept for it stands under an earlier header,
// among what was of that list alone. True: they are all that it comes to, whatever their indices. `right` is
// sorted by index and number.
bool TakeLastList(const FolderContents& contents, Lines* right, MergeReport* report) {
  const ManifestHeader& header = report->header;
  if (!header.results) return false;
  const bool checked = !header.digest.empty();
  if (checked && DigestOfResults(*right) == header.digest) return true;
  const auto found = contents.lists.find(header.list);
  const size_t last = found == contents.lists.end() ? 0 : found->second;
  Lines latest;  // for each place in the list, the last list's own or else what came last
  for (const ResultLine* line : *right) {
    const auto rank = [&](const ResultLine& l) { return std::pair(l.list == last, l.moment); };
    const bool same =
        !latest.empty() && latest.back()->index == line->index && latest.back()->number == line->number;
    if (!same) {
      latest.push_back(line);
    } else if (rank(*line) > rank(*latest.back())) {
      latest.back() = line;
    }
  }
  if (checked && DigestOfResults(latest) == header.digest) {
    report->others = static_cast<int64_t>(right->size() - latest.size());
    *right = std::move(latest);
    return true;
  }
  // What is there is not all of the list; as long as there was but one, it is a part of it.
  const auto most = *header.results - (checked ? 1 : 0);
  report->undecided =
      !right->empty() && (contents.lists.size() > 1 || static_cast<int64_t>(right->size()) > most);
  return false;
}

// Of how many jobs everything is there.
int64_t WholeJobs(const Lines& lines) {
  struct Job {
    int64_t there = 0, of = 0;
  };
  DigestMap<Job> jobs;
  for (const ResultLine* line : lines) {
    Job& job = *jobs.Insert(line->key, {}).first;
    job.there++, job.of = std::max(job.of, line->of);
  }
  int64_t whole = 0;
  for (const ResultLine* line : lines) {
    Job& job = *jobs.Insert(line->key, {}).first;
    whole += job.there == job.of;
    job.of = 0;  // counted
  }
  return whole;
}

// By indices, which count the list's entries unless jobs have their own. `right` is sorted by them.
std::vector<MissingJobs> FindMissingIndices(const Lines& right, MergeReport* report) {
  std::vector<MissingJobs> all;
  report->finished = static_cast<int64_t>(right.size());
  report->expected = report->header.results, report->jobs = report->header.jobs;
  if (report->undecided) return all;
  report->finished_jobs = WholeJobs(right);
  if (!report->header.jobs || (!right.empty() && right.back()->index >= *report->header.jobs)) return all;
  int64_t next = 0;  // of the indices that are looked at
  for (size_t i = 0; i < right.size();) {
    const int64_t index = right[i]->index;
    int64_t of = 0;
    std::vector<int64_t> there;
    for (; i < right.size() && right[i]->index == index; i++)
      there.push_back(right[i]->number), of = std::max(of, right[i]->of);
    if (index > next) all.push_back({{next, index - 1}, {}});
    std::vector<Run> missing = Gaps(there, of);
    if (!missing.empty()) all.push_back({{index, index}, std::move(missing)});
    next = index + 1;
  }
  if (next < *report->header.jobs) all.push_back({{next, *report->header.jobs - 1}, {}});
  return all;
}

// Without the jobs that failed, whose indices are sorted.
std::vector<MissingJobs> WithoutFailed(std::vector<MissingJobs> missing, const std::vector<int64_t>& failed) {
  std::vector<MissingJobs> all;
  for (MissingJobs& jobs : missing) {
    int64_t next = jobs.indices.first;
    for (auto it = std::ranges::lower_bound(failed, next); it != failed.end() && *it <= jobs.indices.last;
         ++it) {
      if (*it > next) AddMissing({{next, *it - 1}, jobs.numbers}, &all);
      next = *it + 1;
    }
    if (next <= jobs.indices.last) AddMissing({{next, jobs.indices.last}, std::move(jobs.numbers)}, &all);
  }
  return all;
}

void FindMissingShards(const FolderContents& contents, MergeReport* report) {
  std::map<int64_t, std::set<int64_t>> there;  // by the number of shards
  for (const auto& header : contents.headers) {
    if (!header) continue;
    if (const auto shard = ParseShard(header->shard); shard.ok()) there[shard->count].insert(shard->index);
  }
  int64_t missing = 0;
  for (const auto& [count, indices] : there) missing += count - static_cast<int64_t>(indices.size());
  for (const auto& [count, indices] : there) {
    for (const Run& run : Gaps({indices.begin(), indices.end()}, count)) {
      if (missing <= kMostShardsShown || run.size() == 1) {
        for (int64_t i = run.first; i <= run.last; i++)
          report->missing_shards.push_back(Shard{i, count}.ToString());
      } else {
        report->missing_shards.push_back(std::to_string(run.first) + "-" + Shard{run.last, count}.ToString());
      }
    }
  }
}

// " line 12" of "jobs.txt line 12"; "" if it is no entry's place.
std::string_view LineOf(std::string_view where) {
  const size_t at = where.rfind(" line ");
  return at == std::string_view::npos ? std::string_view() : where.substr(at);
}

// The list may have been called by another path.
std::string PlaceOf(const FailedJob& failed) {
  const std::string_view line = LineOf(failed.where);
  return std::to_string(failed.index) + std::string(line.empty() ? failed.where : line);
}

// A list's contact sheet is no job.
bool IsAboutJob(const FailedJob& failed) { return !failed.key.empty() || !LineOf(failed.where).empty(); }

// What another process did after one had failed is done. With the list at hand, what is wrong with it has
// been told, and what was wrong before it was corrected counts no more.
void AddFailed(bool by_jobs, FolderContents* contents, MergeReport* report) {
  DigestSet done;
  for (const ResultLine& line : contents->lines)
    if (line.right) done.Insert(line.key, {});
  std::unordered_set<std::string> known;
  for (const FailedJob& failed : report->failed) known.insert(PlaceOf(failed));
  const auto is_past = [&](const FailedJob& failed) {
    if (!by_jobs) return false;
    return failed.key.empty() ? !LineOf(failed.where).empty()
                              : !contents->listed.Contains(KeyDigest(failed.key));
  };
  for (FailedJob& failed : contents->failed) {
    const bool is_done = !failed.key.empty() && done.Contains(KeyDigest(failed.key));
    if (!is_done && !is_past(failed) && known.insert(PlaceOf(failed)).second)
      report->failed.push_back(std::move(failed));
  }
  std::ranges::stable_sort(report->failed, {}, &FailedJob::index);
}

}  // namespace

Result<MergeReport> CheckFolders(const MergeRequest& request) {
  MergeReport report;
  FolderContents contents;
  std::set<std::string> seen;
  for (const std::string& folder : request.folders) {
    std::error_code error;
    if (!seen.insert(fs::weakly_canonical(folder, error).string()).second) continue;
    BIFRONS_RETURN_IF_ERROR(ReadFolder(folder, request.keep_lines, &report, &contents));
  }
  BIFRONS_TRY(report.header, CommonHeader(report, contents, !request.jobs.empty()));
  BIFRONS_RETURN_IF_ERROR(CheckFiles(contents.folders, request.read_files, &contents.lines));
  BIFRONS_RETURN_IF_ERROR(CheckFiles(contents.folders, request.read_files, &contents.earlier));
  CountEarlier(contents, &report);
  std::vector<MissingJobs> missing;
  if (!request.jobs.empty()) {
    BIFRONS_TRY(missing, FindMissing(request.jobs, contents, &report));
    std::ranges::stable_sort(missing, {}, [](const MissingJobs& m) { return m.indices.first; });
  }
  Lines right;
  std::set<size_t> folders;
  for (const ResultLine& line : contents.lines) {
    if (line.right) {
      if (!line.file.empty()) folders.insert(line.folder);
      report.parts[line.part].finished++;
      right.push_back(&line);
    } else {
      report.damaged.push_back({(fs::path(contents.folders[line.folder]) / line.file).string(), line.exists});
    }
  }
  for (const size_t folder : folders) report.folders.push_back(contents.folders[folder]);
  std::ranges::sort(right, [](const ResultLine* a, const ResultLine* b) {
    return std::tie(a->index, a->number, a->key.high, a->key.low) <
           std::tie(b->index, b->number, b->key.high, b->key.low);
  });
  if (request.keep_lines) {
    for (const ResultLine* line : right) report.lines.push_back(line->text);
  }
  if (request.jobs.empty()) {
    const bool all = TakeLastList(contents, &right, &report);
    missing = FindMissingIndices(right, &report);
    if (all) missing.clear();
  }
  AddFailed(!request.jobs.empty(), &contents, &report);
  std::vector<int64_t> failed;  // indices
  for (const FailedJob& f : report.failed) failed.push_back(f.index);
  report.missing = WithoutFailed(std::move(missing), failed);
  const bool known = request.jobs.empty() ? !report.header.provisional : true;
  const bool enough = report.finished >= report.expected.value_or(0);
  const bool sound = known && !report.undecided && report.missing.empty() && report.damaged.empty();
  report.complete = sound && enough && report.failed.empty();
  const auto failed_jobs = std::ranges::count_if(report.failed, IsAboutJob);
  report.only_failed =
      sound && !report.failed.empty() && report.finished_jobs + failed_jobs >= report.jobs.value_or(0);
  if (!enough) FindMissingShards(contents, &report);
  return report;
}

Status WriteMergedManifest(const MergeReport& report, AtomicFile& file) {
  ManifestHeader header = report.header;
  header.shard = Shard{}.ToString();
  constexpr size_t kChunk = size_t{1} << 20;
  std::string text = HeaderLine(header) + "\n";
  const auto write = [&] {
    const Status written = file.Write({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    text.clear();
    return written;
  };
  for (const std::string& line : report.lines) {
    text += line + "\n";
    if (text.size() >= kChunk) BIFRONS_RETURN_IF_ERROR(write());
  }
  BIFRONS_RETURN_IF_ERROR(write());
  return file.Commit();
}

std::string ShownMissing(const std::vector<MissingJobs>& missing, size_t most) {
  const auto shown = [](const Run& run) {
    return std::to_string(run.first) + (run.last > run.first ? "-" + std::to_string(run.last) : "");
  };
  std::string text;
  for (size_t i = 0; i < missing.size(); i++) {
    if (i == most) return text + ", …";
    if (i > 0) text += ", ";
    text += shown(missing[i].indices);
    const std::vector<Run>& numbers = missing[i].numbers;
    if (numbers.empty()) continue;
    text += numbers.size() == 1 && numbers[0].size() == 1 ? " (picture" : " (pictures";
    for (size_t k = 0; k < numbers.size() && k < most; k++) text += " " + shown(numbers[k]);
    text += numbers.size() > most ? " …)" : ")";
  }
  return text;
}

}  // namespace bifrons
