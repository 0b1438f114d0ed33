#include "src/engine/answer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace bifrons {
namespace {

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

Status CheckContext(Janus& janus, const Conversation& prompt) {
  const auto length = static_cast<int64_t>(prompt.ids.size());
  const int64_t limit = janus.config().llama.max_positions;
  if (length < limit) return {};
  const auto images = static_cast<int64_t>(prompt.image_starts.size());
  const int64_t image_tokens = images * janus.config().vision.patches();
  return UsageError("the conversation is too long: " + std::to_string(images) + " image" +
                    (images == 1 ? "" : "s") + " of " + std::to_string(janus.config().vision.patches()) +
                    " tokens and " + std::to_string(length - image_tokens) + " tokens of text make " +
                    std::to_string(length) + ", and the model's context holds " + std::to_string(limit) +
                    " with the answer; use fewer images or a shorter text");
}

std::vector<PromptImage> PlaceImages(const Conversation& prompt, const AnswerRequest& request) {
  BIFRONS_CHECK(prompt.image_starts.size() == request.images.size(), "%zu images for %zu placeholders",
                request.images.size(), prompt.image_starts.size());
  std::vector<PromptImage> images;
  for (size_t i = 0; i < request.images.size(); i++)
    images.push_back({prompt.image_starts[i], request.images[i]});
  return images;
}

// Positions that the next prompt can take over: whole chunks in which ids and images agree.
int64_t Reusable(const PromptCache& cache, const Conversation& prompt, const AnswerRequest& request) {
  if (!cache.kv || cache.images.size() > request.images.size() ||
      !std::equal(cache.images.begin(), cache.images.end(), request.images.begin())) {
    return 0;
  }
  const auto end = std::mismatch(cache.ids.begin(), cache.ids.end(), prompt.ids.begin(), prompt.ids.end());
  auto agree = static_cast<int64_t>(end.first - cache.ids.begin());
  // The last position is always run, for its hidden state.
  agree = std::min(agree, static_cast<int64_t>(prompt.ids.size()) - 1);
  return agree / kPrefillChunk * kPrefillChunk;
}

}  // namespace

Status CheckContext(Janus& janus, std::span<const Turn> turns) {
  return CheckContext(janus, janus.EncodeTurns(turns));
}

Status AnswerBatch::Add(int64_t id, const AnswerRequest& request, PromptCache* cache) {
  const auto start = Clock::now();
  const LlamaConfig& config = janus_.config().llama;
  const Conversation prompt = janus_.EncodeTurns(request.turns);
  BIFRONS_RETURN_IF_ERROR(CheckContext(janus_, prompt));
  const auto length = static_cast<int64_t>(prompt.ids.size());
  const int64_t limit = std::min(request.max_tokens, config.max_positions - length);

  auto sequence = std::unique_ptr<Sequence>(
      new Sequence{{}, KvCache(config, janus_.kv_type(), length + limit), TextStream(janus_.tokenizer()),
                   request.sampling, request.seed, limit, {}, {}});
  sequence->hidden.resize(static_cast<size_t>(config.hidden));
  const int64_t reused = cache ? Reusable(*cache, prompt, request) : 0;
  if (reused > 0) sequence->kv.CopyPrefix(*cache->kv, reused);
  Prefill(janus_, prompt.ids, PlaceImages(prompt, request), reused, sequence->kv, sequence->hidden.data());
  if (cache) {
    cache->ids = prompt.ids, cache->images = request.images;
    cache->kv.emplace(config, janus_.kv_type(), length);
    cache->kv->CopyPrefix(sequence->kv, length);
  }
  sequence->answer.id = id;
  sequence->answer.prompt_tokens = length;
  sequence->started = Clock::now();
  sequence->answer.prefill_seconds = Seconds(start);
  live_.push_back(std::move(sequence));
  return {};
}

// Whether the answer goes on after `token`.
bool AnswerBatch::Append(Sequence& sequence, int32_t token, const TextCallback& on_text) const {
  if (token == janus_.image_tokens().eos) {
    sequence.answer.complete = true;
    return false;
  }
  const std::string more = sequence.stream.Add(token);
  if (on_text && !more.empty()) on_text(sequence.answer.id, more);
  return static_cast<int64_t>(sequence.stream.tokens().size()) < sequence.limit;
}

Answer AnswerBatch::Finish(Sequence& sequence, const TextCallback& on_text) const {
  const std::string rest = sequence.stream.Finish();
  if (on_text && !rest.empty()) on_text(sequence.answer.id, rest);
  sequence.answer.tokens = sequence.stream.tokens();
  sequence.answer.text = sequence.stream.text();
  sequence.answer.decode_seconds = Seconds(sequence.started);
  return std::move(sequence.answer);
}

