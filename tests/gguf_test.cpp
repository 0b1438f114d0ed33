// GGUF files as bytes: what is written is read again, and what is wrong is told in one line.
#include "src/model/checkpoint/gguf.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>

#include "src/model/checkpoint/gguf_header.h"

namespace bifrons {
namespace {

using Catch::Contains;

std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string ErrorOf(const std::string& file) {
  // Of its own size, so that the sanitizers see a byte too far.
  const std::vector<uint8_t> bytes(file.begin(), file.end());
  const auto gguf = ReadGguf(bytes, "f.gguf");
  if (gguf.ok()) return "";
  CHECK(gguf.error().kind == ErrorKind::kBadData);
  CHECK(gguf.error().message.find('\n') == std::string::npos);
  return gguf.error().message;
}

// ---- files by hand, so that they can be wrong -------------------------------------------------------------

template <class T>
std::string Number(T number) {
  return {reinterpret_cast<const char*>(&number), sizeof number};
}
std::string Text(const std::string& text) { return Number<uint64_t>(text.size()) + text; }
std::string Key(const std::string& key, GgufValue type) {
  return Text(key) + Number(static_cast<uint32_t>(type));
}

const std::string kArchitecture = Key("general.architecture", GgufValue::kString) + Text("janus");

struct Written {
  std::string name = "a";
  std::vector<uint64_t> dims = {4};  // the innermost first
  uint32_t type = 0;                 // F32
  uint64_t offset = 0;
};

std::string Info(const Written& t) {
  std::string info = Text(t.name) + Number(static_cast<uint32_t>(t.dims.size()));
  for (const uint64_t dim : t.dims) info += Number(dim);
  return info + Number(t.type) + Number(t.offset);
}

struct File {
  uint32_t version = 3;
  std::vector<std::string> values = {kArchitecture};
  std::vector<Written> tensors = {};
  size_t data_bytes = 64;
  std::optional<uint64_t> tensor_count = {}, value_count = {};  // none: as many as there are

