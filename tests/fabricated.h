// Folders as if very many pictures had been rendered into them, made without drawing any.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "src/base/file_beneath.h"
#include "src/base/sha256.h"
#include "src/jobs/content_key.h"
#include "src/jobs/manifest.h"
#include "tests/rendered.h"

namespace bifrons {

/// "picture number 7", one per line.
inline std::string NumberedPrompts(int count) {
  std::string text;
  for (int i = 0; i < count; i++) text += "picture number " + std::to_string(i) + "\n";
  return text;
}

/// The header that the tiny model gives a list of one line; its counts are left to the caller.
inline ManifestHeader TinyModelHeader() {
  const TemporaryFolder folder;
  WriteText(folder / "jobs.txt", "a dog\n");
  RunWell(Render(folder / "jobs.txt", folder / "out"));
  const json line = JsonLines(folder / "out/manifest.jsonl").at(0);
  ManifestHeader header;
  header.seed_base = line["seed"], header.model = line["model"], header.model_hash = line["model_hash"];
  header.version = line["version"], header.defaults = line["defaults"];
  return header;
}

/// Files of `folder` and its manifest, of NumberedPrompts(count). The pictures are all the same tiny file,
/// under many names; `with_times`: as recorded since 0.2.
inline void FabricateFinished(const std::string& folder, int count, bool with_times = true) {
  constexpr int kMostNames = 30'000, kInFolder = 1000;  // of one file; most file systems allow some 65,000
  ManifestHeader header = TinyModelHeader();
  header.jobs = header.results = count, header.list = "not looked at";
  fs::create_directories(folder);
  const std::string bytes =
      ReadText(fs::path(BIFRONS_TEST_DIR) / "goldens/manifest_0.1/pictures/00000_7_a-cat.png");
  std::string manifest = HeaderLine(header) + "\n";
  ManifestRecord record;
  record.sha256 = Sha256::Hex(bytes), record.bytes = static_cast<int64_t>(bytes.size());
  std::string original;
  for (int i = 0; i < count; i++) {
    record.file = std::to_string(i / kInFolder) + "/picture_" + std::to_string(i) + ".png";
    const std::string path = folder + "/" + record.file;
    if (i % kInFolder == 0) fs::create_directories(fs::path(path).parent_path());
    if (i % kMostNames == 0) {
      WriteText(path, bytes);
      original = path;
      if (with_times) record.mtime_ns = FileBeneath::Open(folder, record.file)->mtime_ns();
    } else {
      fs::create_hard_link(original, path);
    }
    Job job;
    job.picture.emplace().prompt = "picture number " + std::to_string(i);
    record.key = ContentKey(job, {}, JobFormat::kLines, {.hash = header.model_hash});
    record.index = i, record.seed = static_cast<uint64_t>(i);
    manifest += KeptLine(record) + "\n";
  }
  WriteText(folder + "/manifest.jsonl", manifest);
}

}  // namespace bifrons
