#include "src/engine/scored_text.h"

#include <algorithm>
#include <cmath>

#include "src/engine/prefill.h"

namespace bifrons {
namespace {

// log softmax(logits)[token]
double TokenLogProbability(std::span<const float> logits, int32_t token) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit - largest));
  return static_cast<double>(logits[static_cast<size_t>(token)] - largest) - std::log(sum);
}

}  // namespace

size_t ScoredText::BufferBytes(const JanusConfig& config) {
  const LlamaConfig& llama = config.llama;
  return static_cast<size_t>(kTokensPerStep * (llama.hidden + 2 * llama.vocabulary)) * sizeof(float);
}

ScoredText::ScoredText(Janus& janus, Answer answer, KvCache cache, DeviceTensor last_hidden,
                       std::vector<int32_t> tokens)
    : answer_(std::move(answer)),
      cache_(std::move(cache)),
      last_hidden_(std::move(last_hidden)),
      tokens_(std::move(tokens)),
      vocabulary_(janus.config().llama.vocabulary) {
  BIFRONS_CHECK(!tokens_.empty());
  const int64_t most = rows();
  hidden_ = janus.device().NewTensor(DType::kF32, {most, janus.config().llama.hidden});
  logits_ = janus.device().NewTensor(DType::kF32, {most, vocabulary_});
  on_host_.resize(static_cast<size_t>(most * vocabulary_));
}

int64_t ScoredText::rows() const {
  return std::min(kTokensPerStep, static_cast<int64_t>(tokens_.size()) - scored_);
}

Ticket ScoredText::Give(Janus& janus) {
  Queue& queue = janus.steps();
  const View x = hidden_.view().Rows(0, rows()), logits = logits_.view().Rows(0, rows());
  // The first token follows the prompt, every other one the one before it.
  const int64_t begun = scored_ == 0 ? 1 : 0, follow = rows() - begun;
  if (begun > 0) queue.Copy(last_hidden_.view(), x.Rows(0, 1));
  if (follow > 0) {
    const View rest = x.Rows(begun, follow);
    const int64_t before = scored_ + begun - 1;  // the first of the tokens that are followed
    const auto some = std::span(tokens_).subspan(static_cast<size_t>(before), static_cast<size_t>(follow));
    const DeviceTensor ids = Uploaded(janus, queue, some);
    janus.llama().EmbedText(queue, ids.view(), rest);
    const SequenceSpan span{&cache_, answer_.prompt_tokens + before, follow, RowClass::kDecode};
    janus.llama().Forward(queue, {&span, 1}, rest);
  }
  janus.TextLogits(queue, x, logits);
  return queue.Download(logits, on_host_.data());
}

bool ScoredText::Take() {
  const auto width = static_cast<size_t>(vocabulary_);
  const int64_t count = rows();
  for (int64_t row = 0; row < count; row++) {
    const auto logits = std::span(on_host_).subspan(static_cast<size_t>(row) * width, width);
    answer_.log_probability += TokenLogProbability(logits, tokens_[static_cast<size_t>(scored_ + row)]);
  }
  scored_ += count;
  return scored_ == static_cast<int64_t>(tokens_.size()) || !std::isfinite(answer_.log_probability);
}

}  // namespace bifrons
