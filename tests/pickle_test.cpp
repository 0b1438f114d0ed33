#include "src/model/checkpoint/pickle.h"

#include <zlib.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "checkpoint_golden.h"
#include "src/model/checkpoint/pytorch_zip.h"
#include "src/model/checkpoint/zip.h"

using namespace bifrons;
using Catch::Contains;
using namespace std::string_literals;

namespace {

std::span<const uint8_t> Bytes(const std::string& s) {
  return {reinterpret_cast<const uint8_t*>(s.data()), s.size()};
}

std::string Refusal(std::span<const uint8_t> bytes) {
  // A copy of exactly this size, so that the sanitizers see every byte read beyond it.
  const std::unique_ptr<uint8_t[]> exact(new uint8_t[bytes.size()]);
  std::copy(bytes.begin(), bytes.end(), exact.get());
  const auto result = ReadPytorchZip({exact.get(), bytes.size()}, "f");
  if (result.ok()) return "accepted";
  CHECK(result.error().kind == ErrorKind::kBadData);
  CHECK(result.error().message.find('\n') == std::string::npos);
  return result.error().message;
}
std::string RefusedGolden(const std::string& name) {
  return Refusal(ReadAll(GoldenFolder("refused/") + name));
}

template <class T>
std::string Little(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

struct Entry {
  std::string name, data;
  uint16_t method = 0;
  uint64_t inflated = 0;
  std::string extra = "";
  uint16_t flags = 0;
  uint32_t offset_added = 0;  // a lie about where the entry is
};

/// An archive, as honest as its entries. With zip64, sizes and offsets stand in the extra fields only.
std::string Zip(const std::vector<Entry>& entries, bool zip64 = false) {
  std::string out, directory;
  for (const Entry& e : entries) {
    const uint64_t offset = out.size() + e.offset_added, size = e.data.size(),
                   inflated = e.method ? e.inflated : size;
    const uint32_t low_size = zip64 ? 0xFFFFFFFF : size, low_inflated = zip64 ? 0xFFFFFFFF : inflated;
    const std::string extra =
        zip64 ? Little<uint16_t>(1) + Little<uint16_t>(24) + Little(inflated) + Little(size) + Little(offset)
              : e.extra;
    const std::string both = Little(e.flags) + Little(e.method) + Little<uint32_t>(0) + Little<uint32_t>(0) +
                             Little(low_size) + Little(low_inflated) +
                             Little(static_cast<uint16_t>(e.name.size()));
    out += "PK\3\4\x14\0"s + both + Little<uint16_t>(0) + e.name + e.data;
    directory += "PK\1\2\x14\0\x14\0"s + both + Little(static_cast<uint16_t>(extra.size())) +
                 std::string(10, '\0') + Little(zip64 ? 0xFFFFFFFF : static_cast<uint32_t>(offset)) + e.name +
                 extra;
  }
  const uint64_t start = out.size(), n = entries.size();
  out += directory;
  if (zip64) {
    const uint64_t end = out.size();
    out += "PK\6\6"s + Little<uint64_t>(44) + std::string(12, '\0') + Little(n) + Little(n) +
           Little<uint64_t>(directory.size()) + Little(start);
    out += "PK\6\7"s + std::string(4, '\0') + Little(end) + Little<uint32_t>(1);
  }
  const uint16_t n16 = zip64 ? 0xFFFF : static_cast<uint16_t>(n);
  return out + "PK\5\6\0\0\0\0"s + Little(n16) + Little(n16) +
         Little(zip64 ? 0xFFFFFFFF : static_cast<uint32_t>(directory.size())) +
         Little(zip64 ? 0xFFFFFFFF : static_cast<uint32_t>(start)) + "\0\0"s;
}

std::string Deflate(const std::string& data, int flush = Z_FINISH) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, data.size()) + 16, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, flush) == (flush == Z_FINISH ? Z_STREAM_END : Z_OK));
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

/// A raw deflate stream of so many MiB of zeros: one MiB that refers to nothing before it, again and again.
std::string DeflatedZeros(int mebibytes) {
  std::string block = Deflate(std::string(1 << 20, '\0'), Z_FULL_FLUSH), out;
  for (int i = 0; i < mebibytes; i++) out += block;
  return out + "\x03\0"s;  // an empty last block
}

