#include "src/jobs/plan.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "src/base/printable.h"
#include "src/base/sha256.h"
#include "src/engine/metadata.h"
#include "src/jobs/job_fields.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kGenEvalImages = 4;  // geneval: generation/diffusers_generate.py, --n_samples

template <class T>
json OrNull(const std::optional<T>& value) {
  return value ? json(*value) : json();
}

template <class T>
void Prefer(std::optional<T>& value, const std::optional<T>& other) {
  if (!value) value = other;
}

// A setting that nobody gave is the model's, whose hash stands beside.
void AddSettings(const DrawSettings& s, json* out) {
  (*out)["cfg"] = OrNull(s.guidance), (*out)["temperature"] = OrNull(s.temperature);
  (*out)["top_k"] = OrNull(s.top_k), (*out)["top_p"] = OrNull(s.top_p), (*out)["min_p"] = OrNull(s.min_p);
}

std::string WithExtension(const std::string& file, PictureFormat format) {
  const auto named = FormatOfName(file);
  if (named == format) return file;
  const std::string extension = std::string(".") + NameOf(format);
  return named ? fs::path(file).replace_extension(extension).string() : file + extension;
}

// a/b.png, _1 → a/b_1.png
std::string BeforeExtension(const std::string& file, const std::string& addition) {
  const fs::path path(file);
  return (path.parent_path() / (path.stem().string() + addition + path.extension().string())).string();
}

Result<PictureFormat> FormatOf(const PictureJob& job, const JobDefaults& defaults,
                               const NameTemplate& names) {
  const auto named = FormatOfName(job.file);
  if (!job.format.empty()) {
    BIFRONS_TRY(const PictureFormat format, ParsePictureFormat(job.format));
    if (named && *named != format)
      return UsageError("its file " + Printable(job.file) + " contradicts its format " + NameOf(format));
    return format;
  }
  if (named) return *named;
  if (defaults.format) return *defaults.format;
  return FormatOfName(names.Fill({})).value_or(PictureFormat::kPng);
}

// The cell of a plot: the first axis runs along its rows.
Status ApplyPlot(const std::vector<PlotAxis>& plot, int64_t number, PictureJob* cell) {
  auto rest = static_cast<size_t>(number);
  for (const PlotAxis& axis : plot) {
    BIFRONS_RETURN_IF_ERROR(ApplyAxis(*cell, axis, rest % axis.values.size()));
    rest /= axis.values.size();
  }
  return {};
}

Sampling SamplingOf(const DrawSettings& settings, float guidance) {
  Sampling sampling;
  sampling.guidance = settings.guidance.value_or(guidance);
  sampling.temperature = settings.temperature.value_or(sampling.temperature);
  sampling.top_k = settings.top_k.value_or(sampling.top_k);
  sampling.top_p = settings.top_p.value_or(sampling.top_p);
  sampling.min_p = settings.min_p.value_or(sampling.min_p);
  return sampling;
}

Status CheckSize(const PictureSize& asked, const JobDefaults& defaults, const PlanModel& model) {
  const std::string asks = "asks for " + asked.ToString() + " pixels";
  if (defaults.strict_size) {
    return UsageError(asks + ", but this model draws " + PictureSize{model.width, model.height}.ToString() +
                          "; --upscale 2 or 4 makes larger files of those",
                      "size");
  }
  const auto [shorter, longer] = std::minmax(asked.width, asked.height);
  if (longer > shorter * kMaxAspect) {
    return UsageError(
        asks + ", and a side may be at most " + std::to_string(kMaxAspect) + " times as long as the other",
        "size");
  }
  if (longer * defaults.upscale > kMaxResizedSide) {
    const PictureSize file{asked.width * defaults.upscale, asked.height * defaults.upscale};
    return UsageError(asks + ", which --upscale " + std::to_string(defaults.upscale) + " makes " +
                          file.ToString() + "; a side may have at most " + std::to_string(kMaxResizedSide),
                      "size");
  }
  return {};
}

}  // namespace

std::optional<PictureFormat> FormatOfName(const std::string& file) {
  std::string extension = fs::path(file).extension().string();
  for (char& c : extension) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  if (extension == ".png") return PictureFormat::kPng;
  if (extension == ".jpg" || extension == ".jpeg") return PictureFormat::kJpeg;
  if (extension == ".webp") return PictureFormat::kWebp;
  return std::nullopt;
}

DrawSettings Merged(DrawSettings settings, const DrawSettings& defaults) {
  Prefer(settings.guidance, defaults.guidance);
  Prefer(settings.temperature, defaults.temperature);
  Prefer(settings.top_k, defaults.top_k);
  Prefer(settings.top_p, defaults.top_p);
  Prefer(settings.min_p, defaults.min_p);
  return settings;
}

