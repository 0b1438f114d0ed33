// The VQ decoder against the reference's (tests/goldens/make_vq.py), on both backends.
#include "vision/vq_decoder.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>

#include "kernels/backend.h"
#include "src/base/npy.h"

using namespace bifrons;

namespace {

// The formula of make_vq.py.
std::vector<float> Noise(const std::string& name, int64_t count) {
  uint32_t state = 2166136261u;
  for (const char c : name) state = (state ^ static_cast<uint8_t>(c)) * 16777619u;
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); i++) {
    uint32_t x = static_cast<uint32_t>(i) * 2654435769u + state;
    for (int round = 0; round < 2; round++) x = (x ^ (x >> 16)) * 0x45D9F3Bu;
    values[i] = (static_cast<float>(x >> 24) - 128) / 128;
  }
  return values;
}

bool EndsWith(const std::string& s, const std::string& end) {
  return s.size() >= end.size() && s.compare(s.size() - end.size(), end.size(), end) == 0;
}

struct Case {
  const char* name;
  VqConfig config;
};

const Case kCases[] = {{"deep", {50, 5, 16, 32, {1, 2, 2}, 1, 3, 5}}, {"flat", {33, 8, 7, 96, {1}, 0, 3, 3}}};

// Gives every tensor that the decoder asks for, of the shape that its name and the config imply.
class Weights {
 public:
  Weights(const VqConfig& config, DType stored) : config_(config), stored_(stored) {}

  TensorView operator()(const std::string& name) {
    const Shape shape = ShapeOf(name);
    std::vector<float> values = Noise(name, shape.elements());
    float scale = 1, shift = 0;
    if (name.find(".norm") != std::string::npos) {
      scale = 0.25f, shift = EndsWith(name, "weight") ? 1 : 0;
    } else if (EndsWith(name, ".bias")) {
      scale = 0.125f;
    } else if (name != "vq.codebook") {
      scale = 2.0f / std::sqrt(static_cast<float>(shape.elements() / shape[0]));
    }
    Tensor t(stored_, shape);
    for (size_t i = 0; i < values.size(); i++) {
      const BF16 value = ToBF16(shift + values[i] * scale);
      if (stored_ == DType::kBF16) {
        t.as<BF16>()[i] = value;
      } else {
        t.as<float>()[i] = ToFloat(value);
      }
    }
    return (tensors_[name] = std::move(t)).view();
  }

  size_t asked() const { return tensors_.size(); }

 private:
  int64_t LevelOut(int64_t level) const {
    const auto& m = config_.channel_multiplier;
    return config_.base_channels * m[m.size() - 1 - static_cast<size_t>(level)];
  }

  Shape ShapeOf(const std::string& name) const {
    const int64_t top = LevelOut(0);
    const std::string body = name.substr(0, name.rfind('.'));
    const bool bias = EndsWith(name, ".bias");
    int64_t in = top, out = top, kernel = 3;
    if (name == "vq.codebook") return {config_.codebook_size, config_.codebook_dim};
    if (body == "vq.post_quant_conv") {
      in = config_.codebook_dim, out = config_.latent_channels, kernel = 1;
    } else if (body == "vq.decoder.conv_in") {
      in = config_.latent_channels;
    } else if (body == "vq.decoder.conv_out") {
      in = config_.base_channels * config_.channel_multiplier[0], out = 3;
    } else if (body == "vq.decoder.norm_out") {
      return {config_.base_channels * config_.channel_multiplier[0]};
    } else if (const std::string prefix = "vq.decoder.levels."; body.rfind(prefix, 0) == 0) {
      const int64_t level = body[prefix.size()] - '0';
      out = LevelOut(level);
      const bool first = body.find(".res.0.") != std::string::npos;
      in = first && level > 0 && !EndsWith(body, "conv2") && !EndsWith(body, "norm2") ? LevelOut(level - 1)
                                                                                      : out;
    }
    if (body.find(".norm") != std::string::npos) return {in};
    for (const char* narrow : {".q", ".k", ".v", ".out", ".shortcut"}) {
      if (EndsWith(body, narrow)) kernel = 1;
    }
    return bias ? Shape{out} : Shape{out, in, kernel, kernel};
  }

  VqConfig config_;
  DType stored_;
  std::map<std::string, Tensor> tensors_;
};

std::vector<int32_t> Codes(const VqConfig& config) {
  std::vector<int32_t> codes;
  for (const float x : Noise("codes", config.tokens())) {
    codes.push_back(static_cast<int32_t>((x + 1) * 128) % static_cast<int32_t>(config.codebook_size));
  }
  return codes;
}

Tensor DecodeWith(const Ops& ops, const Case& c, DType compute, DType stored, int threads) {
  ThreadPool pool(threads);
  Weights weights(c.config, stored);
  auto decoder = VqDecoder::Create(pool, ops, c.config, compute, std::ref(weights));
  REQUIRE(decoder.ok());
  auto pixels = decoder->Decode(pool, Codes(c.config));
  REQUIRE(pixels.ok());
  return std::move(pixels).value();
}

Tensor Golden(const Case& c, const char* type) {
  auto t = ReadNpy(std::string(BIFRONS_TEST_DIR) + "/goldens/vq_" + c.name + "_" + type + ".npy");
  REQUIRE(t.ok());
  return std::move(t).value();
}

double RmsDifference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double squares = 0;
  for (int64_t i = 0; i < a.shape().elements(); i++) {
    const double d = static_cast<double>(a.as<float>()[i]) - b.as<float>()[i];
    squares += d * d;
  }
  return std::sqrt(squares / static_cast<double>(a.shape().elements()));
}

// "cpu" is the set that tests.cmake names, or the best where this processor lacks it.
const Ops& Backend(const std::string& name) {
  const char* wanted = std::getenv("BIFRONS_TEST_ISA");
  std::string isa = wanted && name == "cpu" ? wanted : "";
  const auto available = AvailableIsas();
  if (std::find(available.begin(), available.end(), isa) == available.end()) isa = "";
  auto ops = ChooseOps(name, isa);
  REQUIRE(ops.ok());
  return **ops;
}

}  // namespace

TEST_CASE("f32 pixels are the reference's") {
  for (const Case& c : kCases) {
    for (const char* backend : {"ref", "cpu"}) {
      for (const DType stored : {DType::kF32, DType::kBF16}) {
        INFO(c.name << " " << backend << " stored " << NameOf(stored));
        const Tensor pixels = DecodeWith(Backend(backend), c, DType::kF32, stored, 2);
        const Tensor golden = Golden(c, "f32");
        REQUIRE(pixels.shape() == golden.shape());
        double largest = 0;
        for (int64_t i = 0; i < pixels.shape().elements(); i++) {
          largest =
              std::max(largest, std::abs(static_cast<double>(pixels.as<float>()[i]) - golden.as<float>()[i]));
        }
        CHECK(largest < 1e-4);
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
  Weights weights(kCases[0].config, DType::kBF16);
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
  Weights weights(good, DType::kF32);
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
