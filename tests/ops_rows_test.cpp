// Every row op of the cpu backend against the ref backend: all types, odd shapes, guard bytes, and promise 3:
// a row's bits do not depend on its neighbours or on the threads. One process tests one instruction set
// (BIFRONS_TEST_ISA, default the best), because oneDNN's is chosen once per process.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/backend.h"
#include "kernels/ref/ref.h"

namespace bifrons {
namespace {

constexpr float kEpsilon = 0x1p-24f;  // half an ulp of 1: the largest relative error of one f32 rounding

const Ops& TestedOps() {
  static const Ops& ops = []() -> const Ops& {
    const char* isa = std::getenv("BIFRONS_TEST_ISA");
    return **ChooseOps("cpu", isa ? isa : "");
  }();
  return ops;
}

ThreadPool& Pool(int threads) {
  static ThreadPool pools[] = {ThreadPool(1), ThreadPool(2), ThreadPool(3)};
  return pools[threads - 1];
}

// n elements between guards; outputs start as NaN, so that what is not written is seen.
template <class T>
class Guarded {
 public:
  explicit Guarded(size_t n) : n_(n), bytes_(64 + (n * sizeof(T) + 63) / 64 * 64 + 64) {
    data_ = static_cast<uint8_t*>(std::aligned_alloc(64, bytes_));
    std::memset(data_, 0xA5, bytes_);
    std::memset(data_ + 64, 0xFF, n * sizeof(T));  // NaN in f32 and bf16
  }
  Guarded(const Guarded&) = delete;
  ~Guarded() {
    CheckGuards();
    std::free(data_);
  }
  void CheckGuards() const {
    const bool before = std::all_of(data_, data_ + 64, [](uint8_t b) { return b == 0xA5; });
    const bool after =
        std::all_of(data_ + 64 + n_ * sizeof(T), data_ + bytes_, [](uint8_t b) { return b == 0xA5; });
    CHECK((before && after));
  }
  T* data() { return reinterpret_cast<T*>(data_ + 64); }
  T& operator[](size_t i) { return data()[i]; }
  size_t size() const { return n_; }
  std::vector<T> values() { return {data(), data() + n_}; }

