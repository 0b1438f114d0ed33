// Pictures: what is asked for, what comes of it, and drawing some of them and waiting.
// generation_inference.py: generate
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "kernels/sampling.h"
#include "src/base/result.h"
#include "src/model/janus.h"
#include "vision/image.h"

namespace bifrons {

class Scheduler;

/// Candidates for a picture, at most.
constexpr int kMaxBestOf = 1000;

/// One picture; of several candidates the one that the model itself likes best (judge.h).
struct DrawRequest {
  std::string prompt;
  uint64_t seed = 0;
  Sampling sampling;
  int best_of = 1;  // candidates; theirs are the seeds from `seed` on
};

/// How a picture was chosen among several: the candidates' seeds begin at `first_seed`.
struct Choice {
  uint64_t first_seed = 0;
  std::vector<float> scores;  // the judge's, one per candidate; empty: there was no choice
};

struct DrawnPicture {
  std::vector<int32_t> codes;  // [grid²], row by row
  Image image;
  uint64_t seed = 0;  // that drew it
  Choice choice;      // the best of it, the earliest of equals
};

/// Refuses what this model can never draw: a prompt longer than its positions. An error names the numbers.
Status CheckPrompt(Janus& janus, const std::string& prompt);
Status CheckPrompt(Janus& janus, const DrawingPrompt& prompt);
/// Refuses candidates that cannot be drawn or judged (kUsage): too many or too few, seeds beyond the largest,
/// a model without its understanding half.
Status CheckBestOf(const Janus& janus, const DrawRequest& request);

/// How far a list of pictures is.
struct DrawProgress {
  int64_t tokens = 0, all_tokens = 0;      // image tokens, of all candidates
  int64_t pictures = 0, all_pictures = 0;  // decoded
  int64_t complete = 0;                    // pictures whose tokens are all there, and which are not taken yet

  /// 0…1. VQ decoding counts as a tenth: about its share of the time.
  double share() const {
    return 0.9 * static_cast<double>(tokens) / static_cast<double>(all_tokens) +
           0.1 * static_cast<double>(pictures) / static_cast<double>(all_pictures);
  }
};
/// Called on the calling thread whenever there is something new, at least ten times a second; false stops the
/// drawing.
using DrawCallback = std::function<bool(const DrawProgress&)>;

/// How long a program that was asked to end may decode and write pictures whose tokens are complete.
constexpr int kFinishingSeconds = 29;

/// Draws all requests, as many at once as the scheduler takes. `take` gets picture i of the list, one after
/// the other in the list's order, on the calling thread; its error ends the drawing. When `progress` stops
/// it, pictures whose tokens are complete are still decoded and taken for so many seconds.
Status DrawEach(Scheduler& scheduler, std::span<const DrawRequest> requests, const DrawCallback& progress,
                const std::function<Status(size_t i, DrawnPicture picture)>& take, int finishing_seconds = 0);

/// The same, all kept.
Result<std::vector<DrawnPicture>> Draw(Scheduler& scheduler, std::span<const DrawRequest> requests,
                                       const DrawCallback& progress);

}  // namespace bifrons
