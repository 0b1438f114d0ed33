#include "vision/siglip.h"

#include <algorithm>
#include <initializer_list>
#include <string>

#include "src/base/stop.h"

namespace bifrons {
namespace {

Status CheckConfig(const SiglipConfig& c) {
  const auto wrong = [](const std::string& what) { return DataError("vision tower: " + what); };
  const auto n = [](int64_t value) { return std::to_string(value); };
  if (c.hidden < 1 || c.layers < 1 || c.mlp < 1) return wrong("an empty network");
  if (c.heads < 1 || c.hidden % c.heads != 0) {
    return wrong("its width (" + n(c.hidden) + ") is not a multiple of its " + n(c.heads) + " heads");
  }
  if (c.patch < 1 || c.image_size < c.patch) {
    return wrong("pictures of " + n(c.image_size) + " pixels hold no patch of " + n(c.patch));
  }
  return {};
}

struct Builder {
  ThreadPool& pool;
  const Ops& ops;
  DType compute;
  const Fetch& fetch;

  /// The matrices of that name + each of `members`, stacked, as [rows, columns]; [hidden, 3, p, p] is one,
  /// too.
  std::unique_ptr<Linear> Pack(const std::string& name, std::initializer_list<const char*> members) const {
    std::vector<TensorView> parts;
    std::vector<float> bias;
    for (const char* member : members) {
      TensorView part = fetch(name + member + ".weight");
      part.shape = {part.shape[0], part.shape.elements() / part.shape[0]};
      parts.push_back(part);
      const std::vector<float> more = fetch.Floats(name + member + ".bias");
      bias.insert(bias.end(), more.begin(), more.end());
    }
    const TensorView biases{bias.data(), DType::kF32, {static_cast<int64_t>(bias.size())}};
    auto linear = ops.pack_linear(pool, parts, biases, compute);
    for (const char* member : members) fetch.Done(name + member + ".weight");
    return linear;
  }
};

}  // namespace

Result<SiglipEncoder> SiglipEncoder::Create(ThreadPool& pool, const Ops& ops, const SiglipConfig& config,
                                            DType compute, const Fetch& fetch) {
  BIFRONS_RETURN_IF_ERROR(CheckConfig(config));
  SiglipEncoder e;
  e.config_ = config;
  e.ops_ = &ops;
  e.compute_ = compute;
  const Builder build{pool, ops, compute, fetch};
  const auto norm = [&](const std::string& name) {
    return Norm{fetch.Floats(name + ".weight"), fetch.Floats(name + ".bias")};
  };
  e.patch_embed_ = build.Pack("siglip.", {"patch_embed"});
  e.position_ = fetch.Floats("siglip.position");
  BIFRONS_CHECK(static_cast<int64_t>(e.position_.size()) == config.patches() * config.hidden);
  for (int64_t i = 0; i < config.layers; i++) {
    if (StopRequested()) return Interrupted();
    const std::string name = "siglip.layers." + std::to_string(i) + ".";
    Layer layer;
    layer.norm1 = norm(name + "norm1");
    layer.qkv = build.Pack(name, {"q", "k", "v"});
    layer.out = build.Pack(name, {"out"});
    layer.norm2 = norm(name + "norm2");
    layer.fc1 = build.Pack(name, {"fc1"});
    layer.fc2 = build.Pack(name, {"fc2"});
    e.layers_.push_back(std::move(layer));
  }
  e.norm_ = norm("siglip.norm");
  return e;
}

// ---- memory ----------------------------------------------------------------------------------

size_t SiglipEncoder::WeightBytes() const {
  size_t floats = position_.size() + 2 * norm_.weight.size() * (2 * layers_.size() + 1);
  size_t bytes = patch_embed_->bytes + floats * sizeof(float);
  for (const Layer& layer : layers_) {
    for (const auto* linear : {&layer.qkv, &layer.out, &layer.fc1, &layer.fc2}) bytes += (*linear)->bytes;
  }
  return bytes;
}

size_t SiglipEncoder::ActivationBytes() const {
  const int64_t widest = std::max({patch_embed_->in, 3 * config_.hidden, config_.mlp});
  return static_cast<size_t>(config_.patches() * (2 * config_.hidden + widest)) * sizeof(float);
}

int64_t SiglipEncoder::Macs() const {
  const int64_t n = config_.patches(), hidden = config_.hidden;
  const int64_t layer = 4 * hidden * hidden + 2 * hidden * config_.mlp + 2 * n * hidden;
  return n * (patch_embed_->in * hidden + config_.layers * layer);
}

// ---- the forward pass ------------------------------------------------------------------------

// A patch's pixels in the order of patch_embed's weight: channel, line, column. What is left of the picture
// beyond the last whole patch is not seen, as by a convolution.
void SiglipEncoder::Unfold(ThreadPool& pool, TensorView pixel_values) {
  const int64_t size = config_.image_size, patch = config_.patch, across = size / patch;
  const auto* pixels = pixel_values.as<float>();
  auto* rows = wide_.as<float>();
  pool.ParallelFor(config_.patches(), [&](int64_t begin, int64_t end, int) {
    for (int64_t p = begin; p < end; p++) {
      const float* corner = pixels + p / across * patch * size + p % across * patch;
      float* row = rows + p * 3 * patch * patch;
      for (int64_t channel = 0; channel < 3; channel++) {
        for (int64_t y = 0; y < patch; y++, row += patch) {
          std::copy_n(corner + (channel * size + y) * size, patch, row);
        }
      }
    }
  });
}

void SiglipEncoder::Normalise(ThreadPool& pool, const Norm& norm, const float* x, float* y) {
  ops_->layer_norm(pool, x, norm.weight.data(), norm.bias.data(), config_.norm_eps, config_.patches(),
                   config_.hidden, y);
}

// x = x + proj(attention(qkv(norm1(x))))  [Block]
void SiglipEncoder::Attend(ThreadPool& pool, const Layer& layer, float* x) {
  const int64_t n = config_.patches(), hidden = config_.hidden;
  auto *normed = normed_.as<float>(), *qkv = wide_.as<float>();
  Normalise(pool, layer.norm1, x, normed);
  ops_->linear(pool, *layer.qkv, normed, n, RowClass::kPrefill, false, qkv);
  ops_->full_attention(pool,
                       {.q = qkv,
                        .k = qkv + hidden,
                        .v = qkv + 2 * hidden,
                        .type = DType::kF32,
                        .stride = 3 * hidden,
                        .n = n,
                        .heads = config_.heads,
                        .head_dim = hidden / config_.heads,
                        .compute = compute_},
                       normed);
  ops_->linear(pool, *layer.out, normed, n, RowClass::kPrefill, true, x);
}

// x = x + mlp(norm2(x))  [Block]
void SiglipEncoder::FeedForward(ThreadPool& pool, const Layer& layer, float* x) {
  const int64_t n = config_.patches();
  auto *normed = normed_.as<float>(), *inner = wide_.as<float>();
  Normalise(pool, layer.norm2, x, normed);
  ops_->gelu_mlp(pool, *layer.fc1, *layer.fc2, normed, n, inner, x);
}

Tensor SiglipEncoder::Encode(ThreadPool& pool, TensorView pixel_values) {
  const int64_t n = config_.patches(), hidden = config_.hidden;
  BIFRONS_CHECK((pixel_values.shape == Shape{3, config_.image_size, config_.image_size}));
  if (wide_.empty()) {
    normed_ = Tensor(DType::kF32, {n, hidden});
    wide_ = Tensor(DType::kF32, {n, std::max({patch_embed_->in, 3 * hidden, config_.mlp})});
  }
  Tensor rows(DType::kF32, {n, hidden});
  auto* x = rows.as<float>();
  Unfold(pool, pixel_values);
  std::copy(position_.begin(), position_.end(), x);
  ops_->linear(pool, *patch_embed_, wide_.as<float>(), n, RowClass::kPrefill, true, x);
  for (const Layer& layer : layers_) {
    Attend(pool, layer, x);
    FeedForward(pool, layer, x);
  }
  Normalise(pool, norm_, x, x);
  return rows;
}

}  // namespace bifrons