 private:
  size_t n_, bytes_;
  uint8_t* data_;
};

std::mt19937 Random(uint32_t seed) { return std::mt19937(seed); }

void Fill(Guarded<float>& buffer, uint32_t seed, float scale = 1) {
  auto random = Random(seed);
  std::normal_distribution<float> normal(0, scale);
  for (size_t i = 0; i < buffer.size(); i++) buffer[i] = normal(random);
}

F16 ToF16(float x) {  // of values that f16 holds as normal numbers
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return {
      static_cast<uint16_t>((bits >> 16 & 0x8000) | ((bits >> 23 & 255) - 112) << 10 | (bits >> 13 & 1023))};
}

// Weights of a type, guarded; values are such that every type holds them as normal numbers.
struct Matrix {
  Matrix(DType type, int64_t out, int64_t in, uint32_t seed, bool absolute = false)
      : type(type), out(out), in(in), bytes(out * in * SizeOf(type)) {
    auto random = Random(seed);
    std::uniform_real_distribution<float> uniform(0.01f, 1.0f);
    for (int64_t i = 0; i < out * in; i++) {
      const float magnitude = uniform(random);
      const float value = random() % 2 || absolute ? magnitude : -magnitude;
      if (type == DType::kF32) std::memcpy(bytes.data() + 4 * i, &value, 4);
      const uint16_t half = type == DType::kBF16 ? ToBF16(value).bits : ToF16(value).bits;
      if (type != DType::kF32) std::memcpy(bytes.data() + 2 * i, &half, 2);
    }
  }
  TensorView view() { return {bytes.data(), type, {out, in}}; }
  DType type;
  int64_t out, in;
  Guarded<uint8_t> bytes;
};

bool SameBits(const float* a, const float* b, int64_t n) { return std::memcmp(a, b, n * sizeof(float)) == 0; }

struct LinearCase {
  int64_t out, in;
};
const LinearCase kShapes[] = {{1, 1},    {7, 5},    {31, 33},  {32, 16},   {33, 31}, {65, 127}, {96, 64},
                              {97, 130}, {64, 257}, {130, 96}, {160, 384}, {64, 48}, {96, 112}, {160, 176}};
const DType kStored[] = {DType::kF32, DType::kBF16, DType::kF16};
const DType kComputes[] = {DType::kF32, DType::kBF16};

TEST_CASE("linear agrees with ref") {
  const Ops &ops = TestedOps(), &ref = ref::RefOps();
  INFO("isa " << ops.isa);
  for (const auto& [out, in] : kShapes) {
    for (DType stored : kStored) {
      for (DType compute : kComputes) {
        const int64_t first = std::max<int64_t>(1, out / 3);  // two parts, where there is more than one row
        Matrix a(stored, first, in, 1), b(stored, std::max<int64_t>(out - first, 1), in, 2);
        Matrix a_abs(stored, first, in, 1, true), b_abs(stored, b.out, in, 2, true);
        const int64_t parts_count = out > first ? 2 : 1;
        const TensorView parts[] = {a.view(), b.view()}, absolute[] = {a_abs.view(), b_abs.view()};
        Matrix bias(stored, 1, out, 3);
        const auto packed =
            ops.pack_linear(Pool(2), {parts, static_cast<size_t>(parts_count)}, bias.view(), compute);
        const auto expected =
            ref.pack_linear(Pool(1), {parts, static_cast<size_t>(parts_count)}, bias.view(), compute);
        const auto sizes =
            ref.pack_linear(Pool(1), {absolute, static_cast<size_t>(parts_count)}, {}, DType::kF32);
        REQUIRE(packed->out == out);
        REQUIRE(packed->in == in);
        REQUIRE(packed->bytes >= static_cast<size_t>(out * in) * SizeOf(stored));
        for (int64_t rows : {1, 2, 3, 12, 13, 16, 17, 31, 32, 33, 64, 65, 97, 130}) {
          for (RowClass row_class : {RowClass::kDecode, RowClass::kPrefill}) {
            for (bool accumulate : {false, true}) {
              Guarded<float> x(rows * in), y(rows * out), y_ref(rows * out), x_abs(rows * in),
                  norm(rows * out);
              Fill(x, 4 + rows);
              for (size_t i = 0; i < x.size(); i++) x_abs[i] = std::fabs(x[i]);
              if (accumulate) {
                Fill(y, 5);
                std::memcpy(y_ref.data(), y.data(), y.size() * sizeof(float));
              }
              const std::vector<float> before = y.values();
              ops.linear(Pool(2), *packed, x.data(), rows, row_class, accumulate, y.data());
              ref.linear(Pool(1), *expected, x.data(), rows, row_class, accumulate, y_ref.data());
              ref.linear(Pool(1), *sizes, x_abs.data(), rows, row_class, false, norm.data());
              // Each side sums `in` products, the bias and the old y in f32: at most in + 3 roundings of
              // numbers that Σ|x||w| + |bias| + |y| bounds, twice as many where a pair's two products round
              // apart. The rounding of x to bf16 is the same on both sides and grows Σ by at most 2^-8.
              double worst = 0;
              for (size_t i = 0; i < y.size(); i++) {
                const double old = accumulate ? std::fabs(before[i]) : 0;
                const double bound = 4.0 * (in + 3) * kEpsilon * (1.01 * norm[i] + 1 + old);
                const double error = std::fabs(y[i] - y_ref[i]);
                worst = std::max(worst, std::isnan(error) ? 1e30 : error / bound);
              }
              INFO(out << "x" << in << " " << NameOf(stored) << " " << NameOf(compute) << " rows " << rows
                       << " class " << static_cast<int>(row_class) << " accumulate " << accumulate);
              CHECK(worst <= 1);
            }
          }
        }
      }
    }
  }
}

// Every row alone, then in companies of all sizes, at several places, with 1 to 3 threads, added to what is
// there and not; at last between rows of NaN.
void CheckRowsKeepTheirBits(const Linear& linear, int64_t all_rows) {
  const Ops& ops = TestedOps();
  const int64_t in = linear.in, out = linear.out;
  Guarded<float> x(all_rows * in), start(all_rows * out);
  Fill(x, 2);
  Fill(start, 3);
  for (bool accumulate : {false, true}) {
    std::vector<float> alone = start.values();
    for (int64_t r = 0; r < all_rows; r++) {
      ops.linear(Pool(1), linear, x.data() + r * in, 1, RowClass::kDecode, accumulate,
                 alone.data() + r * out);
    }
    for (int64_t rows :
         {int64_t{2}, int64_t{3}, int64_t{5}, int64_t{12}, int64_t{13}, int64_t{16}, int64_t{17}, int64_t{31},
          int64_t{32}, int64_t{33}, int64_t{64}, int64_t{65}, all_rows}) {
      for (int threads : {1, 2, 3}) {
        const int64_t first = (all_rows - rows) * (threads - 1) / 2;  // a row's place changes with it
        Guarded<float> y(rows * out);
        std::memcpy(y.data(), start.data() + first * out, y.size() * sizeof(float));
        ops.linear(Pool(threads), linear, x.data() + first * in, rows, RowClass::kDecode, accumulate,
                   y.data());
        INFO("rows " << rows << " threads " << threads << " accumulate " << accumulate);
        CHECK(SameBits(y.data(), alone.data() + first * out, rows * out));
      }
    }
    for (int64_t rows : {2, 16, 33, 70}) {
      const int64_t place = rows / 2;
      Guarded<float> crowd(rows * in), y(rows * out);  // NaN
      std::memcpy(crowd.data() + place * in, x.data() + place * in, in * sizeof(float));
      std::memcpy(y.data() + place * out, start.data() + place * out, out * sizeof(float));
      ops.linear(Pool(2), linear, crowd.data(), rows, RowClass::kDecode, accumulate, y.data());
      INFO("between NaN, rows " << rows << " accumulate " << accumulate);
      CHECK(SameBits(y.data() + place * out, alone.data() + place * out, out));
    }
  }
}

TEST_CASE("a decode row has the same bits alone, in any batch and with any number of threads") {
  const Ops& ops = TestedOps();
  for (const auto& [out, in] : kShapes) {
    for (DType stored : kStored) {
      for (DType compute : kComputes) {
        INFO(out << "x" << in << " " << NameOf(stored) << " " << NameOf(compute));
        Matrix w(stored, out, in, 1), bias(stored, 1, out, 4);
        const TensorView part = w.view();
        const auto packed =
            ops.pack_linear(Pool(1), {&part, 1}, out % 2 == 0 ? bias.view() : TensorView{}, compute);
        CheckRowsKeepTheirBits(*packed, 130);
      }
    }
  }
}

TEST_CASE("decode rows keep their bits where many rows take several passes over a long sum") {
  Matrix w(DType::kBF16, 160, 4128, 1);
  const TensorView part = w.view();
  CheckRowsKeepTheirBits(*TestedOps().pack_linear(Pool(1), {&part, 1}, {}, DType::kBF16), 205);
}

TEST_CASE("prefill has the same bits with any number of threads") {
  const Ops& ops = TestedOps();
  for (const auto& [out, in] : kShapes) {
    for (DType stored : kStored) {
      for (DType compute : kComputes) {
        Matrix w(stored, out, in, 1);
        const TensorView part = w.view();
        const auto packed = ops.pack_linear(Pool(1), {&part, 1}, {}, compute);
        for (int64_t rows : {5, 40, 100}) {
          Guarded<float> x(rows * in), one(rows * out);
          Fill(x, 2);
          ops.linear(Pool(1), *packed, x.data(), rows, RowClass::kPrefill, false, one.data());
          for (int threads : {2, 3}) {
            Guarded<float> y(rows * out);
            ops.linear(Pool(threads), *packed, x.data(), rows, RowClass::kPrefill, false, y.data());
            INFO(out << "x" << in << " " << NameOf(stored) << " " << NameOf(compute) << " " << rows
                     << " rows");
            CHECK(SameBits(y.data(), one.data(), rows * out));
          }
        }
      }
    }
  }
}

TEST_CASE("long sums of many rows lose and repeat nothing") {
  // More than one pass over `in`, and more rows than one pass takes. All values are small multiples of 1/8,
  // so that f32 holds every sum: a worst-case bound on so long a sum would forgive a bias that is added
  // twice.
  constexpr int64_t kOut = 40, kIn = 4128, kRows = 205;
  const Ops &ops = TestedOps(), &ref = ref::RefOps();
  auto random = Random(1);
  const auto eighths = [&] { return static_cast<float>(static_cast<int>(random() % 17) - 8) / 8; };
  Guarded<BF16> w(kOut * kIn), bias(kOut);
  for (size_t i = 0; i < w.size(); i++) w[i] = ToBF16(eighths());
  for (size_t i = 0; i < bias.size(); i++) bias[i] = ToBF16(eighths());
  const TensorView part = {w.data(), DType::kBF16, {kOut, kIn}}, biases = {bias.data(), DType::kBF16, {kOut}};
  const auto packed = ops.pack_linear(Pool(2), {&part, 1}, biases, DType::kBF16);
  const auto expected = ref.pack_linear(Pool(1), {&part, 1}, biases, DType::kBF16);
  Guarded<float> x(kRows * kIn), start(kRows * kOut), wanted(kRows * kOut);
  for (size_t i = 0; i < x.size(); i++) x[i] = 8 * eighths();
  for (size_t i = 0; i < start.size(); i++) start[i] = eighths();
  for (bool accumulate : {false, true}) {
    std::memcpy(wanted.data(), start.data(), start.size() * sizeof(float));
    ref.linear(Pool(2), *expected, x.data(), kRows, RowClass::kPrefill, accumulate, wanted.data());
    for (RowClass row_class : {RowClass::kDecode, RowClass::kPrefill}) {
      for (int64_t rows : {int64_t{1}, int64_t{17}, int64_t{33}, kRows}) {
        for (int threads : {1, 2, 3}) {
          Guarded<float> y(rows * kOut);
          std::memcpy(y.data(), start.data(), y.size() * sizeof(float));
          ops.linear(Pool(threads), *packed, x.data(), rows, row_class, accumulate, y.data());
          INFO("class " << static_cast<int>(row_class) << " rows " << rows << " threads " << threads);
          CHECK(std::equal(y.data(), y.data() + y.size(), wanted.data()));  // -0 is 0
        }
      }
    }
  }
}

TEST_CASE("gelu_mlp has the bits of linear, gelu, linear") {
  struct Case {
    int64_t in, inner, out, rows;
  };
  for (const Case& c : {Case{64, 96, 33, 40}, Case{32, 64, 32, 16}, Case{24, 60, 24, 25},
                        Case{96, 130, 40, 33}, Case{64, 128, 64, 1}, Case{128, 512, 160, 577}}) {
    for (const auto& [stored, compute] :
         {std::pair(DType::kBF16, DType::kBF16), std::pair(DType::kF32, DType::kF32)}) {
      for (bool with_bias : {true, false}) {
        for (const Ops* ops : {&TestedOps(), &ref::RefOps()}) {
          INFO(ops->isa << " " << c.in << "→" << c.inner << "→" << c.out << " rows " << c.rows << " "
                        << NameOf(compute));
          Matrix w1(stored, c.inner, c.in, 1), b1(stored, 1, c.inner, 2);
          Matrix w2(stored, c.out, c.inner, 3), b2(stored, 1, c.out, 4);
          const TensorView part1 = w1.view(), part2 = w2.view();
          const auto fc1 =
              ops->pack_linear(Pool(1), {&part1, 1}, with_bias ? b1.view() : TensorView{}, compute);
          const auto fc2 =
              ops->pack_linear(Pool(1), {&part2, 1}, with_bias ? b2.view() : TensorView{}, compute);
          Guarded<float> x(c.rows * c.in), inner(c.rows * c.inner), start(c.rows * c.out);
          Fill(x, 5, 0.3f);
          Fill(start, 6);
          std::vector<float> apart = start.values();
          ops->linear(Pool(2), *fc1, x.data(), c.rows, RowClass::kPrefill, false, inner.data());
          ops->gelu(Pool(2), inner.data(), c.rows * c.inner);
          ops->linear(Pool(2), *fc2, inner.data(), c.rows, RowClass::kPrefill, true, apart.data());
          for (int threads : {1, 3}) {
            Guarded<float> y(c.rows * c.out), scratch(c.rows * c.inner);
            std::memcpy(y.data(), start.data(), start.size() * sizeof(float));
            ops->gelu_mlp(Pool(threads), *fc1, *fc2, x.data(), c.rows, scratch.data(), y.data());
            CHECK(SameBits(y.data(), apart.data(), c.rows * c.out));
          }
        }
      }
    }
  }
}

TEST_CASE("f16 and bf16 weights keep their values, subnormals too") {
  const Ops& ops = TestedOps();
  // One weight per output row, x = 1: y is the weight. bf16 subnormals are left out: vdpbf16ps takes them as
  // 0.
  const uint16_t halves[] = {0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00,
                             0xBC01, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00};
  const TensorView part = {halves, DType::kF16, {std::ssize(halves), 1}};
  const auto packed = ops.pack_linear(Pool(1), {&part, 1}, {}, DType::kF32);
  Guarded<float> x(1), y(std::size(halves));
  x[0] = 1;
  ops.linear(Pool(1), *packed, x.data(), 1, RowClass::kDecode, false, y.data());
  for (size_t i = 0; i < std::size(halves); i++) CHECK(y[i] == ToFloat(F16{halves[i]}));
}

TEST_CASE("rms_norm agrees with ref, in place too") {
  const Ops &ops = TestedOps(), &ref = ref::RefOps();
  for (int64_t dim : {1, 3, 17, 64, 127, 2048}) {
    for (int64_t rows : {1, 2, 5, 40}) {
      Guarded<float> x(rows * dim), weight(dim), y(rows * dim), expected(rows * dim);
      Fill(x, 1);
      Fill(weight, 2);
      ops.rms_norm(Pool(2), x.data(), weight.data(), 1e-6f, rows, dim, y.data());
      ref.rms_norm(Pool(1), x.data(), weight.data(), 1e-6f, rows, dim, expected.data());
      // A sum of squares of dim terms on each side; its relative error is halved by the root.
      const float relative = (static_cast<float>(dim) + 8) * kEpsilon;
      for (size_t i = 0; i < y.size(); i++)
        REQUIRE(std::fabs(y[i] - expected[i]) <= relative * std::fabs(expected[i]));
      Guarded<float> row(dim);
      std::memcpy(row.data(), x.data() + (rows - 1) * dim, dim * sizeof(float));
      ops.rms_norm(Pool(3), row.data(), weight.data(), 1e-6f, 1, dim, row.data());
      CHECK(SameBits(row.data(), y.data() + (rows - 1) * dim, dim));
    }
  }
}

TEST_CASE("layer_norm agrees with f64, in place too") {
  const Ops &ops = TestedOps(), &ref = ref::RefOps();
  for (const Ops* tested : {&ops, &ref}) {
    for (int64_t dim : {1, 3, 17, 64, 127, 1024, 1152}) {
      for (int64_t rows : {1, 2, 5, 40}) {
        for (float shift : {0.0f, 100.0f}) {
          Guarded<float> x(rows * dim), weight(dim), bias(dim), y(rows * dim);
          Fill(x, 1);
          Fill(weight, 2);
          Fill(bias, 3);
          for (size_t i = 0; i < x.size(); i++) x[i] += shift;
          tested->layer_norm(Pool(2), x.data(), weight.data(), bias.data(), 1e-6f, rows, dim, y.data());
          double worst = 0;
          for (int64_t r = 0; r < rows; r++) {
            double sum = 0, sizes = 0, squares = 0;
            for (int64_t i = 0; i < dim; i++) sum += x[r * dim + i], sizes += std::fabs(x[r * dim + i]);
            const double n = static_cast<double>(dim), mean = sum / n;
            for (int64_t i = 0; i < dim; i++) squares += (x[r * dim + i] - mean) * (x[r * dim + i] - mean);
            const double inverse = 1 / std::sqrt(squares / n + 1e-6);
            // The mean is a sum of dim terms: its error moves every value, and the squares by twice its own
            // square.
            const double mean_error = (n + 2) * kEpsilon * sizes / n;
            const double scale_error = (n + 8) * kEpsilon + mean_error * mean_error * inverse * inverse;
            for (int64_t i = 0; i < dim; i++) {
              const double v = x[r * dim + i] - mean, expected = v * inverse * weight[i] + bias[i];
              const double size = std::fabs(v * inverse * weight[i]);
              const double bound = scale_error * size + mean_error * inverse * std::fabs(weight[i]) +
                                   4 * kEpsilon * (size + std::fabs(bias[i]) + std::fabs(expected)) +
                                   kEpsilon * std::fabs(x[r * dim + i]) * inverse * std::fabs(weight[i]);
              const double error = std::fabs(y[r * dim + i] - expected);
              worst = std::max(worst, std::isnan(error) ? 1e30 : error / bound);
            }
          }
          INFO(tested->backend << " dim " << dim << " rows " << rows << " shift " << shift);
          CHECK(worst <= 1);
          Guarded<float> row(dim);
          std::memcpy(row.data(), x.data() + (rows - 1) * dim, dim * sizeof(float));
          tested->layer_norm(Pool(3), row.data(), weight.data(), bias.data(), 1e-6f, 1, dim, row.data());
          CHECK(SameBits(row.data(), y.data() + (rows - 1) * dim, dim));
        }
      }
    }
  }
}

// Values where exponentials and erf are interesting, then random ones.
void FillActivations(Guarded<float>& x, uint32_t seed) {
  Fill(x, seed, 4);
  const float corners[] = {0.0f, -0.0f, 1e-30f, -1e-30f, 20,    -20,      87,
                           -87,  100,   -100,   1e6f,    -1e6f, 0.84375f, -3};
  for (size_t i = 0; i < std::min(std::size(corners), x.size()); i++) x[x.size() - 1 - i] = corners[i];
}

TEST_CASE("silu_mul agrees with f64") {
  const Ops& ops = TestedOps();
  for (int64_t dim : {1, 5, 33, 1025, 5632}) {
    for (int64_t rows : {1, 3}) {
      Guarded<float> x(rows * 2 * dim), y(rows * dim);
      FillActivations(x, 1);
      ops.silu_mul(Pool(2), x.data(), rows, dim, y.data());
      for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < dim; i++) {
          const double gate = x[r * 2 * dim + i], up = x[r * 2 * dim + dim + i];
          const double expected = gate / (1 + std::exp(-gate)) * up;
          // e^-g within 2 ulp (4 kEpsilon), then 1 + e, the quotient and the product; e^-88 and
          // subnormals where f32 ends.
          const double bound = 8 * kEpsilon * std::fabs(expected) + std::fabs(up) * 1e-36 + 1e-44;
          INFO("gate " << gate << " up " << up);
          REQUIRE(std::fabs(y[r * dim + i] - expected) <= bound);
        }
      }
    }
  }
}

