#include "src/hub/pull.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <set>
#include <vector>

#include "src/base/lower_hex.h"
#include "src/base/progress.h"
#include "src/hub/cache.h"
#include "src/hub/choose_files.h"
#include "src/hub/http.h"
#include "src/hub/listing.h"
#include "src/hub/partial_blob.h"
#include "src/hub/refusal.h"
#include "src/hub/retries.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

std::string Shown(int64_t bytes) {
  char text[32];
  const auto count = static_cast<double>(bytes);
  std::snprintf(text, sizeof text, count < 1e9 ? "%.1f MB" : "%.2f GB", count / (count < 1e9 ? 1e6 : 1e9));
  return text;
}

// ETag or X-Linked-Etag without quotes and weakness: a blob's hash.
std::string HashInEtag(std::string etag) {
  if (etag.starts_with("W/")) etag.erase(0, 2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return etag;
}

// One repository's download.
class Puller {
 public:
  Puller(const Repository& repository, const HubSettings& settings, const PullOptions& options,
         HttpClient client)
      : repository_(repository),
        settings_(settings),
        options_(options),
        client_(std::move(client)),
        cache_(settings.cache, repository.name),
        bar_("pulling", options.progress) {}

  Result<std::string> Run() {
    BIFRONS_TRY(const Listing listing, List());
    commit_ = listing.commit;
    BIFRONS_TRY(std::vector<RemoteFile> files, ChooseFiles(listing.files, repository_.shown()));
    for (RemoteFile& file : files)
      if (file.size < 0 || file.hash.empty()) BIFRONS_RETURN_IF_ERROR(Ask(file));
    BIFRONS_RETURN_IF_ERROR(cache_.MakeFolders(commit_));
    BIFRONS_RETURN_IF_ERROR(CheckSpace(files));
    for (const RemoteFile& file : files) BIFRONS_RETURN_IF_ERROR(Download(file));
    for (const RemoteFile& file : files) BIFRONS_RETURN_IF_ERROR(cache_.Link(commit_, file.name, file.hash));
    BIFRONS_RETURN_IF_ERROR(cache_.WriteRef(repository_.revision, commit_));
    return cache_.Snapshot(commit_);
  }

 private:
  Retries NewRetries() {
    return Retries([this](const std::string& line) {
      if (options_.progress) bar_.Print("bifrons: " + repository_.shown() + ": " + line);
    });
  }

  // Performs a request until it goes well or there is no hope. `what` as RefusalOf has it.
  Result<HttpResponse> Perform(const HttpRequest& request, const std::string& what) {
    for (Retries retries = NewRetries();;) {
      BIFRONS_TRY(HttpResponse response, client_.Perform(request));
      const bool redirect = request.head && response.status / 100 == 3;
      if (response.ok() || redirect) return response;
      BIFRONS_TRY(const bool again, retries.Again(response));
      if (!again) return RefusalOf(response, repository_, what, settings_);
    }
  }

  Result<Listing> List() {
    const std::string url = settings_.endpoint + "/api/models/" + repository_.name + "/revision/" +
                            UrlEncoded(repository_.revision) + "?blobs=true";
    BIFRONS_TRY(const HttpResponse response, Perform({.url = url, .keep = kMaxListingBytes}, ""));
    return ParseListing(response.text, repository_.shown());
  }

  std::string AddressOf(const RemoteFile& file) const {
    return settings_.endpoint + "/" + repository_.name + "/resolve/" + commit_ + "/" +
           UrlEncoded(file.name, true);
  }

  // For a size and hash that the listing does not tell, as those of some mirrors do not.
  Status Ask(RemoteFile& file) {
    HttpRequest request{.url = AddressOf(file), .head = true};
    BIFRONS_TRY(const HttpResponse response, Perform(request, file.name));
    const std::string linked = response.header("x-linked-etag");
    const std::string size = response.header(linked.empty() ? "content-length" : "x-linked-size");
    file.hash = HashInEtag(linked.empty() ? response.header("etag") : linked);
    file.size = size.empty() || size.size() > 15 || size.find_first_not_of("0123456789") != size.npos
                    ? -1
                    : std::stoll(size);
    const std::string commit = response.header("x-repo-commit");
    const bool hashed = IsLowerHex(file.hash, 40) || IsLowerHex(file.hash, 64);
    if (!hashed || file.size < 0 || file.size > kLargestFile || (!commit.empty() && commit != commit_))
      return DataError(repository_.shown() + ": " + file.name + ": " + settings_.endpoint +
                       " does not tell its size and hash; is this the hub's address?");
    return {};
  }

  // Before anything is downloaded. Sets what there is to do.
  Status CheckSpace(const std::vector<RemoteFile>& files) {
    std::set<std::string> seen;
    for (const RemoteFile& file : files) {
      if (cache_.HasBlob(file.hash, file.size) || !seen.insert(file.hash).second) continue;
      std::error_code error;
      const auto there = fs::file_size(cache_.Blob(file.hash) + ".incomplete", error);
      const int64_t kept = error ? 0 : static_cast<int64_t>(there);
      total_ += kept > file.size ? file.size : file.size - kept;
    }
    std::error_code error;
    const fs::space_info space = fs::space(cache_.folder(), error);
    if (!error && static_cast<uintmax_t>(total_) > space.available)
      return Failure(cache_.folder() + ": " + repository_.shown() + " needs " + Shown(total_) + ", but " +
                     Shown(static_cast<int64_t>(space.available)) +
                     " are free; make room, or name another folder in HF_HOME");
    return {};
  }

  void ShowProgress(const RemoteFile& file) {
    bar_.Update(static_cast<double>(done_), static_cast<double>(total_),
                Shown(done_) + " of " + Shown(total_) + "  " + file.name);
  }

  Status Download(const RemoteFile& file) {
    if (cache_.HasBlob(file.hash, file.size)) return {};
    BIFRONS_TRY(const FileLock lock, cache_.Lock(file.hash));
    if (cache_.HasBlob(file.hash, file.size)) return {};  // somebody else's meanwhile
    BIFRONS_TRY(PartialBlob blob, PartialBlob::Open(cache_.Blob(file.hash), file.size, file.hash));
    // What an earlier run left may be what is wrong: then once more from the beginning.
    const bool resumed = blob.received() > 0;
    BIFRONS_RETURN_IF_ERROR(Receive(file, blob));
    BIFRONS_TRY(bool right, blob.Finish());
    if (!right && resumed) {
      total_ += file.size;
      BIFRONS_TRY(PartialBlob anew, PartialBlob::Open(cache_.Blob(file.hash), file.size, file.hash));
      BIFRONS_RETURN_IF_ERROR(Receive(file, anew));
      BIFRONS_TRY(right, anew.Finish());
    }
    if (right) return {};
    return DataError(repository_.shown() + ": " + file.name +
                     ": what came has not the hash that the hub tells (" + file.hash +
                     "), and was removed; run again, or tell whoever runs " + settings_.endpoint);
  }

  // Until all bytes are there: every attempt begins at the hub, which gives a new address for what is kept
  // elsewhere, and goes on where the last one stopped.
  Status Receive(const RemoteFile& file, PartialBlob& blob) {
    for (Retries retries = NewRetries(); blob.received() < blob.size();) {
      const int64_t before = blob.received();
      bool first = true;
      HttpRequest request{.url = AddressOf(file), .from = before};
      request.body = [&](const HttpResponse& response, std::string_view bytes) -> Status {
        if (first && before > 0 && response.status != 206) {  // the whole file again
          total_ += before;
          BIFRONS_RETURN_IF_ERROR(blob.Restart());
        } else if (first && before > 0 && !GoesOn(response, before)) {
          return DataError(repository_.shown() + ": " + file.name + ": other bytes came than were asked for");
        }
        first = false;
        BIFRONS_RETURN_IF_ERROR(blob.Append(bytes));
        done_ += static_cast<int64_t>(bytes.size());
        return {};
      };
      request.idle = [&] { ShowProgress(file); };
      BIFRONS_TRY(const HttpResponse response, client_.Perform(request));
      if (blob.received() == blob.size()) break;
      if (blob.received() > before) retries.Progressed();
      BIFRONS_TRY(const bool again, retries.Again(response));
      if (!again) return RefusalOf(response, repository_, file.name, settings_);
    }
    return {};
  }

  static bool GoesOn(const HttpResponse& response, int64_t from) {
    return response.header("content-range").starts_with("bytes " + std::to_string(from) + "-");
  }

  const Repository& repository_;
  const HubSettings& settings_;
  const PullOptions& options_;
  HttpClient client_;
  RepositoryCache cache_;
  ProgressBar bar_;
  std::string commit_;
  int64_t done_ = 0, total_ = 0;  // bytes that came, and are to come, in this run
};

}  // namespace

Result<std::string> Pull(const Repository& repository, const HubSettings& settings,
                         const PullOptions& options) {
  if (settings.offline) {
    const auto whole = RepositoryCache(settings.cache, repository.name).FindWhole(repository.revision);
    if (whole) return *whole;
    return Failure(repository.shown() + " is not whole in " + settings.cache +
                   ", and offline (HF_HUB_OFFLINE or --offline) nothing is downloaded; pull it without");
  }
  BIFRONS_TRY(HttpClient client, HttpClient::Create(settings.endpoint, settings.token));
  return Puller(repository, settings, options, std::move(client)).Run();
}

Result<std::string> CachedOrPulled(const Repository& repository, const HubSettings& settings,
                                   const PullOptions& options) {
  const auto whole = RepositoryCache(settings.cache, repository.name).FindWhole(repository.revision);
  if (whole) return *whole;
  return Pull(repository, settings, options);
}

}  // namespace bifrons
