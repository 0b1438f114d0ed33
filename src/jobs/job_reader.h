// Job files, read line by line as they arrive; the format is recognised by content.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "src/jobs/job.h"

namespace bifrons {

enum class JobFormat {
  /// One prompt per line; lines that begin with # are comments. Lines of A1111's "Prompts from file" may be
  /// among
  /// them: --prompt "…" --negative_prompt "" --seed --cfg_scale --n_iter --batch_size --width --height. What
  /// concerns diffusion or the web UI alone (--steps, --sampler_name, …) is ignored; what would make another
  /// picture (--tiling true, a negative prompt, …) is a BadJob.
  kLines,
  /// JSON lines: prompt, n, seed, cfg (or guidance, cfg_scale), temperature, top_k, top_p, min_p, file (or
  /// file_name), format, index, width, height, size. Another field is a BadJob.
  kJson,
  /// OpenAI Batch: custom_id, method, url, body. Requests are for /v1/images/generations (with seed, cfg,
  /// temperature, top_k, top_p, min_p as extra fields) or /v1/chat/completions: system messages stand before
  /// the
  /// first question, images are data: URIs, file:// URLs or paths. Parameters without a use here (quality,
  /// user, …)
  /// are ignored, those that ask for something else (stream, tools, …) are a BadJob, as is one that is
  /// unknown.
  kOpenAi,
  /// A header names columns as kJson has fields, in any case; others are ignored. Commas, semicolons or tabs.
  kCsv,
  /// GenEval's evaluation_metadata.jsonl: tag, include, prompt. Its own script draws 4 pictures of each.
  kGenEval,
};

/// An entry that is no job. The others go on.
struct BadJob {
  int64_t index = 0;
  std::string where;      // "jobs.jsonl line 12"
  std::string custom_id;  // "" where it could not be read
  Error error;            // without `where`
};

class JobReader {
 public:
  using Entry = std::variant<Job, BadJob>;

  /// Opens a job file, or standard input for "-". Errors: cannot be read (kUsage); a CSV header without a
  /// prompt (kBadData).
  static Result<std::unique_ptr<JobReader>> Open(const std::string& path);
  virtual ~JobReader() = default;

  /// The next entry, as soon as its line is complete; nothing at the end. Empty lines are skipped, and lines
  /// of prompts that begin with # as well. Errors: the file cannot be read any further (kFailure).
  virtual Result<std::optional<Entry>> Next() = 0;

  virtual JobFormat format() const = 0;
};

}  // namespace bifrons