TEST_CASE("gelu is the exact erf form") {
  const Ops& ops = TestedOps();
  for (int64_t n : {1, 7, 1024, 1031, 40000}) {
    Guarded<float> x(n);
    FillActivations(x, 3);
    const std::vector<float> before = x.values();
    ops.gelu(Pool(2), x.data(), n);
    for (int64_t i = 0; i < n; i++) {
      const double v = before[i], expected = 0.5 * v * std::erfc(-v * std::sqrt(0.5));
      // erfc's fit 4 kEpsilon; its argument v/√2 (the constant and the product rounded) and the square of
      // that meet an exponential, whose relative error is the absolute error of its argument: v² + v²/2 in
      // all, and again that much for the reduction inside the exponential; the rest is a few roundings.
      const double bound = (16 + 3 * v * v) * kEpsilon * std::fabs(expected) + 1e-36;
      INFO("x " << v);
      REQUIRE(std::fabs(x[i] - expected) <= bound);
    }
  }
}

TEST_CASE("gather_rows widens exactly") {
  const Ops& ops = TestedOps();
  for (DType type : kStored) {
    Matrix table(type, 11, 37, 1);
    const int32_t ids[] = {10, 0, 3, 3};
    Guarded<float> y(4 * 37), expected(4 * 37);
    ops.gather_rows(Pool(2), table.view(), ids, 4, y.data());
    ref::RefOps().gather_rows(Pool(1), table.view(), ids, 4, expected.data());
    CHECK(SameBits(y.data(), expected.data(), 4 * 37));
  }
}

