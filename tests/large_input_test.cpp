// Model files of tens of megabytes, well-formed and hostile: time and memory stay in proportion to the file.
#include "src/base/json_visitor.h"
#include "src/base/mapped_file.h"
#include "src/base/npy.h"
#include "src/model/checkpoint/checkpoint.h"
#include "src/model/checkpoint/gguf.h"
#include "src/model/checkpoint/index_json.h"
#include "src/model/checkpoint/safetensors.h"
#include "src/model/config.h"
#include "src/model/export_files.h"
#include "src/model/image_processor_json.h"
#include "src/model/text/tokenizer.h"
#include "src/model/text/tokenizer_json.h"
#include "src/model/weight_source.h"
#include "tests/measured.h"

namespace bifrons {
namespace {

using Catch::Contains;

// ---- safetensors ----

std::string Safetensors(const std::string& header) {
  const uint64_t size = header.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + header;
}

std::string ReadHeader(const MappedFile& file) { return ProblemOf(ReadSafetensors(file.bytes(), "f")); }

Writer Header(const std::string& begin, const std::function<void(size_t, std::string&)>& element,
              const std::string& end) {
  return [=](size_t n, std::string& out) {
    std::string header = begin;
    for (size_t i = 0; i < n; i++) element(i, header);
    out = Safetensors(header + end);
  };
}

TEST_CASE("safetensors headers") {
  const std::string empty = R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  const auto tensor = [&](size_t i, std::string& out) {
    out += (i ? ",\"" : "\"") + std::to_string(i) + empty;
  };
  Check("200,000 tensors", 200'000, Header("{", tensor, "}"), ReadHeader, {});
  const auto deep_tensor = [&](size_t i, std::string& out) {
    out += (i ? ",\"" : "\"") + std::to_string(i) +
           R"(":{"dtype":"U8","shape":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],"data_offsets":[0,0]})";
  };
  Check("100,000 tensors of 16 dimensions", 100'000, Header("{", deep_tensor, "}"), ReadHeader, {});
  const auto letter = [](size_t, std::string& out) { out += 'x'; };
  Check("a metadata string", 60'000'000, Header(R"({"__metadata__":{"a":")", letter, "\"}}"), ReadHeader,
        {.factor = 5});
  Check("a tensor's name", 60'000'000, Header("{\"", letter, empty + "}"), ReadHeader, {.factor = 6});
  Check("a type's name", 60'000'000,
        Header(R"({"a":{"shape":[0],"data_offsets":[0,0],"dtype":")", letter, "\"}}"), ReadHeader,
        {.factor = 5});
  const auto empties = [](size_t i, std::string& out) { out += i ? ",[]" : "[]"; };
  Check("lists under __metadata__", 7'000'000, Header(R"({"__metadata__":{"a":[)", empties, "]}}"),
        ReadHeader, Refused("__metadata__ that is not a map of strings"));
  const std::string fields = R"({"a":{"shape":[0],"dtype":"U8","data_offsets":[0,0],"later":[)";
  Check("lists in a field of the future", 7'000'000, Header(fields, empties, "]}}"), ReadHeader,
        {.factor = 4});
  const auto objects = [](size_t, std::string& out) { out += R"({"a":)"; };
  Check("nested objects in a field of the future", 7'000'000, Header(fields, objects, ""), ReadHeader,
        {.factor = 2, .problem = "not valid JSON"});
  const auto zero = [](size_t i, std::string& out) { out += i ? ",0" : "0"; };
  Check("a shape of many dimensions", 20'000'000, Header(R"({"a":{"shape":[)", zero, R"(]}})"), ReadHeader,
        Refused("more than 16 dimensions"));
  Check("many data_offsets", 10'000'000,
        Header(R"({"a":{"shape":[0],"dtype":"U8","data_offsets":[)", zero, "]}}"), ReadHeader,
        {.factor = 1.2, .problem = "two data_offsets"});
}

