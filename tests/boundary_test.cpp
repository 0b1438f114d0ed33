// What the compiler promises about the boundary: nobody can look through a view, and a device that lacks an
// op is none.
#include <catch2/catch.hpp>
#include <type_traits>

#include "kernels/device.h"

namespace bifrons {
namespace {

template <class T>
concept HasAddress = requires(T t) {
  t.data();
}
|| requires(T t) { t.data_; }
|| requires(T t) { t.address(); }
|| requires(T t) { t.template as<float>(); }
|| requires(T t) { *t; }
|| requires(T t) { t[0]; };

static_assert(!HasAddress<Buffer&> && !HasAddress<const Buffer&>);
static_assert(!HasAddress<View> && !HasAddress<DeviceTensor&>);
static_assert(!std::is_convertible_v<View, TensorView> && !std::is_convertible_v<DeviceTensor, Tensor>);
static_assert(HasAddress<Tensor&>);  // so that the concept can fail

static_assert(std::is_abstract_v<Queue> && std::is_abstract_v<Device> && std::is_abstract_v<KvPages>);
static_assert(!std::is_copy_constructible_v<Buffer> && !std::is_copy_constructible_v<DeviceTensor>);

class Forgetful : public Queue {
 public:
  Ticket Record() override { return {}; }
  void After(const Ticket&) override {}
  void Wait(const Ticket&) override {}
  bool Done(const Ticket&) override { return true; }
};
static_assert(std::is_abstract_v<Forgetful>);  // its ops are missing

TEST_CASE("views are cut, reshaped and moved as tensors are") {
  const auto device = MakeDevice("ref", "", 1);
  REQUIRE(device.ok());
  const auto queue = (*device)->MakeQueue();
  const float numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const DeviceTensor tensor = (*device)->NewTensor(DType::kF32, {3, 4});
  queue->Upload({numbers, DType::kF32, {3, 4}}, tensor.view());
  const Tensor part = queue->Fetch(tensor.view().Columns(1, 2).Rows(1, 2));
  CHECK((part.as<float>()[0] == 5 && part.as<float>()[1] == 6 && part.as<float>()[2] == 9 &&
         part.as<float>()[3] == 10));
  CHECK(!tensor.view().Columns(1, 2).contiguous());
  CHECK(tensor.view().Rows(1, 2).contiguous());
  const Tensor again = queue->Fetch(tensor.view().As({2, 2, 3}).Rows(1, 1));
  CHECK((again.shape() == Shape{1, 2, 3} && again.as<float>()[0] == 6 && again.as<float>()[5] == 11));
}

}  // namespace
}  // namespace bifrons