json ToJson(const std::vector<PlotAxis>& plot) {
  json axes = json::array();
  for (const PlotAxis& axis : plot) axes.push_back({{"name", axis.name}, {"values", axis.values}});
  return axes;
}

Status CheckDefaults(const JobDefaults& defaults, JobFormat format, const NameTemplate& names) {
  if (format != JobFormat::kGenEval) return {};
  BIFRONS_TRY(const PictureFormat pictures, FormatOf({}, defaults, names));
  if (pictures == PictureFormat::kPng) return {};
  return UsageError("GenEval's evaluator reads .png files only; leave out --format " +
                    std::string(NameOf(pictures)) + ", and name templates that end so");
}

json ToJson(const JobDefaults& d) {
  json out = {{"seed", OrNull(d.seed)}, {"images", OrNull(d.images)}, {"upscale", d.upscale}};
  if (d.best_of) out["best_of"] = *d.best_of;  // absent where earlier versions know none
  AddSettings(d.settings, &out);
  out["format"] = d.format ? json(NameOf(*d.format)) : json();
  out["plot"] = ToJson(d.plot);
  if (!d.comments.empty()) out["comments"] = d.comments;  // no list of an earlier version had any
  return out;
}

namespace {

// Members of an untrusted header; the first that is wrong stays.
class DefaultsReader {
 public:
  explicit DefaultsReader(const json& in) : in_(in) {
    if (!in.is_object()) wrong_ = "they are no object";
  }

  /// Nothing where it is null.
  template <class T>
  void Number(const char* name, double least, double most, std::optional<T>* value) {
    const json* const member = Member(name);
    if (!member || member->is_null()) return;
    const bool fits = std::is_integral_v<T> ? member->is_number_integer() : member->is_number();
    const double number = fits ? member->get<double>() : 0;
    if (!fits || !(number >= least && number <= most)) return Refuse(name);
    *value = member->get<T>();
  }
  const json* Member(const char* name) {
    if (!wrong_.empty()) return nullptr;
    const auto found = in_.find(name);
    if (found != in_.end()) return &*found;
    Refuse(name);
    return nullptr;
  }
  void Refuse(const char* name) {
    if (wrong_.empty()) wrong_ = "\"" + std::string(name) + "\" is missing or out of range";
  }
  const std::string& wrong() const { return wrong_; }

 private:
  const json& in_;
  std::string wrong_;
};

}  // namespace

Result<JobDefaults> DefaultsFromJson(const json& in) {
  const auto damaged = [](const std::string& what) {
    return DataError("the header's \"defaults\" are damaged: " + what);
  };
  JobDefaults d;
  DefaultsReader reader(in);
  constexpr double kMost = std::numeric_limits<float>::max(), kMostWhole = std::numeric_limits<int>::max();
  reader.Number("seed", 0, static_cast<double>(kMaxSeed), &d.seed);
  reader.Number("images", 1, static_cast<double>(kMaxJobImages), &d.images);
  if (in.is_object() && in.contains("best_of")) reader.Number("best_of", 1, kMaxBestOf, &d.best_of);
  reader.Number("cfg", -kMost, kMost, &d.settings.guidance);
  reader.Number("temperature", 0, kMost, &d.settings.temperature);
  reader.Number("top_k", 0, kMostWhole, &d.settings.top_k);
  reader.Number("top_p", 0, kMost, &d.settings.top_p), reader.Number("min_p", 0, kMost, &d.settings.min_p);
  std::optional<int> upscale;
  reader.Number("upscale", 1, 4, &upscale);
  if (!upscale || *upscale == 3) reader.Refuse("upscale");
  d.upscale = upscale.value_or(1);
  if (const json* const format = reader.Member("format"); format && !format->is_null()) {
    const auto parsed = format->is_string() ? ParsePictureFormat(format->get<std::string>())
                                            : Result<PictureFormat>(DataError(""));
    parsed.ok() ? void(d.format = *parsed) : reader.Refuse("format");
  }
  const json* const plot = reader.Member("plot");
  if (!reader.wrong().empty()) return damaged(reader.wrong());
  auto axes = PlotFromJson(*plot);
  if (!axes.ok()) return damaged(axes.error().message);
  d.plot = std::move(*axes);
  if (const auto comments = in.find("comments"); comments != in.end()) {
    if (!comments->is_string()) return damaged("\"comments\" is no text");
    d.comments = *comments;
  }
  return d;
}

std::optional<PictureSize> AskedSize(const PictureJob& job, const PlanModel& model) {
  const PictureSize drawn{model.width, model.height};
  const PictureSize asked{job.width > 0 ? job.width : drawn.width,
                          job.height > 0 ? job.height : drawn.height};
  if (drawn == PictureSize{} || asked == drawn) return std::nullopt;
  return asked;
}

