#include "kernels/profile.h"

#include <algorithm>
#include <cstdio>

namespace bifrons {
namespace {

template <class... Arguments>
std::string Formatted(const char* format, Arguments... arguments) {
  char text[160];
  std::snprintf(text, sizeof text, format, arguments...);
  return text;
}

// "decode: feed-forward", "vq decoder, level 4: convolution"
std::string NameOf(const Place& place) {
  std::string name(place.part);
  if (place.level >= 0) name += ", level " + std::to_string(place.level);
  return name + ": " + NameOf(place.zone);
}

// Nothing where the op has none of what is counted.
std::string Rate(int64_t count, double seconds, const char* unit) {
  if (count == 0 || seconds <= 0) return "";
  return Formatted("%.1f %s", static_cast<double>(count) / seconds / 1e9, unit);
}

}  // namespace

const char* NameOf(Zone zone) {
  switch (zone) {
    case Zone::kUpload:
      return "upload";
    case Zone::kDownload:
      return "download";
    case Zone::kCopy:
      return "copy";
    case Zone::kFill:
      return "fill";
    case Zone::kProduct:
      return "product";
    case Zone::kLookUp:
      return "look-up";
    case Zone::kNorm:
      return "norm";
    case Zone::kStoreKv:
      return "store kv";
    case Zone::kAttention:
      return "attention";
    case Zone::kSample:
      return "sample";
    case Zone::kConvolution:
      return "convolution";
    case Zone::kUpsample:
      return "upsample";
    case Zone::kUnfold:
      return "unfold";
    case Zone::kNearestCodeword:
      return "nearest codeword";
    case Zone::kToBytes:
      return "to bytes";
    case Zone::kEmbed:
      return "embed";
    case Zone::kPatchEmbed:
      return "patch embedding";
    case Zone::kQkv:
      return "qkv";
    case Zone::kAttentionOut:
      return "attention out";
    case Zone::kFeedForward:
      return "feed-forward";
    case Zone::kHead:
      return "head";
    case Zone::kRest:
      return "waiting and rest";
  }
  return "";
}

void Profile::AddQueue(std::string_view queue) {
  const std::lock_guard lock(mutex_);
  if (busy_.empty()) start_ = last_ = Clock::now();
  busy_.emplace(queue, 0);
}

void Profile::Add(std::string_view queue, const Place& place, const OpCost& cost, double seconds) {
  const std::lock_guard lock(mutex_);
  Row& row = rows_[place];
  row.place = place;
  row.seconds += seconds, row.calls++, row.bytes += cost.bytes, row.macs += cost.macs;
  busy_[queue] += seconds;
  last_ = Clock::now();
}

double Profile::Seconds() const {
  const std::lock_guard lock(mutex_);
  return SecondsLocked();
}

std::vector<Profile::Row> Profile::Rows() const {
  const std::lock_guard lock(mutex_);
  std::vector<Row> rows;
  for (const auto& [place, row] : rows_) rows.push_back(row);
  for (const auto& [queue, seconds] : busy_) {
    rows.push_back({.place = {queue}, .seconds = std::max(0.0, SecondsLocked() - seconds)});
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& a, const Row& b) { return a.seconds > b.seconds; });
  return rows;
}

std::string Profile::Table() const {
  const double all = Seconds();
  std::string table = Formatted("%-42s %10s %9s %12s %14s %15s %8s\n", "zone", "ms", "calls", "MB", "rate",
                                "arithmetic", "share");
  for (const Row& row : Rows()) {
    const std::string calls = row.calls > 0 ? std::to_string(row.calls) : "";
    const std::string bytes =
        row.calls > 0 ? Formatted("%.2f", static_cast<double>(row.bytes) / 1e6) : std::string();
    table +=
        Formatted("%-42s %10.2f %9s %12s %14s %15s %6.1f %%\n", NameOf(row.place).c_str(), 1e3 * row.seconds,
                  calls.c_str(), bytes.c_str(), Rate(row.bytes, row.seconds, "GB/s").c_str(),
                  Rate(row.macs, row.seconds, "GMAC/s").c_str(), all > 0 ? 100 * row.seconds / all : 0);
  }
  return table + Formatted("%-42s %10.2f\n", "run, which every queue's zones add up to", 1e3 * all);
}

}  // namespace bifrons
