// Numbers in blocks: the bytes that PyPI's gguf makes and the numbers that it reads
// (tests/goldens/make_blocks.py), and how far q4_k is from what it was made of.
#include "src/base/blocks.h"

#include <limits>
#include <random>

#include "tests/golden_files.h"

namespace bifrons {
namespace {

const fs::path kFolder = kGoldens / "blocks";

std::vector<uint8_t> Bytes(const std::string& name) {
  const std::vector<int32_t> bytes = Ints(kFolder / (name + ".npy"));
  return {bytes.begin(), bytes.end()};
}

std::vector<uint8_t> Quantized(const std::vector<float>& x, DType type) {
  std::vector<uint8_t> blocks(BytesOf(type, static_cast<int64_t>(x.size())));
  Quantize(x.data(), static_cast<int64_t>(x.size()), type, blocks.data());
  return blocks;
}

std::vector<float> Dequantized(const std::vector<uint8_t>& blocks, DType type) {
  const Block block = BlockOf(type);
  std::vector<float> x(blocks.size() / block.bytes * static_cast<size_t>(block.values));
  Dequantize(blocks.data(), type, static_cast<int64_t>(x.size()), x.data());
  return x;
}

TEST_CASE("blocks have the bytes of PyPI's gguf") {
  const DType type = GENERATE(DType::kQ8_0, DType::kQ4_0);
  const std::vector<uint8_t> ours = Quantized(Floats(kFolder / "x.npy"), type), theirs = Bytes(NameOf(type));
  REQUIRE(ours.size() == theirs.size());
  const size_t bytes = BlockOf(type).bytes;
  for (size_t i = 0; i < ours.size(); i++) {
    INFO(NameOf(type) << " block " << i / bytes << " byte " << i % bytes);
    REQUIRE(static_cast<int>(ours[i]) == static_cast<int>(theirs[i]));
  }
}

TEST_CASE("blocks are read as PyPI's gguf reads them") {
  const DType type = GENERATE(DType::kQ8_0, DType::kQ4_0, DType::kQ4_K);
  const std::string name = NameOf(type);
  const std::vector<float> ours = Dequantized(Bytes(name), type),
                           theirs = Floats(kFolder / (name + "_values.npy"));
  REQUIRE(ours.size() == theirs.size());
  for (size_t i = 0; i < ours.size(); i++) {
    INFO(name << " value " << i << ": " << ours[i] << ", expected " << theirs[i]);
    REQUIRE(ours[i] == theirs[i]);  // but for the sign of zeros
  }
}

TEST_CASE("f16 is rounded as numpy rounds it") {
  const std::vector<float> x = Floats(kFolder / "half_in.npy");
  const std::vector<int32_t> expected = Ints(kFolder / "half_out.npy");
  REQUIRE(x.size() == expected.size());
  for (size_t i = 0; i < x.size(); i++) {
    INFO(x[i]);
    if (std::isnan(x[i])) {
      CHECK(std::isnan(ToFloat(ToF16(x[i]))));
    } else {
      REQUIRE(static_cast<int>(ToF16(x[i]).bits) == expected[i]);
    }
  }
  // What f16 has comes back.
  for (uint32_t bits = 0; bits < 0x7C00; bits++) {
    const F16 half{static_cast<uint16_t>(bits)};
    REQUIRE(ToF16(ToFloat(half)).bits == half.bits);
  }
}

double RmsError(const std::vector<float>& x, const std::vector<float>& y) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); i++) sum += (double{x[i]} - y[i]) * (double{x[i]} - y[i]);
  return std::sqrt(sum / static_cast<double>(x.size()));
}

std::vector<float> Normal(size_t n, float mean) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(mean, 1);
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

TEST_CASE("types are as close as their bits allow") {
  // Of normal numbers with deviation 1. Even steps of a 32nd's extent would be 0.0090 for q8_0 and 0.083 for
  // q4_0 (the mean largest magnitude is 2.07 · 1.2, errors are even within a step).
  const std::vector<float> x = Normal(256 * 400, 0);
  const auto error = [&](DType type) { return RmsError(x, Dequantized(Quantized(x, type), type)); };
  CHECK(error(DType::kQ8_0) < 0.008);
  CHECK(error(DType::kQ4_0) < 0.10);
  CHECK(error(DType::kQ4_K) < 0.08);
  CHECK(error(DType::kQ4_K) < error(DType::kQ4_0));
  // Its minimum pays where numbers lie on one side of zero.
  const std::vector<float> shifted = Normal(256 * 400, -3);
  CHECK(RmsError(shifted, Dequantized(Quantized(shifted, DType::kQ4_K), DType::kQ4_K)) < 0.1);
}

TEST_CASE("a block of q8_0 that is not finite comes back as NaN, whatever else it holds") {
  for (const float value : {std::nanf(""), -std::nanf(""), INFINITY, -INFINITY}) {
    std::vector<float> x = Normal(96, 0);
    x[40] = value;
    const std::vector<float> y = Dequantized(Quantized(x, DType::kQ8_0), DType::kQ8_0);
    for (size_t i = 0; i < y.size(); i++) REQUIRE(std::isnan(y[i]) == (i / 32 == 1));
  }
}

TEST_CASE("a block of q4_k without any extent") {
  for (const float value : {0.0f, 1.0f, -1.0f, 1e-30f}) {
    const std::vector<float> x(256, value);
    for (const float v : Dequantized(Quantized(x, DType::kQ4_K), DType::kQ4_K)) {
      INFO(value);
      REQUIRE(std::fabs(v - value) <= 0.02f * std::fabs(value) + 1e-7f);
    }
  }
}

TEST_CASE("the groups of q4_k come back from their bits") {
  std::mt19937 random(3);
  for (int i = 0; i < 100; i++) {
    std::vector<float> x(256);
    for (size_t g = 0; g < 8; g++) {
      const float scale = std::exp2(static_cast<float>(random() % 8));
      for (size_t j = 0; j < 32; j++) x[g * 32 + j] = scale * (static_cast<float>(random() % 16) - 3);
    }
    const std::vector<float> y = Dequantized(Quantized(x, DType::kQ4_K), DType::kQ4_K);
    for (size_t g = 0; g < 8; g++) {
      const auto [low, high] = std::minmax_element(x.begin() + static_cast<int64_t>(g) * 32,
                                                   x.begin() + static_cast<int64_t>(g + 1) * 32);
      for (size_t j = 0; j < 32; j++) {
        INFO("group " << g << " value " << j);
        // Half a step, and what six bits leave of the largest group's scale and minimum.
        REQUIRE(std::fabs(x[g * 32 + j] - y[g * 32 + j]) <= (*high - *low) / 30 + 128.0f * 18 / 63);
      }
    }
  }
}

}  // namespace
}  // namespace bifrons
