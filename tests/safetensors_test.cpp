#include "src/model/checkpoint/safetensors.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "checkpoint_golden.h"

using namespace bifrons;
namespace fs = std::filesystem;

namespace {

/// Header length, header, `data` bytes of data.
std::vector<uint8_t> File(const std::string& header, size_t data) {
  std::vector<uint8_t> bytes(8 + header.size() + data, 7);
  const uint64_t size = header.size();
  std::memcpy(bytes.data(), &size, 8);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  return bytes;
}

std::string Refusal(const std::vector<uint8_t>& bytes) {
  // A copy of exactly this size, so that the sanitizers see every byte read beyond it.
  const std::unique_ptr<uint8_t[]> exact(new uint8_t[bytes.size()]);
  std::copy(bytes.begin(), bytes.end(), exact.get());
  const auto result = ReadSafetensors({exact.get(), bytes.size()}, "f");
  if (result.ok()) return "accepted";
  CHECK(result.error().kind == ErrorKind::kBadData);
  CHECK(result.error().message.find('\n') == std::string::npos);
  return result.error().message;
}
std::string Refusal(const std::string& header, size_t data) { return Refusal(File(header, data)); }

struct TemporaryFolder {
  fs::path path = fs::temp_directory_path() / ("bifrons_safetensors_" + std::to_string(getpid()));
  TemporaryFolder() { fs::create_directories(path); }
  ~TemporaryFolder() { fs::remove_all(path); }
  void Write(const std::string& name, const std::string& text) const { std::ofstream(path / name) << text; }
  void Copy(const std::string& from, const std::string& to) const {
    fs::copy_file(GoldenFolder(from), path / to, fs::copy_options::overwrite_existing);
  }
  std::string Refusal() const {
    const auto result = Checkpoint::Open(path.string());
    return result.ok() ? "accepted" : result.error().message;
  }
};

using Catch::Contains;

}  // namespace

TEST_CASE("What the official library wrote reads back exactly") {
  for (const char* name : {"safetensors", "safetensors_sharded"}) {
    const auto checkpoint = Checkpoint::Open(GoldenFolder(name));
    REQUIRE(checkpoint.ok());
    CheckAgainstPyTorch(*checkpoint, GoldenFolder(name));
    CHECK(checkpoint->tensors().size() == 7);
  }
}

TEST_CASE("Valid oddities are accepted") {
  CHECK(Refusal("{}", 0) == "accepted");
  CHECK(Refusal("{}   ", 0) == "accepted");
  CHECK(Refusal(R"({"__metadata__":{"a":"b"}})", 0) == "accepted");
  CHECK(Refusal(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4) == "accepted");
  CHECK(Refusal(R"({"a":{"dtype":"F32","shape":[5,0],"data_offsets":[0,0]}})", 0) == "accepted");
  CHECK(
      Refusal(
          R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
          2) == "accepted");
  CHECK(Refusal(R"({"a":{"new":[{"x":[1,"2"]},null],"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1) ==
        "accepted");
  const std::vector<uint8_t> bytes = File(R"({"a":{"dtype":"Q9","shape":[3],"data_offsets":[0,5]}})", 5);
  const auto unknown = ReadSafetensors(bytes, "f");
  REQUIRE(unknown.ok());
  CHECK_FALSE(unknown->at("a").loadable);
}

TEST_CASE("Data at odd addresses is copied, not read in place") {
  const std::string header =
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[3],"data_offsets":[1,13]}})";
  std::vector<uint8_t> bytes = File(header, 13);
  const float values[3] = {1, -2, 3.5};
  std::memcpy(bytes.data() + bytes.size() - 12, values, 12);
  for (size_t shift = 0; shift < 4; shift++) {  // at least three of them are not aligned
    std::vector<uint8_t> shifted(shift, 0);
    shifted.insert(shifted.end(), bytes.begin(), bytes.end());
    const auto map = ReadSafetensors(std::span<const uint8_t>(shifted).subspan(shift), "f");
    REQUIRE(map.ok());
    Tensor owner;
    const auto view = Materialise("b", map->at("b"), &owner);
    REQUIRE(view.ok());
    CHECK(reinterpret_cast<uintptr_t>(view->data) % 4 == 0);
    for (int i = 0; i < 3; i++) CHECK(view->as<float>()[i] == values[i]);
  }
}

