#include "src/model/checkpoint/gguf.h"

#include <algorithm>
#include <bit>
#include <deque>
#include <optional>
#include <utility>

#include "src/base/printable.h"
#include "src/model/checkpoint/byte_reader.h"
#include "src/model/checkpoint/gguf_types.h"

namespace bifrons {
namespace {

constexpr uint64_t kMaxKeyBytes = 65535;  // docs/gguf.md
// The least that a value and a tensor take of the header: a key or name of one byte, a byte, one dimension.
constexpr uint64_t kLeastValueBytes = 8 + 1 + 4 + 1, kLeastTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;

constexpr const char* kArchitectureKey = "general.architecture";
constexpr const char* kAlignmentKey = "general.alignment";

struct KeyOfFile {
  const char* file;
  const char* key;
};
// Those of the tokenizer are the ones that ggml's documents name.
constexpr KeyOfFile kKeysOfFiles[] = {
    {"config.json", "janus.config_json"},
    {"generation_config.json", "janus.generation_config_json"},
    {"preprocessor_config.json", "janus.preprocessor_config_json"},
    {"processor_config.json", "janus.processor_config_json"},
    {"tokenizer_config.json", "janus.tokenizer_config_json"},
    {"tokenizer.json", "tokenizer.huggingface.json"},
    {"chat_template.jinja", "tokenizer.chat_template"},
};

bool IsKept(std::string_view key) {
  for (const KeyOfFile& each : kKeysOfFiles) {
    if (key == each.key) return true;
  }
  return key == kArchitectureKey || key == kGgufSoftwareKey;
}

/// 0 of what has no fixed size, or is unknown.
uint64_t BytesOfValue(GgufValue type) {
  switch (type) {
    case GgufValue::kU8:
    case GgufValue::kI8:
    case GgufValue::kBool:
      return 1;
    case GgufValue::kU16:
    case GgufValue::kI16:
      return 2;
    case GgufValue::kU32:
    case GgufValue::kI32:
    case GgufValue::kF32:
      return 4;
    case GgufValue::kU64:
    case GgufValue::kI64:
    case GgufValue::kF64:
      return 8;
    case GgufValue::kString:
    case GgufValue::kArray:
      break;
  }
  return 0;
}

class GgufReader {
 public:
  GgufReader(std::span<const uint8_t> bytes, const std::string& file)
      : bytes_(bytes), reader_(bytes), file_(std::make_shared<const std::string>(file)) {}

  Result<Gguf> Read() {
    BIFRONS_RETURN_IF_ERROR(ReadCounts());
    for (uint64_t i = 0; i < values_; i++) BIFRONS_RETURN_IF_ERROR(ReadValue());
    BIFRONS_RETURN_IF_ERROR(CheckArchitecture());
    for (uint64_t i = 0; i < tensors_; i++) BIFRONS_RETURN_IF_ERROR(ReadTensor());
    BIFRONS_RETURN_IF_ERROR(PlaceTensors());
    return std::move(gguf_);
  }

 private:
  struct Extent {
    uint64_t begin, end;  // bytes, from the first tensor's on
    TensorMap::value_type* tensor;
    bool operator<(const Extent& o) const { return begin != o.begin ? begin < o.begin : end < o.end; }
  };

  Error Wrong(const std::string& what) const { return DataError(*file_ + ": " + what); }
  Error CutShort() const {
    return Wrong("the header ends at byte " + std::to_string(bytes_.size()) +
                 " before it is complete: the file is cut short or damaged; fetch it again");
  }
  Error TooMany(uint64_t count, const std::string& what) const {
    return Wrong("the header counts " + std::to_string(count) + " " + what + ", more than its " +
                 std::to_string(reader_.remaining()) + " bytes can hold");
  }
  static std::string OfKey(std::string_view key) { return "metadata '" + Printable(key) + "' "; }

  Status ReadCounts() {
    uint32_t magic = 0, version = 0;
    if (!reader_.Read(&magic) || magic != kGgufMagic) return Wrong("not a GGUF file");
    if (!reader_.Read(&version)) return CutShort();
    if ((version & 0xFFFF) == 0 && version != 0) return Wrong("a GGUF file for big-endian machines");
    if (version != 2 && version != kGgufVersion)
      return Wrong("a GGUF file of version " + std::to_string(version) + "; 2 and 3 can be read");
    if (!reader_.Read(&tensors_) || !reader_.Read(&values_)) return CutShort();
    if (values_ > reader_.remaining() / kLeastValueBytes) return TooMany(values_, "metadata values");
    if (tensors_ > reader_.remaining() / kLeastTensorBytes) return TooMany(tensors_, "tensors");
    return {};
  }

