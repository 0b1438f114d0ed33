// Rendering a list: jobs as they arrive go to the scheduler, what comes of them to the output folder.
//
// The caller's thread feeds: it reads jobs, tells what is done already, and keeps a few more requests with
// the scheduler than run at once, so that a list of any length takes no memory. Results are encoded, written
// and recorded on the scheduler's second thread, beside its steps.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/base/digest_map.h"
#include "src/base/result.h"
#include "src/base/thread_pool.h"
#include "src/engine/metadata.h"
#include "src/engine/scheduler.h"
#include "src/jobs/content_key.h"
#include "src/jobs/entry_queue.h"
#include "src/jobs/image_folder.h"
#include "src/jobs/job_reader.h"
#include "src/jobs/job_sheet.h"
#include "src/jobs/list_counter.h"
#include "src/jobs/output_folder.h"
#include "src/jobs/plan.h"
#include "src/jobs/shard.h"
#include "src/model/janus.h"
#include "vision/image_file.h"

namespace bifrons {

struct RenderOptions {
  std::string jobs;      // a job file, or "-"
  std::string folder;    // for everything that comes of it
  std::string manifest;  // this process's file in the folder: manifest*.jsonl
  JobDefaults defaults;
  NameTemplate names;
  Shard shard;
  bool sheets = false;     // contact sheets: of every job with several pictures, and of all that have one
  int sheet_columns = 0;   // 0 = about as many as rows, or kListSheetSide
  bool verify = false;     // read every finished picture, also where size and time are as recorded
  ImageOptions images;     // how those that are asked about are read
  std::string image_root;  // the folder that they are below; "": the job file's, and of a stream none
  SchedulerOptions scheduler;
};

struct RenderProgress {
  int64_t drawn = 0, answered = 0;  // now
  int64_t kept = 0;                 // of them from earlier runs
  int64_t failed = 0;               // jobs
  std::optional<int64_t> expected;  // pictures and answers of this shard; none: of a stream nobody knows
  double under_way = 0;             // pictures' worth of what is being drawn; of none all
  double image_tokens = 0;          // drawn now, of all candidates
  double seconds = 0;
};

struct RenderSummary {
  RenderProgress progress;
  int64_t sheets = 0;       // written now
  int64_t passed_over = 0;  // lines of the list that are no jobs, empty ones aside
  int64_t others = 0;       // results that the folder has besides; known once a file has been read to its end
  SchedulerStats stats;
  bool begun = false;        // the list and the folder could be opened
  bool interrupted = false;  // before all was done
};

/// Told what happens, one call at a time, from several threads.
class RenderListener {
 public:
  virtual ~RenderListener() = default;
  /// A picture is written and recorded; `line` is the manifest's.
  virtual void OnPicture(const std::string& path, const std::string& line) = 0;
  virtual void OnAnswer(const ManifestRecord& record, const std::string& line) = 0;
  /// A picture or an answer is there from before; its index is the job's in this list.
  virtual void OnKept(const ManifestRecord& record) = 0;
  virtual void OnFailed(const FailedJob& failed) = 0;
  /// `setting` of the entry at `where` means nothing here; of a list's first one only.
  virtual void OnIgnored(const std::string& where, const std::string& setting) = 0;
  virtual void OnSheet(const std::string& path) = 0;
  /// The run was stopped, and has kFinishingSeconds for pictures whose tokens are complete.
  virtual void OnFinishing() = 0;
  /// On the caller's thread, some ten times a second.
  virtual void OnProgress(const RenderProgress& progress) = 0;
};

class Renderer {
 public:
  /// `reader` stands at the list's beginning. `janus` and `listener` must outlive the renderer.
  Renderer(Janus& janus, std::unique_ptr<JobReader> reader, RenderOptions options, RenderListener& listener);

  /// Renders until the list's end, or until `stop` says so: then nothing more begins, pictures whose tokens
  /// are complete are still written, for kFinishingSeconds at most, and the rest is dropped. Errors
  /// (kFailure): the folder can take no more, the list cannot be read any further. The summary tells what was
  /// done before.
  Status Run(const std::function<bool()>& stop);
  /// Once Run is through.
  const RenderSummary& summary() const { return summary_; }

 private:
  using Clock = std::chrono::steady_clock;
  using Stop = std::function<bool()>;

  /// A job some of whose pictures are not finished.
  struct Live {
    PlannedJob plan;
    int64_t remaining = 0;  // pictures, or 1 for an answer
    bool failed = false;
    std::vector<std::optional<OutputFiles::Found>> over;  // what each picture takes the place of
    std::vector<std::string> hashes;                      // of the pictures that are there
    std::string sheet;                                    // its file; "": none
    Status sheet_claim;                                   // whether the sheet may have that name
    ManifestRecord answer;                                // once it is there
  };
  /// Who has a file's name.
  struct Claim {
    int64_t job = 0;  // its index
    bool sheet = false;
  };
  /// A job of which some may be finished, and what the manifests and the folder say of each picture.
  struct Known {
    std::shared_ptr<Live> live;
    std::vector<std::optional<ManifestRecord>> records;
    std::vector<OutputFolder::Held> held;
  };
  /// A picture or an answer that the scheduler has.
  struct Request {
    int64_t number = 0;  // its key in requests_
    Scheduler::Id id = Scheduler::kNoId;
    int64_t all_tokens = 0;  // of a picture's candidates; 0: an answer
    std::atomic<int64_t> tokens{0};
    Clock::time_point begun;  // the first token, or before that the submission
    bool written = false;     // the picture, which counts as drawn
  };

