// What a job comes to: which pictures, with which seeds, settings and names.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kernels/sampling.h"
#include "src/base/result.h"
#include "src/jobs/file_name.h"
#include "src/jobs/job.h"
#include "src/jobs/job_reader.h"
#include "src/jobs/picture_file.h"
#include "src/jobs/plot.h"

namespace bifrons {

/// What holds where a job does not say otherwise.
struct JobDefaults {
  DrawSettings settings;
  std::optional<int64_t> seed;          // of every job's first picture
  std::optional<int> images;            // none: 1, and 4 of an entry of GenEval's
  std::optional<int> best_of;           // candidates of each picture; none: 1
  std::optional<PictureFormat> format;  // none: as the file's name ends, else PNG
  int upscale = 1;                      // 1, 2, 4; of a size that a job asks for as well
  std::vector<PlotAxis> plot;           // of every job a picture per value, or pair of values
  std::string comments;                 // what the list's lines begin with that are no jobs; "": none
  bool strict_size = false;             // refuse sizes that the model does not draw; decides no picture
};

/// Whether the defaults suit the list's format: GenEval's evaluator reads PNG files only. Errors: kUsage.
Status CheckDefaults(const JobDefaults& defaults, JobFormat format, const NameTemplate& names);

/// The part of the defaults that decides pictures, for a manifest's header and back.
nlohmann::json ToJson(const JobDefaults& defaults);
nlohmann::json ToJson(const std::vector<PlotAxis>& plot);
Result<JobDefaults> DefaultsFromJson(const nlohmann::json& json);

/// The settings, and the defaults where they say nothing.
DrawSettings Merged(DrawSettings settings, const DrawSettings& defaults);

/// What the model decides.
struct PlanModel {
  std::string hash;               // its IdentityOf
  float guidance = 5;             // default
  int64_t width = 0, height = 0;  // of its pictures; 0: not known, every job asks for it
};

constexpr int64_t kMaxAspect = 64;  // of a size that a job asks for: the longer side to the shorter

/// What the job asks for, where that is not what the model draws. A side that is not given is the model's.
std::optional<PictureSize> AskedSize(const PictureJob& job, const PlanModel& model);

struct PlannedPicture {
  int64_t number = 0;  // among the job's, from 0
  std::string prompt;
  uint64_t seed = 0;  // its first candidate's; of one that is there, its own
  int best_of = 1;    // candidates
  Sampling sampling;
  std::string file;  // relative to the output folder
};

struct PlannedJob {
  Job job;
  std::string key;
  PictureFormat format = PictureFormat::kPng;
  PictureSize size;                      // of the files
  bool resized = false;                  // to a size that the job asks for
  std::vector<PlannedPicture> pictures;  // none of an answer
};

/// How many pictures the job comes to; 0 for an answer.
int64_t PictureCount(const Job& job, const JobDefaults& defaults, JobFormat format);

/// How many candidates each of them has.
int BestOf(const PictureJob& job, const JobDefaults& defaults);

/// The seed of a job that has none, fixed by the manifest's `base`; room for `count` that count up from it.
uint64_t DerivedSeed(uint64_t base, const std::string& key, int64_t count);

/// Fills in `pictures`; `first_seed` is the job's own, the defaults', or the derived one. Errors (kUsage): a
/// size beyond the limits, or under strict_size another than the model's; seeds beyond the largest, a file
/// name that contradicts the format, ApplyAxis's.
Result<PlannedJob> Plan(Job job, std::string key, const JobDefaults& defaults, JobFormat format,
                        const PlanModel& model, const NameTemplate& names, uint64_t first_seed);

/// The job's own seed or the defaults'; none: it is to be derived.
std::optional<uint64_t> GivenSeed(const Job& job, const JobDefaults& defaults);

/// The format that a file's extension asks for; none if it is no picture's.
std::optional<PictureFormat> FormatOfName(const std::string& file);

/// Where a job's contact sheet stands: beside its first picture.
std::string SheetFile(const PlannedJob& planned, JobFormat format);
/// GenEval's tree: "00012".
std::string GenEvalFolder(int64_t index);

}  // namespace bifrons