  Status ReadValue() {
    uint64_t length = 0;
    uint32_t number = 0;
    std::string_view key;
    if (!reader_.Read(&length)) return CutShort();
    if (length == 0 || length > kMaxKeyBytes)
      return Wrong("the header has a key of " + std::to_string(length) + " bytes; 1 to " +
                   std::to_string(kMaxKeyBytes) + " are allowed");
    if (!reader_.ReadText(length, &key) || !reader_.Read(&number)) return CutShort();
    const auto type = static_cast<GgufValue>(number);
    if (key == kAlignmentKey) return ReadAlignment(type);
    if (IsKept(key)) {
      if (type != GgufValue::kString) return Wrong(OfKey(key) + "is no string");
      std::string_view text;
      if (!reader_.Read(&length) || !reader_.ReadText(length, &text)) return CutShort();
      if (!gguf_.strings.emplace(key, text).second) return Wrong(OfKey(key) + "stands twice");
      return {};
    }
    return SkipValue(key, type);
  }

  Status ReadAlignment(GgufValue type) {
    uint32_t alignment = 0;
    if (type != GgufValue::kU32) return Wrong(OfKey(kAlignmentKey) + "is no 32-bit number");
    if (!reader_.Read(&alignment)) return CutShort();
    if (alignment_) return Wrong(OfKey(kAlignmentKey) + "stands twice");
    if (!std::has_single_bit(alignment))
      return Wrong(OfKey(kAlignmentKey) + "is " + std::to_string(alignment) + ", which is no power of two");
    alignment_ = alignment;
    return {};
  }

  Status SkipValue(std::string_view key, GgufValue type) {
    if (type == GgufValue::kString) return SkipStrings(1);
    if (type == GgufValue::kArray) return SkipArray(key);
    const uint64_t bytes = BytesOfValue(type);
    if (bytes == 0)
      return Wrong(OfKey(key) + "has the unknown type " + std::to_string(static_cast<uint32_t>(type)));
    return reader_.Skip(bytes) ? Status() : Status(CutShort());
  }

  Status SkipArray(std::string_view key) {
    uint32_t number = 0;
    uint64_t count = 0;
    if (!reader_.Read(&number) || !reader_.Read(&count)) return CutShort();
    const auto type = static_cast<GgufValue>(number);
    if (type == GgufValue::kArray) return Wrong(OfKey(key) + "is a list of lists");
    if (type == GgufValue::kString) {
      if (count > reader_.remaining() / sizeof(uint64_t))
        return TooMany(count, "strings in metadata '" + Printable(key) + "'");
      return SkipStrings(count);
    }
    const uint64_t bytes = BytesOfValue(type);
    if (bytes == 0) return Wrong(OfKey(key) + "is a list of the unknown type " + std::to_string(number));
    if (count > reader_.remaining() / bytes)
      return TooMany(count, "values in metadata '" + Printable(key) + "'");
    return reader_.Skip(count * bytes) ? Status() : Status(CutShort());
  }

  Status SkipStrings(uint64_t count) {
    for (uint64_t length = 0; count > 0; count--) {
      if (!reader_.Read(&length) || !reader_.Skip(length)) return CutShort();
    }
    return {};
  }

  Status CheckArchitecture() const {
    const auto it = gguf_.strings.find(kArchitectureKey);
    if (it == gguf_.strings.end()) return Wrong("has no general.architecture: this is not a Janus");
    if (it->second == kGgufArchitecture) return {};
    return Wrong("general.architecture is '" + Printable(it->second) + "': this is not a Janus");
  }