// ---- a pickler for one tensor, with all its numbers free ----
std::string Text(const std::string& s) { return "X" + Little(static_cast<uint32_t>(s.size())) + s; }
std::string Integer(int64_t n) { return "\x8a\x08" + Little(n); }
std::string Tuple(const std::vector<int64_t>& values) {
  std::string out = "(";
  for (int64_t v : values) out += Integer(v);
  return out + "t";
}
struct View {
  std::string type = "FloatStorage";
  int64_t count = 4, offset = 0;
  std::vector<int64_t> dims = {2, 2}, strides = {2, 1};
};
std::string TensorPickle(const View& v) {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + Text("storage") + "ctorch\n" + v.type + "\n" + Text("0") +
         Text("cpu") + Integer(v.count) + "tQ" + Integer(v.offset) + Tuple(v.dims) + Tuple(v.strides) +
         "\x89"
         "ccollections\nOrderedDict\n)RtR";
}
std::string DictPickle(const std::string& items) { return "\x80\x02}(" + items + "u."; }
std::string Archive(const std::string& pickle, size_t storage = 16, const std::string& byteorder = "little") {
  return Zip({{"a/data.pkl", pickle}, {"a/byteorder", byteorder}, {"a/data/0", std::string(storage, 'x')}});
}
std::string Refusal(const View& v, size_t storage = 16) {
  return Refusal(Bytes(Archive(DictPickle(Text("w") + TensorPickle(v)), storage)));
}
std::string PickleRefusal(const std::string& pickle) {
  const std::unique_ptr<uint8_t[]> exact(new uint8_t[pickle.size()]);
  std::copy(pickle.begin(), pickle.end(), exact.get());
  const auto result = ReadPickledTensors({exact.get(), pickle.size()}, "f");
  return result.ok() ? "accepted" : result.error().message;
}

}  // namespace

TEST_CASE("What torch.save wrote reads back exactly") {
  for (const char* name : {"pytorch", "pytorch_protocol3", "pytorch_protocol4", "pytorch_protocol5",
                           "pytorch_sharded", "pytorch_state_dict", "pytorch_model", "pytorch_module"}) {
    const auto checkpoint = Checkpoint::Open(GoldenFolder(name));
    INFO(name << ": " << (checkpoint.ok() ? "" : checkpoint.error().message));
    REQUIRE(checkpoint.ok());
    CheckAgainstPyTorch(*checkpoint, GoldenFolder(name));
  }
  const auto checkpoint = Checkpoint::Open(GoldenFolder("pytorch"));
  REQUIRE(checkpoint.ok());
  CHECK_FALSE(checkpoint->Find("transposed")->contiguous());
  CHECK(checkpoint->Find("view.b")->data < checkpoint->Find("view.a")->data);
  const StoredTensor* expanded = checkpoint->Find("expanded");
  REQUIRE(expanded);
  CHECK(expanded->dims == std::vector<int64_t>{2, 1000});
  CHECK_FALSE(expanded->loadable);
}

TEST_CASE("Other globals are refused by name, and nothing runs") {
  const std::filesystem::path trace = "/tmp/bifrons-was-here";
  std::filesystem::remove(trace);
  for (const char* name : {"evil2.bin", "evil4.bin"}) {
    CHECK_THAT(RefusedGolden(name),
               Contains("posix.system, which is not part of a tensor: refused, nothing was run"));
  }
  CHECK_FALSE(std::filesystem::exists(trace));
  CHECK_THAT(PickleRefusal("\x80\x02"
                           "cos\nsystem\n(" +
                           Text("true") + "tR."),
             Contains("os.system"));
  CHECK_THAT(PickleRefusal("\x80\x04" + Text("builtins") + Text("eval") + "\x93."),
             Contains("builtins.eval"));
  CHECK_THAT(PickleRefusal("\x80\x02"
                           "ctorch\nload\n."),
             Contains("torch.load"));
  CHECK_THAT(PickleRefusal("\x80\x02(ios\nsystem\n."), Contains("os.system"));
  CHECK_THAT(PickleRefusal("\x80\x02"
                           "ctorch\nFloatStorage\n)R."),
             Contains("no function"));
  CHECK_THAT(PickleRefusal("\x80\x02"
                           "ctorch._utils\n_rebuild_tensor_v2\n)\x81."),
             Contains("0x81"));
  CHECK_THAT(PickleRefusal("\x80\x02"
                           "c" +
                           std::string(1000, '\x01') + "\nx\n."),
             Contains("???") && !Contains("\x01"));
}

