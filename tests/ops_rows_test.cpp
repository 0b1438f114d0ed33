// Promise 3 below the model: a decode row's bits depend neither on its neighbours nor on the threads, a row
// of attention neither on its batch nor on where its pages lie; what is right is ops_matrix_test's.
#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

#include "kernels/op_matrix/numbers.h"
#include "tests/ops_device.h"

namespace bifrons {
namespace {

using op_matrix::Normals;
using op_matrix::Numbers;
using op_matrix::Weights;

struct LinearCase {
  int64_t out, in;
};
const LinearCase kShapes[] = {{1, 1},    {7, 5},    {31, 33},  {32, 16},   {33, 31}, {65, 127}, {96, 64},
                              {97, 130}, {64, 257}, {130, 96}, {160, 384}, {64, 48}, {96, 112}, {160, 176}};
const DType kStored[] = {DType::kF32, DType::kBF16, DType::kF16};
const DType kComputes[] = {DType::kF32, DType::kBF16};

bool SameBits(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.data(), b.data(), a.bytes()) == 0;
}

// A matrix on a device, and its products; rows come from the host and go there.
struct Product {
  Product(int threads, std::span<const TensorView> parts, TensorView bias, DType compute)
      : device(Cpu(threads)), queue(device.MakeQueue()), linear(device.PackLinear(parts, bias, compute)) {}

  // What stands at `start` is added to, unless that is empty.
  Tensor operator()(TensorView x, RowClass row_class, Epilogue epilogue, TensorView start = {}) {
    const DeviceTensor in = device.PackTensor(x);
    DeviceTensor out = device.NewTensor(DType::kF32, {x.shape[0], linear->out});
    if (!start.empty()) queue->Upload(start, out.view());
    queue->Multiply(*linear, in.view(), row_class, epilogue, out.view());
    return queue->Fetch(out.view());
  }

