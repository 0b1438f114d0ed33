// The VQ encoder against the reference's (tests/goldens/make_vq.py), on both backends.
#include "vision/vq_encoder.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <set>

#include "tests/noise_weights.h"
#include "tests/vision_backend.h"

using namespace bifrons;

namespace {

struct Case {
  const char* name;
  VqConfig config;
};

const Case kCases[] = {{"deep", {50, 5, 16, 32, {1, 2, 2}, 1, 3, 5}},
                       {"flat", {33, 8, 7, 96, {1}, 1, 3, 3}},
                       {"wide", {300, 4, 8, 64, {2, 1}, 2, 3, 6}}};

NoiseWeights Weights(const VqConfig& vq, DType stored) {
  JanusConfig config;
  config.vq = vq;
  config.has_vision = false;
  return NoiseWeights(config, stored);
}

VqEncoder Make(ThreadPool& pool, const Ops& ops, const VqConfig& config, DType compute, DType stored) {
  NoiseWeights weights = Weights(config, stored);
  auto encoder =
      VqEncoder::Create(pool, ops, config, compute,
                        {std::ref(weights), [&](const std::string& name) { weights.Release(name); }});
  REQUIRE(encoder.ok());
  CHECK(weights.held() == 0);
  return std::move(encoder).value();
}

Tensor Pixels(const VqConfig& c) { return NoiseTensor("pixels", {c.image_size(), c.image_size(), 3}); }

Tensor LatentsWith(const Ops& ops, const Case& c, DType compute, DType stored, int threads) {
  ThreadPool pool(threads);
  VqEncoder encoder = Make(pool, ops, c.config, compute, stored);
  auto latents = encoder.Latents(pool, Pixels(c.config).view());
  REQUIRE(latents.ok());
  return std::move(latents).value();
}

Tensor Golden(const Case& c, const char* what) {
  return ReadGolden(std::string("vq_encoded_") + c.name + "_" + what);
}

// |z/|z| − e/|e||² in f64, of entry `code` at position `p`.
double Distance(const Case& c, const Tensor& latents, const std::vector<float>& codebook, int64_t p,
                int64_t code) {
  const int64_t dim = c.config.codebook_dim;
  const float *z = latents.as<float>() + p * dim, *e = codebook.data() + code * dim;
  double dot = 0, zz = 0, ee = 0;
  for (int64_t i = 0; i < dim; i++) {
    dot += static_cast<double>(z[i]) * e[i];
    zz += static_cast<double>(z[i]) * z[i];
    ee += static_cast<double>(e[i]) * e[i];
  }
  return 2 - 2 * dot / std::sqrt(zz * ee);
}

}  // namespace

TEST_CASE("f32 latents and codes are the reference's") {
  for (const Case& c : kCases) {
    for (const char* backend : {"ref", "cpu"}) {
      for (const DType stored : {DType::kF32, DType::kBF16}) {
        INFO(c.name << " " << backend << " stored " << NameOf(stored));
        const Tensor exact = Golden(c, "f32"), wanted = Golden(c, "codes");
        const Tensor latents = LatentsWith(Backend(backend), c, DType::kF32, stored, 2);
        constexpr double kLatentError = 1e-4;
        CHECK(LargestDifference(latents, exact) < kLatentError);

        ThreadPool pool(2);
        VqEncoder encoder = Make(pool, Backend(backend), c.config, DType::kF32, stored);
        const auto codes = encoder.Encode(pool, Pixels(c.config).view());
        REQUIRE(codes.ok());
        REQUIRE(static_cast<int64_t>(codes->size()) == c.config.tokens());
        const std::vector<float> codebook = ToFloats(Weights(c.config, stored)("vq.codebook"));
        for (int64_t p = 0; p < c.config.tokens(); p++) {
          const int32_t ours = (*codes)[static_cast<size_t>(p)], theirs = wanted.as<int32_t>()[p];
          if (ours == theirs) continue;
          // Another code only where the two are as near as the latents' error can tell: it moves each
          // distance by at most 2·√dim·error/|z|.
          double zz = 0;
          for (int64_t i = 0; i < c.config.codebook_dim; i++) {
            const double z = exact.as<float>()[p * c.config.codebook_dim + i];
            zz += z * z;
          }
          const double gap =
              std::abs(Distance(c, exact, codebook, p, ours) - Distance(c, exact, codebook, p, theirs));
          INFO("position " << p << " ours " << ours << " theirs " << theirs << " gap " << gap);
          const double dim = static_cast<double>(c.config.codebook_dim);
          CHECK(gap < 4 * std::sqrt(dim) * kLatentError / std::sqrt(zz));
        }
      }
    }
  }
}

