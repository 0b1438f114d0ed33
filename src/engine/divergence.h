// How far a model's predictions are from a reference's: the price of a type of weights.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "src/base/result.h"
#include "src/engine/draw.h"
#include "src/model/janus.h"

namespace bifrons {

/// Over image tokens that the reference drew. Shares are 0…1.
struct Divergence {
  int64_t tokens = 0;
  double mean_kl = 0;  // nats, KL(reference ‖ model) of what may come next after the prompt, unguided
  double kl_99 = 0;    // 99 % of the tokens have at most this
  double top_1 = 0;    // of tokens: both find the same one likeliest
  double drawn = 0;    // of tokens: guidance, temperature and the picture's noise give the same one
};

/// KL(p ‖ q) in nats of the distributions of two rows of logits of one length; NaN where a logit is none.
double KullbackLeibler(std::span<const float> p, std::span<const float> q);

/// Whether both draw the same number of tokens of codebooks of one size. Errors: kUsage.
Status CheckComparable(const Janus& reference, const Janus& model);

/// Draws the requests with the reference and runs both over their tokens (teacher forcing). `progress` hears
/// the share that is done; false stops it. Errors: models that draw other tokens (kUsage), logits that are
/// not numbers (kBadData), Draw's, Interrupted().
Result<Divergence> MeasureDivergence(Janus& reference, Janus& model, std::span<const DrawRequest> requests,
                                     const std::function<bool(double share)>& progress);

}  // namespace bifrons
