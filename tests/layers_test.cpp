// Folders are layers: includes point downwards only, kernels know no model, and the top of the tree stays
// short.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>

namespace {

namespace fs = std::filesystem;

const fs::path kRoot = fs::path(BIFRONS_TEST_DIR).parent_path();

// Lowest first. A file may include its own layer and those below.
struct Layer {
  const char* folder;
  int level;
};
constexpr Layer kLayers[] = {{"src/base/", 0},   {"kernels/", 1},    {"vision/", 2},   {"src/model/", 3},
                             {"src/engine/", 4}, {"src/bifrons", 5}, {"src/jobs/", 6}, {"src/hub/", 6},
                             {"src/cli/", 7},    {"src/server/", 7}};

int LevelOf(const std::string& path) {
  for (const Layer& layer : kLayers) {
    if (path.starts_with(layer.folder)) return layer.level;
  }
  return -1;
}

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::set<std::string> Sources() {
  std::set<std::string> sources;
  for (const char* folder : {"src", "kernels", "vision"}) {
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
      const std::string extension = entry.path().extension().string();
      if (extension == ".h" || extension == ".cpp" || extension == ".cu" || extension == ".cuh")
        sources.insert(fs::relative(entry.path(), kRoot).string());
    }
  }
  return sources;
}

TEST_CASE("includes point downwards only") {
  const auto sources = Sources();
  REQUIRE(sources.size() > 50);
  const std::regex include("#include \"([^\"]+)\"");
  int checked = 0;
  for (const std::string& source : sources) {
    const int level = LevelOf(source);
    INFO(source);
    CHECK(level >= 0);  // a folder that is no layer
    const std::string text = Read(kRoot / source);
    for (std::sregex_iterator it(text.begin(), text.end(), include), end; it != end; ++it) {
      const std::string included = (*it)[1];
      INFO("includes " << included);
      CHECK(fs::exists(kRoot / included));  // paths start at the root
      CHECK(LevelOf(included) <= level);
      checked++;
    }
  }
  CHECK(checked > 100);
}

// What is behind a view only the devices' own files may know: see kernels/host/memory.h.
TEST_CASE("nothing above kernels sees a device's memory") {
  const std::regex inside("#include \"kernels/([a-z_0-9]+)/");
  const std::set<std::string> shared = {"op_matrix"};  // works on any device, through its queue
  for (const std::string& source : Sources()) {
    if (source.starts_with("kernels/")) continue;
    const std::string text = Read(kRoot / source);
    INFO(source);
    for (std::sregex_iterator it(text.begin(), text.end(), inside), end; it != end; ++it) {
      INFO("includes kernels/" << (*it)[1]);
      CHECK(shared.contains((*it)[1]));
    }
  }
}

// Numbers come out of a view only by a queue's download: nobody opens a view, makes numbers of bytes, or
// knows which device's class stands behind an interface.
TEST_CASE("nothing above kernels looks through a device's interface") {
  const std::regex comment("//[^\n]*");
  const std::regex looks(
      "HostBuffer|\\bhost::|(\\.|->)buffer\\b|reinterpret_cast<(const )?(float|double|BF16|F16|int32_t)\\b|"
      "(static|dynamic)_cast<[^<>]*(Buffer|Pages|Batch|Linear|Conv2d|Table|Queue|Device) ?[&*]");
  const std::string found_there =
      "x = *reinterpret_cast<const float*>(y); view.buffer->bytes(); "
      "static_cast<const HostLinear&>(linear); host::Bytes(v)";
  using Found = std::sregex_iterator;
  REQUIRE(std::distance(Found(found_there.begin(), found_there.end(), looks), Found()) == 4);
  for (const std::string& source : Sources()) {
    if (LevelOf(source) <= LevelOf("kernels/")) continue;
    const std::string code = std::regex_replace(Read(kRoot / source), comment, "");
    std::smatch found;
    const bool has = std::regex_search(code, found, looks);
    INFO(source << " has " << (has ? found.str() : ""));
    CHECK(!has);
  }
}

TEST_CASE("no header includes itself by way of others") {
  std::map<std::string, std::set<std::string>> includes;
  const std::regex include("#include \"([^\"]+)\"");
  for (const std::string& source : Sources()) {
    const std::string text = Read(kRoot / source);
    for (std::sregex_iterator it(text.begin(), text.end(), include), end; it != end; ++it)
      includes[source].insert((*it)[1]);
  }
  std::set<std::string> done, open;
  const std::function<void(const std::string&)> visit = [&](const std::string& file) {
    if (done.contains(file)) return;
    INFO(file);
    REQUIRE(open.insert(file).second);  // a circle
    for (const std::string& included : includes[file]) visit(included);
    open.erase(file), done.insert(file);
  };
  for (const std::string& source : Sources()) visit(source);
}

TEST_CASE("kernels name no model") {
  const std::regex comment("//[^\n]*"), model("janus|llama|siglip|vqgan", std::regex::icase);
  for (const std::string& source : Sources()) {
    if (!source.starts_with("kernels/")) continue;
    const std::string code = std::regex_replace(Read(kRoot / source), comment, "");
    std::smatch found;
    const bool names = std::regex_search(code, found, model);
    INFO(source << " names " << (names ? found.str() : ""));
    CHECK(!names);
  }
}

TEST_CASE("files stay readable") {
  for (const std::string& source : Sources()) {
    const std::string text = Read(kRoot / source);
    INFO(source);
    CHECK(std::count(text.begin(), text.end(), '\n') <= 500);
  }
}

TEST_CASE("the top of the tree holds what the README says") {
  const std::set<std::string> allowed = {
      "CMakeLists.txt", "CMakePresets.json", "README.md", "LICENSE", "src", "vision", "kernels",
      "assets",         "packaging",         "samples",   "tests"};
  for (const auto& entry : fs::directory_iterator(kRoot)) {
    const std::string name = entry.path().filename().string();
    // What .gitignore names may lie about.
    if (name.starts_with(".") || name.starts_with("build") || name.starts_with("out")) continue;
    INFO(name);
    CHECK(allowed.contains(name));
  }
}

}  // namespace