  Device& device;
  std::unique_ptr<Queue> queue;
  std::unique_ptr<Linear> linear;
};

// Rows [first, first + count) of a matrix on the host.
TensorView Part(TensorView all, int64_t first, int64_t count) {
  all.data = all.as<float>() + first * all.shape[1];
  all.shape = {count, all.shape[1]};
  return all;
}

bool SameRows(const Tensor& got, const Tensor& all, int64_t first) {
  return std::memcmp(got.data(), Part(all.view(), first, got.shape()[0]).data, got.bytes()) == 0;
}

// Every row alone, then in companies of all sizes, at several places, with 1 to 3 threads, added to what is
// there and not; at last between rows of NaN.
void CheckRowsKeepTheirBits(std::span<const TensorView> parts, TensorView bias, DType compute,
                            int64_t all_rows) {
  Product one(1, parts, bias, compute), two(2, parts, bias, compute), three(3, parts, bias, compute);
  Product* const products[] = {&one, &two, &three};
  const int64_t in = one.linear->in, out = one.linear->out;
  const Numbers x = Normals(DType::kF32, {all_rows, in}, 2), start = Normals(DType::kF32, {all_rows, out}, 3);
  for (const Epilogue epilogue : {Epilogue::kNone, Epilogue::kAdd}) {
    const auto before = [&](int64_t first, int64_t count) {
      return epilogue == Epilogue::kAdd ? Part(start.view(), first, count) : TensorView{};
    };
    Tensor alone(DType::kF32, {all_rows, out});
    for (int64_t r = 0; r < all_rows; r++) {
      const Tensor y = one(Part(x.view(), r, 1), RowClass::kDecode, epilogue, before(r, 1));
      std::memcpy(alone.as<float>() + r * out, y.data(), y.bytes());
    }
    for (const int64_t rows :
         {int64_t{2}, int64_t{3}, int64_t{5}, int64_t{12}, int64_t{13}, int64_t{16}, int64_t{17}, int64_t{31},
          int64_t{32}, int64_t{33}, int64_t{64}, int64_t{65}, all_rows}) {
      for (const int threads : {1, 2, 3}) {
        const int64_t first = (all_rows - rows) * (threads - 1) / 2;  // a row's place changes with it
        INFO("rows " << rows << " threads " << threads << " epilogue " << static_cast<int>(epilogue));
        const Tensor y = (*products[threads - 1])(Part(x.view(), first, rows), RowClass::kDecode, epilogue,
                                                  before(first, rows));
        CHECK(SameRows(y, alone, first));
      }
    }
    for (const int64_t rows : {2, 16, 33, 70}) {
      const int64_t place = rows / 2;
      const auto among_nan = [&](const Numbers& numbers, int64_t width) {
        return Numbers(DType::kF32, {rows, width},
                       [&](int64_t i) { return i / width == place ? numbers[i] : NAN; });
      };
      const Numbers crowd = among_nan(x, in), begun = among_nan(start, out);
      const Tensor y = two(crowd.view(), RowClass::kDecode, epilogue,
                           epilogue == Epilogue::kAdd ? begun.view() : TensorView{});
      INFO("between NaN, rows " << rows << " epilogue " << static_cast<int>(epilogue));
      const float* row = y.as<float>() + place * out;
      CHECK(std::memcmp(row, alone.as<float>() + place * out, static_cast<size_t>(out) * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("a decode row has the same bits alone, in any batch and with any number of threads") {
  for (const auto& [out, in] : kShapes) {
    for (const DType stored : kStored) {
      for (const DType compute : kComputes) {
        INFO(out << "x" << in << " " << NameOf(stored) << " " << NameOf(compute));
        const Numbers w = Weights(stored, {out, in}, 1), bias = Weights(stored, {out}, 4);
        const TensorView part = w.view();
        CheckRowsKeepTheirBits({&part, 1}, out % 2 == 0 ? bias.view() : TensorView{}, compute, 130);
      }
    }
  }
}

TEST_CASE("a decode row keeps its bits with parts of several types") {
  const Numbers a = Weights(DType::kBF16, {32, 96}, 1), b = Weights(DType::kF32, {33, 96}, 2),
                c = Weights(DType::kF16, {31, 96}, 3);
  const TensorView parts[] = {a.view(), b.view(), c.view()};
  for (const DType compute : kComputes) CheckRowsKeepTheirBits(parts, {}, compute, 70);
}

TEST_CASE("decode rows keep their bits where many rows take several passes over a long sum") {
  const Numbers w = Weights(DType::kBF16, {160, 4128}, 1);
  const TensorView part = w.view();
  CheckRowsKeepTheirBits({&part, 1}, {}, DType::kBF16, 205);
}

TEST_CASE("epilogues keep a decode row's bits, too") {
  for (const DType type : kComputes) {
    const Numbers w = Weights(type, {2112, 64}, 1);
    const TensorView part = w.view();
    Product one(1, {&part, 1}, {}, type), three(3, {&part, 1}, {}, type);
    const Numbers x = Normals(DType::kF32, {33, 64}, 2);
    for (const Epilogue epilogue : {Epilogue::kGelu, Epilogue::kSiluMul}) {
      const int64_t width = epilogue == Epilogue::kSiluMul ? 1056 : 2112;
      const auto run = [&](Product& product, int64_t first, int64_t rows) {
        const DeviceTensor in = product.device.PackTensor(Part(x.view(), first, rows));
        const DeviceTensor out = product.device.NewTensor(DType::kF32, {rows, width});
        product.queue->Multiply(*product.linear, in.view(), RowClass::kDecode, epilogue, out.view());
        return product.queue->Fetch(out.view());
      };
      const Tensor all = run(three, 0, 33);
      for (int64_t r = 0; r < 33; r++) CHECK(SameRows(run(one, r, 1), all, r));
    }
  }
}

TEST_CASE("own layout changes no bits of the product that reads it") {
  struct Case {
    int64_t in, inner, out, rows;
  };
  for (const Case& c : {Case{64, 96, 33, 40}, Case{32, 64, 32, 16}, Case{24, 60, 24, 25},
                        Case{96, 130, 40, 33}, Case{64, 128, 64, 1}, Case{128, 512, 160, 577}}) {
    for (const DType type : kComputes) {
      for (const Epilogue epilogue : {Epilogue::kGelu, Epilogue::kSiluMul}) {
        const int64_t first_out = epilogue == Epilogue::kSiluMul ? 2 * c.inner : c.inner;
        const Numbers w1 = Weights(type, {first_out, c.in}, 1), b1 = Weights(type, {first_out}, 2),
                      w2 = Weights(type, {c.out, c.inner}, 3), b2 = Weights(type, {c.out}, 4);
        const Numbers x = Normals(DType::kF32, {c.rows, c.in}, 5, 0.3f),
                      start = Normals(DType::kF32, {c.rows, c.out}, 6);
        for (const bool with_bias : {true, false}) {
          INFO(c.in << "→" << c.inner << "→" << c.out << " rows " << c.rows << " " << NameOf(type));
          const auto run = [&](Device& device, bool own_layout) {
            const auto queue = device.MakeQueue();
            const TensorView part1 = w1.view(), part2 = w2.view();
            const auto fc1 = device.PackLinear({&part1, 1}, with_bias ? b1.view() : TensorView{}, type);
            const auto fc2 = device.PackLinear({&part2, 1}, with_bias ? b2.view() : TensorView{}, type);
            const DeviceTensor in = device.PackTensor(x.view()), y = device.PackTensor(start.view());
            const DeviceTensor inner = device.NewTensor(DType::kF32, {c.rows, c.inner});
            const View between = own_layout ? inner.view().InOwnLayout() : inner.view();
            queue->Multiply(*fc1, in.view(), RowClass::kPrefill, epilogue, between);
            queue->Multiply(*fc2, between, RowClass::kPrefill, Epilogue::kAdd, y.view());
            return queue->Fetch(y.view());
          };
          const Tensor apart = run(Cpu(2), false);
          for (const int threads : {1, 3}) CHECK(SameBits(run(Cpu(threads), true), apart));
          if (c.rows < 100) CHECK(SameBits(run(Ref(), true), run(Ref(), false)));
        }
      }
    }
  }
}

TEST_CASE("norms in place keep their bits, and a row's are its own") {
  for (const int64_t dim : {1, 17, 127, 2048}) {
    const Numbers x = Normals(DType::kF32, {40, dim}, 1), w = Normals(DType::kF32, {dim}, 2),
                  b = Normals(DType::kF32, {dim}, 3);
    for (const bool rms : {true, false}) {
      const auto run = [&](int threads, TensorView rows, bool in_place) {
        Device& device = Cpu(threads);
        const auto queue = device.MakeQueue();
        const DeviceTensor in = device.PackTensor(rows), other = device.NewTensor(DType::kF32, rows.shape);
        const DeviceTensor weight = device.PackTensor(w.view()), bias = device.PackTensor(b.view());
        const View y = in_place ? in.view() : other.view();
        if (rms) queue->RmsNorm(in.view(), weight.view(), 1e-6f, y);
        if (!rms) queue->LayerNorm(in.view(), weight.view(), bias.view(), 1e-6f, y);
        return queue->Fetch(y);
      };
      const Tensor all = run(2, x.view(), false);
      CHECK(SameBits(run(3, x.view(), true), all));
      CHECK(SameRows(run(1, Part(x.view(), 39, 1), true), all, 39));
    }
  }
}

TEST_CASE("ops of no rows do nothing") {
  Device& device = Cpu(2);
  const auto queue = device.MakeQueue();
  const DeviceTensor some = device.PackTensor(Weights(DType::kF32, {4, 8}, 1).view());
  const DeviceTensor vector = device.PackTensor(Weights(DType::kF32, {8}, 2).view());
  const DeviceTensor ids = device.NewTensor(DType::kI32, {4});
  const Numbers numbers = Weights(DType::kF32, {8, 8}, 3);
  const TensorView part = numbers.view();
  const auto linear = device.PackLinear({&part, 1}, {}, DType::kF32);
  const auto table = device.PackTable(part);
  const auto pages = device.MakeKvPages({1, 2, 4, 32, DType::kF32});
  const auto batch = queue->MakeBatch(*pages, {});
  const Tensor before = queue->Fetch(some.view());
  const View none = some.view().Rows(2, 0);
  queue->Upload({numbers.view().data, DType::kF32, {0, 8}}, none);
  queue->Copy(none, none);
  queue->CopyRows(some.view(), {}, none);
  queue->Fill(none, 1);
  for (const Epilogue epilogue : {Epilogue::kNone, Epilogue::kAdd, Epilogue::kGelu})
    queue->Multiply(*linear, none, RowClass::kDecode, epilogue, none);
  queue->LookUp(*table, ids.view().Rows(0, 0), none);
  queue->RmsNorm(none, vector.view(), 1e-6f, none);
  queue->LayerNorm(none, vector.view(), vector.view(), 1e-6f, none);
  queue->StoreKv(none, none, *batch, 0);
  queue->Attend(none, *batch, 0, none);
  queue->AttendAll({2, 4, DType::kF32}, none, none, none, none);
  queue->Sample(some.view(), {}, ids.view());
  CHECK(SameBits(queue->Fetch(some.view()), before));
  CHECK(queue->Fetch(none).shape() == Shape{0, 8});
}

}  // namespace
}  // namespace bifrons
