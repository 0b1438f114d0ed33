// The feature-map ops of the cpu backend against ref, on odd shapes, with poisoned surroundings. oneDNN's
// instruction set is capped once per process: tests.cmake runs this program once per set, named by
// BIFRONS_TEST_ISA.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>

#include "kernels/backend.h"

using namespace bifrons;

namespace {

constexpr double kEpsF32 = 0x1p-24, kEpsBF16 = 0x1p-8;  // half an ulp, relative

const Ops& Ref() { return **ChooseOps("ref", ""); }

// nullptr when this processor lacks the set under test.
const Ops* Cpu() {
  const char* name = std::getenv("BIFRONS_TEST_ISA");
  const std::string isa = name ? name : "";
  const auto available = AvailableIsas();
  if (!isa.empty() && std::find(available.begin(), available.end(), isa) == available.end()) {
    WARN("this processor has no " << isa);
    return nullptr;
  }
  auto ops = ChooseOps("cpu", isa);
  REQUIRE(ops.ok());
  return *ops;
}

float At(TensorView t, int64_t i) {
  return t.dtype == DType::kBF16 ? ToFloat(t.as<BF16>()[i]) : t.as<float>()[i];
}

// A tensor between NaNs: who reads outside, shows it in the result.
class Input {
 public:
  Input(DType type, Shape shape, float scale, float shift = 0)
      : Input(type, shape,
              [&, this](int64_t) { return shift + scale * std::normal_distribution<float>()(Random()); }) {}

  template <class F>
  requires std::is_invocable_v<F, int64_t> Input(DType type, Shape shape, const F& value)
      : shape_(shape), block_(type, {shape.elements() + 2 * kGuard}) {
    for (int64_t i = 0; i < block_.shape().elements(); i++) {
      const bool inside = i >= kGuard && i < kGuard + shape.elements();
      const float x = inside ? value(i - kGuard) : std::numeric_limits<float>::quiet_NaN();
      if (type == DType::kBF16) {
        block_.as<BF16>()[i] = ToBF16(x);
      } else {
        block_.as<float>()[i] = x;
      }
    }
  }

  TensorView view() const {
    return {
        static_cast<const uint8_t*>(block_.data()) + kGuard * static_cast<int64_t>(SizeOf(block_.dtype())),
        block_.dtype(), shape_};
  }

  Input Absolute() const {
    const TensorView v = view();
    return Input(v.dtype, shape_, [v](int64_t i) { return std::abs(At(v, i)); });
  }

 private:
  static constexpr int64_t kGuard = 32;
  static std::mt19937& Random() {
    static std::mt19937 engine(7);
    return engine;
  }
  Shape shape_;
  Tensor block_;
};

// A tensor followed by a pattern that must survive.
class Output {
 public:
  Output(DType type, Shape shape) : block_(type, {shape.elements() + kGuard}) {
    std::memset(block_.data(), kPattern, block_.bytes());
    block_.Reshape(shape);
  }
  Tensor& tensor() { return block_; }
  TensorView view() const { return block_.view(); }
  bool Intact() const {
    const auto* bytes = static_cast<const uint8_t*>(block_.data());
    for (size_t i = block_.bytes(); i < block_.bytes() + kGuard * SizeOf(block_.dtype()); i++) {
      if (bytes[i] != kPattern) return false;
    }
    return true;
  }

