// The objects that a pickle makes, as far as tensors need them.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "src/base/dtype.h"

namespace bifrons::pickle {

enum class Kind : uint8_t {
  kOpaque,   // None, floats, bytes, sets, huge integers, devices: values that no tensor needs
  kInteger,  // booleans too
  kString,
  kTuple,
  kList,
  kDict,
  kGlobal,
  kStorage,
  kTensor,
};

/// What a global is to a tensor.
enum class GlobalKind : uint8_t {
  kOrderedDict,
  kRebuildTensor,  // torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, …)
  kRebuildTensorV3,   // … (…, hooks, dtype, metadata): types that have no storage class of their own
  kRebuildParameter,  // torch._utils._rebuild_parameter(data, requires_grad, hooks)
  kSize,              // torch.Size(tuple)
  kDevice,
  kStorageType,
  kDType,
};

struct Global {
  std::string_view module, name;
  GlobalKind kind;
  int element_size = 0;                       // bytes; of a type
  std::optional<DType> dtype = std::nullopt;  // of a type that we can load
};

/// All that a pickle may refer to.
std::span<const Global> Globals();

/// An object's number: the stack, the memo and containers hold these, so that sharing costs nothing.
using Id = uint32_t;

struct Object {
  Kind kind = Kind::kOpaque;
  Id items = 0;  // containers: index into Objects::items; storages and tensors: their tuple of arguments
                 // kString: its length
  int64_t integer = 0;  // kInteger; kGlobal: index into Globals(); kTensor: that of its rebuild function
                        // kString: where it begins in the pickle
};
static_assert(sizeof(Object) == 16, "a pickle can ask for one with every byte");

/// Everything that a pickle made, and the pickle, which texts point into.
struct Objects {
  std::span<const uint8_t> pickle;
  // Unlike a vector's, a deque's memory does not double when it grows.
  std::deque<Object> all;
  std::deque<std::vector<Id>> items;  // of tuples, lists and dicts (key, value, key, value, …)
  Id root = 0;                        // what the pickle as a whole is

  std::string_view TextOf(const Object& string) const {
    return {reinterpret_cast<const char*>(pickle.data()) + string.integer, string.items};
  }
  const std::vector<Id>& ItemsOf(const Object& container) const { return items[container.items]; }
  /// Null where the container has no such item, or one of another kind.
  const Object* Item(const Object& container, size_t i, Kind) const;
  const Global* GlobalItem(const Object& container, size_t i, GlobalKind) const;
};

}  // namespace bifrons::pickle
