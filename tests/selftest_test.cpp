// The selftest tells a right device from wrong ones, and says what is wrong with them.
#include "src/engine/selftest.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

#include "kernels/op_matrix/numbers.h"
#include "tests/forwarding_device.h"
#include "tests/run_program.h"

namespace bifrons {
namespace {

// The cpu device as if it were the ref device: it is tested beside the cpu device, and no op of it is
// measured.
class Disguised : public ForwardingDevice {
 public:
  Disguised() : ForwardingDevice(std::move(*MakeDevice("cpu", "", 2))) {}
  std::string backend() const override { return "ref"; }
};

Tensor WithWrongFirst(TensorView weight) {
  Tensor wrong(DType::kF32, weight.shape);
  for (int64_t i = 0; i < weight.shape.elements(); i++)
    wrong.as<float>()[i] = static_cast<float>(op_matrix::NumberAt(weight, i));
  wrong.as<float>()[0] += 1;
  return wrong;
}

struct WrongConvolutions : Disguised {
  std::unique_ptr<Conv2d> PackConv(const ConvShape& shape, TensorView weight, TensorView bias) override {
    return Disguised::PackConv(shape, WithWrongFirst(weight).view(), bias);
  }
};

struct WrongProducts : Disguised {
  std::unique_ptr<Linear> PackLinear(std::span<const TensorView> parts, TensorView bias,
                                     DType compute) override {
    const Tensor first = WithWrongFirst(parts[0]);
    std::vector<TensorView> wrong(parts.begin(), parts.end());
    wrong[0] = first.view();
    return Disguised::PackLinear(wrong, bias, compute);
  }
};

// What a driver says after a kernel that went astray.
struct Broken : Disguised {
  std::unique_ptr<KvPages> MakeKvPages(const KvShape&) override {
    throw std::runtime_error("an illegal memory access was encountered");
  }
};

template <class Tested>
Selftest Test(const std::string& ops) {
  auto test = RunSelftest([] { return Result<std::unique_ptr<Device>>(std::make_unique<Tested>()); },
                          {.ops = ops, .threads = 2},
                          [shown = 0.0](double share, const std::string& what) mutable {
                            CHECK((share >= shown && share <= 1));
                            CHECK(!what.empty());
                            shown = share;
                          });
  REQUIRE(test.ok());
  return *test;
}

TEST_CASE("a device that computes what the cpu does passes") {
  const Selftest test = Test<Disguised>("RmsNorm");
  CHECK(test.passed());
  CHECK(test.device == ProcessorName());
  CHECK(test.ops.cases == static_cast<int64_t>(CountOps({.text = "RmsNorm"})));
  CHECK(test.model.other.starts_with("cpu "));
  REQUIRE(test.model.comparisons.size() == 2);
  for (const ModelComparison& one : test.model.comparisons) {
    CHECK(one.codes.steps == 3 * 144);
    CHECK(one.codes.agreed == one.codes.steps);
    CHECK(one.tokens.steps > 4);
    CHECK(one.tokens.agreed == one.tokens.steps);
    CHECK(one.most_apart == 0);
    CHECK(one.description == "a dog on a blue background");
  }
  CHECK(test.roofline.bandwidth > 0);
  CHECK(test.roofline.mac_rate(DType::kBF16) > 0);
}

TEST_CASE("wrong convolutions are found among the ops and in the pictures, where the codes are right") {
  const Selftest test = Test<WrongConvolutions>("Convolve 7→33 5×3");
  CHECK(!test.passed());
  CHECK(test.ops.wrong.size() == static_cast<size_t>(test.ops.cases));
  CHECK(test.ops.wrong[0].worst_share > 1);
  const ModelComparison& f32 = test.model.comparisons.at(0);
  CHECK(f32.codes.agreed == f32.codes.steps);
  CHECK(f32.most_apart > 1);
  CHECK(!f32.passed());
  CHECK(test.model.comparisons.at(1).passed());  // of bf16 it is only told
}

TEST_CASE("wrong products are found in the codes") {
  const Selftest test = Test<WrongProducts>("RopeStoreKv");
  CHECK(test.ops.passed());
  const ModelComparison& f32 = test.model.comparisons.at(0);
  CHECK(f32.codes.agreed < f32.codes.steps);
  CHECK(!f32.passed());
  CHECK(!test.passed());
}

TEST_CASE("1 % of the steps may come after a near-tie") {
  ModelComparison one;
  one.codes = {432, 429}, one.tokens = {8, 8}, one.most_apart = 1;
  CHECK(one.passed());
  one.codes.agreed = 427;
  CHECK(!one.passed());
  one.compute = DType::kBF16;
  CHECK(one.passed());
}

TEST_CASE("a device that breaks down is told of, and the rest is tried") {
  const Selftest test = Test<Broken>("Attend 37 rows");
  CHECK(!test.passed());
  CHECK(test.ops.error == "an illegal memory access was encountered");
  CHECK(test.model.error == "an illegal memory access was encountered");
  CHECK(test.model.comparisons.empty());
  CHECK(test.roofline.passed());
  CHECK(Test<Broken>("e").ops.error.starts_with("after "));  // the last case that went well
}

bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_CASE("the program prints a block for a report", "[.bundled]") {
  const ProgramResult run = RunWell({"selftest", "--device", "cpu", "--ops", "RmsNorm"});
  INFO(run.out);
  for (const std::string& part :
       {std::string("bifrons "), ProcessorName(), std::string("; cpu, "), std::string(" GB free"),
        std::string("beside ref, 0 wrong"),
        std::string("f32, janus-mini beside ref scalar: 432 of 432 codes"), std::string("bf16, janus-mini"),
        std::string("limits: "), std::string("Multiply 11264×2048"), std::string("Attend 32 rows"),
        std::string("Convolve 256→256"), std::string("\nall right; ")})
    CHECK(Has(run.out, part));
}

TEST_CASE("the program prints the same as JSON, of the ref device", "[.bundled]") {
  const auto json =
      nlohmann::json::parse(RunWell({"selftest", "--device", "ref", "--ops", "RmsNorm", "--json"}).out);
  CHECK(json["convolutions"] == "");
  CHECK(json["passed"] == true);
  CHECK(json["backend"] == "ref");
  CHECK(json["ops"]["cases"] == CountOps({.text = "RmsNorm"}));
  CHECK(json["model"]["comparisons"][0]["codes"]["agreed"] == 3 * 144);
  CHECK(json["roofline"]["bandwidth_gbs"] > 0);
  CHECK(json["roofline"]["points"].empty());
}

TEST_CASE("a selection without an op is wrong usage") {
  const ProgramResult run = RunProgram({"selftest", "--device", "cpu", "--ops", "Multiplication"});
  CHECK(run.exit_code == 2);
  CHECK(Has(run.err, "'Multiplication'"));
}

}  // namespace
}  // namespace bifrons