TEST_CASE("rope agrees with ref") {
  const Ops &ops = TestedOps(), &ref = ref::RefOps();
  for (int64_t dim : {2, 6, 64, 128}) {
    constexpr int64_t kRows = 7, kHeads = 3, kPositions = 50;
    const int64_t stride = 5 * dim + 3;
    Guarded<float> x(kRows * stride), expected(kRows * stride), cos(kPositions * dim / 2),
        sin(kPositions * dim / 2);
    Fill(x, 1);
    std::memcpy(expected.data(), x.data(), x.size() * sizeof(float));
    for (size_t i = 0; i < cos.size(); i++) {
      cos[i] = std::cos(static_cast<float>(i));
      sin[i] = std::sin(static_cast<float>(i));
    }
    const int32_t positions[kRows] = {0, 49, 1, 7, 7, 30, 2};
    ops.rope(Pool(3), x.data(), kRows, stride, kHeads, dim, positions, cos.data(), sin.data());
    ref.rope(Pool(1), expected.data(), kRows, stride, kHeads, dim, positions, cos.data(), sin.data());
    for (size_t i = 0; i < x.size(); i++) REQUIRE(std::fabs(x[i] - expected[i]) <= 4 * kEpsilon * 8);
    for (int64_t i = kHeads * dim; i < stride; i++)
      REQUIRE(x[i] == expected[i]);  // other heads are untouched
  }
}