TEST_CASE("bf16 latents are at least as close to f32 as PyTorch's bf16") {
  for (const Case& c : kCases) {
    for (const char* backend : {"ref", "cpu"}) {
      INFO(c.name << " " << backend);
      const Tensor exact = Golden(c, "f32");
      const double theirs = RmsDifference(Golden(c, "bf16"), exact);
      const double ours =
          RmsDifference(LatentsWith(Backend(backend), c, DType::kBF16, DType::kBF16, 2), exact);
      CHECK(ours > 0);
      CHECK(ours < 1.25 * theirs);
    }
  }
}

TEST_CASE("latents do not depend on the thread count or on the picture before") {
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    const Case& c = kCases[0];
    const Tensor one = LatentsWith(Backend("cpu"), c, compute, DType::kBF16, 1);
    for (const int threads : {2, 3}) {
      const Tensor more = LatentsWith(Backend("cpu"), c, compute, DType::kBF16, threads);
      CHECK(std::memcmp(one.data(), more.data(), one.bytes()) == 0);
    }
    ThreadPool pool(2);
    VqEncoder encoder = Make(pool, Backend("cpu"), c.config, compute, DType::kBF16);
    const Tensor pixels = Pixels(c.config), other = NoiseTensor("other", pixels.shape());
    const Tensor between = std::move(encoder.Latents(pool, other.view())).value();
    const Tensor after = std::move(encoder.Latents(pool, pixels.view())).value();
    CHECK(std::memcmp(one.data(), between.data(), one.bytes()) != 0);
    CHECK(std::memcmp(one.data(), after.data(), one.bytes()) == 0);
  }
}

TEST_CASE("the nearest entry wins, the first of equals") {
  VqConfig config = kCases[0].config;
  config.codebook_size = 600, config.codebook_dim = 3;
  // Entries 0 to 299 are random directions; 300 to 599 repeat them, twice as long.
  Tensor codebook(DType::kF32, {600, 3});
  const std::vector<float> noise = Noise("directions", 900);
  for (int64_t i = 0; i < 1800; i++) {
    codebook.as<float>()[i] = (i < 900 ? 1.0f : 2.0f) * noise[static_cast<size_t>(i % 900)];
  }
  JanusConfig janus;
  janus.vq = config;
  janus.has_vision = false;
  NoiseWeights weights(janus, DType::kF32);
  const auto fetch = [&](const std::string& name) {
    return name == "vq.codebook" ? codebook.view() : weights(name);
  };
  ThreadPool pool(3);
  auto encoder = VqEncoder::Create(pool, Backend("ref"), config, DType::kF32, fetch);
  REQUIRE(encoder.ok());
  // Every direction as a latent, half as long: it is its own nearest. Then a latent that has no direction.
  Tensor latents(DType::kF32, {301, 1, 3});
  for (int64_t i = 0; i < 900; i++) latents.as<float>()[i] = noise[static_cast<size_t>(i)] / 2;
  std::fill_n(latents.as<float>() + 900, 3, 0.0f);
  const std::vector<int32_t> codes = encoder->Quantise(pool, latents.view());
  std::set<std::vector<float>> seen;  // noise may repeat a direction
  for (int32_t i = 0; i < 300; i++) {
    const float* d = noise.data() + i * 3;
    if (!seen.insert({d[0], d[1], d[2]}).second) continue;
    CHECK(codes[static_cast<size_t>(i)] == i);
  }
  // All distances are 1 but for the roundings of the entries' lengths.
  CHECK(codes[300] >= 0);
  CHECK(codes[300] < 300);
}

TEST_CASE("pixels and shapes that cannot be are errors") {
  ThreadPool pool(1);
  const VqConfig good = kCases[0].config;
  VqEncoder encoder = Make(pool, Backend("ref"), good, DType::kF32, DType::kF32);
  const Tensor wide(DType::kF32, {20, 24, 3});
  const auto wrong_size = encoder.Encode(pool, wide.view());
  REQUIRE(!wrong_size.ok());
  CHECK(wrong_size.error().message == "VQ encoder: pixels [20, 24, 3]; this model reads [20, 20, 3]");
  const Tensor integers(DType::kI32, {20, 20, 3});
  CHECK(!encoder.Encode(pool, integers.view()).ok());

  for (int field = 0; field < 5; field++) {
    VqConfig bad = good;
    if (field == 0) bad.base_channels = 33;
    if (field == 1) bad.channel_multiplier = {};
    if (field == 2) bad.grid = 0;
    if (field == 3) bad.res_blocks = 0;
    if (field == 4) bad.codebook_dim = 0;
    auto wrong =
        VqEncoder::Create(pool, Backend("ref"), bad, DType::kF32, [](const std::string&) -> TensorView {
          FAIL("asked for a tensor of an impossible network");
          return {};
        });
    REQUIRE(!wrong.ok());
    CHECK(wrong.error().kind == ErrorKind::kBadData);
  }
}