TEST_CASE("Other files under that name are refused with advice") {
  CHECK_THAT(RefusedGolden("legacy.bin"), Contains("before 1.6") && Contains("torch.save("));
  CHECK_THAT(RefusedGolden("big_endian.bin"), Contains("big-endian"));
  CHECK_THAT(RefusedGolden("missing_storage.bin"), Contains("which the archive lacks"));
  CHECK_THAT(RefusedGolden("short_storage.bin"), Contains("needs a storage of 8 bytes") && Contains("has 7"));
  CHECK_THAT(RefusedGolden("no_pickle.bin"), Contains("no data.pkl"));
  CHECK_THAT(RefusedGolden("compressed.bin"), Contains("is compressed"));
  CHECK_THAT(RefusedGolden("bomb.bin"), Contains("refused"));
  CHECK_THAT(RefusedGolden("traversal.bin"), Contains("leads outside"));
  CHECK_THAT(Refusal(Bytes("")), Contains("no zip archive"));
  CHECK_THAT(Refusal(Bytes("hello")), Contains("no zip archive"));
}

TEST_CASE("An archive cut at any byte is refused") {
  std::vector<uint8_t> bytes = ReadAll(GoldenFolder("pytorch_model/pytorch_model.bin"));
  REQUIRE(Refusal(bytes) == "accepted");
  while (!bytes.empty()) {
    bytes.pop_back();
    if (Refusal(bytes) == "accepted") FAIL("accepted with " << bytes.size() << " bytes");
  }
}

TEST_CASE("A pickle cut at any byte is refused") {
  std::string pickle = DictPickle(Text("w") + TensorPickle({}));
  REQUIRE(PickleRefusal(pickle) == "accepted");
  while (!pickle.empty()) {
    pickle.pop_back();
    if (PickleRefusal(pickle) == "accepted") FAIL("accepted with " << pickle.size() << " bytes");
  }
}

TEST_CASE("Views must stay within their storage") {
  REQUIRE(Refusal(View{}) == "accepted");
  CHECK(Refusal(View{.count = 0, .dims = {0, 3}, .strides = {3, 1}}, 0) == "accepted");
  CHECK(Refusal(View{.offset = 3, .dims = {}, .strides = {}}) == "accepted");
  CHECK_THAT(Refusal(View{.offset = 4, .dims = {}, .strides = {}}), Contains("outside its storage"));
  CHECK_THAT(Refusal(View{.offset = 1}), Contains("'w' reaches outside its storage"));
  CHECK_THAT(Refusal(View{.offset = 5, .dims = {0, 1}}), Contains("begins outside"));
  CHECK_THAT(Refusal(View{.offset = -1}), Contains("offset"));
  CHECK_THAT(Refusal(View{.strides = {3, 1}}), Contains("reaches outside"));
  CHECK_THAT(Refusal(View{.strides = {-2, 1}}), Contains("sizes or strides"));
  CHECK_THAT(Refusal(View{.dims = {-2, 2}}), Contains("sizes or strides"));
  CHECK_THAT(Refusal(View{.dims = {2}}), Contains("sizes or strides"));
  CHECK_THAT(Refusal(View{.dims = {INT64_MAX, 3}}), Contains("overflows"));
  CHECK_THAT(Refusal(View{.dims = {3, 1}, .strides = {INT64_MAX, 1}}), Contains("overflow"));
  CHECK_THAT(Refusal(View{.dims = std::vector<int64_t>(17, 1), .strides = std::vector<int64_t>(17, 1)}),
             Contains("sizes or strides"));
  CHECK_THAT(Refusal(View{.count = 5}), Contains("needs a storage of 20 bytes"));
  CHECK_THAT(Refusal(View{.count = 3}), Contains("needs a storage of 12 bytes"));
  CHECK_THAT(Refusal(View{.count = -1}), Contains("makes no sense"));
  CHECK_THAT(Refusal(View{.count = INT64_MAX}), Contains("makes no sense"));
  CHECK_THAT(Refusal(View{.type = "UntypedStorage"}), Contains("torch.UntypedStorage, which is not"));
}