// ---- attention
// ---------------------------------------------------------------------------------------------

// A layer's cache in pages that lie anywhere, each between guards; beside the keys and values of this layer
// is something else, which must stay as it is.
struct Cache {
  Cache(DType type, int64_t kv_heads, int64_t capacity, int64_t dim, int64_t page_positions)
      : row(static_cast<size_t>(dim) * SizeOf(type)),
        half(static_cast<size_t>(kv_heads * page_positions) * row) {
    layer.page_positions = page_positions;
    layer.dtype = type;
    layer.keys = 3 * 64;
    layer.values = layer.keys + (half + 63) / 64 * 64 + 64;
    const auto count = static_cast<size_t>((capacity + page_positions - 1) / page_positions);
    pages.resize(count);
    for (size_t i = 0; i < count; i++)
      memory.push_back(std::make_unique<Guarded<uint8_t>>(layer.values + half + 64));
    std::vector<size_t> order(count);
    for (size_t i = 0; i < count; i++) order[i] = i;
    auto random = Random(5);
    std::shuffle(order.begin(), order.end(), random);
    for (size_t i = 0; i < count; i++) pages[i] = memory[order[i]]->data();
    layer.pages = pages;
  }
  Cache(const Cache&) = delete;

  /// The bytes of the keys and values of a position, head by head.
  std::vector<uint8_t> Position(int64_t position) const {
    std::vector<uint8_t> bytes;
    const auto page = static_cast<size_t>(position / layer.page_positions);
    const auto in_page = static_cast<size_t>(position % layer.page_positions);
    for (size_t begin : {layer.keys, layer.values}) {
      for (size_t head = 0; head < half; head += static_cast<size_t>(layer.page_positions) * row) {
        const uint8_t* from = pages[page] + begin + head + in_page * row;
        bytes.insert(bytes.end(), from, from + row);
      }
    }
    return bytes;
  }
  bool SameBytes(const Cache& o) const {
    for (size_t i = 0; i < pages.size(); i++) {
      if (std::memcmp(pages[i], o.pages[i], memory[0]->size()) != 0) return false;
    }
    return true;
  }