  // ---- render.cpp: the caller's thread
  Status Open();
  Status OpenBatchOutput();
  void TakeCount();
  Status Feed(EntryQueue& queue, const Stop& stop);
  void WaitForTheRest(const Stop& stop);
  void TakeWithinMemory(Job& job, const Stop& stop);
  void Take(const Job& job, const Stop& stop);
  Status CheckJudge(int best_of) const;
  void VerifyWaiting(const Stop& stop);
  void Continue(const Known& known, const Stop& stop);
  bool WriteGenEvalMetadata(Live& live);
  Status ClaimNames(Live& live, const std::vector<std::optional<ManifestRecord>>& records);
  Status ClaimName(const std::string& file, Claim claim);
  Status ClaimSheet(const std::string& file, int64_t job);
  bool MayDraw(Live& live, size_t k, const std::optional<ManifestRecord>& record);
  void SubmitPicture(const std::shared_ptr<Live>& live, size_t k);
  void SubmitAnswer(const std::shared_ptr<Live>& live, uint64_t seed);
  std::shared_ptr<Request> Enter(int64_t all_tokens);
  void Submitted(Live& live, Request& request, const Result<Scheduler::Id>& id);
  bool WaitForRoom(const Stop& stop);
  void ReportProgress();
  void Kept(ManifestRecord record, const Job& job);

  // ---- render_results.cpp: the scheduler's second thread, and the caller's for what is there already
  void Deliver(Live& live, size_t k, Result<DrawnPicture> drawn, Request& request);
  void Deliver(Live& live, Result<Answer> answer, uint64_t seed, const Sampling& sampling,
               const Request& request);
  bool IsThisPicture(const PlannedJob& plan, const PlannedPicture& picture,
                     const std::string& parameters) const;
  PictureSettings SettingsOf(const PlannedJob& plan, const PlannedPicture& picture) const;
  Status WritePicture(Live& live, size_t k, DrawnPicture drawn, Request& request);
  /// Runs `deliver`, and the request leaves whatever comes. What `deliver` lacks memory for fails the job,
  /// or, where not even that can be recorded, the run.
  template <class Work>
  void Finish(Live& live, const Request& request, const Work& deliver) noexcept;
  void Leave(const Request& request);
  void FinishOne(Live& live);
  void FinishJob(Live& live);
  void WriteBatchAnswer(Live& live);
  void WriteSheet(const std::string& file, const PlannedSheet& sheet, FailedJob whose);
  void WriteListSheets();
  void Fail(Live& live, const Error& error);
  /// `answered`: another line of the batch's output is the answer to this custom_id.
  void Fail(const FailedJob& failed, bool answered = false);
  void FailSheet(FailedJob whose, const Error& error);
  void CountFailed(const FailedJob& failed);
  /// The job's fault, or the folder's.
  void Refuse(Live& live, const OutputFolder::WriteError& error) {
    error.folder ? Abandon(error.error) : Fail(live, error.error);
  }
  /// The folder can take no more: everything ends.
  void Abandon(const Error& error);
  void Keep(const Status& status) {
    if (!status.ok()) Abandon(status.error());
  }
  bool IsAbandoned();

  Janus& janus_;
  RenderOptions options_;
  RenderListener& listener_;
  std::unique_ptr<JobReader> reader_;
  JobFormat format_;
  PictureSettings model_;  // what the loaded model decides
  PlanModel plan_model_;
  std::unique_ptr<OutputFolder> folder_;
  ImageFolder images_;
  KeyCounter keys_;
  int64_t position_ = 0;  // in the list
  bool told_ignored_ = false;
  int64_t found_ = 0;                     // of its results so far: those that the folder began with
  DigestMap<Claim> claims_;               // every name that the run writes
  ManifestHeader header_;                 // of this run
  std::unique_ptr<ListCounter> counter_;  // until it has told
  std::vector<Known> waiting_;            // for their contents to be looked at
  std::unique_ptr<ThreadPool> verifiers_;
  Clock::time_point start_, reported_;

  std::mutex mutex_;  // of what follows, and of the listener
  std::condition_variable changed_;
  std::unordered_map<int64_t, std::shared_ptr<Request>> requests_;  // with the scheduler
  int64_t next_request_ = 0;
  std::optional<Error> abandoned_;
  std::map<int64_t, SinglePicture> singles_;  // for the list's contact sheets, by place in it
  RenderSummary summary_;

  std::unique_ptr<Scheduler> scheduler_;  // last: its threads use all of the above
};

}  // namespace bifrons
