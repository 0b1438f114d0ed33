// Rendering lists with a tiny model, and what is in the folder afterwards.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "src/base/sha256.h"
#include "tests/run_program.h"

namespace bifrons {

using nlohmann::json;

inline const std::string kTinyModel = (fs::path(BIFRONS_TEST_DIR) / "goldens/tiny-a/converted").string();

inline Arguments Render(const std::string& jobs, const std::string& folder, const Arguments& more = {}) {
  return Join({"render", "--model", kTinyModel, "--dtype", "f32", "--threads", "1", jobs, "-o", folder},
              more);
}

/// The last event of a run with --json, which tells of all of it.
inline json Summary(const ProgramResult& result) {
  std::istringstream lines(result.out);
  json last;
  for (std::string line; std::getline(lines, line);) last = json::parse(line);
  REQUIRE(last["event"] == "summary");
  return last;
}

/// Lines of JSON; a line that is none fails.
inline std::vector<json> JsonLines(const fs::path& path) {
  std::vector<json> lines;
  std::istringstream file(ReadText(path));
  for (std::string line; std::getline(file, line);) {
    INFO(path << ": " << line);
    lines.push_back(json::parse(line, nullptr, /*allow_exceptions=*/false));
    REQUIRE(lines.back().is_object());
  }
  return lines;
}

/// Hash of every file below, by its path; manifests and the like are left out.
inline std::map<std::string, std::string> Pictures(const fs::path& folder) {
  std::map<std::string, std::string> pictures;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string extension = entry.path().extension().string();
    if (entry.is_regular_file() && extension != ".jsonl")
      pictures[fs::relative(entry.path(), folder).string()] = Sha256::Hex(ReadText(entry.path()));
  }
  return pictures;
}

/// The finished pictures of a manifest, hash by file. A picture with two lines fails, and a file that is not
/// what its line says.
inline std::map<std::string, std::string> Recorded(const fs::path& folder,
                                                   const std::string& manifest = "manifest.jsonl") {
  std::map<std::string, std::string> recorded;
  std::set<std::pair<std::string, int>> seen;
  for (const json& line : JsonLines(folder / manifest)) {
    if (line.contains("bifrons_manifest")) continue;
    INFO(line);
    const bool first = seen.emplace(line["job"], line["number"]).second;
    CHECK(first);
    const std::string file = line["file"];
    CHECK(Sha256::Hex(ReadText(folder / file)) == line["sha256"].get<std::string>());
    recorded[file] = line["sha256"];
  }
  return recorded;
}

inline size_t CountLines(const fs::path& path) {
  const std::string text = ReadText(path);
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

/// Waits for something that a running program does; gives up when it has ended.
template <class Condition>
bool WaitFor(const Program& program, const Condition& condition) {
  while (!condition()) {
    if (program.Ended()) return condition();
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return true;
}

}  // namespace bifrons
