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
  Device& device;
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
    auto linear = device.PackLinear(parts, biases, compute);
    for (const char* member : members) fetch.Done(name + member + ".weight");
    return linear;
  }
};

}  // namespace

Result<SiglipEncoder> SiglipEncoder::Create(Device& device, const SiglipConfig& config, DType compute,
                                            const Fetch& fetch) {
  BIFRONS_RETURN_IF_ERROR(CheckConfig(config));
  SiglipEncoder e;
  e.config_ = config;
  e.device_ = &device;
  e.compute_ = compute;
  const Builder build{device, compute, fetch};
  const auto norm = [&](const std::string& name) {
    return Norm{device.PackVector(fetch.Floats(name + ".weight")),
                device.PackVector(fetch.Floats(name + ".bias"))};
  };
  e.patch_embed_ = build.Pack("siglip.", {"patch_embed"});
  const std::vector<float> position = fetch.Floats("siglip.position");
  BIFRONS_CHECK(static_cast<int64_t>(position.size()) == config.patches() * config.hidden);
  e.position_ = device.PackTensor({position.data(), DType::kF32, {config.patches(), config.hidden}});
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
  size_t bytes = patch_embed_->bytes + position_.bytes();
  bytes += 2 * norm_.weight.bytes() * (2 * layers_.size() + 1);
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

namespace {

void Multiply(Queue& queue, Zone zone, const Linear& weight, View x, Epilogue epilogue, View y) {
  const Within within(queue, zone);
  queue.Multiply(weight, x, RowClass::kPrefill, epilogue, y);
}

}  // namespace

void SiglipEncoder::Normalise(Queue& queue, const Norm& norm, View x, View y) const {
  queue.LayerNorm(x, norm.weight.view(), norm.bias.view(), config_.norm_eps, y);
}

// x = x + proj(attention(qkv(norm1(x))))  [Block]
void SiglipEncoder::Attend(Queue& queue, const Layer& layer, View x) {
  const int64_t hidden = config_.hidden;
  const View normed = normed_.view(), qkv = wide_.view().As({x.rows(), 3 * hidden});
  Normalise(queue, layer.norm1, x, normed);
  Multiply(queue, Zone::kQkv, *layer.qkv, normed, Epilogue::kNone, qkv);
  queue.AttendAll({.heads = config_.heads, .head_dim = hidden / config_.heads, .compute = compute_},
                  qkv.Columns(0, hidden), qkv.Columns(hidden, hidden), qkv.Columns(2 * hidden, hidden),
                  normed);
  Multiply(queue, Zone::kAttentionOut, *layer.out, normed, Epilogue::kAdd, x);
}

// x = x + mlp(norm2(x))  [Block]
void SiglipEncoder::FeedForward(Queue& queue, const Layer& layer, View x) {
  const View normed = normed_.view();
  // Only the second product reads these rows: they need never be written out in f32.
  const View inner = wide_.view().As({x.rows(), config_.mlp}).InOwnLayout();
  Normalise(queue, layer.norm2, x, normed);
  Multiply(queue, Zone::kFeedForward, *layer.fc1, normed, Epilogue::kGelu, inner);
  Multiply(queue, Zone::kFeedForward, *layer.fc2, inner, Epilogue::kAdd, x);
}

DeviceTensor SiglipEncoder::Encode(Queue& queue, View pixel_values) {
  const Within within(queue, "vision tower");
  const int64_t n = config_.patches(), hidden = config_.hidden;
  if (wide_.empty()) {
    normed_ = device_->NewTensor(DType::kF32, {n, hidden});
    wide_ = device_->NewTensor(DType::kF32, {n, std::max({patch_embed_->in, 3 * hidden, config_.mlp})});
  }
  DeviceTensor rows = device_->NewTensor(DType::kF32, {n, hidden});
  const View x = rows.view(), patches = wide_.view().As({n, patch_embed_->in});
  queue.UnfoldPatches(pixel_values, config_.patch, patches);
  queue.Copy(position_.view(), x);
  Multiply(queue, Zone::kPatchEmbed, *patch_embed_, patches, Epilogue::kAdd, x);
  const auto show = [&](int64_t layer) {
    if (observer_) observer_(queue, layer, x);
  };
  show(0);
  for (int64_t l = 0; l < config_.layers; l++) {
    Attend(queue, layers_[static_cast<size_t>(l)], x);
    FeedForward(queue, layers_[static_cast<size_t>(l)], x);
    show(l + 1);
  }
  Normalise(queue, norm_, x, x);
  show(config_.layers + 1);
  return rows;
}

}  // namespace bifrons