 private:
  static constexpr int64_t kGuard = 64;
  static constexpr uint8_t kPattern = 0xA5;
  Tensor block_;
};

bool SameBytes(TensorView a, TensorView b) {
  return a.bytes() == b.bytes() && !std::memcmp(a.data, b.data, a.bytes());
}

// The largest |got − wanted| as a share of what may be; NaN counts as infinite. bf16 results may also be
// neighbours.
template <class Tolerance>
double WorstShare(TensorView got, TensorView wanted, const Tolerance& tolerance) {
  REQUIRE(got.shape == wanted.shape);
  double worst = 0;
  for (int64_t i = 0; i < got.shape.elements(); i++) {
    const double g = At(got, i), w = At(wanted, i);
    const double allowed =
        tolerance(i) + (got.dtype == DType::kBF16 ? 2 * kEpsBF16 * std::abs(w) : 0) + 1e-30;
    const double share = std::abs(g - w) / allowed;
    worst = std::max(worst, std::isnan(share) ? std::numeric_limits<double>::infinity() : share);
  }
  return worst;
}

struct ConvCase {
  int64_t in, out, height, width;
  int kernel, stride = 1;
};

const ConvCase kConvs[] = {{32, 32, 1, 1, 3},
                           {96, 64, 7, 13, 3},
                           {7, 33, 5, 3, 3},
                           {33, 7, 17, 11, 1},
                           {3, 32, 16, 16, 3},
                           {64, 3, 19, 23, 3},
                           {33, 3, 5, 4, 3},
                           {7, 3, 1, 1, 3},
                           {64, 96, 24, 24, 3},
                           {8, 64, 9, 9, 1},
                           {128, 3, 9, 33, 1},
                           {32, 32, 2, 67, 3},
                           {128, 64, 31, 40, 3},
                           {1, 1, 3, 3, 3},
                           {64, 64, 67, 2, 3},
                           {64, 128, 63, 67, 3},
                           // Halved, even and odd sides.
                           {32, 32, 2, 2, 3, 2},
                           {64, 64, 16, 24, 3, 2},
                           {96, 64, 7, 13, 3, 2},
                           {7, 33, 5, 4, 3, 2},
                           {3, 32, 17, 16, 3, 2},
                           {64, 3, 8, 9, 3, 2},
                           {32, 32, 3, 67, 3, 2},
                           {64, 64, 96, 50, 3, 2}};

}  // namespace

TEST_CASE("convolutions equal ref's") {
  const Ops* cpu = Cpu();
  if (!cpu) return;
  ThreadPool one(1), two(2), three(3);
  for (const ConvCase& c : kConvs) {
    for (const DType compute : {DType::kF32, DType::kBF16}) {
      for (const DType stored : {DType::kF32, DType::kBF16}) {
        INFO(c.in << "→" << c.out << " " << c.height << "×" << c.width << " k" << c.kernel << " /" << c.stride
                  << " " << NameOf(compute) << " stored " << NameOf(stored) << " " << cpu->isa);
        const ConvShape shape{c.in, c.out, c.height, c.width, c.kernel, c.stride};
        const Shape out_shape{shape.out_height(), shape.out_width(), c.out};
        const bool large = c.height * c.width > 4000;  // ref takes its time
        if (large && stored == DType::kF32) continue;
        const int64_t terms = c.in * c.kernel * c.kernel;
        const Input weight(stored, {c.out, c.in, c.kernel, c.kernel},
                           1.0f / std::sqrt(static_cast<float>(terms)));
        const Input bias(stored, {c.out}, 1);
        const Input in(compute, {c.height, c.width, c.in}, 1);
        const bool picture = c.out == 3 && c.stride == 1;
        const DType out_type = picture ? DType::kF32 : compute;
        const Input residual(out_type, out_shape, 1);
        const auto packed = cpu->pack_conv(two, shape, weight.view(), bias.view(), compute);
        const auto oracle = Ref().pack_conv(two, shape, weight.view(), bias.view(), compute);
        // Σ|w||x| + |b|: what rounding errors are relative to.
        const auto magnitude =
            Ref().pack_conv(two, shape, weight.Absolute().view(), bias.Absolute().view(), DType::kF32);
        const Input magnitude_in(DType::kF32, {c.height, c.width, c.in},
                                 [&](int64_t i) { return std::abs(At(in.view(), i)); });
        Output sizes(DType::kF32, out_shape);
        Ref().conv2d(two, *magnitude, magnitude_in.view(), {}, sizes.tensor());

        for (const bool add : {false, true}) {
          if (add && picture) continue;
          const TensorView added = add ? residual.view() : TensorView{};
          Output got(out_type, out_shape), wanted(out_type, out_shape);
          cpu->conv2d(two, *packed, in.view(), added, got.tensor());
          Ref().conv2d(two, *oracle, in.view(), added, wanted.tensor());
          CHECK(got.Intact());
          CHECK(WorstShare(got.view(), wanted.view(), [&](int64_t i) {
                  return static_cast<double>(terms + 2) * kEpsF32 *
                         (At(sizes.view(), i) + (add ? std::abs(At(added, i)) : 0));
                }) <= 1);
          for (ThreadPool* pool : {&one, &three}) {
            Output again(out_type, out_shape);
            // In place, as the residual blocks do it.
            if (add) std::memcpy(again.tensor().data(), added.data, added.bytes());
            cpu->conv2d(*pool, *packed, in.view(), add ? again.view() : added, again.tensor());
            CHECK(SameBytes(again.view(), got.view()));
          }
        }
      }
    }
  }
}