TEST_CASE("a model's folder of many tensors, with their index") {
  if (kSanitized) return;
  const size_t n = 200'000;
  const TemporaryFolder folder;
  fs::copy_file(fs::path(BIFRONS_TEST_DIR) / "../assets/janus-mini/config.json", folder / "config.json");
  std::string header = "{", index = R"({"weight_map":{)";
  for (size_t i = 0; i < n; i++) {
    const std::string name = (i ? ",\"" : "\"") + std::to_string(i);
    header += name + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
    index += name + R"(":"part.safetensors")";
  }
  WriteText(folder / "part.safetensors", Safetensors(header + "}"));
  WriteText(folder / "model.safetensors.index.json", index + "}}");
  const double bytes = static_cast<double>(header.size() + index.size());
  const Cost cost = Measure([&] { return ProblemOf(OpenWeights(folder.path().string())); });
  INFO(cost.seconds << " s, " << cost.bytes / bytes << " per byte");
  CHECK_THAT(cost.problem, Contains("embed_tokens.weight is missing from the model's files"));
  CHECK(cost.bytes <= 8 * bytes + 16 * kMegabyte);
  CHECK(cost.seconds < 10);
}

// ---- GGUF ----

std::string Number(uint64_t number, size_t bytes) { return {reinterpret_cast<const char*>(&number), bytes}; }

std::string GgufText(const std::string& text) { return Number(text.size(), 8) + text; }

// Of a Janus with `values` more metadata.
std::string GgufBegin(uint64_t tensors, uint64_t values) {
  return "GGUF" + Number(3, 4) + Number(tensors, 8) + Number(1 + values, 8) +
         GgufText("general.architecture") + Number(8, 4) + GgufText("janus");
}

std::string ReadGgufFile(const MappedFile& file) { return ProblemOf(ReadGguf(file.bytes(), "f")); }

