#include "src/engine/draw.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>

#include "src/engine/prefill.h"

namespace bifrons {
namespace {

using Clock = std::chrono::steady_clock;
double Seconds(Clock::time_point since) {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

// A prefilled prefix: what every sequence that starts with the same ids copies.
struct Prefix {
  std::unique_ptr<KvCache> cache;
  std::vector<float> last_hidden;
};

Error Stopped() { return Failure("interrupted; nothing was written for the unfinished pictures"); }

}  // namespace

DrawStats& DrawStats::operator+=(const DrawStats& o) {
  prefill_seconds += o.prefill_seconds, decode_seconds += o.decode_seconds, vq_seconds += o.vq_seconds;
  prompt_tokens += o.prompt_tokens, steps += o.steps, image_tokens += o.image_tokens,
      bytes_read += o.bytes_read;
  return *this;
}

Status CheckPrompt(Janus& janus, const std::string& prompt) {
  const auto length = static_cast<int64_t>(janus.EncodePrompt(prompt).conditional.size());
  const int64_t tokens = janus.config().vq.tokens(), limit = janus.config().llama.max_positions;
  if (length + tokens > limit) {
    return UsageError("the prompt is too long: " + std::to_string(length) + " tokens and " +
                      std::to_string(tokens) + " image tokens exceed the model's " + std::to_string(limit) +
                      " positions");
  }
  return {};
}

int64_t PicturesPerBatch(Janus& janus, int64_t longest_prompt, size_t bytes) {
  const JanusConfig& c = janus.config();
  const int64_t capacity = longest_prompt + c.vq.tokens();
  const size_t per_picture =
      2 * KvCache::Bytes(c.llama, janus.kv_type(), capacity) +
      2 * sizeof(float) *
          static_cast<size_t>(4 * c.llama.hidden + 3 * c.llama.intermediate + 2 * c.vq.codebook_size) +
      sizeof(float) * static_cast<size_t>(3 * c.vq.image_size() * c.vq.image_size());
  return std::max<int64_t>(1, static_cast<int64_t>(bytes / per_picture));
}

Result<std::vector<DrawnPicture>> Draw(Janus& janus, std::span<const DrawRequest> requests,
                                       const DrawCallback& progress, DrawStats* stats) {
  const JanusConfig& config = janus.config();
  const int64_t hidden = config.llama.hidden, codebook = config.vq.codebook_size, tokens = config.vq.tokens();
  const auto pictures = static_cast<int64_t>(requests.size());
  DrawStats local;

  // Prefill: each distinct id sequence once. Rows 2i and 2i+1 are picture i's conditional and unconditional
  // half.
  auto clock = Clock::now();
  std::map<std::vector<int32_t>, Prefix> prefixes;
  std::vector<KvCache> caches;
  std::vector<int64_t> lengths;
  Tensor x(DType::kF32, {2 * pictures, hidden});
  for (int64_t i = 0; i < pictures; i++) {
    const DrawingPrompt prompt = janus.EncodePrompt(requests[static_cast<size_t>(i)].prompt);
    const auto length = static_cast<int64_t>(prompt.conditional.size());
    for (int half = 0; half < 2; half++) {
      const std::vector<int32_t>& ids = half == 0 ? prompt.conditional : prompt.unconditional;
      Prefix& prefix = prefixes[ids];
      if (!prefix.cache) {
        prefix.cache = std::make_unique<KvCache>(config.llama, janus.kv_type(), length);
        prefix.last_hidden.resize(static_cast<size_t>(hidden));
        Prefill(janus, ids, {}, 0, *prefix.cache, prefix.last_hidden.data());
        local.prompt_tokens += length;
      }
      caches.emplace_back(config.llama, janus.kv_type(), length + tokens - 1);
      caches.back().CopyPrefix(*prefix.cache, length);
      std::memcpy(x.as<float>() + (2 * i + half) * hidden, prefix.last_hidden.data(),
                  static_cast<size_t>(hidden) * sizeof(float));
    }
    lengths.push_back(length);
  }
  prefixes.clear();
  local.prefill_seconds = Seconds(clock);

  clock = Clock::now();
  std::vector<DrawnPicture> results(requests.size());
  std::vector<Sampler> samplers(requests.size());
  std::vector<int32_t> codes(requests.size());
  std::vector<SequenceSpan> spans(static_cast<size_t>(2 * pictures));
  Tensor logits(DType::kF32, {2 * pictures, codebook});
  Tensor embedded(DType::kF32, {pictures, hidden});
  for (int64_t position = 0; position < tokens; position++) {
    janus.ImageLogits(x.as<float>(), 2 * pictures, logits.as<float>());
    janus.pool().ParallelFor(pictures, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) {
        const DrawRequest& request = requests[static_cast<size_t>(i)];
        const float* pair = logits.as<float>() + 2 * i * codebook;
        codes[static_cast<size_t>(i)] = samplers[static_cast<size_t>(i)].Sample(
            pair, pair + codebook, codebook, request.sampling, request.seed, static_cast<uint32_t>(position));
      }
    });
    for (size_t i = 0; i < results.size(); i++) results[i].codes.push_back(codes[i]);
    local.image_tokens += pictures;
    if (progress && !progress({position + 1, tokens, 0, pictures})) return Stopped();
    if (position + 1 == tokens) break;

    janus.EmbedImageTokens(codes, embedded.as<float>());
    for (int64_t i = 0; i < pictures; i++) {
      for (int64_t half = 0; half < 2; half++) {
        const int64_t row = 2 * i + half, start = lengths[static_cast<size_t>(i)] + position;
        std::memcpy(x.as<float>() + row * hidden, embedded.as<float>() + i * hidden,
                    static_cast<size_t>(hidden) * sizeof(float));
        spans[static_cast<size_t>(row)] = {&caches[static_cast<size_t>(row)], start, 1, RowClass::kDecode};
        local.bytes_read += KvCache::Bytes(config.llama, janus.kv_type(), start + 1);
      }
    }
    janus.llama().Forward(spans, x.as<float>());
    local.steps++;
    local.bytes_read += janus.step_bytes();
  }
  local.decode_seconds = Seconds(clock);

  clock = Clock::now();
  for (int64_t i = 0; i < pictures; i++) {
    DrawnPicture& picture = results[static_cast<size_t>(i)];
    BIFRONS_TRY(picture.pixels, janus.vq().Decode(janus.pool(), picture.codes));
    if (progress && !progress({tokens, tokens, i + 1, pictures})) return Stopped();
  }
  local.vq_seconds = Seconds(clock);
  if (stats) *stats += local;
  return results;
}

}  // namespace bifrons
