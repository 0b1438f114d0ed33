#include "src/model/checkpoint/pickle.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>

#include "src/base/printable.h"
#include "src/base/seeded_hash.h"
#include "src/model/checkpoint/byte_reader.h"
#include "src/model/checkpoint/checkpoint.h"

namespace bifrons {
namespace {

constexpr size_t kMaxStorageKey = 255;  // bytes; torch.save numbers storages

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
  int element_size = 0;
  std::optional<DType> dtype = std::nullopt;
};

/// All that a pickle may refer to.
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

/// An object's number: the stack, the memo and containers hold these, so that sharing costs nothing.
using Id = uint32_t;

struct Object {
  Kind kind = Kind::kOpaque;
  Id items = 0;         // containers: index into items_; storages and tensors: their tuple of arguments
                        // kString: its length
  int64_t integer = 0;  // kInteger; kGlobal: index into kGlobals; kTensor: that of its rebuild function
                        // kString: where it begins in the pickle
};
static_assert(sizeof(Object) == 16, "a pickle can ask for one with every byte");

class Unpickler {
 public:
  Unpickler(std::span<const uint8_t> pickle, const std::string& file)
      : pickle_(pickle), reader_(pickle), file_(file) {}

  Result<std::vector<PickledTensor>> Run() {
    if (pickle_.size() > kMaxPickleBytes) {
      return DataError(file_ + ": the pickle has " + std::to_string(pickle_.size()) + " bytes; at most " +
                       std::to_string(kMaxPickleBytes) + " make sense");
    }
    uint8_t opcode = 0;
    do {
      if (!reader_.Read(&opcode)) return Damaged("ends too early");
      // Each of these can grow with every byte; the last two are the cheapest.
      if (std::max({objects_.size(), memo_.size(), marks_.size() / 2, stack_.size() / 4}) > kMaxPickleObjects)
        return Damaged("has more than a million objects");
      if (!Execute(opcode)) return Damaged(problem_.empty() ? "is damaged" : problem_);
    } while (opcode != '.');
    if (stack_.empty()) return Damaged("is empty");
    return Collect(stack_.back());
  }

 private:
  Error Damaged(const std::string& what) const {
    return DataError(file_ + ": the pickle " + what + " (byte " + std::to_string(reader_.position()) + ")");
  }
  bool Fail(std::string what) {
    problem_ = std::move(what);
    return false;
  }

  // ---- the stack ----
  bool Push(const Object& object) {
    objects_.push_back(object);
    stack_.push_back(static_cast<Id>(objects_.size() - 1));
    return true;
  }
  bool PushOpaque() { return Push({}); }
  bool PushInteger(int64_t value) { return Push({.kind = Kind::kInteger, .integer = value}); }
  bool PushContainer(Kind kind, std::vector<Id> items = {}) {
    items_.push_back(std::move(items));
    return Push({.kind = kind, .items = static_cast<Id>(items_.size() - 1)});
  }
  /// false when there are fewer than n objects above the last mark.
  bool Has(size_t n) const { return stack_.size() >= n + (marks_.empty() ? 0 : marks_.back()); }
  std::vector<Id> Pop(size_t n) {
    std::vector<Id> top(stack_.end() - static_cast<ptrdiff_t>(n), stack_.end());
    stack_.resize(stack_.size() - n);
    return top;
  }
  bool PopMark(std::vector<Id>* items) {
    if (marks_.empty()) return false;
    *items = Pop(stack_.size() - marks_.back());
    marks_.pop_back();
    return true;
  }
  std::string_view TextOf(const Object& o) const {
    return {reinterpret_cast<const char*>(pickle_.data()) + o.integer, o.items};
  }
  Object& Top() { return objects_[stack_.back()]; }
  const std::vector<Id>& Items(const Object& o) const { return items_[o.items]; }