  size_t row, half;  // bytes of one head's keys of a position, of all keys of a page
  std::vector<std::unique_ptr<Guarded<uint8_t>>> memory;
  std::vector<uint8_t*> pages;
  KvLayer layer;
};

TEST_CASE("kv_store and attention agree with ref; rows do not feel their batch or the pages") {
  const Ops &ops = TestedOps(), &ref = ref::RefOps();
  struct Case {
    AttentionShape shape;
    DType type;
  };
  const Case cases[] = {
      {{4, 4, 64}, DType::kF32},  {{4, 4, 128}, DType::kBF16}, {{6, 2, 40}, DType::kBF16},
      {{5, 1, 17}, DType::kF32},  {{36, 2, 16}, DType::kF32},  {{8, 8, 3}, DType::kBF16},
      {{2, 2, 136}, DType::kF32},
  };
  for (const auto& [shape, type] : cases) {
    INFO("heads " << shape.heads << "/" << shape.kv_heads << " dim " << shape.head_dim << " "
                  << NameOf(type));
    const int64_t kv_width = shape.kv_heads * shape.head_dim, q_width = shape.heads * shape.head_dim;
    const int64_t stride = q_width + 2 * kv_width;  // q, k, v of a row side by side
    constexpr int64_t kCapacity = 211;
    // Three sequences: a prompt from 0, a window after 137 positions, one token after 70; batch rows out of
    // order.
    struct Piece {
      int64_t row, rows, start;
    };
    const Piece pieces[] = {{4, 33, 0}, {0, 3, 137}, {3, 1, 70}};
    constexpr int64_t kRows = 37;
    // All positions in one page, pages of powers of two, and others; the last one is used in part.
    std::vector<float> in_one_page;
    for (const int64_t page_positions : {kCapacity, int64_t{64}, int64_t{32}, int64_t{7}, int64_t{1}}) {
      INFO("pages of " << page_positions);
      std::vector<std::unique_ptr<Cache>> caches, expected_caches;
      std::vector<KvSpan> spans, expected_spans;
      for (const Piece& piece : pieces) {
        for (bool expected : {false, true}) {
          auto& list = expected ? expected_caches : caches;
          list.push_back(
              std::make_unique<Cache>(type, shape.kv_heads, kCapacity, shape.head_dim, page_positions));
          KvSpan history{0, piece.start, 0, list.back()->layer};
          if (piece.start > 0) {
            Guarded<float> k(piece.start * kv_width), v(piece.start * kv_width);
            Fill(k, 100 + piece.start);
            Fill(v, 200 + piece.start);
            const Ops& writer = expected ? ref : ops;
            writer.kv_store(Pool(expected ? 1 : 2), k.data(), v.data(), kv_width, {&history, 1}, shape);
          }
          (expected ? expected_spans : spans)
              .push_back({piece.row, piece.rows, piece.start, list.back()->layer});
        }
      }
      Guarded<float> qkv(kRows * stride), y(kRows * q_width), expected(kRows * q_width);
      Fill(qkv, 7);
      const float *k = qkv.data() + q_width, *v = k + kv_width;
      ops.kv_store(Pool(2), k, v, stride, spans, shape);
      ref.kv_store(Pool(1), k, v, stride, expected_spans, shape);
      for (size_t i = 0; i < caches.size(); i++) {
        CHECK(caches[i]->SameBytes(*expected_caches[i]));
        for (int64_t r = 0; r < pieces[i].rows; r++) {          // where the test says that they should be
          const float* row = k + (pieces[i].row + r) * stride;  // keys, then values
          std::vector<uint8_t> bytes(static_cast<size_t>(2 * kv_width) * SizeOf(type));
          for (int64_t j = 0; j < 2 * kv_width; j++) {
            if (type == DType::kBF16) {
              reinterpret_cast<BF16*>(bytes.data())[j] = ToBF16(row[j]);
            } else {
              reinterpret_cast<float*>(bytes.data())[j] = row[j];
            }
          }
          REQUIRE(caches[i]->Position(pieces[i].start + r) == bytes);
        }
      }
      ops.attention(Pool(2), qkv.data(), stride, spans, shape, y.data());
      ref.attention(Pool(1), qkv.data(), stride, expected_spans, shape, expected.data());
      // Scores: dim roundings of numbers below |q||k|·scale ≤ 6² · √dim (values are below 6), which the
      // exponential turns into relative errors of the weights; then sums over at most 140 positions of values
      // below 6. Both sides.
      const double score_error = 2 * (shape.head_dim + 2) * kEpsilon * 36 * std::sqrt(shape.head_dim);
      const double bound = 6 * (2 * score_error + 2 * (140 + 8) * kEpsilon);
      double worst = 0;
      for (size_t i = 0; i < y.size(); i++) {
        const double error = std::fabs(y[i] - expected[i]);
        worst = std::max(worst, std::isnan(error) ? 1e30 : error);
      }
      CHECK(worst <= bound);

      for (const KvSpan& span : spans) {  // each row alone, then its span alone, on 3 threads
        for (int64_t r = 0; r < span.rows; r++) {
          Guarded<float> alone(q_width);
          const KvSpan one{0, 1, span.start + r, span.kv};
          ops.attention(Pool(3), qkv.data() + (span.row + r) * stride, stride, {&one, 1}, shape,
                        alone.data());
          REQUIRE(SameBits(alone.data(), y.data() + (span.row + r) * q_width, q_width));
        }
      }
      for (int threads : {1, 3}) {
        Guarded<float> again(kRows * q_width);
        ops.attention(Pool(threads), qkv.data(), stride, spans, shape, again.data());
        CHECK(SameBits(again.data(), y.data(), y.size()));
      }
      if (in_one_page.empty()) in_one_page = y.values();
      CHECK(SameBits(y.data(), in_one_page.data(), y.size()));
    }
  }
}

