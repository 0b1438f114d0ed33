#include "src/model/checkpoint/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>

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
int BitsOf(const std::string& type) {
  for (const TypeInfo& t : kTypes) {
    if (type == t.name) return t.bits;
  }
  return 0;
}

struct Entry {
  std::string name, type;
  std::vector<uint64_t> shape, offsets;
  bool has_shape = false, has_offsets = false, has_type = false;
};

/// Builds entries straight from the parser's events: no document tree that a hostile header could blow up,
/// and repeated names, which a tree would merge, are seen.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<Entry> entries;
  std::string problem;

  bool null() override { return Scalar("null"); }
  bool boolean(bool) override { return Scalar("a boolean"); }
  bool number_integer(number_integer_t) override { return Scalar("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return Scalar("a fraction"); }
  bool binary(binary_t&) override { return Scalar("binary data"); }
  bool number_unsigned(number_unsigned_t value) override {
    if (skip_depth_ > 0 || array_ == nullptr) return Scalar("a number");
    if (value > INT64_MAX) return Fail("has a number beyond 2^63 in its " + field_);
    array_->push_back(value);
    return true;
  }
  bool string(string_t& value) override {
    if (place_ == Place::kTensor && skip_depth_ == 0 && array_ == nullptr && field_ == "dtype") {
      entries.back().type = value;
      field_.clear();
      return true;
    }
    if (place_ == Place::kMetadata && skip_depth_ == 0) return true;
    return Scalar("a string");
  }

  bool start_object(size_t) override {
    if (skip_depth_ > 0) return skip_depth_++, true;
    switch (place_) {
      case Place::kStart:
        place_ = Place::kTop;
        return true;
      case Place::kTop:
        if (key_ == "__metadata__") {
          place_ = Place::kMetadata;
        } else {
          place_ = Place::kTensor;
          entries.emplace_back().name = key_;
        }
        return true;
      case Place::kTensor:
        return StartSkip("an object");
      default:
        return Fail("has a __metadata__ that is not a map of strings");
    }
  }
  bool end_object() override {
    if (skip_depth_ > 0) return skip_depth_--, true;
    place_ = place_ == Place::kTop ? Place::kEnd : Place::kTop;
    return true;
  }
  bool start_array(size_t) override {
    if (skip_depth_ > 0) return skip_depth_++, true;
    if (place_ != Place::kTensor || array_ != nullptr) return Scalar("an array");
    if (field_ == "shape") {
      array_ = &entries.back().shape;
    } else if (field_ == "data_offsets") {
      array_ = &entries.back().offsets;
    } else {
      return StartSkip("an array");
    }
    return true;
  }
  bool end_array() override {
    if (skip_depth_ > 0) return skip_depth_--, true;
    array_ = nullptr;
    return true;
  }

  bool key(string_t& value) override {
    if (skip_depth_ > 0) return true;
    if (place_ == Place::kTop) key_ = value;
    if (place_ != Place::kTensor) return true;
    Entry& e = entries.back();
    field_ = value;
    bool* seen = value == "dtype"          ? &e.has_type
                 : value == "shape"        ? &e.has_shape
                 : value == "data_offsets" ? &e.has_offsets
                                           : nullptr;
    if (seen && std::exchange(*seen, true)) return Fail("says " + value + " twice");
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    problem = "is not valid JSON at byte " + std::to_string(position);
    return false;
  }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensor, kEnd };

  bool Fail(const std::string& what) {
    problem = place_ == Place::kTensor ? "tensor '" + Printable(key_) + "' " + what : what;
    return false;
  }
  bool KnownField() const { return field_ == "dtype" || field_ == "shape" || field_ == "data_offsets"; }
  /// Fields that were invented later are ignored, like the official reader does.
  bool StartSkip(const char* what) {
    if (KnownField()) return Fail("has " + std::string(what) + " as its " + field_);
    skip_depth_ = 1;
    return true;
  }
  bool Scalar(const char* what) {
    if (skip_depth_ > 0) return true;
    if (place_ == Place::kTensor) {
      return KnownField() ? Fail("has " + std::string(what) + " in its " + field_) : true;
    }
    if (place_ == Place::kMetadata) return Fail("has a __metadata__ that is not a map of strings");
    if (place_ == Place::kTop && key_ == "__metadata__" && std::string_view(what) == "null") return true;
    if (place_ == Place::kTop)
      return Fail("has " + std::string(what) + " in the place of tensor '" + Printable(key_) + "'");
    return Fail("is not a JSON object");
  }

  Place place_ = Place::kStart;
  int64_t skip_depth_ = 0;
  std::string key_, field_;
  std::vector<uint64_t>* array_ = nullptr;
};

/// `bits` is 0 for unknown types, whose size cannot be checked. Returns what is wrong, or nothing.
std::string CheckSize(const Entry& e, int bits) {
  if (!e.has_type || !e.has_shape || !e.has_offsets) return "lacks its dtype, shape or data_offsets";
  if (e.offsets.size() != 2) return "needs two data_offsets";
  uint64_t elements = 1;
  for (uint64_t d : e.shape) {
    if (__builtin_mul_overflow(elements, d, &elements) || elements > INT64_MAX)
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

StoredTensor ToStored(const Entry& e, const uint8_t* data, const std::string& file) {
  StoredTensor t;
  t.type = Printable(e.type);
  t.loadable = true;
  if (e.type == "F32")
    t.dtype = DType::kF32;
  else if (e.type == "BF16")
    t.dtype = DType::kBF16;
  else if (e.type == "F16")
    t.dtype = DType::kF16;
  else
    t.loadable = false;
  t.dims.assign(e.shape.begin(), e.shape.end());
  t.strides.assign(e.shape.size(), 1);
  for (size_t i = e.shape.size(); i-- > 1;) {
    // Overflow needs a zero among the dimensions; then no stride is ever used.
    if (__builtin_mul_overflow(t.strides[i], t.dims[i], &t.strides[i - 1])) t.strides[i - 1] = 0;
  }
  t.data = data + e.offsets[0];
  t.file = file;
  return t;
}

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
  HeaderHandler handler;
  if (!nlohmann::json::sax_parse(header.begin(), header.end(), &handler)) {
    return DataError(file + ": the header " + handler.problem);
  }

  std::vector<Entry>& entries = handler.entries;
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.offsets < b.offsets; });
  const uint64_t data_size = reader.remaining();
  const uint8_t* data = bytes.data() + reader.position();
  TensorMap tensors;
  uint64_t end = 0;
  for (const Entry& e : entries) {
    const std::string who = file + ": tensor '" + Printable(e.name) + "' ";
    if (std::string problem = CheckSize(e, BitsOf(e.type)); !problem.empty()) return DataError(who + problem);
    if (e.offsets[1] > data_size) {
      return DataError(who + "ends at byte " + std::to_string(e.offsets[1]) + " of " +
                       std::to_string(data_size) + ": the file is cut short or damaged; fetch it again");
    }
    if (e.offsets[0] != end) {
      return DataError(who + (e.offsets[0] < end ? "overlaps another tensor" : "leaves a hole before it"));
    }
    end = e.offsets[1];
    if (!tensors.emplace(e.name, ToStored(e, data, file)).second) return DataError(who + "stands twice");
  }
  if (end != data_size) {
    return DataError(file + ": the tensors end at byte " + std::to_string(end) + " of " +
                     std::to_string(data_size) + " of data: the header or the file is damaged");
  }
  return tensors;
}

}  // namespace bifrons
