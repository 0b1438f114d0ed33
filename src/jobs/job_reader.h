// Job files, read line by line as they arrive; the format is recognised by content.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "src/jobs/job.h"

namespace bifrons {

enum class JobFormat {
  /// One prompt per line. Lines of A1111's "Prompts from file" may be among them: --prompt "…"
  /// --negative_prompt "" --seed --best_of --cfg_scale --n_iter --batch_size --width --height. What concerns
  /// diffusion or the web UI alone (--steps, --sampler_name, …) is ignored; what would make another picture
  /// (--tiling true, a negative prompt, …) is a BadJob.
  kLines,
  // The next three are JSON: an object per line; objects over many lines; arrays of them; an array that an
  // object holds under one of kListNames.
  /// prompt, n, seed, best_of, cfg (or guidance, cfg_scale), temperature, top_k, top_p, min_p, file (or
  /// file_name),
  /// format, index, width, height, size. Another field is a BadJob. A text is a prompt alone.
  kJson,
  /// OpenAI Batch: custom_id, method, url, body. Requests are for /v1/images/generations (with seed, best_of,
  /// cfg, temperature, top_k, top_p, min_p as extra fields) or /v1/chat/completions: system messages stand
  /// before
  /// the first question, images are data: URIs, file:// URLs or paths. Parameters without a use here
  /// (quality,
  /// user, …) are ignored, those that ask for something else (stream, tools, …) are a BadJob, as is one that
  /// is
  /// unknown.
  kOpenAi,
  /// GenEval's evaluation_metadata.jsonl: tag, include, prompt. Its own script draws 4 pictures of each.
  kGenEval,
  /// A header names columns as kJson has fields, in any case; others are ignored. Commas, semicolons or tabs,
  /// or what a first line "sep=…" says.
  kCsv,
};

/// An entry that is no job. The others go on.
struct BadJob {
  int64_t index = 0;
  std::string where;       // "jobs.jsonl line 12"
  std::string custom_id;   // "" where it could not be read
  Error error;             // without `where`
  bool duplicate = false;  // the custom_id is that of an earlier request, which can be done
};

class JobReader {
 public:
  using Entry = std::variant<Job, BadJob>;

  /// Opens a job file, or standard input for "-". Lines that begin with `comments` are passed over, except
  /// among the lines of one entry and in an array; "" = none. Errors (kBadData): cannot be opened, a CSV
  /// header without a prompt, a file that is no text (of binary ones its first line tells).
  static Result<std::unique_ptr<JobReader>> Open(const std::string& path, const std::string& comments = "");
  virtual ~JobReader() = default;

  /// The next entry, as soon as its text is complete; nothing at the end. Empty lines are skipped. An entry
  /// that memory does not suffice for is a BadJob. Errors: the file cannot be read any further (kFailure).
  virtual Result<std::optional<Entry>> Next() = 0;

  /// How many lines were no entries so far, empty ones aside: comments, CSV rows without contents; of JSON
  /// the fields beside a list.
  virtual int64_t passed_over() const = 0;
  virtual JobFormat format() const = 0;
  /// A table's columns that are no fields, as fields are spelt; those without a name are left out.
  virtual std::vector<std::string> ignored_columns() const = 0;
};

}  // namespace bifrons
