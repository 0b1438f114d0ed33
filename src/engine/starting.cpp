#include "src/engine/starting.h"

#include <algorithm>

#include "src/base/seconds_since.h"

namespace bifrons {
namespace {

using Clock = std::chrono::steady_clock;

class StartingPicture : public Starting {
 public:
  StartingPicture(int64_t id, const DrawRequest& request, std::shared_ptr<Prefix> conditional,
                  std::shared_ptr<Prefix> unconditional)
      : Starting(id),
        request_(request),
        conditional_(std::move(conditional)),
        unconditional_(std::move(unconditional)) {}

  bool complete() const override { return conditional_->complete() && unconditional_->complete(); }

  int64_t Advance(Janus& janus) override {
    return (conditional_->complete() ? unconditional_ : conditional_)->Advance(janus);
  }

  void Join(Janus& janus, RowBatch& batch) override {
    const auto length = static_cast<int64_t>(conditional_->ids.size());
    const int64_t capacity = length + janus.config().vq.tokens() - 1;
    const auto& pool = conditional_->cache.pool();
    auto rows = std::unique_ptr<PictureRows>(new PictureRows{.id = id(),
                                                             .request = request_,
                                                             .prompt_tokens = length,
                                                             .conditional = KvCache(pool, capacity),
                                                             .unconditional = KvCache(pool, capacity),
                                                             .conditional_prompt = conditional_,
                                                             .unconditional_prompt = unconditional_});
    rows->codes.reserve(static_cast<size_t>(janus.config().vq.tokens()));
    rows->conditional.SharePrefix(janus.steps(), conditional_->cache, length);
    rows->unconditional.SharePrefix(janus.steps(), unconditional_->cache, length);
    batch.Add(std::move(rows));
  }

 private:
  DrawRequest request_;
  std::shared_ptr<Prefix> conditional_, unconditional_;
};

// Positions that a prompt can take over from the last one: whole chunks in which ids and images agree.
int64_t Reusable(const KeptPrompt& kept, const Conversation& prompt, std::span<const ImageFeatures> images) {
  if (!kept.kv || kept.images.size() > images.size() ||
      !std::equal(kept.images.begin(), kept.images.end(), images.begin())) {
    return 0;
  }
  const auto end = std::mismatch(kept.ids.begin(), kept.ids.end(), prompt.ids.begin(), prompt.ids.end());
  auto agree = static_cast<int64_t>(end.first - kept.ids.begin());
  // The last position is always run, for its hidden state.
  agree = std::min(agree, static_cast<int64_t>(prompt.ids.size()) - 1);
  return agree / kPrefillChunk * kPrefillChunk;
}

class StartingAnswer : public Starting {
 public:
  StartingAnswer(Janus& janus, std::shared_ptr<KvPool> pool, int64_t id, const AnswerRequest& request,
                 const Conversation& prompt, int64_t limit, std::shared_ptr<KeptPrompt> kept)
      : Starting(id),
        request_(request),
        prompt_(prompt),
        images_(PlaceImages(prompt, request.images)),
        limit_(limit),
        kept_(std::move(kept)),
        cache_(std::move(pool), length() + limit),
        last_hidden_(janus.device().NewTensor(DType::kF32, {1, janus.config().llama.hidden})) {
    if (!kept_) return;
    filled_ = Reusable(*kept_, prompt_, request_.images);
    if (filled_ > 0) cache_.SharePrefix(janus.steps(), *kept_->kv, filled_);
  }

  bool complete() const override { return filled_ == length(); }

  int64_t Advance(Janus& janus) override {
    const int64_t before = filled_;
    filled_ = PrefillNext(janus, prompt_.ids, images_, filled_, cache_, last_hidden_.view());
    return filled_ - before;
  }

  void Join(Janus& janus, RowBatch& batch) override {
    if (kept_) {
      kept_->kv.reset();  // first: ids and images without their keys and values are of no harm
      kept_->ids = prompt_.ids, kept_->images = request_.images;
      kept_->kv.emplace(cache_.pool(), length());
      kept_->kv->SharePrefix(janus.steps(), cache_, length());
    }
    Answer answer;
    answer.id = id(), answer.prompt_tokens = length();
    answer.prefill_seconds = SecondsSince(began_);
    if (request_.scored_text) {
      return batch.Add(std::make_unique<ScoredText>(janus, std::move(answer), std::move(cache_),
                                                    std::move(last_hidden_),
                                                    AnswerTokens(janus, *request_.scored_text)));
    }
    auto row = std::unique_ptr<AnswerRow>(
        new AnswerRow{id(), std::move(answer), std::move(cache_), TextStream(janus.tokenizer()),
                      request_.sampling, request_.seed, limit_, std::move(last_hidden_), Clock::now()});
    batch.Add(std::move(row));
  }

 private:
  int64_t length() const { return static_cast<int64_t>(prompt_.ids.size()); }

  AnswerRequest request_;
  Conversation prompt_;
  std::vector<PromptImage> images_;
  int64_t limit_;
  std::shared_ptr<KeptPrompt> kept_;
  KvCache cache_;
  DeviceTensor last_hidden_;  // f32 [1, hidden] of the last position so far
  int64_t filled_ = 0;
  Clock::time_point began_ = Clock::now();
};

}  // namespace

std::unique_ptr<Starting> StartPicture(int64_t id, const DrawRequest& request,
                                       std::shared_ptr<Prefix> conditional,
                                       std::shared_ptr<Prefix> unconditional) {
  return std::make_unique<StartingPicture>(id, request, std::move(conditional), std::move(unconditional));
}

std::unique_ptr<Starting> StartAnswer(Janus& janus, std::shared_ptr<KvPool> pool, int64_t id,
                                      const AnswerRequest& request, const Conversation& prompt, int64_t limit,
                                      std::shared_ptr<KeptPrompt> kept) {
  return std::make_unique<StartingAnswer>(janus, std::move(pool), id, request, prompt, limit,
                                          std::move(kept));
}

}  // namespace bifrons