TEST_CASE("weights that bf16 cannot hold keep their values in bf16 arithmetic") {
  const Ops* cpu = Cpu();
  if (!cpu) return;
  ThreadPool pool(2);
  // 1 + 2^-12 on one input: bf16 weights would give exactly 1.
  const Input weight(DType::kF32, {4, 1, 1, 1}, [](int64_t) { return 1 + 0x1p-12f; });
  const auto conv = cpu->pack_conv(pool, {1, 4, 1, 1, 1}, weight.view(), {}, DType::kBF16);
  const Input in(DType::kBF16, {1, 1, 1}, [](int64_t) { return 1.0f; });
  const Input residual(DType::kBF16, {1, 1, 4}, [](int64_t) { return -1.0f; });
  Output out(DType::kBF16, {1, 1, 4});
  cpu->conv2d(pool, *conv, in.view(), residual.view(), out.tensor());
  for (int64_t i = 0; i < 4; i++) CHECK(At(out.view(), i) == 0x1p-12f);
}

TEST_CASE("group normalisation equals ref's") {
  const Ops* cpu = Cpu();
  if (!cpu) return;
  struct Case {
    int64_t height, width, channels;
    int groups;
    float scale, shift;
  };
  ThreadPool one(1), two(2), three(3);
  for (const Case& c :
       {Case{1, 1, 32, 32, 1, 0}, Case{1, 1, 96, 32, 1, 3}, Case{13, 7, 96, 32, 2, 1},
        Case{31, 29, 64, 32, 1, 100}, Case{17, 19, 21, 3, 1, -5}, Case{24, 24, 512, 32, 1e-3f, 0},
        Case{3, 5, 7, 1, 30, 0}, Case{16, 16, 32, 32, 0, 2}, Case{40, 33, 128, 32, 1e4f, 0}}) {
    for (const DType type : {DType::kF32, DType::kBF16}) {
      for (const bool silu : {false, true}) {
        INFO(c.height << "×" << c.width << "×" << c.channels << " scale " << c.scale << " shift " << c.shift
                      << " " << NameOf(type) << (silu ? " silu " : " ") << cpu->isa);
        const Shape shape{c.height, c.width, c.channels};
        const Input in(type, shape, c.scale, c.shift);
        const Input gamma(DType::kF32, {c.channels}, 0.5f, 1), beta(DType::kF32, {c.channels}, 1);
        const float* g = gamma.view().as<float>();
        const float* b = beta.view().as<float>();
        Output got(type, shape), wanted(type, shape);
        cpu->group_norm(two, in.view(), g, b, c.groups, 1e-6f, silu, got.tensor());
        Ref().group_norm(two, in.view(), g, b, c.groups, 1e-6f, silu, wanted.tensor());
        CHECK(got.Intact());
        // x·s + t with s = γ/σ, t = β − μ·s: three roundings, each relative to |x·s| or |t|; the mean itself
        // is known to a few roundings of the mean |x|. Swish has slope below 1.1 and adds a few roundings of
        // its own.
        const int64_t width = c.channels / c.groups;
        std::vector<double> slope(static_cast<size_t>(c.channels)), offset(slope.size());
        for (int64_t group = 0; group < c.groups; group++) {
          double sum = 0, squares = 0, sizes = 0;
          const auto each = [&](const auto& body) {
            for (int64_t p = 0; p < c.height * c.width; p++) {
              for (int64_t k = group * width; k < (group + 1) * width; k++)
                body(At(in.view(), p * c.channels + k));
            }
          };
          const double n = static_cast<double>(c.height * c.width * width);
          each([&](double x) { sum += x, sizes += std::abs(x); });
          each([&](double x) { squares += (x - sum / n) * (x - sum / n); });
          const double inverse = 1 / std::sqrt(squares / n + 1e-6);
          for (int64_t k = group * width; k < (group + 1) * width; k++) {
            slope[static_cast<size_t>(k)] = std::abs(inverse * g[k]);
            offset[static_cast<size_t>(k)] = std::abs(sizes / n * inverse * g[k]) + std::abs(b[k]);
          }
        }
        CHECK(WorstShare(got.view(), wanted.view(), [&](int64_t i) {
                const auto k = static_cast<size_t>(i % c.channels);
                const double size = std::abs(At(in.view(), i)) * slope[k] + offset[k];
                return 8 * kEpsF32 * size + 16 * kEpsF32 * std::abs(At(wanted.view(), i));
              }) <= 1);
        for (ThreadPool* pool : {&one, &three}) {
          Output again(type, shape);  // in place
          std::memcpy(again.tensor().data(), in.view().data, in.view().bytes());
          cpu->group_norm(*pool, again.view(), g, b, c.groups, 1e-6f, silu, again.tensor());
          CHECK(SameBytes(again.view(), got.view()));
        }
      }
    }
  }
}

