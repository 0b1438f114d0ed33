#include "src/model/checkpoint/unpickler.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/base/printable.h"
#include "src/base/seeded_hash.h"
#include "src/model/checkpoint/byte_reader.h"
#include "src/model/checkpoint/pickle.h"

namespace bifrons::pickle {
namespace {

class Unpickler {
 public:
  Unpickler(std::span<const uint8_t> pickle, const std::string& file) : reader_(pickle), file_(file) {
    objects_.pickle = pickle;
  }

  Result<Objects> Run() {
    if (objects_.pickle.size() > kMaxPickleBytes) {
      return DataError(file_ + ": the pickle has " + std::to_string(objects_.pickle.size()) +
                       " bytes; at most " + std::to_string(kMaxPickleBytes) + " make sense");
    }
    uint8_t opcode = 0;
    do {
      if (!reader_.Read(&opcode)) return Damaged("ends too early");
      // Each of these can grow with every byte; the last two are the cheapest.
      if (std::max({objects_.all.size(), memo_.size(), marks_.size() / 2, stack_.size() / 4}) >
          kMaxPickleObjects)
        return Damaged("has more than a million objects");
      if (!Execute(opcode)) return Damaged(problem_.empty() ? "is damaged" : problem_);
    } while (opcode != '.');
    if (stack_.empty()) return Damaged("is empty");
    objects_.root = stack_.back();
    return std::move(objects_);
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
    objects_.all.push_back(object);
    stack_.push_back(static_cast<Id>(objects_.all.size() - 1));
    return true;
  }
  bool PushOpaque() { return Push({}); }
  bool PushInteger(int64_t value) { return Push({.kind = Kind::kInteger, .integer = value}); }
  bool PushContainer(Kind kind, std::vector<Id> items = {}) {
    objects_.items.push_back(std::move(items));
    return Push({.kind = kind, .items = static_cast<Id>(objects_.items.size() - 1)});
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
  const Object& Top() const { return objects_.all[stack_.back()]; }

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
    return Push(
        {.kind = kind, .items = static_cast<Id>(text.size()), .integer = begin - objects_.pickle.data()});
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
    std::vector<Id>& all = objects_.items[Top().items];
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
    for (size_t i = 0; i < Globals().size(); i++) {
      if (Globals()[i].module == module && Globals()[i].name == name) {
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
    const Object &module = objects_.all[names[0]], &name = objects_.all[names[1]];
    return module.kind == Kind::kString && name.kind == Kind::kString &&
           PushGlobal(objects_.TextOf(module), objects_.TextOf(name));
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
    const Object function = objects_.all[call[0]], arguments = objects_.all[call[1]];
    if (function.kind != Kind::kGlobal || arguments.kind != Kind::kTuple)
      return Fail("calls what is no function");
    const size_t count = objects_.ItemsOf(arguments).size();
    switch (Globals()[function.integer].kind) {
      case GlobalKind::kOrderedDict:
        return count == 0 ? PushContainer(Kind::kDict) : Fail("builds an OrderedDict in a way of Python 2");
      case GlobalKind::kRebuildTensor:
      case GlobalKind::kRebuildTensorV3:
        return Push({.kind = Kind::kTensor, .items = arguments.items, .integer = function.integer});
      case GlobalKind::kRebuildParameter: {
        if (count == 0 || objects_.all[objects_.ItemsOf(arguments)[0]].kind != Kind::kTensor)
          return Fail("has a Parameter without a tensor");
        stack_.push_back(objects_.ItemsOf(arguments)[0]);
        return true;
      }
      case GlobalKind::kSize: {
        if (count != 1) return false;
        stack_.push_back(objects_.ItemsOf(arguments)[0]);
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

  ByteReader reader_;
  const std::string& file_;
  std::string problem_;
  Objects objects_;
  std::vector<Id> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint32_t, Id, SeededHash> memo_;
#ifdef BIFRONS_PLANTED_BUGS
  volatile char planted_sum_ = 0;
#endif
};

}  // namespace

Result<Objects> Unpickle(std::span<const uint8_t> pickle, const std::string& file) {
  return Unpickler(pickle, file).Run();
}

}  // namespace bifrons::pickle
