#include "src/model/checkpoint/pickle_objects.h"

namespace bifrons::pickle {
namespace {

constexpr Global kGlobals[] = {
    {"collections", "OrderedDict", GlobalKind::kOrderedDict},
    {"torch._utils", "_rebuild_tensor", GlobalKind::kRebuildTensor},
    {"torch._utils", "_rebuild_tensor_v2", GlobalKind::kRebuildTensor},
    {"torch._utils", "_rebuild_tensor_v3", GlobalKind::kRebuildTensorV3},
    {"torch._utils", "_rebuild_parameter", GlobalKind::kRebuildParameter},
    {"torch._utils", "_rebuild_parameter_with_state", GlobalKind::kRebuildParameter},
    {"torch", "Size", GlobalKind::kSize},
    {"torch", "device", GlobalKind::kDevice},
    {"torch", "FloatStorage", GlobalKind::kStorageType, 4, DType::kF32},
    {"torch", "BFloat16Storage", GlobalKind::kStorageType, 2, DType::kBF16},
    {"torch", "HalfStorage", GlobalKind::kStorageType, 2, DType::kF16},
    {"torch", "DoubleStorage", GlobalKind::kStorageType, 8},
    {"torch", "LongStorage", GlobalKind::kStorageType, 8},
    {"torch", "IntStorage", GlobalKind::kStorageType, 4},
    {"torch", "ShortStorage", GlobalKind::kStorageType, 2},
    {"torch", "CharStorage", GlobalKind::kStorageType, 1},
    {"torch", "ByteStorage", GlobalKind::kStorageType, 1},
    {"torch", "BoolStorage", GlobalKind::kStorageType, 1},
    {"torch", "ComplexFloatStorage", GlobalKind::kStorageType, 8},
    {"torch", "ComplexDoubleStorage", GlobalKind::kStorageType, 16},
    {"torch.storage", "UntypedStorage", GlobalKind::kStorageType, 1},
    {"torch", "float32", GlobalKind::kDType, 4, DType::kF32},
    {"torch", "bfloat16", GlobalKind::kDType, 2, DType::kBF16},
    {"torch", "float16", GlobalKind::kDType, 2, DType::kF16},
    {"torch", "float64", GlobalKind::kDType, 8},
    {"torch", "int64", GlobalKind::kDType, 8},
    {"torch", "int32", GlobalKind::kDType, 4},
    {"torch", "int16", GlobalKind::kDType, 2},
    {"torch", "int8", GlobalKind::kDType, 1},
    {"torch", "uint64", GlobalKind::kDType, 8},
    {"torch", "uint32", GlobalKind::kDType, 4},
    {"torch", "uint16", GlobalKind::kDType, 2},
    {"torch", "uint8", GlobalKind::kDType, 1},
    {"torch", "bool", GlobalKind::kDType, 1},
    {"torch", "complex32", GlobalKind::kDType, 4},
    {"torch", "complex64", GlobalKind::kDType, 8},
    {"torch", "complex128", GlobalKind::kDType, 16},
    {"torch", "float8_e4m3fn", GlobalKind::kDType, 1},
    {"torch", "float8_e5m2", GlobalKind::kDType, 1},
    {"torch", "float8_e4m3fnuz", GlobalKind::kDType, 1},
    {"torch", "float8_e5m2fnuz", GlobalKind::kDType, 1},
    {"torch", "float8_e8m0fnu", GlobalKind::kDType, 1},
};

}  // namespace

std::span<const Global> Globals() { return kGlobals; }

const Object* Objects::Item(const Object& container, size_t i, Kind kind) const {
  const std::vector<Id>& ids = ItemsOf(container);
  return i < ids.size() && all[ids[i]].kind == kind ? &all[ids[i]] : nullptr;
}

const Global* Objects::GlobalItem(const Object& container, size_t i, GlobalKind kind) const {
  const Object* o = Item(container, i, Kind::kGlobal);
  return o && kGlobals[o->integer].kind == kind ? &kGlobals[o->integer] : nullptr;
}

}  // namespace bifrons::pickle