TEST_CASE("GGUF headers") {
  const auto tensors = [](bool overlapping) {
    return [=](size_t n, std::string& out) {
      out = GgufBegin(n, 0);
      for (size_t i = 0; i < n; i++)
        out += GgufText(std::to_string(i)) + Number(1, 4) + Number(overlapping ? 8 : 0, 8) + Number(0, 4) +
               Number(0, 8);
      out += std::string(64, '\0');
    };
  };
  Check("500,000 tensors", 500'000, tensors(false), ReadGgufFile, {});
  Check("500,000 tensors in one place", 500'000, tensors(true), ReadGgufFile,
        {.problem = "overlaps another tensor"});
  const auto values = [](size_t n, std::string& out) {
    out = GgufBegin(0, n);
    for (size_t i = 0; i < n; i++) out += GgufText("k") + Number(0, 4) + 'v';
  };
  Check("2,000,000 values", 2'000'000, values, ReadGgufFile, {.factor = 1.2});
  const auto strings = [](size_t n, std::string& out) {
    out = GgufBegin(0, 1) + GgufText("l") + Number(9, 4) + Number(8, 4) + Number(n, 8);
    for (size_t i = 0; i < n; i++) out += GgufText("");
  };
  Check("5,000,000 empty strings", 5'000'000, strings, ReadGgufFile, {.factor = 1.2});
  const auto text = [](size_t n, std::string& out) {
    out = GgufBegin(0, 1) + GgufText("janus.config_json") + Number(8, 4) + GgufText(std::string(n, '['));
  };
  Check("a text", 60'000'000, text, ReadGgufFile, {.factor = 1.2});
}

// ---- index.json ----

std::string ReadIndexFile(const MappedFile& file) {
  const auto index = ParseIndex(TextOf(file), "f");
  return index.ok() && index->size() == 0 ? "no tensors" : ProblemOf(index);
}

TEST_CASE("index.json") {
  const auto index = [](const std::string& metadata, const std::string& file, bool one_each) {
    return [=](size_t n, std::string& out) {
      out = R"({"metadata":)" + metadata + R"(,"weight_map":{)";
      for (size_t i = 0; i < n; i++) {
        out += (i ? ",\"" : "\"") + std::to_string(i) + "\":\"" + file + (one_each ? std::to_string(i) : "") +
               '"';
      }
      out += "}}";
    };
  };
  Check("1,000,000 names", 1'000'000, index("{}", "a", false), ReadIndexFile, {.factor = 6});
  Check("1,000,000 names and file names", 1'000'000, index("{}", "model-00001-of-00002.safetensors", false),
        ReadIndexFile, {.factor = 4});
  Check("1,000,000 files", 1'000'000, index("{}", "", true), ReadIndexFile, Refused("more than 10000"));
  const auto nested = [&](size_t n, std::string& out) {
    std::string metadata = std::string(60, '[') + "0";
    for (size_t i = 0; i < n; i++) metadata += ",[]";
    index(metadata + std::string(60, ']'), "a", false)(10, out);
  };
  Check("nested and wide", 10'000'000, nested, ReadIndexFile, {.factor = 4});
  const auto map_of_lists = [](size_t n, std::string& out) {
    out = R"({"weight_map":{"a":)";
    for (size_t i = 0; i < n; i++) out += "[{}],["[i % 5];
  };
  Check("lists in the map", 40'000'000, map_of_lists, ReadIndexFile, {.factor = 1.2, .problem = "f: "});
  const auto repeated = [](size_t n, std::string& out) {
    out = R"({"weight_map":{"a":"b")";
    for (size_t i = 0; i < n; i++) out += R"(,"a":"b")";
    out += "}}";
  };
  Check("one name again and again", 2'000'000, repeated, ReadIndexFile, {.factor = 6});
}

// ---- tokenizer.json ----

std::string ReadTokenizer(const MappedFile& file) {
  const auto tokenizer = Tokenizer::Parse(TextOf(file), "", "f/tokenizer.json");
  if (!tokenizer.ok()) return tokenizer.error().message;
  tokenizer->Decode(tokenizer->Encode("1234567 <12>x"), false);
  return "";
}

void AddVocabulary(size_t n, std::string& out) {
  out += R"("vocab":{)";
  for (size_t i = 0; i < n; i++) {
    const std::string number = std::to_string(i);
    out += (i ? ",\"" : "\"") + number + "\":" + number;
  }
  out += '}';
}

TEST_CASE("tokenizer.json") {
  const auto vocabulary = [](size_t n, std::string& out) {
    out = R"({"model":{)";
    AddVocabulary(n, out);
    out += R"(,"merges":[]}})";
  };
  Check("1,000,000 entries", 1'000'000, vocabulary, ReadTokenizer, {});
  const auto merges = [](bool lists) {
    return [=](size_t n, std::string& out) {
      out = R"({"model":{"merges":[)";
      for (size_t i = 10; i < n; i++) {
        const std::string left = std::to_string(i / 10), right = std::to_string(i % 10);
        out += i == 10 ? "" : ",";
        out += lists ? "[\"" + left + "\",\"" + right + "\"]" : "\"" + left + " " + right + '"';
      }
      out += "],";
      AddVocabulary(n, out);
      out += "}}";
    };
  };
  Check("1,000,000 entries and merges", 1'000'000, merges(false), ReadTokenizer, {});
  Check("1,000,000 merges as lists", 1'000'000, merges(true), ReadTokenizer, {});
  const auto repeated_merge = [](size_t n, std::string& out) {
    out = R"({"model":{"vocab":{"a":0,"aa":1},"merges":["a a")";
    for (size_t i = 0; i < n; i++) out += R"(,"a a")";
    out += "]}}";
  };
  Check("one merge 4,000,000 times", 4'000'000, repeated_merge, ReadTokenizer, {});
  const auto added = [](const std::string& begin, const std::string& flags) {
    return [=](size_t n, std::string& out) {
      out = R"({"model":{"vocab":{},"merges":[]},"added_tokens":[)";
      for (size_t i = 0; i < n; i++) {
        const std::string number = std::to_string(i);
        out +=
            (i ? ",{\"id\":" : "{\"id\":") + number + R"(,"content":")" + begin + number + '"' + flags + '}';
      }
      out += "]}";
    };
  };
  Check("200,000 added tokens", 200'000, added("<", R"(,"normalized":false)"), ReadTokenizer, {});
  Check("200,000 normalized added tokens", 200'000, added("", ""), ReadTokenizer, {});
  Check("200,000 long added tokens", 200'000, added(std::string(240, 'x'), ""), ReadTokenizer, {});
  const auto text = [](const std::string& begin, const std::string& end) {
    return [=](size_t n, std::string& out) { out = begin + std::string(n, 'x') + end; };
  };
  const std::string model = R"("model":{"vocab":{"a":0},"merges":[]})";
  Check("a string that nobody reads", 60'000'000, text("{" + model + R"(,"version":")", "\"}"), ReadTokenizer,
        {.factor = 5});
  Check("an entry of 60 MB", 60'000'000, text(R"({"model":{"vocab":{")", R"(":0},"merges":[]}})"),
        ReadTokenizer, {.factor = 8});
  Check("a replacement of 60 MB", 60'000'000,
        text("{" + model + R"(,"normalizer":{"type":"Replace","pattern":{"String":"a"},"content":")", "\"}}"),
        ReadTokenizer, {.factor = 6, .problem = "normalizer.content: could grow a text"});
  Check("a prefix of 60 MB", 60'000'000,
        text("{" + model + R"(,"normalizer":{"type":"Prepend","prepend":")", "\"}}"), ReadTokenizer,
        {.factor = 6, .problem = "normalizer.prepend: could grow a text"});
  Check("beyond the largest size", 280'000'000, text("{" + model + R"(,"version":")", "\"}"),
        [](const MappedFile& file) {
          const std::string problem = ReadTokenizer(file);
          return problem.empty() || problem.find("too large") != problem.npos ? "too large" : problem;
        },
        {.factor = 5, .problem = "too large"});
}

