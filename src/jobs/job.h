// One entry of a job file, whatever the file's format.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

/// How pictures are asked for where a job does not say: from the command line, else the model's.
struct DrawSettings {
  std::optional<float> guidance, temperature, top_p, min_p;
  std::optional<int> top_k;
};

/// Pictures of one prompt.
struct PictureJob {
  std::string prompt;           // UTF-8, not empty
  std::optional<int> images;    // picture k has seed + k · best_of; none: the command line's
  std::optional<int64_t> seed;  // none: the command line's, else one that the manifest fixes
  std::optional<int> best_of;   // candidates of each picture; none: the command line's
  DrawSettings settings;
  std::string file;           // relative to the output folder, or "" for the template's
  std::string format;         // "png", "jpg", "webp", or "" for the command line's
  int width = 0, height = 0;  // asked for, in pixels; 0: unsaid, the model's
};

/// A question about images.
struct AnswerJob {
  std::vector<std::string> images;  // paths or data: URIs, for ImageFolder, in the order of the turns
  struct Turn {
    int images = 0;  // that this turn shows
    std::string question, answer;
  };
  std::vector<Turn> turns;  // the last one's answer is wanted
  std::optional<float> temperature, top_p;
  std::optional<int64_t> seed;
  std::optional<int> max_tokens;
};

struct Job {
  int64_t index = 0;    // position in the list, from 0; a file's own where it says so
  std::string where;    // "jobs.txt line 12", for messages
  std::string ignored;  // "--steps": a setting that it has and that means nothing here; "" = none
  std::optional<PictureJob> picture;  // exactly one of the two
  std::optional<AnswerJob> answer;
  // OpenAI Batch files:
  std::string custom_id;
  std::string model;          // as asked for, echoed in answers
  std::string quality;        // the same, where it is one that an answer may name
  bool inline_image = false;  // response_format b64_json: the answer holds the picture
  // GenEval: the entry as it stands, written beside its samples as metadata.jsonl
  std::string geneval_metadata;
};

}  // namespace bifrons
