// The SigLIP tower against PyTorch's (tests/goldens/make_siglip.py), on both backends.
#include "vision/siglip.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "tests/noise_weights.h"
#include "tests/vision_backend.h"

using namespace bifrons;

namespace {

struct Case {
  const char* name;
  SiglipConfig config;
};

const Case kCases[] = {
    {"odd", {24, 2, 3, 60, 8, 40}}, {"rest", {40, 1, 5, 160, 14, 45}}, {"wide", {128, 3, 2, 256, 16, 96}}};

JanusConfig Around(const SiglipConfig& vision) {
  JanusConfig config;
  config.vq.channel_multiplier = {1};
  config.vision = vision;
  return config;
}

Tensor Pixels(const SiglipConfig& c) { return NoiseTensor("pixel_values", {3, c.image_size, c.image_size}); }

Tensor EncodeWith(const Ops& ops, const Case& c, DType compute, DType stored, int threads) {
  ThreadPool pool(threads);
  NoiseWeights weights(Around(c.config), stored);
  auto encoder =
      SiglipEncoder::Create(pool, ops, c.config, compute,
                            {std::ref(weights), [&](const std::string& name) { weights.Release(name); }});
  REQUIRE(encoder.ok());
  CHECK(weights.held() == 0);
  return encoder->Encode(pool, Pixels(c.config).view());
}

Tensor Golden(const Case& c, const char* type) {
  return ReadGolden(std::string("siglip_") + c.name + "_" + type);
}

}  // namespace

TEST_CASE("f32 rows are the reference's") {
  for (const Case& c : kCases) {
    for (const char* backend : {"ref", "cpu"}) {
      for (const DType stored : {DType::kF32, DType::kBF16}) {
        INFO(c.name << " " << backend << " stored " << NameOf(stored));
        const Tensor rows = EncodeWith(Backend(backend), c, DType::kF32, stored, 2);
        REQUIRE((rows.shape() == Shape{c.config.patches(), c.config.hidden}));
        // Sums of up to 768 terms of size 1, a dozen in a row, in two orders: each 2^-24·√768, and the last
        // norm brings the residual stream (of size 3) back to size 1. That is 2e-5; PyTorch's own error is as
        // large.
        CHECK(LargestDifference(rows, Golden(c, "f32")) < 2e-5);
      }
    }
  }
}

TEST_CASE("bf16 rows are closer to f32 than PyTorch's bf16") {
  for (const Case& c : kCases) {
    for (const char* backend : {"ref", "cpu"}) {
      INFO(c.name << " " << backend);
      const Tensor exact = Golden(c, "f32");
      const double theirs = RmsDifference(Golden(c, "bf16"), exact);
      const double ours =
          RmsDifference(EncodeWith(Backend(backend), c, DType::kBF16, DType::kBF16, 2), exact);
      CHECK(ours > 0);
      CHECK(ours < theirs);
    }
  }
}

TEST_CASE("rows do not depend on the thread count") {
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    for (const Case& c : kCases) {
      const Tensor one = EncodeWith(Backend("cpu"), c, compute, DType::kBF16, 1);
      for (const int threads : {2, 3}) {
        const Tensor more = EncodeWith(Backend("cpu"), c, compute, DType::kBF16, threads);
        CHECK(std::memcmp(one.data(), more.data(), one.bytes()) == 0);
      }
    }
  }
}

TEST_CASE("a second picture is as if it were the first") {
  ThreadPool pool(2);
  const SiglipConfig& config = kCases[2].config;
  NoiseWeights weights(Around(config), DType::kBF16);
  auto encoder = SiglipEncoder::Create(pool, Backend("cpu"), config, DType::kBF16, std::ref(weights));
  REQUIRE(encoder.ok());
  const Tensor pixels = Pixels(config), other = NoiseTensor("other", pixels.shape());
  const Tensor before = encoder->Encode(pool, pixels.view());
  const Tensor between = encoder->Encode(pool, other.view());
  const Tensor after = encoder->Encode(pool, pixels.view());
  CHECK(std::memcmp(before.data(), after.data(), before.bytes()) == 0);
  CHECK(std::memcmp(before.data(), between.data(), before.bytes()) != 0);
}

TEST_CASE("the tower tells its size") {
  ThreadPool pool(1);
  const SiglipConfig& config = kCases[0].config;
  NoiseWeights weights(Around(config), DType::kF32);
  auto encoder = SiglipEncoder::Create(pool, Backend("ref"), config, DType::kF32, std::ref(weights));
  REQUIRE(encoder.ok());
  const int64_t layer = 4 * 24 * 24 + 2 * 24 * 60, values = 4 * 24 + 24 + 60 + 24 + 4 * 24;
  const int64_t stored = 24 * (3 * 64 + 1) + 25 * 24 + 2 * (layer + values - 24) + 2 * 24;
  CHECK(encoder->WeightBytes() == static_cast<size_t>(stored) * 4);
  CHECK(encoder->Macs() == 25 * (3 * 64 * 24 + 2 * (layer + 2 * 25 * 24)));
  // Normed, the widest (192 values of a patch), the rows returned.
  CHECK(encoder->ActivationBytes() == size_t{25 * (24 + 192 + 24) * 4});
}

TEST_CASE("towers that cannot be are errors") {
  ThreadPool pool(1);
  for (int field = 0; field < 6; field++) {
    SiglipConfig bad = kCases[0].config;
    if (field == 0) bad.hidden = 25;
    if (field == 1) bad.heads = 0;
    if (field == 2) bad.mlp = 0;
    if (field == 3) bad.patch = 0;
    if (field == 4) bad.image_size = 7;
    if (field == 5) bad.layers = -1;
    auto wrong =
        SiglipEncoder::Create(pool, Backend("ref"), bad, DType::kF32, [](const std::string&) -> TensorView {
          FAIL("asked for a tensor of an impossible network");
          return {};
        });
    REQUIRE(!wrong.ok());
    CHECK(wrong.error().kind == ErrorKind::kBadData);
    if (field == 0) {
      CHECK(wrong.error().message == "vision tower: its width (25) is not a multiple of its 3 heads");
    }
  }
}