TEST_CASE("swish at its ends") {
  const Ops* cpu = Cpu();
  if (!cpu) return;
  ThreadPool pool(1);
  // One huge value among zeros: normalised to ±√n, then scaled far outside exp's range.
  const Input in(DType::kF32, {1, 40, 1}, [](int64_t i) { return i == 0 ? 1.0f : i == 1 ? -1.0f : 0.0f; });
  const float gamma = 1e6f, beta = 0;
  Output out(DType::kF32, {1, 40, 1}), wanted(DType::kF32, {1, 40, 1});
  cpu->group_norm(pool, in.view(), &gamma, &beta, 1, 1e-6f, true, out.tensor());
  Ref().group_norm(pool, in.view(), &gamma, &beta, 1, 1e-6f, true, wanted.tensor());
  CHECK(At(out.view(), 0) == Approx(At(wanted.view(), 0)).epsilon(1e-6));
  CHECK(std::abs(At(out.view(), 1)) < 1e-20);
  CHECK(At(out.view(), 2) == 0);
  // A NaN stays visible.
  const Input broken(DType::kF32, {1, 40, 1}, [](int64_t i) { return i ? 1.0f : std::nanf(""); });
  cpu->group_norm(pool, broken.view(), &gamma, &beta, 1, 1e-6f, true, out.tensor());
  CHECK(std::isnan(At(out.view(), 0)));
}

TEST_CASE("doubling equals ref's") {
  const Ops* cpu = Cpu();
  if (!cpu) return;
  ThreadPool two(2);
  for (const Shape& shape : {Shape{1, 1, 1}, Shape{3, 5, 7}, Shape{24, 24, 96}, Shape{17, 2, 33}}) {
    for (const DType type : {DType::kF32, DType::kBF16}) {
      const Shape doubled{2 * shape[0], 2 * shape[1], shape[2]};
      const Input in(type, shape, 1);
      Output got(type, doubled), wanted(type, doubled);
      cpu->upsample2x(two, in.view(), got.tensor());
      Ref().upsample2x(two, in.view(), wanted.tensor());
      CHECK(got.Intact());
      CHECK(SameBytes(got.view(), wanted.view()));
    }
  }
}
