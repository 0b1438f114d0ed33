// The op matrix runs on devices that hide their memory, work late or live in another process. Both have the
// ref device's arithmetic, so their bits must be its own.
#include <array>
#include <catch2/catch.hpp>

#include "kernels/op_matrix/op_matrix.h"
#include "tests/deferred_device.h"
#include "tests/ops_device.h"
#include "tests/process_device.h"

namespace bifrons {
namespace {

// All ops, but of the two that the ref device takes seconds for only some shapes.
constexpr const char* kCases[] = {"Upload",          "Copy ",          "CopyRows",          "Fill",
                                  "LookUp",          "Multiply 33×31", "in own layout",     "values of",
                                  "RmsNorm",         "LayerNorm",      "MultiplyNormed 96", "StoreKv",
                                  "CopyPositions",   "Attend ",        "AttendAll",         "Sample",
                                  "Convolve 7→33",   "GroupNorm [3",   "Upsample2x",        "UnfoldPatches",
                                  "NearestCodeword", "ToBytes"};

void CheckBits(Device& device) {
  for (const char* text : kCases) {
    const std::vector<OpResult> results = CheckSameBits(device, std::array{&Ref()}, {.text = text});
    CHECK(!results.empty());
    for (const OpResult& result : results) {
      INFO(result.op << " " << result.shape << (result.intact ? "" : ": wrote where it may not"));
      CHECK(result.passed());
    }
  }
}

TEST_CASE("ops are right on a device that works late and hides its memory") {
  CheckBits(*MakeDeferredDevice(1));
}

TEST_CASE("ops are right on a device in another process") { CheckBits(*MakeProcessDevice()); }

TEST_CASE("ops are measured by the time that a late device takes when it is waited for") {
  const auto device = MakeDeferredDevice(1);
  for (const OpSpeed& speed : MeasureOps(*device, {.text = "Multiply 97×130 bf16+bf16"}, 1e-3)) {
    CHECK(speed.gigamacs_per_second() > 0.01);
    CHECK(speed.gigamacs_per_second() < 100);  // a thousand times that where nothing is done yet
  }
}

}  // namespace
}  // namespace bifrons
