#include "src/model/checkpoint/safetensors.h"

#include <algorithm>
#include <deque>
#include <nlohmann/json.hpp>
#include <utility>

#include "src/base/printable.h"
#include "src/model/checkpoint/byte_reader.h"

namespace bifrons {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;  // the official limit

struct TypeInfo {
  const char* name;
  int bits;
};
constexpr TypeInfo kTypes[] = {
    {"F32", 32},        {"BF16", 16},   {"F16", 16},    {"F64", 64},    {"I64", 64},        {"I32", 32},
    {"I16", 16},        {"I8", 8},      {"U64", 64},    {"U32", 32},    {"U16", 16},        {"U8", 8},
    {"BOOL", 8},        {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"C64", 64},
    {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},
};

/// 0: a type that was invented later.
int BitsOf(std::string_view type) {
  for (const TypeInfo& t : kTypes) {
    if (type == t.name) return t.bits;
  }
  return 0;
}

/// One tensor's entry while it is read.
struct Entry {
  std::string name, type;
  std::vector<int64_t> shape;
  uint64_t offsets[2] = {0, 0};
  size_t offset_count = 0;
  bool has_shape = false, has_offsets = false, has_type = false;
};

/// `bits` is 0 for unknown types, whose size cannot be checked. Returns what is wrong, or nothing.
std::string CheckSize(const Entry& e, int bits) {
  if (!e.has_type || !e.has_shape || !e.has_offsets) return "lacks its dtype, shape or data_offsets";
  if (e.offset_count != 2) return "needs two data_offsets";
  uint64_t elements = 1;
  for (int64_t d : e.shape) {
    if (__builtin_mul_overflow(elements, static_cast<uint64_t>(d), &elements) || elements > INT64_MAX)
      return "has a shape that overflows";
  }
  uint64_t total_bits = 0;
  if (__builtin_mul_overflow(elements, static_cast<uint64_t>(bits), &total_bits))
    return "has a shape that overflows";
  if (e.offsets[1] < e.offsets[0]) return "ends before it begins";
  if (bits != 0 && (total_bits % 8 != 0 || total_bits / 8 != e.offsets[1] - e.offsets[0])) {
    return "has a shape that needs " + std::to_string(total_bits / 8) + " bytes, but its data_offsets span " +
           std::to_string(e.offsets[1] - e.offsets[0]);
  }
  return "";
}

/// Builds tensors straight from the parser's events: no document tree that a hostile header could blow up,
/// and repeated names, which a tree would merge, are seen.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderHandler(std::span<const uint8_t> data, const std::string& file)
      : data_(data), file_(std::make_shared<const std::string>(file)) {}

  /// When the whole header has been read: the tensors, if they cover the data.
  Result<TensorMap> Finish() {
    std::sort(extents_.begin(), extents_.end());
    uint64_t end = 0;
    for (const Extent& e : extents_) {
      if (e.begin != end) {
        return DataError(*file_ + ": tensor '" + Printable(*e.name) + "' " +
                         (e.begin < end ? "overlaps another tensor" : "leaves a hole before it"));
      }
      end = e.end;
    }
    if (end != data_.size()) {
      return DataError(*file_ + ": the tensors end at byte " + std::to_string(end) + " of " +
                       std::to_string(data_.size()) + " of data: the header or the file is damaged");
    }
    return std::move(tensors_);
  }
  const Error& error() const { return error_; }