  // ---- opcodes ----
  template <class T>
  bool PushRead() {
    T value{};
    return reader_.Read(&value) && PushInteger(static_cast<int64_t>(value));
  }
  template <class Length>
  bool PushText(Kind kind) {
    Length length{};
    std::string_view text;
    if (!reader_.Read(&length)) return false;
#ifdef BIFRONS_PLANTED_BUGS
    if (sizeof(Length) == 4 && length > reader_.remaining() &&
        length < 4096) {  // a length that nobody checked
      if (!reader_.ReadText(0, &text)) return false;
      text = {text.data(), static_cast<size_t>(length)};
      for (char c : text) planted_sum_ = static_cast<char>(planted_sum_ + c);
    } else
#endif
        if (!reader_.ReadText(length, &text))
      return false;
    if (kind != Kind::kString) return PushOpaque();
    const auto* begin = reinterpret_cast<const uint8_t*>(text.data());
    return Push({.kind = kind, .items = static_cast<Id>(text.size()), .integer = begin - pickle_.data()});
  }
  template <class Length>
  bool PushLong() {
    Length length{};
    std::string_view digits;
    if (!reader_.Read(&length) || !reader_.ReadText(length, &digits)) return false;
    if (digits.size() > 8) return PushOpaque();
    uint64_t value = !digits.empty() && (digits.back() & 0x80) ? ~uint64_t{0} : 0;
    for (size_t i = digits.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(digits[i]);
    return PushInteger(static_cast<int64_t>(value));
  }
  template <class Index>
  bool Put() {
    Index index{};
    return reader_.Read(&index) && Memoize(index);
  }
  bool Memoize(uint32_t index) {
    if (!Has(1)) return false;
    memo_[index] = stack_.back();
    return true;
  }
  template <class Index>
  bool Get() {
    Index index{};
    if (!reader_.Read(&index)) return false;
    const auto it = memo_.find(index);
    if (it == memo_.end()) return false;
    stack_.push_back(it->second);
    return true;
  }
  bool Tuple(size_t n) { return Has(n) && PushContainer(Kind::kTuple, Pop(n)); }
  bool MarkedTuple(Kind kind) {
    std::vector<Id> items;
    return PopMark(&items) && PushContainer(kind, std::move(items));
  }
  bool Append(std::vector<Id> items, Kind kind) {
    if (!Has(1) || Top().kind != kind) return false;
    if (kind == Kind::kDict && items.size() % 2 != 0) return false;
    std::vector<Id>& all = items_[Top().items];
    all.insert(all.end(), items.begin(), items.end());
    return true;
  }
  bool MarkedAppend(Kind kind) {
    std::vector<Id> items;
    return PopMark(&items) && Append(std::move(items), kind);
  }
  bool AddToSet() {
    std::vector<Id> items;
    return PopMark(&items) && Has(1) && Top().kind == Kind::kOpaque;
  }
  /// An object's own attributes: OrderedDict's `_metadata`, which nobody needs.
  bool Build() {
    if (!Has(2)) return false;
    stack_.pop_back();
    return Top().kind == Kind::kDict || Top().kind == Kind::kTensor;
  }

  bool PushGlobal(std::string_view module, std::string_view name) {
    for (size_t i = 0; i < std::size(kGlobals); i++) {
      if (kGlobals[i].module == module && kGlobals[i].name == name) {
        return Push({.kind = Kind::kGlobal, .integer = static_cast<int64_t>(i)});
      }
    }
    return Fail("refers to " + Printable(module) + "." + Printable(name) +
                ", which is not part of a tensor: refused, nothing was run");
  }
  bool ReadLine(std::string_view* line) {
    ByteReader ahead = reader_;
    uint8_t c = 0;
    uint64_t length = 0;
    while (ahead.Read(&c) && c != '\n') length++;
    return c == '\n' && reader_.ReadText(length, line) && reader_.Skip(1);
  }
  bool ReadGlobal() {
    std::string_view module, name;
    return ReadLine(&module) && ReadLine(&name) && PushGlobal(module, name);
  }
  bool StackGlobal() {
    if (!Has(2)) return false;
    const std::vector<Id> names = Pop(2);
    const Object &module = objects_[names[0]], &name = objects_[names[1]];
    return module.kind == Kind::kString && name.kind == Kind::kString &&
           PushGlobal(TextOf(module), TextOf(name));
  }

  /// ('storage', type, key, location, number of elements): checked when a tensor uses it.
  bool PersistentId() {
    if (!Has(1) || Top().kind != Kind::kTuple) return Fail("refers to something that is not a storage");
    const Id arguments = Top().items;
    stack_.pop_back();
    return Push({.kind = Kind::kStorage, .items = arguments});
  }

  bool Reduce() {
    if (!Has(2)) return false;
    const std::vector<Id> call = Pop(2);
    const Object function = objects_[call[0]], arguments = objects_[call[1]];
    if (function.kind != Kind::kGlobal || arguments.kind != Kind::kTuple)
      return Fail("calls what is no function");
    const size_t count = Items(arguments).size();
    switch (kGlobals[function.integer].kind) {
      case GlobalKind::kOrderedDict:
        return count == 0 ? PushContainer(Kind::kDict) : Fail("builds an OrderedDict in a way of Python 2");
      case GlobalKind::kRebuildTensor:
      case GlobalKind::kRebuildTensorV3:
        return Push({.kind = Kind::kTensor, .items = arguments.items, .integer = function.integer});
      case GlobalKind::kRebuildParameter: {
        if (count == 0 || objects_[Items(arguments)[0]].kind != Kind::kTensor)
          return Fail("has a Parameter without a tensor");
        stack_.push_back(Items(arguments)[0]);
        return true;
      }
      case GlobalKind::kSize: {
        if (count != 1) return false;
        stack_.push_back(Items(arguments)[0]);
        return true;
      }
      case GlobalKind::kDevice:
        return PushOpaque();
      case GlobalKind::kStorageType:
      case GlobalKind::kDType:
        return Fail("calls what is no function");
    }
    return false;
  }

  bool Execute(uint8_t opcode) {
    switch (opcode) {
      case 0x80:
        return reader_.Skip(1);  // PROTO: what a protocol lacks, it does not use
      case 0x95:
        return reader_.Skip(8);  // FRAME
      case '.':
        return marks_.empty();
      case '(':
        marks_.push_back(stack_.size());
        return true;
      case '0':
        return Has(1) && (stack_.pop_back(), true);
      case '1': {
        std::vector<Id> dropped;
        return PopMark(&dropped);
      }
      case '2':
        return Has(1) && (stack_.push_back(stack_.back()), true);  // DUP
      case 'N':
        return PushOpaque();
      case 0x88:
        return PushInteger(1);  // NEWTRUE
      case 0x89:
        return PushInteger(0);  // NEWFALSE
      case 'J':
        return PushRead<int32_t>();
      case 'K':
        return PushRead<uint8_t>();
      case 'M':
        return PushRead<uint16_t>();
      case 0x8a:
        return PushLong<uint8_t>();
      case 0x8b:
        return PushLong<uint32_t>();
      case 'G':
        return reader_.Skip(8) && PushOpaque();  // BINFLOAT
      case 'X':
        return PushText<uint32_t>(Kind::kString);
      case 0x8c:
        return PushText<uint8_t>(Kind::kString);
      case 0x8d:
        return PushText<uint64_t>(Kind::kString);
      case 'T':
        return PushText<uint32_t>(Kind::kString);  // Python 2's str
      case 'U':
        return PushText<uint8_t>(Kind::kString);
      case 'B':
        return PushText<uint32_t>(Kind::kOpaque);
      case 'C':
        return PushText<uint8_t>(Kind::kOpaque);
      case 0x8e:
        return PushText<uint64_t>(Kind::kOpaque);  // BINBYTES8
      case 0x96:
        return PushText<uint64_t>(Kind::kOpaque);  // BYTEARRAY8
      case ')':
        return Tuple(0);
      case 0x85:
        return Tuple(1);
      case 0x86:
        return Tuple(2);
      case 0x87:
        return Tuple(3);
      case 't':
        return MarkedTuple(Kind::kTuple);
      case ']':
        return PushContainer(Kind::kList);
      case 'l':
        return MarkedTuple(Kind::kList);
      case 'a':
        return Has(2) && Append(Pop(1), Kind::kList);
      case 'e':
        return MarkedAppend(Kind::kList);
      case '}':
        return PushContainer(Kind::kDict);
      case 's':
        return Has(3) && Append(Pop(2), Kind::kDict);
      case 'u':
        return MarkedAppend(Kind::kDict);
      case 0x8f:
        return PushOpaque();  // EMPTY_SET
      case 0x90:
        return AddToSet();
      case 0x91: {
        std::vector<Id> items;
        return PopMark(&items) && PushOpaque();
      }  // FROZENSET
      case 'q':
        return Put<uint8_t>();
      case 'r':
        return Put<uint32_t>();
      case 0x94:
        return Memoize(static_cast<uint32_t>(memo_.size()));
      case 'h':
        return Get<uint8_t>();
      case 'j':
        return Get<uint32_t>();
      case 'c':
        return ReadGlobal();
      case 'i':
        return ReadGlobal() && Fail("makes an instance in a way that no tensor needs: refused");  // INST
      case 0x93:
        return StackGlobal();
      case 'Q':
        return PersistentId();
      case 'R':
        return Reduce();
      case 'b':
        return Build();
      default: {
        constexpr char kHex[] = "0123456789abcdef";
        return Fail(std::string("uses opcode 0x") + kHex[opcode >> 4] + kHex[opcode & 15] +
                    ", which torch.save does not write: refused, nothing was run");
      }
    }
  }

  // ---- from objects to tensors ----
  const Object* Item(const Object& container, size_t i, Kind kind) const {
    const std::vector<Id>& items = Items(container);
    return i < items.size() && objects_[items[i]].kind == kind ? &objects_[items[i]] : nullptr;
  }
  const Global* GlobalItem(const Object& container, size_t i, GlobalKind kind) const {
    const Object* o = Item(container, i, Kind::kGlobal);
    return o && kGlobals[o->integer].kind == kind ? &kGlobals[o->integer] : nullptr;
  }
  /// A tuple of integers that are not negative.
  bool ReadCounts(const Object* tuple, std::vector<int64_t>* out) const {
    if (!tuple || Items(*tuple).size() > kMaxStoredRank) return false;
    for (size_t i = 0; i < Items(*tuple).size(); i++) {
      const Object* n = Item(*tuple, i, Kind::kInteger);
      if (!n || n->integer < 0) return false;
      out->push_back(n->integer);
    }
    return true;
  }
  /// Returns what is wrong, or nothing.
  std::string ReadTensor(const Object& tensor, PickledTensor* out) const {
    const Object* storage = Item(tensor, 0, Kind::kStorage);
    const Object* offset = Item(tensor, 1, Kind::kInteger);
    if (!storage) return "has no storage";
    const Object* tag = Item(*storage, 0, Kind::kString);
    const Global* type = GlobalItem(*storage, 1, GlobalKind::kStorageType);
    const Object* key = Item(*storage, 2, Kind::kString);
    const Object* count = Item(*storage, 4, Kind::kInteger);
    if (!tag || TextOf(*tag) != "storage" || !type || !key || key->items > kMaxStorageKey || !count ||
        count->integer < 0 ||
        __builtin_mul_overflow(static_cast<uint64_t>(count->integer),
                               static_cast<uint64_t>(type->element_size), &out->storage_bytes) ||
        out->storage_bytes > INT64_MAX) {
      return "has a storage that makes no sense";
    }
    if (kGlobals[tensor.integer].kind == GlobalKind::kRebuildTensorV3) {
      type = GlobalItem(tensor, 6, GlobalKind::kDType);
      if (!type) return "has no type";
    } else if (type->name == "UntypedStorage") {
      return "has no type";
    }
    out->type = type->name;
    out->loadable = type->dtype.has_value();
    out->dtype = type->dtype.value_or(DType::kF32);
    out->element_size = static_cast<uint64_t>(type->element_size);
    out->storage = TextOf(*key);
    if (!offset || offset->integer < 0) return "has a storage offset that makes no sense";
    out->offset = offset->integer;
    if (!ReadCounts(Item(tensor, 2, Kind::kTuple), &out->dims) ||
        !ReadCounts(Item(tensor, 3, Kind::kTuple), &out->strides) ||
        out->dims.size() != out->strides.size()) {
      return "has sizes or strides that make no sense";
    }
    return "";
  }

  /// The dict that holds the tensors: `root`, or what training programs wrap it in.
  const Object* FindStateDict(const Object& root) const {
    if (root.kind != Kind::kDict) return nullptr;
    for (size_t i = 0; i + 1 < Items(root).size(); i += 2) {
      if (Item(root, i + 1, Kind::kTensor)) return &root;
    }
    for (const char* wrapper : {"state_dict", "model", "module"}) {
      for (size_t i = 0; i + 1 < Items(root).size(); i += 2) {
        const Object* key = Item(root, i, Kind::kString);
        const Object* inner = Item(root, i + 1, Kind::kDict);
        if (key && inner && TextOf(*key) == wrapper) return inner;
      }
    }
    return &root;
  }

  Result<std::vector<PickledTensor>> Collect(Id root) const {
    const Object* dict = FindStateDict(objects_[root]);
    if (!dict)
      return DataError(file_ + ": the pickle is not a dict of tensors: save the model's state_dict()");
    std::vector<PickledTensor> tensors;
    std::set<std::string_view> names;
    for (size_t i = 0; i + 1 < Items(*dict).size(); i += 2) {
      const Object* tensor = Item(*dict, i + 1, Kind::kTensor);
      if (!tensor) continue;
      const Object* key = Item(*dict, i, Kind::kString);
      if (!key) return DataError(file_ + ": the pickle has a tensor whose name is no string");
      const std::string who = file_ + ": tensor '" + Printable(TextOf(*key)) + "' ";
      // A repeated name would also let a short pickle ask for many copies of a long one.
      if (!names.insert(TextOf(*key)).second) return DataError(who + "stands twice");
      if (tensors.size() == kMaxPickledTensors)
        return DataError(file_ + ": the pickle holds more than " + std::to_string(kMaxPickledTensors) +
                         " tensors");
      PickledTensor& out = tensors.emplace_back();
      out.name = TextOf(*key);
      if (std::string problem = ReadTensor(*tensor, &out); !problem.empty()) return DataError(who + problem);
    }
    if (tensors.empty())
      return DataError(file_ + ": the pickle holds no tensors: save the model's state_dict()");
    return tensors;
  }

  std::span<const uint8_t> pickle_;
  ByteReader reader_;
  const std::string& file_;
  std::string problem_;
  // Unlike a vector's, a deque's memory does not double when it grows.
  std::deque<Object> objects_;
  std::deque<std::vector<Id>> items_;  // of tuples, lists and dicts (key, value, key, value, …)
  std::vector<Id> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint32_t, Id, SeededHash> memo_;
#ifdef BIFRONS_PLANTED_BUGS
  volatile char planted_sum_ = 0;
#endif
};

}  // namespace

Result<std::vector<PickledTensor>> ReadPickledTensors(std::span<const uint8_t> pickle,
                                                      const std::string& file) {
  return Unpickler(pickle, file).Run();
}

}  // namespace bifrons