// q, k and v side by side in the rows of one matrix, whose other columns are NaN.
template <class T>
struct Projections {
  Projections(int64_t n, int64_t width, int64_t spare, bool absolute)
      : stride(3 * width + spare), values((n - 1) * stride + 3 * width) {
    auto random = Random(11);
    std::normal_distribution<float> normal(0, 1.5f);
    for (int64_t r = 0; r < n; r++) {
      for (int64_t i = 0; i < 3 * width; i++) {
        const float x = std::clamp(normal(random), -6.0f, 6.0f);
        const float value = absolute ? std::fabs(x) : x;
        if constexpr (std::is_same_v<T, BF16>) {
          values[r * stride + i] = ToBF16(value);
        } else {
          values[r * stride + i] = value;
        }
      }
    }
  }
  int64_t stride;
  Guarded<T> values;
};

template <class T>
void CheckFullAttention(int64_t n, int64_t heads, int64_t head_dim, DType compute) {
  const Ops &ops = TestedOps(), &ref = ref::RefOps();
  const int64_t width = heads * head_dim;
  INFO(n << " positions, " << heads << " heads of " << head_dim << ", " << NameOf(DTypeOf<T>())
         << ", compute " << NameOf(compute) << ", " << ops.isa);
  Projections<T> qkv(n, width, 5, false);
  const FullAttention attention{.q = qkv.values.data(),
                                .k = qkv.values.data() + width,
                                .v = qkv.values.data() + 2 * width,
                                .type = DTypeOf<T>(),
                                .stride = qkv.stride,
                                .n = n,
                                .heads = heads,
                                .head_dim = head_dim,
                                .compute = compute};
  Guarded<T> y(n * width), expected(n * width);
  ops.full_attention(Pool(2), attention, y.data());
  ref.full_attention(Pool(1), attention, expected.data());
  // A score is a sum of head_dim products of deviation 1.5², scaled by head_dim^-½; its worst error is
  // relative to Σ|q||k| ≈ 1.44·head_dim (E|q||k| of those normals), scaled. An error e of the scores moves a
  // result by at most 2e·max|v| = 12e; sums of n weights add n roundings. In bf16 every weight may also be
  // rounded the other way.
  const double depth = static_cast<double>(head_dim);
  const double score = (depth + 4) * kEpsilon * 2 * 1.44 * std::sqrt(depth);
  const double weights = compute == DType::kBF16 ? 2 * 0x1p-8 : 0;
  const double bound = 12 * (score + (static_cast<double>(n) + 16) * kEpsilon);
  double worst = 0, sum = 0, squares = 0;
  for (size_t i = 0; i < y.size(); i++) {
    const double want = ToFloat(expected[i]), error = std::fabs(ToFloat(y[i]) - want);
    const double stored = std::is_same_v<T, BF16> ? 2 * 0x1p-8 * std::fabs(want) : 0;
    worst = std::max(worst, std::isnan(error) ? 1e30 : error / (bound + stored + 6 * weights));
    sum += error * error, squares += want * want;
  }
  CHECK(worst <= 1);
  // Those are worst cases; roundings that only differ now and then stay far below a bf16 ulp on average.
  CHECK(std::sqrt(sum) <=
        (compute == DType::kBF16 || std::is_same_v<T, BF16> ? 0x1p-9 : 1e-5) * std::sqrt(squares));
  for (int threads : {1, 3}) {
    Guarded<T> again(n * width);
    ops.full_attention(Pool(threads), attention, again.data());
    CHECK(std::memcmp(again.data(), y.data(), y.size() * sizeof(T)) == 0);
  }
}