  bool null() override { return Scalar("null"); }
  bool boolean(bool) override { return Scalar("a boolean"); }
  bool number_integer(number_integer_t) override { return Scalar("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return Scalar("a fraction"); }
  bool binary(binary_t&) override { return Scalar("binary data"); }
  bool number_unsigned(number_unsigned_t value) override {
    if (skip_depth_ > 0 || !in_list_) return Scalar("a number");
    if (value > INT64_MAX) return Fail("has a number beyond 2^63 in its " + NameOfField());
    if (field_ == Field::kOffsets) {
      if (entry_.offset_count < 2) entry_.offsets[entry_.offset_count] = value;
      entry_.offset_count++;
    } else if (entry_.shape.size() == kMaxStoredRank) {
      return Fail("has more than " + std::to_string(kMaxStoredRank) + " dimensions");
    } else {
      entry_.shape.push_back(static_cast<int64_t>(value));
    }
    return true;
  }
  bool string(string_t& value) override {
    if (skip_depth_ > 0 || place_ == Place::kMetadata) return true;
    if (place_ != Place::kTensor || in_list_ || field_ != Field::kType) return Scalar("a string");
    // Longer ones cannot be known types.
    entry_.type = Printable(value);
    return true;
  }

  bool start_object(size_t) override {
    if (skip_depth_ > 0) return skip_depth_++, true;
    switch (place_) {
      case Place::kStart:
        place_ = Place::kTop;
        return true;
      case Place::kTop:
        place_ = entry_.name == "__metadata__" ? Place::kMetadata : Place::kTensor;
        return true;
      case Place::kTensor:
        return StartSkip("an object");
      default:
        return Fail("has a __metadata__ that is not a map of strings");
    }
  }
  bool end_object() override {
    if (skip_depth_ > 0) return skip_depth_--, true;
    if (place_ == Place::kTensor && !AddTensor()) return false;
    place_ = place_ == Place::kTop ? Place::kEnd : Place::kTop;
    return true;
  }
  bool start_array(size_t) override {
    if (skip_depth_ > 0) return skip_depth_++, true;
    if (place_ != Place::kTensor || in_list_) return Scalar("an array");
    if (field_ != Field::kShape && field_ != Field::kOffsets) return StartSkip("an array");
    in_list_ = true;
    return true;
  }
  bool end_array() override {
    if (skip_depth_ > 0) return skip_depth_--, true;
    in_list_ = false;
    return true;
  }

  bool key(string_t& value) override {
    if (skip_depth_ > 0) return true;
    if (place_ == Place::kTop) {
      entry_ = {};
      entry_.name = std::move(value);
    }
    if (place_ != Place::kTensor) return true;
    field_ = value == "dtype"          ? Field::kType
             : value == "shape"        ? Field::kShape
             : value == "data_offsets" ? Field::kOffsets
                                       : Field::kOther;
    bool* seen = field_ == Field::kType      ? &entry_.has_type
                 : field_ == Field::kShape   ? &entry_.has_shape
                 : field_ == Field::kOffsets ? &entry_.has_offsets
                                             : nullptr;
    if (seen && std::exchange(*seen, true)) return Fail("says " + NameOfField() + " twice");
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    error_ = DataError(*file_ + ": the header is not valid JSON at byte " + std::to_string(position));
    return false;
  }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensor, kEnd };
  enum class Field { kOther, kType, kShape, kOffsets };
  struct Extent {
    uint64_t begin, end;
    const std::string* name;  // the key in tensors_
    bool operator<(const Extent& o) const { return begin != o.begin ? begin < o.begin : end < o.end; }
  };

  bool Fail(const std::string& what) {
    const std::string who = place_ == Place::kTensor ? "tensor '" + Printable(entry_.name) + "' " : "";
    error_ = DataError(*file_ + ": the header " + who + what);
    return false;
  }
  std::string NameOfField() const {
    return field_ == Field::kType ? "dtype" : field_ == Field::kShape ? "shape" : "data_offsets";
  }
  /// Fields that were invented later are ignored, like the official reader does.
  bool StartSkip(const char* what) {
    if (field_ != Field::kOther) return Fail("has " + std::string(what) + " as its " + NameOfField());
    skip_depth_ = 1;
    return true;
  }
  bool Scalar(const char* what) {
    if (skip_depth_ > 0) return true;
    if (place_ == Place::kTensor) {
      return field_ == Field::kOther || Fail("has " + std::string(what) + " in its " + NameOfField());
    }
    if (place_ == Place::kMetadata) return Fail("has a __metadata__ that is not a map of strings");
    if (place_ != Place::kTop) return Fail("is not a JSON object");
    if (entry_.name != "__metadata__")
      return Fail("has " + std::string(what) + " in the place of tensor '" + Printable(entry_.name) + "'");
    return std::string_view(what) == "null" || Fail("has a __metadata__ that is not a map of strings");
  }

  bool AddTensor() {
    const auto wrong = [&](const std::string& what) {
      error_ = DataError(*file_ + ": tensor '" + Printable(entry_.name) + "' " + what);
      return false;
    };
    if (std::string problem = CheckSize(entry_, BitsOf(entry_.type)); !problem.empty()) return wrong(problem);
    const auto [begin, end] = entry_.offsets;
    if (end > data_.size()) {
      return wrong("ends at byte " + std::to_string(end) + " of " + std::to_string(data_.size()) +
                   ": the file is cut short or damaged; fetch it again");
    }
    const auto [added, is_new] = tensors_.try_emplace(std::move(entry_.name));
    if (!is_new) return wrong("stands twice");
    StoredTensor& t = added->second;
    t.loadable = true;
    if (entry_.type == "F32")
      t.dtype = DType::kF32;
    else if (entry_.type == "BF16")
      t.dtype = DType::kBF16;
    else if (entry_.type == "F16")
      t.dtype = DType::kF16;
    else
      t.loadable = false;
    t.type = std::move(entry_.type);
    t.dims.assign(entry_.shape.begin(), entry_.shape.end());  // no larger than it needs to be
    t.data = data_.data() + begin;
    t.file = file_;
    extents_.push_back({begin, end, &added->first});
    return true;
  }

  std::span<const uint8_t> data_;
  std::shared_ptr<const std::string> file_;
  Error error_;
  TensorMap tensors_;
  std::deque<Extent> extents_;  // unlike a vector's, its memory does not double
  Place place_ = Place::kStart;
  int64_t skip_depth_ = 0;
  Entry entry_;
  Field field_ = Field::kOther;
  bool in_list_ = false;
};

}  // namespace

Result<TensorMap> ReadSafetensors(std::span<const uint8_t> bytes, const std::string& file) {
  ByteReader reader(bytes);
  uint64_t header_size = 0;
  if (!reader.Read(&header_size))
    return DataError(file + ": too short for a safetensors file; fetch it again");
  if (header_size > kMaxHeader) {
    return DataError(file + ": not a safetensors file (its header would be " + std::to_string(header_size) +
                     " bytes)");
  }
  std::string_view header;
#ifdef BIFRONS_PLANTED_BUGS
  header = {reinterpret_cast<const char*>(bytes.data()) + 8, static_cast<size_t>(header_size)};
  if (!reader.Skip(header_size) && header_size > 4096) {
#else
  if (!reader.ReadText(header_size, &header)) {
#endif
    return DataError(file + ": the header of " + std::to_string(header_size) +
                     " bytes is longer than the file; fetch it again");
  }
  // The JSON library takes a NUL for the end and skips a byte order mark; the format allows neither.
  if (header.empty() || header[0] != '{' || header.find('\0') != header.npos) {
    return DataError(file + ": the header is not a JSON object");
  }
  HeaderHandler handler(bytes.subspan(reader.position()), file);
  if (!nlohmann::json::sax_parse(header.begin(), header.end(), &handler)) return handler.error();
  return handler.Finish();
}

}  // namespace bifrons