TEST_CASE("A file cut at any byte is refused") {
  std::vector<uint8_t> bytes = ReadAll(GoldenFolder("safetensors") + "/model.safetensors");
  REQUIRE(Refusal(bytes) == "accepted");
  while (!bytes.empty()) {
    bytes.pop_back();
    if (Refusal(bytes) == "accepted") FAIL("accepted with " << bytes.size() << " bytes");
  }
}

TEST_CASE("Wrong headers are refused by what is wrong") {
  std::vector<uint8_t> huge = File("{}", 0);
  huge[1] = 1;
  CHECK_THAT(Refusal(huge), Contains("longer than the file"));
  huge[7] = 0xFF;
  CHECK_THAT(Refusal(huge), Contains("not a safetensors file"));
  CHECK_THAT(Refusal(std::string(200'000, '['), 0), Contains("not a JSON object"));
  CHECK_THAT(Refusal("{\"a\":{\"x\":" + std::string(200'000, '['), 0), Contains("not valid JSON"));
  CHECK_THAT(Refusal("{", 0), Contains("not valid JSON"));
  CHECK_THAT(Refusal("", 0), Contains("not a JSON object"));
  CHECK_THAT(Refusal("{}{}", 0), Contains("not valid JSON"));
  CHECK_THAT(Refusal(std::string("{}\0", 3), 0), Contains("not a JSON object"));
  CHECK_THAT(Refusal("\xEF\xBB\xBF{}", 0), Contains("not a JSON object"));
  CHECK_THAT(Refusal("{\"\xFF\":1}", 0), Contains("not valid JSON"));
  CHECK_THAT(Refusal(R"({"__metadata__":{"a":1}})", 0), Contains("__metadata__"));
  CHECK_THAT(Refusal(R"({"__metadata__":{"a":{}}})", 0), Contains("__metadata__"));
  CHECK_THAT(Refusal(R"({"__metadata__":7})", 0), Contains("__metadata__"));
}

TEST_CASE("Wrong tensors are refused by name") {
  const auto tensor = [](const std::string& fields) { return R"({"w":{)" + fields + "}}"; };
  const auto refusal = [&](const std::string& fields, size_t data) {
    const std::string message = Refusal(tensor(fields), data);
    CHECK_THAT(message, Contains("'w'"));
    return message;
  };
  const std::string f32 = R"("dtype":"F32",)";
  CHECK_THAT(refusal(f32 + R"("shape":[2],"data_offsets":[0,8])", 7), Contains("cut short"));
  CHECK_THAT(refusal(f32 + R"("shape":[2],"data_offsets":[0,9])", 9), Contains("needs 8 bytes"));
  CHECK_THAT(refusal(f32 + R"("shape":[2],"data_offsets":[8,0])", 8), Contains("ends before"));
  CHECK_THAT(refusal(f32 + R"("shape":[2],"data_offsets":[4,12])", 12), Contains("hole"));
  CHECK_THAT(refusal(f32 + R"("shape":[2],"data_offsets":[0])", 8), Contains("two data_offsets"));
  CHECK_THAT(refusal(f32 + R"("shape":[2],"data_offsets":[0,8,8])", 8), Contains("two data_offsets"));
  CHECK_THAT(refusal(f32 + R"("shape":[2])", 8), Contains("lacks"));
  CHECK_THAT(refusal(R"("shape":[2],"data_offsets":[0,8])", 8), Contains("lacks"));
  CHECK_THAT(refusal(f32 + R"("data_offsets":[0,8])", 8), Contains("lacks"));
  CHECK_THAT(refusal(f32 + R"("shape":[4294967296,4294967296],"data_offsets":[0,8])", 8),
             Contains("overflows"));
  CHECK_THAT(refusal(f32 + R"("shape":[4611686018427387904],"data_offsets":[0,8])", 8),
             Contains("overflows"));
  CHECK_THAT(refusal(f32 + R"("shape":[4294967296,4294967296,0],"data_offsets":[0,0])", 0),
             Contains("overflows"));
  CHECK_THAT(refusal(f32 + R"("shape":[18446744073709551615],"data_offsets":[0,8])", 8), Contains("2^63"));
  CHECK_THAT(refusal(f32 + R"("shape":[-2],"data_offsets":[0,8])", 8), Contains("negative"));
  CHECK_THAT(refusal(f32 + R"("shape":[2.0],"data_offsets":[0,8])", 8), Contains("fraction"));
  CHECK_THAT(refusal(f32 + R"("shape":["2"],"data_offsets":[0,8])", 8), Contains("a string"));
  CHECK_THAT(refusal(f32 + R"("shape":[[2]],"data_offsets":[0,8])", 8), Contains("an array"));
  CHECK_THAT(refusal(f32 + R"("shape":{"2":2},"data_offsets":[0,8])", 8), Contains("an object"));
  CHECK_THAT(refusal(f32 + R"("shape":2,"data_offsets":[0,8])", 8), Contains("a number"));
  CHECK_THAT(refusal(R"("dtype":1,"shape":[2],"data_offsets":[0,8])", 8), Contains("a number"));
  CHECK_THAT(refusal(f32 + R"("shape":[1],"shape":[2],"data_offsets":[0,8])", 8), Contains("twice"));
  CHECK_THAT(Refusal(R"({"w":[]})", 0), Contains("'w'"));
  CHECK_THAT(
      Refusal(
          R"({"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})",
          0),
      Contains("'w' stands twice"));
  CHECK_THAT(
      Refusal(
          R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"w":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
          3),
      Contains("'w' overlaps"));
  CHECK_THAT(Refusal(R"({"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 3),
             Contains("end at byte 2 of 3"));
}

TEST_CASE("A sharded checkpoint is checked against its index") {
  TemporaryFolder folder;
  CHECK_THAT(folder.Refusal(), Contains("neither"));
  const std::string first = "model-00001-of-00002.safetensors", second = "model-00002-of-00002.safetensors";
  const std::string index = "model.safetensors.index.json";
  for (const std::string& name : {first, second}) folder.Copy("safetensors_sharded/" + name, name);
  CHECK_THAT(folder.Refusal(), Contains("no model.safetensors.index.json"));
  folder.Copy("safetensors_sharded/" + index, index);
  REQUIRE(folder.Refusal() == "accepted");

  for (const char* name : {"../x.safetensors", "/etc/passwd", "a/b", "..", "", "a\\\\b", "a\\u0000b"}) {
    folder.Write(index, std::string(R"({"weight_map":{"scalar":")") + name + "\"}}");
    CHECK_THAT(folder.Refusal(), Contains("outside the model's folder"));
  }
  folder.Write(index, R"({"weight_map":{"nothing":")" + first + "\"}}");
  CHECK_THAT(folder.Refusal(), Contains("'nothing' is missing"));
  folder.Write(index, R"({"weight_map":{"nothing":"gone.safetensors"}})");
  CHECK_THAT(folder.Refusal(), Contains("gone.safetensors: missing"));
  folder.Write(index, R"({"weight_map":{"nothing":3}})");
  CHECK_THAT(folder.Refusal(), Contains("not a file's name"));
  for (const char* text : {"", "[]", "{}", R"({"weight_map":[]})", "{\"weight_map\":"}) {
    folder.Write(index, text);
    CHECK_THAT(folder.Refusal(), Contains("fetch it again"));
  }
  folder.Write(index, "{\"weight_map\":" + std::string(100'000, '['));
  CHECK_THAT(folder.Refusal(), Contains("not valid JSON"));

  folder.Copy("safetensors_sharded/" + index, index);
  folder.Copy("safetensors_sharded/" + first, second);
  CHECK_THAT(folder.Refusal(), Contains("stands in") && Contains(first));
}

TEST_CASE("A folder with both kinds gives the preferred one") {
  TemporaryFolder folder;
  folder.Copy("safetensors/model.safetensors", "model.safetensors");
  folder.Copy("pytorch_model/pytorch_model.bin", "pytorch_model.bin");
  const auto first = Checkpoint::Open(folder.path.string());
  REQUIRE(first.ok());
  CHECK(first->Find("scalar"));
  CHECK(first->files() == std::vector<std::string>{(folder.path / "model.safetensors").string()});
  const auto second = Checkpoint::Open(folder.path.string(), Checkpoint::Prefer::kPytorch);
  REQUIRE(second.ok());
  CHECK(second->Find("bias"));
  fs::remove(folder.path / "model.safetensors");
  CHECK(Checkpoint::Open(folder.path.string())->Find("bias"));
  CHECK_THAT(Checkpoint::Open((folder.path / "nowhere").string()).error().message, Contains("not a folder"));
}
