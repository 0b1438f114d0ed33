// The hub's client, as far as it needs no server: names, hashes, waits, the choice of files. tests/hub/ has
// the rest.
#include <catch2/catch.hpp>
#include <ctime>

#include "src/base/git_blob_hash.h"
#include "src/hub/choose_files.h"
#include "src/hub/listing.h"
#include "src/hub/repository.h"
#include "src/hub/retries.h"

namespace bifrons {
namespace {

std::string GitHash(const std::string& contents) {
  GitBlobHash hash(static_cast<int64_t>(contents.size()));
  hash.Update(contents);
  return hash.Finish();
}

// What is chosen of files with these names, in alphabetical order; an error as its text.
std::vector<std::string> Chosen(const std::vector<std::string>& names) {
  std::vector<RemoteFile> files;
  for (const std::string& name : names) files.push_back({name, 1, std::string(40, 'a')});
  const auto chosen = ChooseFiles(files, "org/name");
  if (!chosen.ok()) return {chosen.error().message};
  std::vector<std::string> out;
  for (const RemoteFile& file : *chosen) out.push_back(file.name);
  CHECK(out.back() == "config.json");  // its link tells that the others are there
  std::sort(out.begin(), out.end());
  return out;
}

TEST_CASE("blobs are named as git names them") {  // git hash-object
  CHECK(GitHash("") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  CHECK(GitHash("Hello, World!") == "b45ef6fec89518d314f546fd6c3025367b721684");
}

TEST_CASE("repositories and revisions") {
  for (const char* text :
       {"hf:org/Some.Model-1_b", "org/Some.Model-1_b", "https://huggingface.co/org/Some.Model-1_b"}) {
    const auto repository = ParseRepository(text);
    REQUIRE(repository.ok());
    CHECK((*repository).name == "org/Some.Model-1_b");
    CHECK((*repository).revision == "main");
  }
  CHECK((*ParseRepository("a/b@refs/pr/1")).revision == "refs/pr/1");
  CHECK((*ParseRepository("a/b@refs/pr/1")).shown() == "a/b@refs/pr/1");
  for (const char* text :
       {"", "a", "a/", "/b", "a/b/c", "./a", "a/..", "a--b/c", "a/b.git", "a/b@", "a/b@..", "~/b"}) {
    INFO(text);
    CHECK(!LooksLikeRepository(text));
    CHECK(ParseRepository(text).error().kind == ErrorKind::kUsage);
  }
  CHECK(!LooksLikeRepository(std::string(97, 'a') + "/b"));
}

TEST_CASE("paths that stay below a folder") {
  for (const char* path : {"a", "a/b.json", "..a", ".gitattributes", "größe.json", "two words"}) {
    INFO(path);
    CHECK(IsPlainRelativePath(path));
  }
  for (const char* path : {"", "/a", "a/", "a//b", ".", "..", "a/../b", "a\\b", "a\nb", "a\x7f"}) {
    INFO(path);
    CHECK(!IsPlainRelativePath(path));
  }
}

TEST_CASE("the files that a model needs") {
  using Names = std::vector<std::string>;
  CHECK(Chosen({"config.json", "demo.png", "README.md", "tokenizer.json", "pytorch_model.bin",
                "x/model.safetensors"}) == Names{"config.json", "pytorch_model.bin", "tokenizer.json"});
  CHECK(Chosen({"config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"}) ==
        Names{"config.json", "model.safetensors"});
  CHECK(Chosen({"config.json", "model.safetensors.index.json", "model-1-of-2.safetensors",
                "model-2-of-2.safetensors", "pytorch_model.bin.index.json", "pytorch_model-1-of-1.bin",
                "adapter_model.safetensors"}) == Names{"config.json", "model-1-of-2.safetensors",
                                                       "model-2-of-2.safetensors",
                                                       "model.safetensors.index.json"});
  CHECK(Chosen({"config.json", "weights.safetensors", "adapter_model.safetensors", "optimizer.bin"}) ==
        Names{"config.json", "weights.safetensors"});
  // Nobody says which of two belong to the model.
  CHECK(Chosen({"config.json", "a.safetensors", "b.safetensors"})[0].find("no weights") != std::string::npos);
}

TEST_CASE("how long the hub asks to wait") {
  const auto asked = [](const char* name, const std::string& value) {
    HttpResponse response;
    response.headers[name] = value;
    return AskedWait(response);
  };
  CHECK(AskedWait({}) == -1);
  CHECK(asked("retry-after", "17") == 17);
  CHECK(asked("retry-after", "soon") == -1);
  CHECK(asked("ratelimit", "\"api\";r=0;t=55") == 55);
  CHECK(asked("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT") == 0);
  char date[64];
  const time_t later = std::time(nullptr) + 100;
  std::strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", std::gmtime(&later));
  CHECK(std::abs(asked("retry-after", date) - 100) < 5);
}

}  // namespace
}  // namespace bifrons