TEST_CASE("full attention agrees with ref") {
  struct Case {
    int64_t n, heads, head_dim;
  };
  for (const Case& c :
       {Case{1, 1, 32}, Case{35, 1, 96}, Case{9, 3, 5}, Case{144, 4, 64}, Case{17, 2, 33}, Case{72, 1, 512},
        Case{65, 2, 72}, Case{33, 3, 8}, Case{100, 2, 64}, Case{2, 3, 32}}) {
    for (const DType compute : {DType::kF32, DType::kBF16}) {
      CheckFullAttention<float>(c.n, c.heads, c.head_dim, compute);
      CheckFullAttention<BF16>(c.n, c.heads, c.head_dim, compute);
    }
  }
}

TEST_CASE("attention stands large scores") {
  const Ops& ops = TestedOps();
  const AttentionShape shape{1, 1, 16};
  Cache cache(DType::kF32, 1, 8, 16, 2);
  Guarded<float> k(3 * 16), v(3 * 16), q(16), y(16);
  for (int i = 0; i < 16; i++) {
    q[i] = 1e4f;
    for (int p = 0; p < 3; p++)
      k[p * 16 + i] = p == 1 ? 1e4f : -1e4f, v[p * 16 + i] = static_cast<float>(p + i);
  }
  const KvSpan store{0, 3, 0, cache.layer}, last{0, 1, 2, cache.layer};
  ops.kv_store(Pool(1), k.data(), v.data(), 16, {&store, 1}, shape);
  ops.attention(Pool(1), q.data(), 16, {&last, 1}, shape, y.data());
  for (int i = 0; i < 16; i++) CHECK(y[i] == static_cast<float>(1 + i));
}

}  // namespace
}  // namespace bifrons