std::vector<Answer> AnswerBatch::Step(const TextCallback& on_text) {
  const int64_t hidden = janus_.config().llama.hidden, vocabulary = janus_.config().llama.vocabulary;
  const size_t row_bytes = static_cast<size_t>(hidden) * sizeof(float);
  if (live_.empty()) return {};
  if (x_.empty() || x_.shape()[0] < size()) {
    x_ = Tensor(DType::kF32, {size(), hidden});
    logits_ = Tensor(DType::kF32, {size(), vocabulary});
  }
  float *const x = x_.as<float>(), *const logits = logits_.as<float>();
  const auto row = [&](size_t i) { return x + static_cast<int64_t>(i) * hidden; };
  for (size_t i = 0; i < live_.size(); i++) std::memcpy(row(i), live_[i]->hidden.data(), row_bytes);
  janus_.TextLogits(x, size(), logits);

  std::vector<Answer> done;
  std::vector<std::unique_ptr<Sequence>> going;
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < live_.size(); i++) {
    Sequence& s = *live_[i];
    const auto position = static_cast<uint32_t>(s.stream.tokens().size());
    const int32_t token = sampler_.SampleText(logits + static_cast<int64_t>(i) * vocabulary,
                                              vocabulary, s.sampling, s.seed, position);
    if (Append(s, token, on_text)) {
      tokens.push_back(token);
      going.push_back(std::move(live_[i]));
    } else {
      done.push_back(Finish(s, on_text));
    }
  }
  live_ = std::move(going);
  if (live_.empty()) return done;

  janus_.llama().EmbedText(tokens, x);
  std::vector<SequenceSpan> spans;
  for (const auto& s : live_) {
    const int64_t position =
        s->answer.prompt_tokens + static_cast<int64_t>(s->stream.tokens().size()) - 1;
    spans.push_back({&s->kv, position, 1, RowClass::kDecode});
  }
  janus_.llama().Forward(spans, x);
  for (size_t i = 0; i < live_.size(); i++) std::memcpy(live_[i]->hidden.data(), row(i), row_bytes);
  return done;
}

namespace {

// log softmax(logits)[token]
double TokenLogProbability(const float* logits, int64_t vocabulary, int32_t token) {
  const float largest = *std::max_element(logits, logits + vocabulary);
  double sum = 0;
  for (int64_t i = 0; i < vocabulary; i++) sum += std::exp(static_cast<double>(logits[i] - largest));
  return static_cast<double>(logits[token] - largest) - std::log(sum);
}

}  // namespace

Result<double> LogProbability(Janus& janus, const AnswerRequest& request, std::string_view text) {
  const LlamaConfig& config = janus.config().llama;
  const Conversation prompt = janus.EncodeTurns(request.turns);
  BIFRONS_RETURN_IF_ERROR(CheckContext(janus, prompt));
  // An answer begins with the space that follows "Assistant:".
  const std::vector<int32_t> answer = janus.tokenizer().Encode(" " + std::string(text));
  const auto length = static_cast<int64_t>(prompt.ids.size()), count = static_cast<int64_t>(answer.size());
  if (length + count > config.max_positions) {
    return UsageError("the text to judge by is too long: " + std::to_string(count) + " tokens after " +
                      std::to_string(length) + " exceed the model's " + std::to_string(config.max_positions) +
                      " positions");
  }
  KvCache kv(config, janus.kv_type(), length + count);
  Tensor x(DType::kF32, {count, config.hidden}), logits(DType::kF32, {count, config.vocabulary});
  Prefill(janus, prompt.ids, PlaceImages(prompt, request), 0, kv, x.as<float>());
  if (count > 1) {
    // Row i + 1 follows token i; all tokens are known, so one pass serves them.
    janus.llama().EmbedText(std::span(answer).first(answer.size() - 1), x.as<float>() + config.hidden);
    const SequenceSpan span{&kv, length, count - 1, RowClass::kDecode};
    janus.llama().Forward({&span, 1}, x.as<float>() + config.hidden);
  }
  janus.TextLogits(x.as<float>(), count, logits.as<float>());
  double total = 0;
  for (int64_t i = 0; i < count; i++) {
    total += TokenLogProbability(logits.as<float>() + i * config.vocabulary, config.vocabulary,
                                 answer[static_cast<size_t>(i)]);
  }
  return total;
}

Result<std::vector<float>> FirstTokenLogits(Janus& janus, const AnswerRequest& request) {
  const LlamaConfig& config = janus.config().llama;
  const Conversation prompt = janus.EncodeTurns(request.turns);
  BIFRONS_RETURN_IF_ERROR(CheckContext(janus, prompt));
  KvCache kv(config, janus.kv_type(), static_cast<int64_t>(prompt.ids.size()));
  std::vector<float> hidden(static_cast<size_t>(config.hidden)), logits(static_cast<size_t>(config.vocabulary));
  Prefill(janus, prompt.ids, PlaceImages(prompt, request), 0, kv, hidden.data());
  janus.TextLogits(hidden.data(), 1, logits.data());
  return logits;
}

}  // namespace bifrons
