// The VQ decoder against the reference's (tests/goldens/make_vq.py), on both backends.
#include "vision/vq_decoder.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "tests/noise_weights.h"
#include "tests/vision_backend.h"

using namespace bifrons;

namespace {

struct Case {
  const char* name;
  VqConfig config;
};

const Case kCases[] = {{"deep", {50, 5, 16, 32, {1, 2, 2}, 1, 3, 5}}, {"flat", {33, 8, 7, 96, {1}, 0, 3, 3}}};

NoiseWeights Weights(const VqConfig& vq, DType stored) {
  JanusConfig config;
  config.vq = vq;
  config.has_vision = false;
  return NoiseWeights(config, stored);
}

std::vector<int32_t> Codes(const VqConfig& config) {
  std::vector<int32_t> codes;
  for (const float x : Noise("codes", config.tokens())) {
    codes.push_back(static_cast<int32_t>((x + 1) * 128) % static_cast<int32_t>(config.codebook_size));
  }
  return codes;
}

Tensor DecodeWith(const Ops& ops, const Case& c, DType compute, DType stored, int threads) {
  ThreadPool pool(threads);
  NoiseWeights weights = Weights(c.config, stored);
  auto decoder = VqDecoder::Create(pool, ops, c.config, compute, std::ref(weights));
  REQUIRE(decoder.ok());
  auto pixels = decoder->Decode(pool, Codes(c.config));
  REQUIRE(pixels.ok());
  return std::move(pixels).value();
}

Tensor Golden(const Case& c, const char* type) {
  return ReadGolden(std::string("vq_") + c.name + "_" + type);
}

}  // namespace

TEST_CASE("f32 pixels are the reference's") {
  for (const Case& c : kCases) {
    for (const char* backend : {"ref", "cpu"}) {
      for (const DType stored : {DType::kF32, DType::kBF16}) {
        INFO(c.name << " " << backend << " stored " << NameOf(stored));
        const Tensor pixels = DecodeWith(Backend(backend), c, DType::kF32, stored, 2);
        const Tensor golden = Golden(c, "f32");
        CHECK(LargestDifference(pixels, golden) < 1e-4);
      }
    }
  }
}

TEST_CASE("bf16 pixels are at least as close to f32 as PyTorch's bf16") {
  for (const Case& c : kCases) {
    for (const char* backend : {"ref", "cpu"}) {
      INFO(c.name << " " << backend);
      const Tensor exact = Golden(c, "f32");
      const double theirs = RmsDifference(Golden(c, "bf16"), exact);
      const double ours =
          RmsDifference(DecodeWith(Backend(backend), c, DType::kBF16, DType::kBF16, 2), exact);
      CHECK(ours > 0);
      CHECK(ours < 1.25 * theirs);
    }
  }
}

TEST_CASE("pixels do not depend on the thread count") {
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    const Tensor one = DecodeWith(Backend("cpu"), kCases[0], compute, DType::kBF16, 1);
    for (const int threads : {2, 3}) {
      const Tensor more = DecodeWith(Backend("cpu"), kCases[0], compute, DType::kBF16, threads);
      CHECK(std::memcmp(one.data(), more.data(), one.bytes()) == 0);
    }
  }
}

TEST_CASE("a second picture is as if it were the first") {
  ThreadPool pool(2);
  NoiseWeights weights = Weights(kCases[0].config, DType::kBF16);
  auto decoder = VqDecoder::Create(pool, Backend("cpu"), kCases[0].config, DType::kBF16, std::ref(weights));
  REQUIRE(decoder.ok());
  std::vector<int32_t> codes = Codes(kCases[0].config), others(codes.size(), 7);
  const Tensor before = std::move(decoder->Decode(pool, codes)).value();
  const Tensor between = std::move(decoder->Decode(pool, others)).value();
  const Tensor after = std::move(decoder->Decode(pool, codes)).value();
  CHECK(std::memcmp(before.data(), after.data(), before.bytes()) == 0);
  CHECK(std::memcmp(before.data(), between.data(), before.bytes()) != 0);
}

TEST_CASE("codes and shapes that cannot be are errors") {
  ThreadPool pool(1);
  const VqConfig good = kCases[0].config;
  NoiseWeights weights = Weights(good, DType::kF32);
  auto decoder = VqDecoder::Create(pool, Backend("ref"), good, DType::kF32, std::ref(weights));
  REQUIRE(decoder.ok());
  std::vector<int32_t> codes = Codes(good);
  codes[3] = 50;
  auto outside = decoder->Decode(pool, codes);
  REQUIRE(!outside.ok());
  CHECK(outside.error().message == "code 50 at position 3 is outside the codebook, 0 to 49");
  codes[3] = -1;
  CHECK(!decoder->Decode(pool, codes).ok());
  codes.pop_back();
  CHECK(!decoder->Decode(pool, codes).ok());

  for (int field = 0; field < 5; field++) {
    VqConfig bad = good;
    if (field == 0) bad.base_channels = 33;
    if (field == 1) bad.channel_multiplier = {};
    if (field == 2) bad.grid = 0;
    if (field == 3) bad.out_channels = 4;
    if (field == 4) bad.channel_multiplier = {1, 0};
    auto wrong =
        VqDecoder::Create(pool, Backend("ref"), bad, DType::kF32, [](const std::string&) -> TensorView {
          FAIL("asked for a tensor of an impossible network");
          return {};
        });
    REQUIRE(!wrong.ok());
    CHECK(wrong.error().kind == ErrorKind::kBadData);
  }
}
