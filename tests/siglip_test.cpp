// The SigLIP tower against PyTorch's (tests/goldens/make_siglip.py), on both devices.
#include "vision/siglip.h"

#include <catch2/catch.hpp>

#include "tests/vision_network.h"

using namespace bifrons;

namespace {

VisionCase Case(const char* name, const SiglipConfig& c) {
  const Shape picture{3, c.image_size, c.image_size};
  return {std::string("siglip_") + name, NoiseTensor("pixel_values", picture), NoiseTensor("other", picture),
          [c](Device& device, DType compute, DType stored) -> VisionCase::Forward {
            auto encoder =
                std::make_shared<SiglipEncoder>(OfNoise<SiglipEncoder>(device, c, compute, stored));
            return [encoder](Queue& queue, View pixels) { return encoder->Encode(queue, pixels); };
          }};
}

const SiglipConfig kOdd{24, 2, 3, 60, 8, 40};

std::vector<VisionCase> Cases() {
  std::vector<VisionCase> cases;
  cases.push_back(Case("odd", kOdd));
  cases.push_back(Case("rest", {40, 1, 5, 160, 14, 45}));
  cases.push_back(Case("wide", {128, 3, 2, 256, 16, 96}));
  return cases;
}

}  // namespace

TEST_CASE("f32 rows are the reference's") {
  // Sums of up to 768 terms of size 1, a dozen in a row, in two orders: each 2^-24·√768, and the last norm
  // brings the residual stream (of size 3) back to size 1. That is 2e-5; PyTorch's own error is as large.
  for (const VisionCase& c : Cases()) CheckF32(c, 2e-5);
}

TEST_CASE("bf16 rows are closer to f32 than PyTorch's bf16") {
  for (const VisionCase& c : Cases()) {
    CheckBF16(c, ReadGolden(c.golden + "_f32"), TorchBF16Error(c.golden));
  }
}

TEST_CASE("rows depend neither on the thread count nor on the picture before") {
  for (const VisionCase& c : Cases()) CheckSameBits(c);
}

TEST_CASE("the tower tells its size") {
  const auto device = TestDevice("ref", 1);
  const auto encoder = OfNoise<SiglipEncoder>(*device, kOdd, DType::kF32, DType::kF32);
  const int64_t layer = 4 * 24 * 24 + 2 * 24 * 60, values = 4 * 24 + 24 + 60 + 24 + 4 * 24;
  const int64_t stored = 24 * (3 * 64 + 1) + 25 * 24 + 2 * (layer + values - 24) + 2 * 24;
  CHECK(encoder.WeightBytes() == static_cast<size_t>(stored) * 4);
  CHECK(encoder.Macs() == 25 * (3 * 64 * 24 + 2 * (layer + 2 * 25 * 24)));
  // Normed, the widest (192 values of a patch), the rows returned.
  CHECK(encoder.ActivationBytes() == size_t{25 * (24 + 192 + 24) * 4});
}

TEST_CASE("towers that cannot be are errors") {
  for (int field = 0; field < 6; field++) {
    SiglipConfig bad = kOdd;
    if (field == 0) bad.hidden = 25;
    if (field == 1) bad.heads = 0;
    if (field == 2) bad.mlp = 0;
    if (field == 3) bad.patch = 0;
    if (field == 4) bad.image_size = 7;
    if (field == 5) bad.layers = -1;
    const std::string message = Refusal<SiglipEncoder>(bad);
    if (field == 0) CHECK(message == "vision tower: its width (25) is not a multiple of its 3 heads");
  }
}