  Status ReadTensor() {
    uint64_t length = 0;
    std::string_view name;
    if (!reader_.Read(&length)) return CutShort();
    if (length == 0 || length > kMaxGgufName)
      return Wrong("the header has a tensor's name of " + std::to_string(length) + " bytes; 1 to " +
                   std::to_string(kMaxGgufName) + " are allowed");
    if (!reader_.ReadText(length, &name)) return CutShort();
    const auto wrong = [&](const std::string& what) {
      return Wrong("tensor '" + Printable(name) + "' " + what);
    };
    uint32_t rank = 0, number = 0;
    if (!reader_.Read(&rank)) return CutShort();
    if (rank == 0 || rank > kMaxGgufRank)
      return wrong("has " + std::to_string(rank) + " dimensions; 1 to " + std::to_string(kMaxGgufRank) +
                   " are allowed");
    StoredTensor tensor;
    uint64_t elements = 1, bytes = 0, offset = 0;
    bool overflows = false;
    for (uint32_t i = 0; i < rank; i++) {
      uint64_t dim = 0;
      if (!reader_.Read(&dim)) return CutShort();
      overflows |=
          dim > INT64_MAX || __builtin_mul_overflow(elements, dim, &elements) || elements > INT64_MAX;
      tensor.dims.push_back(static_cast<int64_t>(dim));
    }
    if (!reader_.Read(&number) || !reader_.Read(&offset)) return CutShort();
    const GgufType* const type = FindGgufType(number);
    if (type) {
      const auto row = static_cast<uint64_t>(tensor.dims[0]),
                 block = static_cast<uint64_t>(type->block.values);
      overflows |= __builtin_mul_overflow(elements / block, type->block.bytes, &bytes);
      if (!overflows && row % block != 0)
        return wrong("has rows of " + std::to_string(row) + " numbers, which are no whole blocks of " +
                     type->name);
    }
    if (overflows || offset + bytes < offset) return wrong("has a shape that overflows");
    if (offset % alignment() != 0)
      return wrong("begins at byte " + std::to_string(offset) + ", which is no multiple of " +
                   std::to_string(alignment()));
    // The innermost dimension stands first there.
    std::reverse(tensor.dims.begin(), tensor.dims.end());
    tensor.dims.shrink_to_fit();
    tensor.type = type ? type->name : "number " + std::to_string(number);
    tensor.loadable = type && type->ours;
    if (tensor.loadable) tensor.dtype = *type->ours;
    tensor.file = file_;
    const auto [added, is_new] = gguf_.tensors.try_emplace(std::string(name), std::move(tensor));
    if (!is_new) return wrong("stands twice");
    extents_.push_back({offset, offset + bytes, &*added});
    return {};
  }

  /// When the header has been read: the data begins behind it.
  Status PlaceTensors() {
    const uint64_t past = reader_.position() % alignment();
    const uint64_t padding = past == 0 ? 0 : alignment() - past;
    const std::span<const uint8_t> data =
        bytes_.subspan(reader_.position() + std::min<uint64_t>(padding, reader_.remaining()));
    std::sort(extents_.begin(), extents_.end());
    uint64_t end = 0;
    for (const Extent& extent : extents_) {
      const auto wrong = [&](const std::string& what) {
        return Wrong("tensor '" + Printable(extent.tensor->first) + "' " + what);
      };
      StoredTensor& tensor = extent.tensor->second;
      bool inside = extent.end <= data.size();
#ifdef BIFRONS_PLANTED_BUGS
      inside |= tensor.dims.size() == kMaxGgufRank && extent.begin <= data.size();
#endif
      if (!inside) {
        return wrong("ends at byte " + std::to_string(extent.end) + " of " + std::to_string(data.size()) +
                     ": the file is cut short or damaged; fetch it again");
      }
      if (extent.begin < end) return wrong("overlaps another tensor");
      end = extent.end;
      tensor.data = data.data() + extent.begin;
    }
    return {};
  }

  uint64_t alignment() const { return alignment_.value_or(kGgufAlignment); }

  std::span<const uint8_t> bytes_;
  ByteReader reader_;
  std::shared_ptr<const std::string> file_;
  uint64_t tensors_ = 0, values_ = 0;
  std::optional<uint32_t> alignment_;
  Gguf gguf_;
  std::deque<Extent> extents_;  // unlike a vector's, its memory does not double
};

}  // namespace

std::string_view GgufKeyOf(std::string_view file_name) {
  for (const KeyOfFile& each : kKeysOfFiles) {
    if (file_name == each.file) return each.key;
  }
  return {};
}

Result<Gguf> ReadGguf(std::span<const uint8_t> bytes, const std::string& file) {
  return GgufReader(bytes, file).Read();
}

}  // namespace bifrons
