// The VQ encoder against the reference's (tests/goldens/make_vq.py), on both devices.
#include "vision/vq_encoder.h"

#include <catch2/catch.hpp>
#include <set>

#include "tests/vision_network.h"

using namespace bifrons;

namespace {

struct Network {
  const char* name;
  VqConfig config;
};

const Network kNetworks[] = {{"deep", {50, 5, 16, 32, {1, 2, 2}, 1, 3, 5}},
                             {"flat", {33, 8, 7, 96, {1}, 1, 3, 3}},
                             {"wide", {300, 4, 8, 64, {2, 1}, 2, 3, 6}}};

// Pixels to latents.
VisionCase Case(const Network& network) {
  const VqConfig& c = network.config;
  const Shape picture{c.image_size(), c.image_size(), 3};
  return {std::string("vq_encoded_") + network.name, NoiseTensor("pixels", picture),
          NoiseTensor("other", picture),
          [c](Device& device, DType compute, DType stored) -> VisionCase::Forward {
            auto encoder = std::make_shared<VqEncoder>(OfNoise<VqEncoder>(device, c, compute, stored));
            return [encoder](Queue& queue, View pixels) { return encoder->Latents(queue, pixels); };
          }};
}

// |z/|z| − e/|e||² in f64, of entry `code` at position `p`.
double Distance(const Tensor& latents, const std::vector<float>& codebook, int64_t dim, int64_t p,
                int64_t code) {
  const float *z = latents.as<float>() + p * dim, *e = codebook.data() + code * dim;
  double dot = 0, zz = 0, ee = 0;
  for (int64_t i = 0; i < dim; i++) {
    dot += static_cast<double>(z[i]) * e[i];
    zz += static_cast<double>(z[i]) * z[i];
    ee += static_cast<double>(e[i]) * e[i];
  }
  return 2 - 2 * dot / std::sqrt(zz * ee);
}

constexpr double kLatentError = 1e-4;

// Another code only where the two are as near as the latents' error can tell: it moves each distance by at
// most 2·√dim·error/|z|.
void CheckCodes(const Network& network, const Tensor& codes) {
  const std::string golden = std::string("vq_encoded_") + network.name;
  const Tensor exact = ReadGolden(golden + "_f32"), wanted = ReadGolden(golden + "_codes");
  const std::vector<float> codebook =
      ToFloats(NoiseWeights(Around(network.config), DType::kF32)("vq.codebook"));
  const int64_t dim = network.config.codebook_dim;
  REQUIRE(codes.shape() == Shape{network.config.tokens()});
  for (int64_t p = 0; p < network.config.tokens(); p++) {
    const int32_t ours = codes.as<int32_t>()[p], theirs = wanted.as<int32_t>()[p];
    if (ours == theirs) continue;
    double zz = 0;
    for (int64_t i = 0; i < dim; i++) {
      const double z = exact.as<float>()[p * dim + i];
      zz += z * z;
    }
    const double gap =
        std::abs(Distance(exact, codebook, dim, p, ours) - Distance(exact, codebook, dim, p, theirs));
    INFO("position " << p << " ours " << ours << " theirs " << theirs << " gap " << gap);
    CHECK(gap < 4 * std::sqrt(static_cast<double>(dim)) * kLatentError / std::sqrt(zz));
  }
}

}  // namespace

TEST_CASE("f32 latents are the reference's") {
  for (const Network& network : kNetworks) CheckF32(Case(network), kLatentError);
}

TEST_CASE("f32 codes are the reference's") {
  for (const Network& network : kNetworks) {
    for (const char* name : {"deferred", "cpu"}) {
      for (const DType stored : {DType::kF32, DType::kBF16}) {
        INFO(network.name << " " << name << " stored " << NameOf(stored));
        const auto device = TestDevice(name, 2);
        const auto queue = device->MakeQueue();
        auto encoder = OfNoise<VqEncoder>(*device, network.config, DType::kF32, stored);
        const DeviceTensor pixels = device->PackTensor(Case(network).input.view());
        const DeviceTensor codes = device->NewTensor(DType::kI32, {network.config.tokens()});
        encoder.Encode(*queue, pixels.view(), codes.view());
        CheckCodes(network, queue->Fetch(codes.view()));
      }
    }
  }
}

