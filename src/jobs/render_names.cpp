// What the files of a run are called, and what may stand under those names already.
#include <algorithm>
#include <filesystem>
#include <span>
#include <string_view>

#include "src/base/mapped_file.h"
#include "src/base/printable.h"
#include "src/jobs/render.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Whether the folder's manifests, failed and output files would come to be folders.
bool IsBelowLineFile(const std::string& file) {
  const std::string name = CanonicalName(file);
  const size_t slash = name.find('/');
  const std::string_view first = std::string_view(name).substr(0, slash);
  return slash != std::string::npos && first.ends_with(".jsonl") &&
         (first.starts_with("manifest") || first.starts_with("failed") || first.starts_with("output"));
}

}  // namespace

// GenEval's tree: what was asked for stands beside its samples. Whether it does.
bool Renderer::WriteGenEvalMetadata(Live& live) {
  if (format_ != JobFormat::kGenEval) return true;
  const Job& job = live.plan.job;
  const std::string file = GenEvalFolder(job.index) + "/metadata.jsonl", text = job.geneval_metadata + "\n";
  std::optional<OutputFiles::Found> found;
  auto error = folder_->Look(file, &found);
  if (!error && !found) error = folder_->WriteFile(file, Bytes(text), found);
  if (error) {
    Refuse(live, *error);
    return false;
  }
  const auto there = MappedFile::Open(folder_->PathOf(file));
  if (there.ok() && std::ranges::equal(there->bytes(), Bytes(text))) return true;
  Fail(live,
       UsageError("its file " + file + " is there already and says something else; move it away, or take " +
                  "another folder"));
  return false;
}

Status Renderer::ClaimName(const std::string& file, Claim claim) {
  const auto [there, fresh] = claims_.Insert(DigestOf(CanonicalName(file)), claim);
  if (fresh) return {};
  const Claim& other = *there;
  const std::string whose =
      other.job == claim.job ? "another of its pictures" : "the job with index " + std::to_string(other.job);
  if (claim.sheet) return UsageError(file + " is a file of " + whose + " already; give that another name");
  return UsageError("its file " + file + " is that of " + (other.sheet ? "the sheet of " : "") + whose +
                    " already; a name with {index} and {number} tells them apart");
}

Status Renderer::ClaimSheet(const std::string& file, int64_t job) {
  BIFRONS_RETURN_IF_ERROR(ClaimName(file, {job, true}));
  if (!folder_->finished().OwnerOf(file)) return {};
  return UsageError(file + " is the picture of a job; take another folder or name");
}

// Finished pictures keep the names they have. No other job, and no sheet, may write over one of this run, or
// of the manifests.
Status Renderer::ClaimNames(Live& live, const std::vector<std::optional<ManifestRecord>>& records) {
  PlannedJob& planned = live.plan;
  const int64_t index = planned.job.index;
  for (PlannedPicture& picture : planned.pictures) {
    const auto& record = records[static_cast<size_t>(picture.number)];
    if (record) picture.file = record->file;
    if (const Status fits = CheckNewName(picture.file); !record && !fits.ok())
      return UsageError("its file " + Printable(picture.file) + " " + fits.error().message);
    picture.file = fs::path(picture.file).lexically_normal().string();
    if (IsBelowLineFile(picture.file))
      return UsageError("its file " + picture.file +
                        " is below a name of the folder's own files; take another");
    std::error_code error;
    const Claim claim{index, false};
    Status claimed = ClaimName(picture.file, claim);
    // Of earlier versions there may be two that differ in case only. No canonical name begins with a line
    // break.
    if (!claimed.ok() && record && fs::exists(folder_->PathOf(picture.file), error) &&
        claims_.Insert(DigestOf("\n" + picture.file), claim).second) {
      claimed = Status();
    }
    BIFRONS_RETURN_IF_ERROR(claimed);
    const auto owner = folder_->finished().OwnerOf(picture.file);
    const bool others = owner && *owner != FinishedWork::MarkOf(planned.key);
    if (!record && others && fs::exists(folder_->PathOf(picture.file), error)) {
      return UsageError("its file " + picture.file +
                        " holds a picture of another job or of other settings; take "
                        "another folder or name, or remove that file");
    }
    const auto alike = record ? std::nullopt : folder_->finished().AlikeOf(picture.file);
    if (alike && fs::exists(folder_->PathOf(*alike), error)) {
      return UsageError("its file " + picture.file + " differs in case only from " + Printable(*alike) +
                        ", which holds a picture of another job or of other settings; take another folder "
                        "or name, or remove that file");
    }
  }
  const size_t count = planned.pictures.size();
  live.over.resize(count), live.hashes.resize(count);
  if (count > 1 && (options_.sheets || !options_.defaults.plot.empty())) {
    live.sheet = fs::path(SheetFile(planned, format_)).lexically_normal().string();
    live.sheet_claim = ClaimSheet(live.sheet, index);
  }
  return {};
}

// Which candidate was chosen only the file can say.
bool Renderer::IsThisPicture(const PlannedJob& plan, const PlannedPicture& picture,
                             const std::string& parameters) const {
  PictureSettings settings = SettingsOf(plan, picture);
  if (picture.best_of > 1) {
    auto there = ParseParameters(parameters);
    if (!there.ok()) return false;
    const Choice& choice = there->choice;
    const auto candidates = static_cast<uint64_t>(picture.best_of);
    if (choice.first_seed != picture.seed || choice.scores.size() != candidates ||
        there->seed - picture.seed >= candidates) {
      return false;
    }
    settings.seed = there->seed, settings.choice = std::move(there->choice);
  }
  return parameters == FormatParameters(settings);
}

// What has the picture's name already has to be this very picture: the manifests say so, or its own metadata
// where a process was killed before it could record it.
bool Renderer::MayDraw(Live& live, size_t k, const std::optional<ManifestRecord>& record) {
  const PlannedPicture& picture = live.plan.pictures[k];
  std::optional<OutputFiles::Found>& found = live.over[k];
  if (const auto error = folder_->Look(picture.file, &found)) {
    Refuse(live, *error);
    return false;
  }
  if (!found) return true;
  const auto owner = folder_->finished().OwnerOf(picture.file);
  if (record && owner && *owner == FinishedWork::MarkOf(live.plan.key)) return true;
  if (found->bytes() <= ImageOptions().max_file_bytes) {
    const auto parameters = ReadPictureParameters(folder_->PathOf(picture.file));
    if (parameters.ok() && IsThisPicture(live.plan, picture, *parameters)) return true;
  }
  Fail(live, UsageError("its file " + picture.file +
                        " is there already and is not this picture; move it away, or take another folder or "
                        "name"));
  return false;
}

}  // namespace bifrons
