// PyTorch archives and pickles of tens of megabytes: time and memory stay in proportion to the file.
#include <zlib.h>

#include "src/model/checkpoint/pickle.h"
#include "src/model/checkpoint/pytorch_zip.h"
#include "src/model/checkpoint/zip.h"
#include "tests/measured.h"

namespace bifrons {
namespace {

using namespace std::string_literals;

template <class T>
std::string Little(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

// ---- zip ----

/// Adds one stored entry after another; Finish adds the directory, with zip64's end record.
class ZipWriter {
 public:
  explicit ZipWriter(std::string& out) : out_(out) {}

  void Add(const std::string& name, const std::string& data, uint16_t method = 0, uint32_t inflated = 0) {
    const uint32_t offset = static_cast<uint32_t>(out_.size());
    const std::string both = "\0\0"s + Little(method) + std::string(8, '\0') +
                             Little(static_cast<uint32_t>(data.size())) +
                             Little(method ? inflated : static_cast<uint32_t>(data.size())) +
                             Little(static_cast<uint16_t>(name.size()));
    out_.append("PK\3\4\x14\0"s).append(both).append("\0\0"s).append(name).append(data);
    AddToDirectory(name, both, offset);
  }
  /// Another name in the directory for the entry at `offset`.
  void AddAlias(const std::string& name, uint32_t offset) {
    AddToDirectory(name, std::string(20, '\0') + Little(static_cast<uint16_t>(name.size())), offset);
  }
  void Finish(uint64_t claimed_entries = 0) {
    const uint64_t start = out_.size(), size = directory_.size();
    const uint64_t entries = claimed_entries ? claimed_entries : entries_;
    out_ += directory_;
    const uint64_t end = out_.size();
    out_ += "PK\6\6"s + Little<uint64_t>(44) + std::string(12, '\0') + Little(entries) + Little(entries) +
            Little(size) + Little(start) + "PK\6\7"s + std::string(4, '\0') + Little(end) +
            Little<uint32_t>(1) + "PK\5\6\0\0\0\0\xff\xff\xff\xff"s + Little<uint32_t>(0xFFFFFFFF) +
            Little<uint32_t>(0xFFFFFFFF) + "\0\0"s;
  }

 private:
  void AddToDirectory(const std::string& name, const std::string& both, uint32_t offset) {
    directory_.append("PK\1\2\x14\0\x14\0"s)
        .append(both)
        .append(12, '\0')
        .append(Little(offset))
        .append(name);
    entries_++;
  }

  std::string& out_;
  std::string directory_;
  uint64_t entries_ = 0;
};

std::string OpenZip(const MappedFile& file) {
  const auto zip = ZipArchive::Open(file.bytes(), "f");
  return zip.ok() ? "" : zip.error().message;
}

std::string ReadArchive(const MappedFile& file) {
  const auto tensors = ReadPytorchZip(file.bytes(), "f");
  return tensors.ok() ? "" : tensors.error().message;
}

TEST_CASE("zip archives") {
  const auto entries = [](size_t name_size, uint64_t claim) {
    return [=](size_t n, std::string& out) {
      ZipWriter zip(out);
      for (size_t i = 0; i < n; i++) {
        const std::string number = std::to_string(i);
        zip.Add("a/" + std::string(std::max(name_size, number.size()) - number.size(), '0') + number, "x");
      }
      zip.Finish(claim);
    };
  };
  Check("300,000 entries", 300'000, entries(0, 0), OpenZip, {.factor = 5});
  Check("names of 64 KB", 300, entries(65'500, 0), OpenZip, {.factor = 2});
  Check("a claim of more entries", 300'000, entries(0, uint64_t{1} << 60), OpenZip,
        {.factor = 5, .problem = "fewer entries than it claims"});
  const auto aliases = [](size_t n, std::string& out) {
    ZipWriter zip(out);
    zip.Add("a", "");
    for (size_t i = 0; i < n; i++) zip.AddAlias("a", 0);
    zip.Finish();
  };
  Check("one entry again and again", 1'000'000, aliases, OpenZip, {.factor = 1.2, .problem = "stands twice"});
  const auto slashes = [](size_t n, std::string& out) {
    ZipWriter zip(out);
    for (size_t i = 0; i < n; i++) zip.Add(std::to_string(i) + std::string(65'000, '/'), "");
    zip.Finish();
  };
  Check("names of slashes", 300, slashes, ReadArchive, {.factor = 2, .problem = "no data.pkl"});
}

// ---- pickle ----

std::string Text(const std::string& s) { return "X" + Little(static_cast<uint32_t>(s.size())) + s; }

/// ((storage, type, key, location, elements) as a persistent id, 0, (), (), False, OrderedDict())
std::string TensorPickle(const std::string& key, const std::string& dims = ")") {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + Text("storage") + "ctorch\nFloatStorage\n" + Text(key) +
         Text("cpu") + "K\1tQK\0"s + dims + dims +
         "\x89"
         "ccollections\nOrderedDict\n)RtR";
}

std::string ReadPickle(const MappedFile& file) {
  const auto tensors = ReadPickledTensors(file.bytes(), "f");
  return tensors.ok() ? "" : tensors.error().message;
}

TEST_CASE("pickles") {
  const auto tensors = [](size_t n, std::string& out) {
    out = "\x80\x02}(";
    for (size_t i = 0; i < n; i++) out += Text(std::to_string(i)) + TensorPickle(std::to_string(i));
    out += "u.";
  };
  Check("50,000 tensors", 50'000, tensors, ReadPickle, {.factor = 8});
  // One tensor under many names, each of a few bytes.
  const auto names = [](const std::string& key, const std::string& dims) {
    return [=](size_t n, std::string& out) {
      out = "\x80\x02" + TensorPickle(key, dims) + "q\0}("s;
      for (size_t i = 0; i < n; i++) out += Text(std::to_string(i)) + "h\0"s;
      out += "u.";
    };
  };
  Check("100,000 names of one tensor", 100'000, names("0", "(" + std::string(16 * 2, 'K') + "t"), ReadPickle,
        {.factor = 8, .fixed = 64 * kMegabyte});
  Check("a million names of one tensor", 900'000, names("0", ")"), ReadPickle,
        {.factor = 8, .fixed = 160 * kMegabyte, .problem = "more than 100000 tensors"});
  Check("a storage's key of 1 MB", 100'000, names(std::string(1 << 20, 'k'), ")"), ReadPickle,
        {.factor = 8, .fixed = 16 * kMegabyte, .problem = "makes no sense"});
  const auto opcodes = [](const std::string& begin, const std::string& again) {
    return [=](size_t n, std::string& out) {
      out = "\x80\x02" + begin;
      for (size_t i = 0; i < n; i++) out += again;
      out += ".";
    };
  };
  const Limits bounded = {.factor = 8, .fixed = 160 * kMegabyte, .problem = "more than a million objects"};
  Check("names in the memo", 30'000'000, opcodes("N", "\x94"), ReadPickle, bounded);
  Check("copies on the stack", 30'000'000, opcodes("N", "2"), ReadPickle, bounded);
  Check("marks", 30'000'000, opcodes("", "("), ReadPickle, bounded);
  Check("lists", 30'000'000, opcodes("", "]"), ReadPickle, bounded);
  Check("tuples in tuples", 30'000'000, opcodes("N", "\x85"), ReadPickle, bounded);
  Check("tuples that double", 15'000'000, opcodes("N", "2\x86"), ReadPickle, bounded);
  Check("a list appended to itself", 10'000'000, opcodes("]q\0"s, "h\0a"s), ReadPickle,
        {.factor = 8, .problem = "not a dict"});
  Check("slices appended", 2'000'000, opcodes("]q\0"s, "(h\0h\0h\0h\0e"s), ReadPickle,
        {.factor = 8, .problem = "not a dict"});
  // Indices that one prime divides share a bucket in a table that takes remainders.
  const auto colliding = [](size_t n, std::string& out) {
    out = "\x80\x02N";
    for (size_t i = 0; i < n; i++) out += "r" + Little(static_cast<uint32_t>(i * 62'233));
    out += ".";
  };
  Check("memo indices that divide alike", 64'000, colliding, ReadPickle, {.problem = "not a dict"});
  Check(
      "longer than any", 140'000'000, opcodes("", "N"),
      [](const MappedFile& file) {
        const std::string problem = ReadPickle(file);
        return file.bytes().size() > kMaxPickleBytes && problem.find("bytes; at most") == problem.npos
                   ? "read"
                   : "refused";
      },
      Refused("refused"));
}

TEST_CASE("archives of many small tensors") {
  const auto archive = [](size_t n, std::string& out) {
    std::string pickle = "\x80\x02}(";
    ZipWriter zip(out);
    for (size_t i = 0; i < n; i++) {
      pickle += Text(std::to_string(i)) + TensorPickle(std::to_string(i));
      zip.Add("archive/data/" + std::to_string(i), "1234");
    }
    zip.Add("archive/data.pkl", pickle + "u.");
    zip.Finish();
  };
  Check("40,000 tensors", 40'000, archive, ReadArchive, {.factor = 8});
  const auto long_root = [](size_t n, std::string& out) {
    const std::string root(60'000, 'r');
    std::string pickle = "\x80\x02" + TensorPickle("0") + "q\0}("s;
    for (size_t i = 0; i < n; i++) pickle += Text(std::to_string(i)) + "h\0"s;
    ZipWriter zip(out);
    zip.Add(root + "/data.pkl", pickle + "u.");
    zip.Add(root + "/data/0", "1234");
    zip.Finish();
  };
  Check("a folder's name of 60 KB", 100'000, long_root, ReadArchive,
        {.problem = "has a name of 60001 bytes"});
  const auto bomb = [](size_t n, std::string& out) {
    std::string zeros(n, '\0'), packed(compressBound(n), '\0');
    z_stream stream{};
    REQUIRE(deflateInit2(&stream, 1, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY) == Z_OK);
    stream.next_in = reinterpret_cast<Bytef*>(zeros.data());
    stream.avail_in = static_cast<uInt>(zeros.size());
    stream.next_out = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_out = static_cast<uInt>(packed.size());
    REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    packed.resize(stream.total_out);
    deflateEnd(&stream);
    ZipWriter zip(out);
    zip.Add("a/data.pkl", packed, 8, static_cast<uint32_t>(zeros.size()));
    zip.Finish();
  };
  Check("zeros, packed", 400'000'000, bomb, ReadArchive, Refused("at most 33554432 make sense: refused"));
}

}  // namespace
}  // namespace bifrons
