#include "src/jobs/list_counter.h"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <new>
#include <utility>

#include "src/base/sha256.h"
#include "src/base/stop.h"
#include "src/jobs/content_key.h"

namespace bifrons {

bool IsListFile(const std::string& jobs) {
  std::error_code error;
  return jobs != "-" && std::filesystem::is_regular_file(jobs, error);
}

Status ListKeys::Visit(const std::function<bool(const Entry&)>& visit) const {
  BIFRONS_TRY(const auto reader, JobReader::Open(jobs, defaults.comments));
  const JobFormat format = reader->format();
  KeyCounter keys;
  for (int64_t position = 0;; position++) {
    BIFRONS_TRY(const auto read, reader->Next());
    if (!read) return {};
    Entry entry{position, nullptr, std::get_if<BadJob>(&*read), "no job", 0};
    if (const Job* const job = std::get_if<Job>(&*read)) {
      try {
        entry.key = keys.Unique(ContentKey(*job, defaults, format, model));
        entry.results = job->picture ? PictureCount(*job, defaults, format) : 1;
        entry.job = job;
      } catch (const std::bad_alloc&) {  // who draws it meets the same, and tells
      }
    }
    if (!visit(entry)) return {};
  }
}

ListCounter::ListCounter(ListKeys keys, Shard shard) : keys_(std::move(keys)), shard_(shard) {
  count_ = std::async(std::launch::async, [this] { return Run(); });
}

ListCounter::~ListCounter() {
  abandoned_ = true;
  if (count_.valid()) count_.wait();
}

bool ListCounter::WaitFor(double seconds) {
  const auto status = count_.wait_for(std::chrono::duration<double>(seconds));
  in_company_ = true;
  return status == std::future_status::ready;
}

Result<ListCounter::Count> ListCounter::Run() {
  Count count;
  Sha256 list;
  ResultSetDigest digest;
  bool modest = false;
  const Status read = keys_.Visit([&](const ListKeys::Entry& entry) {
    if (in_company_ && !std::exchange(modest, true)) {
      constexpr int kNice = 10;
      ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNice);
    }
    list.Update(entry.key + "\n");
    const Digest16 key = KeyDigest(entry.key);
    for (int64_t k = 0; k < entry.results; k++) digest.Add(ResultDigest(key, k));
    count.jobs++;
    count.results += entry.results;
    if (shard_.Holds(entry.position)) count.expected += entry.results;
    return !abandoned_ && !StopRequested();
  });
  if (!read.ok()) return read.error();
  if (abandoned_ || StopRequested()) return Interrupted();
  count.list = list.Finish().substr(0, 32);
  count.digest = digest.Text();
  return count;
}

}  // namespace bifrons
