// The op matrix on the cpu device: every op against ref or f64, and the same bits with any number of threads.
#include <array>
#include <catch2/catch.hpp>

#include "tests/op_results.h"
#include "tests/ops_device.h"

namespace bifrons {
namespace {

TEST_CASE("every op of the cpu device is right") {
  for (const char* op : kOps) {
    DYNAMIC_SECTION(Cpu(2).isa() << " " << op) { CheckAll(CheckOps(Cpu(2), Ref(), {.text = op})); }
  }
}

TEST_CASE("every op of the ref device is right where another oracle judges it") {
  for (std::string op : kOps) {
    if (op == "Multiply") op += " exact";
    if (op == "Convolve") op += " weights";
    DYNAMIC_SECTION(op) { CheckAll(CheckOps(Ref(), Ref(), {.text = op})); }
  }
}

TEST_CASE("every op has the same bits with any number of threads") {
  for (const char* op : kOps) {
    DYNAMIC_SECTION(op) { CheckAll(CheckSameBits(Cpu(2), std::array{&Cpu(1), &Cpu(3)}, {.text = op})); }
  }
}

TEST_CASE("ops are measured in the same cases") {
  const std::vector<OpSpeed> speeds = MeasureOps(Cpu(2), {.text = "RopeStoreKv"}, 1e-4);
  CHECK(speeds.size() == CheckOps(Ref(), Ref(), {.text = "RopeStoreKv"}).size());
  for (const OpSpeed& speed : speeds) {
    CHECK(speed.seconds > 0);
    CHECK(speed.seconds < 1);
    CHECK(speed.bytes > 0);
  }
}

}  // namespace
}  // namespace bifrons
