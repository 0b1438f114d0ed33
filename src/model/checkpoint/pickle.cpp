#include "src/model/checkpoint/pickle.h"

#include <set>

#include "src/base/printable.h"
#include "src/model/checkpoint/checkpoint.h"
#include "src/model/checkpoint/unpickler.h"

namespace bifrons {
namespace {

using pickle::Global;
using pickle::GlobalKind;
using pickle::Kind;
using pickle::Object;
using pickle::Objects;

constexpr size_t kMaxStorageKey = 255;  // bytes; torch.save numbers storages

// A tuple of integers that are not negative.
bool ReadCounts(const Objects& objects, const Object* tuple, std::vector<int64_t>* out) {
  if (!tuple || objects.ItemsOf(*tuple).size() > kMaxStoredRank) return false;
  for (size_t i = 0; i < objects.ItemsOf(*tuple).size(); i++) {
    const Object* n = objects.Item(*tuple, i, Kind::kInteger);
    if (!n || n->integer < 0) return false;
    out->push_back(n->integer);
  }
  return true;
}

// Returns what is wrong, or nothing.
std::string ReadTensor(const Objects& objects, const Object& tensor, PickledTensor* out) {
  const Object* storage = objects.Item(tensor, 0, Kind::kStorage);
  const Object* offset = objects.Item(tensor, 1, Kind::kInteger);
  if (!storage) return "has no storage";
  const Object* tag = objects.Item(*storage, 0, Kind::kString);
  const Global* type = objects.GlobalItem(*storage, 1, GlobalKind::kStorageType);
  const Object* key = objects.Item(*storage, 2, Kind::kString);
  const Object* count = objects.Item(*storage, 4, Kind::kInteger);
  if (!tag || objects.TextOf(*tag) != "storage" || !type || !key || key->items > kMaxStorageKey || !count ||
      count->integer < 0 ||
      __builtin_mul_overflow(static_cast<uint64_t>(count->integer), static_cast<uint64_t>(type->element_size),
                             &out->storage_bytes) ||
      out->storage_bytes > INT64_MAX) {
    return "has a storage that makes no sense";
  }
  if (pickle::Globals()[tensor.integer].kind == GlobalKind::kRebuildTensorV3) {
    type = objects.GlobalItem(tensor, 6, GlobalKind::kDType);
    if (!type) return "has no type";
  } else if (type->name == "UntypedStorage") {
    return "has no type";
  }
  out->type = type->name;
  out->loadable = type->dtype.has_value();
  out->dtype = type->dtype.value_or(DType::kF32);
  out->element_size = static_cast<uint64_t>(type->element_size);
  out->storage = objects.TextOf(*key);
  if (!offset || offset->integer < 0) return "has a storage offset that makes no sense";
  out->offset = offset->integer;
  if (!ReadCounts(objects, objects.Item(tensor, 2, Kind::kTuple), &out->dims) ||
      !ReadCounts(objects, objects.Item(tensor, 3, Kind::kTuple), &out->strides) ||
      out->dims.size() != out->strides.size()) {
    return "has sizes or strides that make no sense";
  }
  return "";
}

// The dict that holds the tensors: `root`, or what training programs wrap it in.
const Object* FindStateDict(const Objects& objects, const Object& root) {
  if (root.kind != Kind::kDict) return nullptr;
  for (size_t i = 0; i + 1 < objects.ItemsOf(root).size(); i += 2) {
    if (objects.Item(root, i + 1, Kind::kTensor)) return &root;
  }
  for (const char* wrapper : {"state_dict", "model", "module"}) {
    for (size_t i = 0; i + 1 < objects.ItemsOf(root).size(); i += 2) {
      const Object* key = objects.Item(root, i, Kind::kString);
      const Object* inner = objects.Item(root, i + 1, Kind::kDict);
      if (key && inner && objects.TextOf(*key) == wrapper) return inner;
    }
  }
  return &root;
}

}  // namespace

Result<std::vector<PickledTensor>> ReadPickledTensors(std::span<const uint8_t> pickle,
                                                      const std::string& file) {
  BIFRONS_TRY(const Objects objects, pickle::Unpickle(pickle, file));
  const Object* dict = FindStateDict(objects, objects.all[objects.root]);
  if (!dict) return DataError(file + ": the pickle is not a dict of tensors: save the model's state_dict()");
  std::vector<PickledTensor> tensors;
  std::set<std::string_view> names;
  for (size_t i = 0; i + 1 < objects.ItemsOf(*dict).size(); i += 2) {
    const Object* tensor = objects.Item(*dict, i + 1, Kind::kTensor);
    if (!tensor) continue;
    const Object* key = objects.Item(*dict, i, Kind::kString);
    if (!key) return DataError(file + ": the pickle has a tensor whose name is no string");
    const std::string who = file + ": tensor '" + Printable(objects.TextOf(*key)) + "' ";
    // A repeated name would also let a short pickle ask for many copies of a long one.
    if (!names.insert(objects.TextOf(*key)).second) return DataError(who + "stands twice");
    if (tensors.size() == kMaxPickledTensors)
      return DataError(file + ": the pickle holds more than " + std::to_string(kMaxPickledTensors) +
                       " tensors");
    PickledTensor& out = tensors.emplace_back();
    out.name = objects.TextOf(*key);
    if (std::string problem = ReadTensor(objects, *tensor, &out); !problem.empty())
      return DataError(who + problem);
  }
  if (tensors.empty())
    return DataError(file + ": the pickle holds no tensors: save the model's state_dict()");
  return tensors;
}

}  // namespace bifrons
