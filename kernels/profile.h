// Where the time goes: what queues were given, by the zone of the work and by the network that it was for.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace bifrons {

/// What a piece of work is. Ops are of a zone of their own; who gives them may say better (Within).
enum class Zone : uint8_t {
  // The ops'.
  kUpload,
  kDownload,
  kCopy,
  kFill,
  kProduct,
  kLookUp,
  kNorm,
  kStoreKv,  // with RoPE before it
  kAttention,
  kSample,
  kConvolution,
  kUpsample,
  kUnfold,
  kNearestCodeword,
  kToBytes,
  // What only the giver knows.
  kEmbed,         // tokens to the width of a transformer
  kPatchEmbed,    // a picture's patches to rows
  kQkv,           // the product before attention
  kAttentionOut,  // the product after it
  kFeedForward,
  kHead,  // hidden states to logits
  // What is left of a queue's time: the host, and waiting for it.
  kRest,
};
/// "attention out"
const char* NameOf(Zone zone);

/// What an op must read and write once, and its multiply-accumulates, where it is made of them.
struct OpCost {
  int64_t bytes = 0, macs = 0;
};

/// Whose work it is.
struct Place {
  std::string_view part;  // "prefill"; a literal
  int level = -1;         // of several alike; −1 = none
  Zone zone = Zone::kRest;

  auto operator<=>(const Place&) const = default;
};

/// Sums of what queues report. May be called from any thread.
class Profile {
 public:
  struct Row {
    Place place;
    double seconds = 0;
    int64_t calls = 0, bytes = 0, macs = 0;
  };

  /// The clock starts with the first queue, which is also a part of its own: that of work whose giver names
  /// none. The view must stay.
  void AddQueue(std::string_view queue);
  /// An op that `queue` was busy with for so long, and has finished now.
  void Add(std::string_view queue, const Place& place, const OpCost& cost, double seconds);

  /// From the first queue's coming to the last op's end.
  double Seconds() const;
  /// The longest first; and for every queue a row of the zone kRest with the rest of Seconds(), without
  /// calls. Two queues work at the same time, so that all rows together take Seconds() of each queue.
  std::vector<Row> Rows() const;
  /// The same for people, with rates and shares of Seconds(); several lines.
  std::string Table() const;

 private:
  using Clock = std::chrono::steady_clock;
  double SecondsLocked() const { return std::chrono::duration<double>(last_ - start_).count(); }

  mutable std::mutex mutex_;
  Clock::time_point start_, last_;
  std::map<Place, Row> rows_;
  std::map<std::string_view, double> busy_;  // seconds by queue
};

}  // namespace bifrons