TEST_CASE("Pickles that are not a dict of tensors are refused") {
  CHECK_THAT(PickleRefusal("\x80\x02]."), Contains("not a dict of tensors"));
  CHECK_THAT(PickleRefusal("\x80\x02}."), Contains("holds no tensors"));
  CHECK_THAT(PickleRefusal("\x80\x02."), Contains("is empty"));
  CHECK_THAT(PickleRefusal(DictPickle(Integer(1) + TensorPickle({}))), Contains("no string"));
  CHECK_THAT(PickleRefusal(DictPickle(Text("w") + TensorPickle({}) + Text("w") + TensorPickle({}))),
             Contains("twice"));
  CHECK_THAT(PickleRefusal(DictPickle(Text("w"))), Contains("is damaged"));
  for (const std::string& bad : {"u."s,
                                 "t."s,
                                 "R."s,
                                 "b."s,
                                 "h\1."s,
                                 "q\1."s,
                                 "\x94."s,
                                 "0."s,
                                 "2."s,
                                 "1."s,
                                 "s."s,
                                 "a."s,
                                 "\x85."s,
                                 "\x87."s,
                                 "(."s,
                                 "]s."s,
                                 "(0."s,
                                 "}(u"s,
                                 "NQ."s,
                                 "P0\n."s,
                                 "\x82\1."s,
                                 "X\xff\xff\xff\xff."s,
                                 "\x8d\xff\xff\xff\xff\xff\xff\xff\xff."s,
                                 "I1\n."s}) {
    CHECK(PickleRefusal("\x80\x02" + bad) != "accepted");
  }
}

TEST_CASE("Bombs of memos and copies cost no more than their length") {
  std::string nested = "\x80\x02]";  // a list that holds itself ten times, sixty levels deep
  for (int level = 0; level < 60; level++) {
    nested += "r" + Little(level) + "](";
    for (int i = 0; i < 10; i++) nested += "j" + Little(level);
    nested += "e";
  }
  CHECK_THAT(PickleRefusal(nested + "."), Contains("not a dict"));
  CHECK_THAT(PickleRefusal("\x80\x02]q" + std::string(1, '\0') + "h" + std::string(1, '\0') + "a."),
             Contains("not a dict"));
  CHECK_THAT(PickleRefusal("\x80\x02N" + std::string(1 << 20, '2') + "."), Contains("not a dict"));
  CHECK_THAT(PickleRefusal("\x80\x02" + std::string(1 << 20, '(')), Contains("ends too early"));
  CHECK_THAT(PickleRefusal("\x80\x02" + std::string(2 << 20, ']')), Contains("more than a million"));
  CHECK_THAT(PickleRefusal("\x80\x02Nr\xff\xff\xff\xff."), Contains("not a dict"));
}

TEST_CASE("Zip archives: valid oddities are read") {
  const std::string pickle = DictPickle(Text("w") + TensorPickle({}));
  CHECK(Refusal(Bytes(Archive(pickle))) == "accepted");
  CHECK(Refusal(Bytes(Zip({{"a/data.pkl", pickle}, {"a/data/0", std::string(16, 'x')}}, true))) ==
        "accepted");
  CHECK(Refusal(Bytes(Zip({{"a/data.pkl", Deflate(pickle), 8, pickle.size()},
                           {"a/data/0", std::string(16, 'x')}}))) == "accepted");
  std::string commented = Archive(pickle);
  commented[commented.size() - 2] = 3;
  CHECK(Refusal(Bytes(commented + "abc")) == "accepted");
  CHECK_THAT(Refusal(Bytes(commented + "ab")), Contains("no end record"));
  const std::string extra = Little<uint16_t>(9) + Little<uint16_t>(2) + "zz";
  CHECK(Refusal(Bytes(Zip({{.name = "a/data.pkl", .data = pickle, .extra = extra},
                           {.name = "a/data/0", .data = std::string(16, 'x')}}))) == "accepted");
}