TEST_CASE("tokenizer.json, exported with filler entries") {
  const auto vocabulary = [](size_t n, std::string& out) {
    out = R"({"added_tokens":[)";
    for (const char* token : {"<begin_of_image>", "<image_placeholder>", "<｜▁pad▁｜>",
                              "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"}) {
      out += R"({"content":")" + std::string(token) + R"(","id":)" + std::to_string(n++) + "},";
    }
    out.back() = ']';
    out += R"(,"model":{)";
    AddVocabulary(n - 5, out);
    out += R"(,"merges":[]}})";
  };
  Check("1,000,000 entries, padded", 1'000'000, vocabulary,
        [](const MappedFile& file) {
          const auto padded = PadTokenizer(TextOf(file), 1'100'000, "f");
          if (!padded.ok()) return padded.error().message;
          const auto read = ParseTokenizerFile(padded->json, "padded");
          if (!read.ok()) return read.error().message;
          return read->vocabulary.size() == 1'100'000 ? std::string() : "another size";
        },
        {.factor = 8, .fixed = 120 * kMegabyte});
}

TEST_CASE("tokenizer.json with parts of many pieces") {
  const auto list = [](const std::string& begin, const std::string& element, const std::string& end) {
    return [=](size_t n, std::string& out) {
      out = begin + element;
      for (size_t i = 1; i < n; i++) out += "," + element;
      out += end;
    };
  };
  const std::string model = R"({"model":{"vocab":{"a":0},"merges":[]},)";
  Check(
      "compiled expressions", 30'000,
      list(model + R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[)", R"({"type":"Digits"})", "]}}"),
      ReadTokenizer, {.factor = 2, .fixed = 20 * kMegabyte, .problem = "more than 64 steps"});
  Check("a component of many values", 20'000'000, list(model + R"("decoder":{"x":[)", "0", "]}}"),
        ReadTokenizer, {.factor = 1.2, .fixed = 20 * kMegabyte, .problem = "holds more than 100000 values"});
  Check(
      "an added token of many values", 20'000'000, list(model + R"("added_tokens":[{"x":[)", "0", "]}]}"),
      ReadTokenizer,
      {.factor = 1.2, .fixed = 20 * kMegabyte, .problem = "added_tokens[0]: holds more than 100000 values"});
  Check("parts that nobody reads", 10'000'000, list(model + R"("truncation":[)", "[]", "]}"), ReadTokenizer,
        {.factor = 4});
  // Each is short, and 250 times as long once it is normalized.
  const auto growing = [](size_t n, std::string& out) {
    out = R"({"normalizer":{"type":"Replace","pattern":{"String":"a"},"content":")" + std::string(4000, 'b') +
          R"("},"model":{"vocab":{},"merges":[]},"added_tokens":[)";
    for (size_t i = 0; i < n; i++) {
      const std::string number = std::to_string(i);
      out += (i ? ",{\"id\":" : "{\"id\":") + number + R"(,"content":"aaaaaaaaaaaaaaaaaaaaaaaa)" + number +
             "\"}";
    }
    out += "]}";
  };
  Check("added tokens that grow", 50'000, growing, ReadTokenizer,
        {.problem = "added_tokens[0].content: longer than 1024 bytes when it is normalized"});
  const auto words = [](size_t n, std::string& out) {
    out =
        R"({"model":{"vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"Split","behavior":"Isolated","pattern":{"Regex":")";
    for (size_t i = 0; i < n; i++) out += R"(\\b)";
    out += "\"}}}";
  };
  Check("an expression of many classes", 30'000, words, ReadTokenizer,
        {.problem = "pre_tokenizer.pattern.Regex: the expression is too large"});
  // Ids that one prime divides share a bucket in a table that takes remainders.
  const auto colliding = [](size_t n, std::string& out) {
    out = R"({"model":{"merges":[],"vocab":{)";
    for (size_t i = 0; i < n; i++)
      out += (i ? ",\"" : "\"") + std::to_string(i) + "\":" + std::to_string(i * 62'233);
    out += "}}}";
  };
  Check("ids that divide alike", 34'000, colliding, ReadTokenizer, {});
}

TEST_CASE("tokenizer_config.json") {
  const auto config = [](size_t n, std::string& out) {
    out = R"({"add_bos_token":true,"bos_token":{"content":"<s>","lstrip":false},"added_tokens_decoder":{)";
    for (size_t i = 0; i < n; i++) {
      const std::string number = std::to_string(i);
      out += (i ? ",\"" : "\"") + number + R"(":{"content":"<extra_)" + number +
             R"(>","lstrip":false,"normalized":false,"rstrip":false,"single_word":false,"special":false})";
    }
    out += R"(},"chat_template":")" + std::string(4 * n, 'x') + "\"}";
  };
  Check("200,000 added tokens in the settings", 200'000, config,
        [](const MappedFile& file) {
          const auto settings = ParseTokenizerSettings(TextOf(file), "f");
          if (settings.ok() && settings->bos != "<s>") return std::string("the BOS is lost");
          return ProblemOf(settings);
        },
        {.factor = 2});
}

