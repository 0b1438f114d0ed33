#include "src/jobs/finished_work.h"

#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "src/base/beneath.h"
#include "src/jobs/content_key.h"
#include "src/jobs/file_name.h"
#include "src/jobs/manifest.h"

namespace bifrons {
FinishedWork::FinishedWork(FinishedWork&& o) noexcept
    : folder_(std::move(o.folder_)),
      manifests_(std::move(o.manifests_)),
      lines_(std::move(o.lines_)),
      owners_(std::move(o.owners_)),
      alike_(std::move(o.alike_)),
      open_(o.open_),
      fd_(std::exchange(o.fd_, -1)) {}

FinishedWork::~FinishedWork() {
  if (fd_ >= 0) ::close(fd_);
}

void FinishedWork::Add(const ManifestRecord& record, int64_t offset) {
  const Digest16 key = KeyDigest(record.key);
  const auto at = static_cast<uint64_t>(offset);
  const Place place{static_cast<uint32_t>(manifests_.size() - 1), static_cast<uint32_t>(at >> 32),
                    static_cast<uint32_t>(at)};
  *lines_.Insert(ResultDigest(key, record.number), place).first = place;
  if (!record.file.empty()) {
    const uint64_t mark = MarkOf(record.key);
    *owners_.Insert(DigestOf(record.file), mark).first = mark;
    const std::string canonical = CanonicalName(record.file);
    if (canonical != record.file) *alike_.Insert(DigestOf(canonical), place).first = place;
  }
}

std::optional<ManifestRecord> FinishedWork::Find(const std::string& key, int64_t number) const {
  auto record = RecordAt(PlaceOf(key, number));
  if (!record || record->key != key || record->number != number) return std::nullopt;
  return record;
}

std::optional<ManifestRecord> FinishedWork::RecordAt(const Place* place) const {
  std::string line;
  if (!place || !Read(*place, &line)) return std::nullopt;
  auto record = ParseManifestRecord(line);
  if (!record.ok()) return std::nullopt;
  return std::move(*record);
}

uint64_t FinishedWork::MarkOf(const std::string& key) {
  const Digest16 digest = KeyDigest(key);
  return digest.high ^ digest.low;
}

std::optional<uint64_t> FinishedWork::OwnerOf(const std::string& file) const {
  const uint64_t* const mark = owners_.Find(DigestOf(file));
  return mark ? std::optional(*mark) : std::nullopt;
}

std::optional<std::string> FinishedWork::AlikeOf(const std::string& file) const {
  const std::string canonical = CanonicalName(file);
  if (canonical != file && owners_.Contains(DigestOf(canonical))) return canonical;
  const auto record = RecordAt(alike_.Find(DigestOf(canonical)));
  if (!record || record->file == file || CanonicalName(record->file) != canonical) return std::nullopt;
  return record->file;
}

const FinishedWork::Place* FinishedWork::PlaceOf(const std::string& key, int64_t number) const {
  return lines_.Find(ResultDigest(KeyDigest(key), number));
}

bool FinishedWork::Read(const Place& place, std::string* line) const {
  if (fd_ < 0 || open_ != place.manifest) {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    const auto opened = OpenBeneath(folder_, manifests_[place.manifest], O_RDONLY | O_NONBLOCK);
    if (!opened.ok()) return false;
    fd_ = *opened, open_ = place.manifest;
  }
  constexpr size_t kChunk = 2048;  // more than most lines
  auto at = static_cast<off_t>(uint64_t{place.offset_high} << 32 | place.offset_low);
  for (size_t rest = 0;;) {
    line->resize(rest + kChunk + rest / 2);
    const ssize_t n = ::pread(fd_, line->data() + rest, line->size() - rest, at);
    if (n <= 0) return false;
    line->resize(rest + static_cast<size_t>(n));
    if (const size_t end = line->find('\n', rest); end != std::string::npos) {
      line->resize(end);
      return true;
    }
    rest = line->size(), at += n;
  }
}

}  // namespace bifrons