TEST_CASE("bf16 latents are at least as close to f32 as PyTorch's bf16") {
  for (const Network& network : kNetworks) {
    const VisionCase c = Case(network);
    CheckBF16(c, ReadGolden(c.golden + "_f32"), 1.25 * TorchBF16Error(c.golden));
  }
}

TEST_CASE("latents depend neither on the thread count nor on the picture before") {
  CheckSameBits(Case(kNetworks[0]));
}

TEST_CASE("three channels are not taken for the picture") {
  for (int field = 0; field < 2; field++) {
    Network three = kNetworks[0];
    (field == 0 ? three.config.codebook_dim : three.config.latent_channels) = 3;
    const VisionCase c = Case(three);
    const Tensor exact = Run(c, "ref", DType::kF32, DType::kBF16);
    CHECK(LargestDifference(Run(c, "cpu", DType::kF32, DType::kBF16), exact) < kLatentError);
    // PyTorch's error is that of the network with more channels there.
    CheckBF16(c, exact, 1.25 * TorchBF16Error(c.golden));
  }
}

TEST_CASE("the nearest entry wins, the first of equals") {
  VqConfig config = kNetworks[0].config;
  config.codebook_size = 600, config.codebook_dim = 3;
  // Entries 0 to 299 are random directions; 300 to 599 repeat them, twice as long.
  Tensor codebook(DType::kF32, {600, 3});
  const std::vector<float> noise = Noise("directions", 900);
  for (int64_t i = 0; i < 1800; i++) {
    codebook.as<float>()[i] = (i < 900 ? 1.0f : 2.0f) * noise[static_cast<size_t>(i % 900)];
  }
  // Every direction as a latent, half as long: it is its own nearest. Then a latent that has no direction.
  Tensor latents(DType::kF32, {301, 3});
  for (int64_t i = 0; i < 900; i++) latents.as<float>()[i] = noise[static_cast<size_t>(i)] / 2;
  std::fill_n(latents.as<float>() + 900, 3, 0.0f);
  NoiseWeights weights(Around(config), DType::kF32);
  const auto fetch = [&](const std::string& name) {
    return name == "vq.codebook" ? codebook.view() : weights(name);
  };
  for (const char* name : {"ref", "cpu"}) {
    INFO(name);
    const auto device = TestDevice(name, 3);
    const auto queue = device->MakeQueue();
    const auto encoder = VqEncoder::Create(*device, config, DType::kF32, fetch);
    REQUIRE(encoder.ok());
    const DeviceTensor z = device->PackTensor(latents.view());
    const DeviceTensor nearest = device->NewTensor(DType::kI32, {301});
    encoder->Quantise(*queue, z.view(), nearest.view());
    const Tensor fetched = queue->Fetch(nearest.view());
    const auto* codes = fetched.as<int32_t>();
    std::set<std::vector<float>> seen;  // noise may repeat a direction
    for (int32_t i = 0; i < 300; i++) {
      const float* d = noise.data() + i * 3;
      if (!seen.insert({d[0], d[1], d[2]}).second) continue;
      CHECK(codes[i] == i);
    }
    // All distances are 1 but for the roundings of the entries' lengths.
    CHECK(codes[300] >= 0);
    CHECK(codes[300] < 300);
  }
}

TEST_CASE("shapes that cannot be are errors") {
  for (int field = 0; field < 5; field++) {
    VqConfig bad = kNetworks[0].config;
    if (field == 0) bad.base_channels = 33;
    if (field == 1) bad.channel_multiplier = {};
    if (field == 2) bad.grid = 0;
    if (field == 3) bad.res_blocks = 0;
    if (field == 4) bad.codebook_dim = 0;
    const std::string message = Refusal<VqEncoder>(bad);
    if (field == 4) CHECK(message == "VQ encoder: an empty codebook");
  }
}
