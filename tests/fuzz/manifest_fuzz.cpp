// Any bytes as a manifest: what is accepted keeps its promises, and the same is read from what is written of
// it again.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "src/jobs/content_key.h"
#include "src/jobs/file_name.h"
#include "src/jobs/manifest.h"
#include "src/jobs/shard.h"
#include "tests/fuzz/lines.h"

namespace {

using namespace bifrons;

void Check(bool promise) {
  if (!promise) abort();
}

void CheckRecord(const ManifestRecord& r) {
  Check(r.number >= 0 && r.number < r.of && r.of <= 1'000'000 && r.index >= 0 && r.bytes >= 0);
  Check(r.file.empty() || (CheckFileName(r.file).ok() && FormatOfName(r.file)));
  const auto again = ParseManifestRecord(KeptLine(r));
  Check(again.ok() && again->file == r.file && again->number == r.number && again->seed == r.seed);
}

void CheckHeader(const ManifestHeader& h) {
  (void)HeaderLine(h);
  (void)ParseShard(h.shard);
  const auto defaults = DefaultsFromJson(h.defaults);
  if (!defaults.ok()) return;
  Job job;
  job.picture.emplace().prompt = "p";
  const int64_t count = PictureCount(job, *defaults, JobFormat::kLines);
  Check(count >= 1 && count <= 1'000'000);
  (void)ContentKey(job, *defaults, JobFormat::kLines,
                   {.hash = h.model_hash, .width = h.width, .height = h.height});
  (void)Plan(job, "key", *defaults, JobFormat::kLines, {}, *NameTemplate::Parse("{index}"), 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  VisitLines(text, ManifestLines("m", {CheckHeader, [](const ManifestRecord& r, std::string_view, int64_t) {
                                         CheckRecord(r);
                                       }}));
  // Each line alone as well, wherever the first broken one stands.
  VisitLines(text, [](std::string_view line, int64_t) -> Status {
    VisitLines(line, ManifestLines("m", {CheckHeader, {}}));
    if (const auto record = ParseManifestRecord(line); record.ok()) CheckRecord(*record);
    return {};
  });
  return 0;
}