  std::string ToString() const {
    std::string file = "GGUF" + Number(version) + Number<uint64_t>(tensor_count.value_or(tensors.size())) +
                       Number<uint64_t>(value_count.value_or(values.size()));
    for (const std::string& value : values) file += value;
    for (const Written& tensor : tensors) file += Info(tensor);
    file.resize((file.size() + 31) / 32 * 32);
    return file + std::string(data_bytes, 'x');
  }
};

std::string WithValue(const std::string& value) {
  return ErrorOf(File{.values = {kArchitecture, value}}.ToString());
}
std::string WithTensors(const std::vector<Written>& tensors) {
  return ErrorOf(File{.tensors = tensors}.ToString());
}

TEST_CASE("what is written is read again") {
  GgufHeader header;
  header.Add("general.architecture", "janus");
  header.Add("general.alignment", kGgufAlignment);
  header.Add("tokenizer.ggml.tokens", std::vector<std::string>{"a", "", "ccc"});
  header.Add("tokenizer.ggml.token_type", std::vector<int32_t>{1, -1, 3});
  header.Add("janus.config_json", "{}");
  const std::vector<std::tuple<std::string, DType, Shape>> tensors = {
      {"f32", DType::kF32, {3}},       {"f16", DType::kF16, {2, 3, 1, 5}}, {"bf16", DType::kBF16, {5, 7}},
      {"q8_0", DType::kQ8_0, {3, 64}}, {"q4_0", DType::kQ4_0, {1, 32}},    {"q4_k", DType::kQ4_K, {2, 512}}};
  std::string data;
  for (const auto& [name, type, shape] : tensors) {
    header.AddTensor(name, type, shape);
    data += std::string(BytesOf(type, shape), static_cast<char>('a' + data.size() % 26));
    data.append(GgufHeader::PaddingOf(data.size()), '\0');
  }
  REQUIRE(data.size() == header.data_bytes());
  const std::string file = header.Text() + data;
  CHECK(header.Text().size() % kGgufAlignment == 0);
  const auto gguf = ReadGguf(Bytes(file), "f");
  REQUIRE((gguf.ok() ? "" : gguf.error().message) == std::string());
  CHECK(gguf->Find(GgufKeyOf("config.json")) == "{}");
  CHECK(gguf->Find("tokenizer.ggml.tokens").empty());
  REQUIRE(gguf->tensors.size() == tensors.size());
  uint64_t offset = 0;
  for (const auto& [name, type, shape] : tensors) {
    INFO(name);
    const StoredTensor& stored = gguf->tensors.at(name);
    CHECK(stored.loadable);
    CHECK(stored.dtype == type);
    REQUIRE(stored.dims.size() == static_cast<size_t>(shape.rank()));
    for (int i = 0; i < shape.rank(); i++) CHECK(stored.dims[static_cast<size_t>(i)] == shape[i]);
    CHECK(stored.extent().data() == Bytes(file).data() + header.Text().size() + offset);
    CHECK(stored.extent().size() == BytesOf(type, shape));
    offset += BytesOf(type, shape) + GgufHeader::PaddingOf(BytesOf(type, shape));
  }
}

TEST_CASE("a file that ends anywhere before its last tensor does is refused") {
  const std::string file =
      File{.values = {kArchitecture, Key("a", GgufValue::kArray) +
                                         Number(static_cast<uint32_t>(GgufValue::kString)) +
                                         Number<uint64_t>(2) + Text("x") + Text("yz")},
           .tensors = {{.name = "a"}, {.name = "b", .dims = {2, 3}, .offset = 32}},
           .data_bytes = 56}
          .ToString();
  REQUIRE(ErrorOf(file).empty());
  for (size_t n = 0; n < file.size(); n++) {
    INFO(n << " of " << file.size() << " bytes");
    const std::string error = ErrorOf(file.substr(0, n));
    REQUIRE_THAT(error, Contains("cut short") || Contains("not a GGUF") || Contains("bytes can hold"));
  }
}

TEST_CASE("what is no GGUF of a Janus is refused by what it is") {
  CHECK(ErrorOf("GGUX") == "f.gguf: not a GGUF file");
  CHECK_THAT(ErrorOf(File{.version = 1}.ToString()), Contains("of version 1; 2 and 3 can be read"));
  CHECK_THAT(ErrorOf(File{.version = 4}.ToString()), Contains("of version 4"));
  CHECK_THAT(ErrorOf(File{.version = 0x03000000}.ToString()), Contains("for big-endian machines"));
  CHECK(ErrorOf(File{.version = 2}.ToString()).empty());
  CHECK(ErrorOf(File{.values = {}}.ToString()) == "f.gguf: has no general.architecture: this is not a Janus");
  CHECK(
      ErrorOf(File{.values = {Key("general.architecture", GgufValue::kString) + Text("llama")}}.ToString()) ==
      "f.gguf: general.architecture is 'llama': this is not a Janus");
  // Whatever else such a file has.
  CHECK_THAT(ErrorOf(File{.values = {Key("general.architecture", GgufValue::kString) + Text("ll\nama")},
                          .tensors = {{.dims = {1, 1, 1, 1, 1}}}}
                         .ToString()),
             Contains("'ll?ama': this is not a Janus"));
  CHECK_THAT(
      ErrorOf(
          File{.values = {Key("general.architecture", GgufValue::kU32) + Number<uint32_t>(1)}}.ToString()),
      Contains("'general.architecture' is no string"));
}

TEST_CASE("counts beyond the file are refused before anything is read") {
  for (const uint64_t count : {uint64_t{100}, uint64_t{1} << 32, ~uint64_t{0}}) {
    CHECK_THAT(ErrorOf(File{.tensor_count = count}.ToString()),
               Contains(std::to_string(count) + " tensors, more than"));
    CHECK_THAT(ErrorOf(File{.value_count = count}.ToString()),
               Contains(std::to_string(count) + " metadata values, more than"));
    const auto list = [&](GgufValue type) {
      return Key("l", GgufValue::kArray) + Number(static_cast<uint32_t>(type)) + Number(count + 100);
    };
    CHECK_THAT(WithValue(list(GgufValue::kString)), Contains("strings in metadata 'l', more than its"));
    CHECK_THAT(WithValue(list(GgufValue::kF64)), Contains("values in metadata 'l', more than its"));
  }
}

TEST_CASE("metadata that cannot be is refused") {
  CHECK(WithValue(Key("a", GgufValue::kU8) + "1").empty());
  CHECK_THAT(WithValue(kArchitecture), Contains("'general.architecture' stands twice"));
  CHECK_THAT(WithValue(Key("a", static_cast<GgufValue>(13)) + "1"), Contains("'a' has the unknown type 13"));
  const auto list_of = [](uint32_t type) {
    return Key("a", GgufValue::kArray) + Number(type) + Number<uint64_t>(0);
  };
  CHECK(WithValue(list_of(0)).empty());
  CHECK_THAT(WithValue(list_of(9)), Contains("'a' is a list of lists"));
  CHECK_THAT(WithValue(list_of(99)), Contains("'a' is a list of the unknown type 99"));
  CHECK_THAT(WithValue(Key("", GgufValue::kU8) + "1"), Contains("a key of 0 bytes"));
  CHECK_THAT(WithValue(Key(std::string(65536, 'k'), GgufValue::kU8) + "1"), Contains("a key of 65536 bytes"));
  CHECK_THAT(WithValue(Number(~uint64_t{0})), Contains("a key of 18446744073709551615 bytes"));
  CHECK_THAT(WithValue(Key("a", GgufValue::kString) + Number(~uint64_t{0})), Contains("cut short"));
  for (const uint32_t alignment : {0u, 3u, 48u}) {
    CHECK_THAT(WithValue(Key("general.alignment", GgufValue::kU32) + Number(alignment)),
               Contains("which is no power of two"));
  }
  CHECK_THAT(WithValue(Key("general.alignment", GgufValue::kU64) + Number<uint64_t>(32)),
             Contains("is no 32-bit number"));
}

TEST_CASE("tensors that cannot be are refused") {
  const uint64_t large = uint64_t{1} << 62;
  CHECK(WithTensors({{.dims = {4}}, {.name = "b", .dims = {8}, .offset = 32}}).empty());
  CHECK(WithTensors({{.dims = {4}, .offset = 32}, {.name = "b", .dims = {8}}}).empty());
  CHECK_THAT(WithTensors({{.dims = {4}}, {.dims = {4}, .offset = 32}}), Contains("tensor 'a' stands twice"));
  CHECK_THAT(WithTensors({{.dims = {9}}, {.name = "b", .offset = 32}}),
             Contains("'b' overlaps another tensor"));
  CHECK_THAT(WithTensors({{}, {.name = "b"}}), Contains("overlaps another tensor"));
  CHECK_THAT(WithTensors({{.offset = 1}}), Contains("'a' begins at byte 1, which is no multiple of 32"));
  CHECK_THAT(WithTensors({{.dims = {17}}}), Contains("'a' ends at byte 68 of 64: the file is cut short"));
  CHECK_THAT(WithTensors({{.offset = 96}}), Contains("'a' ends at byte 112 of 64"));
  CHECK_THAT(WithTensors({{.offset = ~uint64_t{31}}}), Contains("'a' ends at byte") || Contains("overflows"));
  for (const std::vector<uint64_t>& dims : {std::vector<uint64_t>{large, 4},
                                            {large, large},
                                            {~uint64_t{0}},
                                            {large},
                                            {1ull << 31, 1ull << 31, 2}})
    CHECK_THAT(WithTensors({{.dims = dims}}), Contains("tensor 'a' has a shape that overflows"));
  CHECK_THAT(WithTensors({{.dims = {}}}), Contains("'a' has 0 dimensions"));
  CHECK_THAT(WithTensors({{.dims = {1, 1, 1, 1, 1}}}), Contains("'a' has 5 dimensions"));
  CHECK_THAT(WithTensors({{.dims = {33}, .type = 8}}),
             Contains("33 numbers, which are no whole blocks of Q8_0"));
  CHECK_THAT(WithTensors({{.dims = {128, 2}, .type = 12}}),
             Contains("128 numbers, which are no whole blocks of Q4_K"));
  CHECK_THAT(WithTensors({{.name = ""}}), Contains("a tensor's name of 0 bytes"));
  CHECK_THAT(WithTensors({{.name = std::string(64, 'n')}}), Contains("a tensor's name of 64 bytes"));
  CHECK(WithTensors({{.name = std::string(63, 'n')}}).empty());
  CHECK_THAT(WithTensors({{.name = "a\nb", .offset = 96}}), Contains("tensor 'a?b' ends"));
}

TEST_CASE("types that are not ours are listed, and cannot be loaded") {
  for (const auto& [type, name] :
       {std::pair(14u, "Q6_K"), std::pair(26u, "I32"), std::pair(1000u, "number 1000")}) {
    const std::string file = File{.tensors = {{.dims = {256}, .type = type}}, .data_bytes = 1024}.ToString();
    const auto gguf = ReadGguf(Bytes(file), "f");
    REQUIRE(gguf.ok());
    const StoredTensor& stored = gguf->tensors.at("a");
    CHECK_FALSE(stored.loadable);
    CHECK(stored.type == name);
    Tensor owner;
    CHECK_THAT(Materialise("a", stored, &owner).error().message, Contains(std::string("has type ") + name));
  }
}

TEST_CASE("an alignment of its own places the data") {
  File file{.values = {kArchitecture, Key("general.alignment", GgufValue::kU32) + Number<uint32_t>(8)},
            .tensors = {{.dims = {2}}, {.name = "b", .dims = {1}, .offset = 8}}};
  std::string text = "GGUF" + Number(file.version) + Number<uint64_t>(2) + Number<uint64_t>(2);
  for (const std::string& value : file.values) text += value;
  for (const Written& tensor : file.tensors) text += Info(tensor);
  text.resize((text.size() + 7) / 8 * 8);
  const size_t begin = text.size();
  text += Number(1.0f) + Number(2.0f) + Number(3.0f);
  const auto gguf = ReadGguf(Bytes(text), "f");
  REQUIRE(gguf.ok());
  CHECK(gguf->tensors.at("b").data == Bytes(text).data() + begin + 8);
}

}  // namespace
}  // namespace bifrons