// ---- small files ----

TEST_CASE("small files are refused by their size") {
  const auto junk = [](size_t n, std::string& out) {
    out = R"({"model_type":"janus","junk":[0)";
    for (size_t i = 0; i < n; i++) out += ",{}";
    out += "]}";
  };
  const auto config = [](const MappedFile& file) {
    return ProblemOf(ParseConfig(TextOf(file), {}, "f/config.json"));
  };
  Check("config.json", 10'000'000, junk, config, Refused("f/config.json: is too large"));
  Check("config.json below its largest size", 1'300'000, junk, config,
        {.factor = 1.2, .fixed = 20 * kMegabyte, .problem = "more than 100000 values"});
  Check(
      "preprocessor_config.json", 10'000'000, junk,
      [](const MappedFile& file) { return ProblemOf(ParseImageProcessorConfig(TextOf(file), 384, "f")); },
      Refused("too large"));
  Check("generation_config.json", 10'000'000, junk,
        [](const MappedFile& file) {
          return ParseGuidance(TextOf(file), 7) == 7 ? std::string() : "a number out of nothing";
        },
        {.factor = 1.2});
}

TEST_CASE("a folder with a generation_config.json that is too large") {
  const TemporaryFolder folder;
  for (const char* name : {"config.json", "model.safetensors"})
    fs::copy_file(fs::path(BIFRONS_TEST_DIR) / "../assets/janus-mini" / name, folder / name);
  WriteText(folder / "generation_config.json", "{\"a\":\"" + std::string(5 << 20, 'x') + "\"}");
  const ProgramResult result = RunProgram({"info", "-m", folder.path().string()});
  CHECK(result.exit_code == 3);
  CHECK_THAT(result.err, Contains("generation_config.json: is too large"));
}

// ---- .npy ----

TEST_CASE(".npy headers") {
  const auto npy = [](const std::string& begin) {
    return [=](size_t n, std::string& out) {
      const auto length = static_cast<uint32_t>(n);
      std::string header = begin + std::string(n - begin.size(), '1');
      out =
          std::string("\x93NUMPY\x02\0", 8) + std::string(reinterpret_cast<const char*>(&length), 4) + header;
    };
  };
  const auto read = [](const MappedFile& file) { return ProblemOf(ParseNpy(file.bytes(), "f.npy")); };
  Check("a header of 60 MB", 60'000'000, npy("{'fortran_order': False, 'shape': (1,), 'descr': '"), read,
        Refused("its header has"));
  Check("a type of 60 KB", 60'000, npy("{'shape': (1,), 'fortran_order': False, 'descr': "), read,
        Refused("lacks descr"));
  Check("a shape of 60 KB", 60'000, npy("{'descr': '<f4', 'fortran_order': False, 'shape': ("), read,
        Refused("lacks descr"));
}

}  // namespace
}  // namespace bifrons
