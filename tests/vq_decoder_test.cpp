// The VQ decoder against the reference's (tests/goldens/make_vq.py), on both devices.
#include "vision/vq_decoder.h"

#include <catch2/catch.hpp>

#include "tests/vision_network.h"

using namespace bifrons;

namespace {

Tensor Codes(const VqConfig& config, const char* name) {
  const std::vector<float> noise = Noise(name, config.tokens());
  Tensor codes(DType::kI32, {config.tokens()});
  for (size_t i = 0; i < noise.size(); i++) {
    codes.as<int32_t>()[i] =
        static_cast<int32_t>((noise[i] + 1) * 128) % static_cast<int32_t>(config.codebook_size);
  }
  return codes;
}

VisionCase Case(const char* name, const VqConfig& c) {
  return {std::string("vq_") + name, Codes(c, "codes"), Codes(c, "others"),
          [c](Device& device, DType compute, DType stored) -> VisionCase::Forward {
            auto decoder = std::make_shared<VqDecoder>(OfNoise<VqDecoder>(device, c, compute, stored));
            return [&device, decoder](Queue& queue, View codes) {
              const int64_t side = decoder->config().image_size();
              DeviceTensor pixels = device.NewTensor(DType::kF32, {side, side, 3});
              decoder->Decode(queue, codes, pixels.view());
              return pixels;
            };
          }};
}

const VqConfig kDeep{50, 5, 16, 32, {1, 2, 2}, 1, 3, 5};
const VqConfig kFlat{33, 8, 7, 96, {1}, 0, 3, 3};

std::vector<VisionCase> Cases() {
  std::vector<VisionCase> cases;
  cases.push_back(Case("deep", kDeep));
  cases.push_back(Case("flat", kFlat));
  return cases;
}

}  // namespace

TEST_CASE("f32 pixels are the reference's") {
  for (const VisionCase& c : Cases()) CheckF32(c, 1e-4);
}

TEST_CASE("bf16 pixels are at least as close to f32 as PyTorch's bf16") {
  for (const VisionCase& c : Cases()) {
    CheckBF16(c, ReadGolden(c.golden + "_f32"), 1.25 * TorchBF16Error(c.golden));
  }
}

TEST_CASE("pixels depend neither on the thread count nor on the picture before") {
  CheckSameBits(Case("deep", kDeep));
}

TEST_CASE("three channels are not taken for the picture") {
  for (int field = 0; field < 2; field++) {
    VqConfig three = kDeep;
    (field == 0 ? three.codebook_dim : three.latent_channels) = 3;
    const VisionCase c = Case("deep", three);
    const Tensor exact = Run(c, "ref", DType::kF32, DType::kBF16);
    CHECK(LargestDifference(Run(c, "cpu", DType::kF32, DType::kBF16), exact) < 1e-4);
    // PyTorch's error is that of the network with more channels there.
    CheckBF16(c, exact, 1.25 * TorchBF16Error(c.golden));
  }
}

TEST_CASE("codes and shapes that cannot be are errors") {
  const auto device = TestDevice("ref", 1);
  const auto decoder = OfNoise<VqDecoder>(*device, kDeep, DType::kF32, DType::kF32);
  std::vector<int32_t> codes(25, 49);
  CHECK(decoder.CheckCodes(codes).ok());
  codes[3] = 50;
  const Status outside = decoder.CheckCodes(codes);
  REQUIRE(!outside.ok());
  CHECK(outside.error().message == "code 50 at position 3 is outside the codebook, 0 to 49");
  codes[3] = -1;
  CHECK(!decoder.CheckCodes(codes).ok());
  codes[3] = 0;
  codes.pop_back();
  const Status few = decoder.CheckCodes(codes);
  REQUIRE(!few.ok());
  CHECK(few.error().message == "24 codes; this model's picture has 25");

  for (int field = 0; field < 5; field++) {
    VqConfig bad = kDeep;
    if (field == 0) bad.base_channels = 33;
    if (field == 1) bad.channel_multiplier = {};
    if (field == 2) bad.grid = 0;
    if (field == 3) bad.out_channels = 4;
    if (field == 4) bad.channel_multiplier = {1, 0};
    const std::string message = Refusal<VqDecoder>(bad);
    if (field == 3) CHECK(message == "VQ decoder: 4 output channels; a picture has 3");
  }
}
