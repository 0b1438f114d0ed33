// What the manifests of a folder say is finished, in some 60 bytes a picture, or 100 if its name has
// capitals: which of them says so, and where. What a line tells besides is read again when somebody asks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/base/digest_map.h"

namespace bifrons {

struct ManifestRecord;

/// Not for several threads at once.
class FinishedWork {
 public:
  explicit FinishedWork(std::string folder) : folder_(std::move(folder)) {}
  FinishedWork(FinishedWork&& o) noexcept;
  FinishedWork& operator=(FinishedWork&&) = delete;
  ~FinishedWork();

  /// The lines that are added from now on stand in this file of the folder.
  void BeginManifest(const std::string& name) { manifests_.push_back(name); }
  /// The line begins at `offset`.
  void Add(const ManifestRecord& record, int64_t offset);

  bool Has(const std::string& key, int64_t number) const { return PlaceOf(key, number) != nullptr; }
  /// The latest line about this picture, or answer; none if there is none, or if it can be read no more.
  std::optional<ManifestRecord> Find(const std::string& key, int64_t number) const;

  /// Stands for a job, by its key.
  static uint64_t MarkOf(const std::string& key);
  /// The mark of the job whose picture the file holds; none if nothing is known of it.
  std::optional<uint64_t> OwnerOf(const std::string& file) const;
  /// Another file that holds a picture and whose name some file systems take for this one (CanonicalName).
  std::optional<std::string> AlikeOf(const std::string& file) const;

  /// Pictures and answers.
  size_t size() const { return lines_.size(); }
  size_t bytes() const { return lines_.bytes() + owners_.bytes() + alike_.bytes(); }

 private:
  struct Place {
    uint32_t manifest = 0;
    uint32_t offset_high = 0, offset_low = 0;
  };
  const Place* PlaceOf(const std::string& key, int64_t number) const;
  bool Read(const Place& place, std::string* line) const;
  std::optional<ManifestRecord> RecordAt(const Place* place) const;

  std::string folder_;
  std::vector<std::string> manifests_;  // names in it
  DigestMap<Place> lines_;              // by key and number
  DigestMap<uint64_t> owners_;          // marks, by file
  DigestMap<Place> alike_;              // of files whose names are not canonical, by their canonical ones
  // The manifest that was read last is mostly the next one as well.
  mutable uint32_t open_ = 0;
  mutable int fd_ = -1;
};

}  // namespace bifrons