TEST_CASE("Zip archives: bombs are refused before they unpack") {
  REQUIRE_THAT(Refusal(Bytes(Zip({{"a/data.pkl", DeflatedZeros(3), 8, 3 << 20}}))), Contains("opcode 0x00"));
  const std::string gigabyte = DeflatedZeros(1024);
  CHECK_THAT(Refusal(Bytes(Zip({{"a/data.pkl", gigabyte, 8, 1 << 30}}))),
             Contains("1073741824") && Contains("refused"));
  // The same, with smaller claims: zlib stops where the claim ends.
  CHECK_THAT(Refusal(Bytes(Zip({{"a/data.pkl", gigabyte, 8, 1 << 20}}))), Contains("does not unpack"));
  CHECK_THAT(Refusal(Bytes(Zip({{"a/data.pkl", Deflate("x"), 8, 30 << 20}}))),
             Contains("more bytes than its data"));
  CHECK_THAT(Refusal(Bytes(Zip({{"a/data.pkl", Deflate("x"), 8, 2}}))), Contains("does not unpack"));
  CHECK_THAT(Refusal(Bytes(Zip({{"a/data.pkl", "garbage", 8, 7}}))), Contains("does not unpack"));
  CHECK_THAT(Refusal(Bytes(Zip({{"a/byteorder", std::string(100, 'l')}, {"a/data.pkl", "."}}))),
             Contains("refused"));
}

TEST_CASE("Zip archives: what is damaged or hostile is refused") {
  for (const char* name : {"../data.pkl", "a/../data.pkl", "/data.pkl", "a\\data.pkl", "a/..", ".."}) {
    CHECK_THAT(Refusal(Bytes(Zip({{name, "."}}))), Contains("leads outside"));
  }
  CHECK_THAT(Refusal(Bytes(Zip({{"a/..b/data.pkl", "."}}))), Contains("no data.pkl"));
  CHECK_THAT(Refusal(Bytes(Zip({{"a/x\0y"s, "."}}))), Contains("leads outside"));
  CHECK_THAT(Refusal(Bytes(Zip({{"a", "."}, {"a", "."}}))), Contains("stands twice"));
  CHECK_THAT(Refusal(Bytes(Zip({{.name = "a", .data = ".", .flags = 1}}))), Contains("encrypted"));
  CHECK_THAT(Refusal(Bytes(Zip({{"a", ".", 12, 1}}))), Contains("other than deflate"));
  CHECK_THAT(Refusal(Bytes(Zip({{.name = "a", .data = ".", .offset_added = 1}}))), Contains("does not lie"));
  CHECK_THAT(Refusal(Bytes(Zip({{.name = "a", .data = ".", .offset_added = 0x7FFFFFFF}}))),
             Contains("does not lie"));
  // An entry within another one's data.
  const std::string inner = Zip({{"in", "x"}}).substr(0, 33);
  const Entry outer{.name = "out", .data = inner}, liar{.name = "in", .data = "x", .offset_added = 0u - 33u};
  CHECK_THAT(Refusal(Bytes(Zip({outer, liar}))), Contains("overlap"));
  // Zip64 fields that lack or lie about their values.
  const std::string pickle = DictPickle(Text("w") + TensorPickle({}));
  const std::string big = Zip({{"a/data.pkl", pickle}, {"a/data/0", std::string(16, 'x')}}, true);
  int accepted = 0;
  for (size_t i = big.find("PK\1\2"); i < big.size(); i++) {
    for (const int change : {1, 0x80, 0xFF}) {
      std::string changed = big;
      changed[i] = static_cast<char>(changed[i] ^ change);
      accepted += Refusal(Bytes(changed)) == "accepted";
    }
  }
  CHECK(accepted > 0);  // checksums, times, versions
  CHECK(accepted < 3 * 180);
}