int64_t PictureCount(const Job& job, const JobDefaults& defaults, JobFormat format) {
  if (!job.picture) return 0;
  if (!defaults.plot.empty()) {
    int64_t count = 1;
    for (const PlotAxis& axis : defaults.plot) count *= static_cast<int64_t>(axis.values.size());
    return count;
  }
  if (job.picture->images) return *job.picture->images;
  return defaults.images.value_or(format == JobFormat::kGenEval ? kGenEvalImages : 1);
}

int BestOf(const PictureJob& job, const JobDefaults& defaults) {
  return job.best_of.value_or(defaults.best_of.value_or(1));
}

uint64_t DerivedSeed(uint64_t base, const std::string& key, int64_t count) {
  const uint64_t bits = std::stoull(Sha256::Hex(std::to_string(base) + ":" + key).substr(0, 16), nullptr, 16);
  return bits % static_cast<uint64_t>(kMaxSeed - count + 2);
}

std::optional<uint64_t> GivenSeed(const Job& job, const JobDefaults& defaults) {
  std::optional<int64_t> seed = job.picture ? job.picture->seed : job.answer->seed;
  Prefer(seed, defaults.seed);
  if (!seed) return std::nullopt;
  return static_cast<uint64_t>(*seed);
}

Result<PlannedJob> Plan(Job job, std::string key, const JobDefaults& defaults, JobFormat format,
                        const PlanModel& model, const NameTemplate& names, uint64_t first_seed) {
  PlannedJob planned;
  planned.key = std::move(key);
  planned.job = std::move(job);
  if (!planned.job.picture) return planned;
  const PictureJob& p = *planned.job.picture;
  planned.size = {model.width, model.height};
  if (const auto asked = AskedSize(p, model)) {
    BIFRONS_RETURN_IF_ERROR(CheckSize(*asked, defaults, model));
    planned.size = *asked, planned.resized = true;
  }
  planned.size.width *= defaults.upscale, planned.size.height *= defaults.upscale;
  BIFRONS_TRY(planned.format, FormatOf(p, defaults, names));
  const int64_t count = PictureCount(planned.job, defaults, format);
  const bool plot = !defaults.plot.empty();
  const int best_of = BestOf(p, defaults);
  const uint64_t last = first_seed + static_cast<uint64_t>((plot ? 1 : count) * best_of - 1);
  if (last > static_cast<uint64_t>(kMaxSeed))
    return UsageError("its last " + std::string(best_of > 1 ? "candidate" : "picture") + "'s seed, " +
                          std::to_string(last) + ", exceeds " + std::to_string(kMaxSeed),
                      "seed");

  for (int64_t k = 0; k < count; k++) {
    PictureJob cell = p;
    cell.seed = static_cast<int64_t>(first_seed) + (plot ? 0 : k * best_of);
    BIFRONS_RETURN_IF_ERROR(ApplyPlot(defaults.plot, k, &cell));
    const Sampling sampling = SamplingOf(Merged(cell.settings, defaults.settings), model.guidance);
    PlannedPicture picture{k, cell.prompt, static_cast<uint64_t>(*cell.seed), best_of, sampling, ""};
    if (format == JobFormat::kGenEval) {
      char name[40];
      std::snprintf(name, sizeof name, "/samples/%04lld", static_cast<long long>(k));
      picture.file = WithExtension(GenEvalFolder(planned.job.index) + name, planned.format);
    } else if (!p.file.empty()) {
      picture.file = WithExtension(p.file, planned.format);
      if (count > 1) picture.file = BeforeExtension(picture.file, "_" + std::to_string(k + 1));
    } else {
      picture.file = WithExtension(names.Fill({.index = planned.job.index,
                                               .number = k,
                                               .seed = picture.seed,
                                               .prompt = cell.prompt,
                                               .guidance = picture.sampling.guidance,
                                               .temperature = picture.sampling.temperature}),
                                   planned.format);
    }
    planned.pictures.push_back(std::move(picture));
  }
  return planned;
}

std::string SheetFile(const PlannedJob& planned, JobFormat format) {
  if (format == JobFormat::kGenEval)
    return GenEvalFolder(planned.job.index) + "/grid." + NameOf(planned.format);
  const std::string& own = planned.job.picture->file;
  const std::string file = own.empty() ? planned.pictures[0].file : WithExtension(own, planned.format);
  return BeforeExtension(file, "_grid");
}

std::string GenEvalFolder(int64_t index) {
  char name[40];
  std::snprintf(name, sizeof name, "%05lld", static_cast<long long>(index));
  return name;
}

}  // namespace bifrons
