// Keys and values of another type than the arithmetic's: pictures tell it, are drawn again with it, and are
// the same in any company.
#include <nlohmann/json.hpp>

#include "src/base/atomic_file.h"
#include "src/engine/metadata.h"
#include "src/jobs/picture_file.h"
#include "src/model/convert.h"
#include "src/model/random_weights.h"
#include "tests/refusal.h"
#include "tests/rendered.h"

namespace bifrons {
namespace {

const std::string kGoldens = std::string(BIFRONS_TEST_DIR) + "/goldens/";

// The other tiny models' heads are no whole blocks.
std::string MakeModel(const TemporaryFolder& folder) {
  const std::string tiny = kGoldens + "tiny-b/original", path = folder / "model.gguf";
  JanusConfig config = OpenWeights(tiny).value()->config();
  config.name = "blocks", config.llama.head_dim = 32;
  AtomicFile file = AtomicFile::Create(path).value();
  const ModelTexts texts(tiny);
  const ConvertOptions options{.software = "a test", .progress = {}};
  REQUIRE(WriteGguf(*MakeRandomWeights(config), texts, texts, options, path, file).ok());
  REQUIRE(file.Commit().ok());
  return path;
}

PictureSettings SettingsOf(const std::string& picture) {
  return ParseParameters(ReadPictureParameters(picture).value()).value();
}

TEST_CASE("a picture tells its caches' type, and is drawn again with it") {
  const TemporaryFolder folder;
  const std::string model = MakeModel(folder), first = folder / "first.png", again = folder / "again.png";
  for (const Arguments& device : TestedDevices()) {
    INFO(Shown(device));
    const Arguments how = Join(device, {"--force", "-m", model, "-s", "3", "--dtype", "f32", "a dog"});
    RunWell(Join({"generate", "-o", first}, how));
    const std::string plain = ReadText(first);
    CHECK(SettingsOf(first).kv_type == "f32");
    for (const auto& [bits, type] : {std::pair("16", "bf16"), std::pair("8", "q8_0")}) {
      RunWell(Join({"generate", "-o", first, "--kv", bits}, how));
      CHECK(SettingsOf(first).kv_type == type);
      CHECK((ReadText(first) != plain));
      RunWell({"generate", "--force", "-m", model, "--from", first, "-o", again});
      CHECK((ReadText(again) == ReadText(first)));
    }
  }
  const std::string tiny = kGoldens + "tiny-a/converted";
  CheckRefused({"generate", "-m", tiny, "--from", first, "-o", folder / "other.png"}, kUsageExit,
               "was drawn with another model", folder.path());
}

TEST_CASE("with 8 bits, too, a picture has the same bytes alone, in a batch and with any threads") {
  const TemporaryFolder folder;
  const std::string model = MakeModel(folder), alone = folder / "alone.png";
  for (const Arguments& settings : TestedArithmetic()) {
    INFO(Shown(settings));
    const Arguments how = Join({"generate", "--force", "-m", model, "--kv", "8"}, settings);
    RunWell(Join(how, {"-o", alone, "-t", "1", "-s", "7", "a red dog"}));
    for (const char* threads : {"1", "2"}) {
      RunWell(Join(how, {"-o", folder / "five.png", "-t", threads, "-n", "5", "-s", "5", "a red dog"}));
      CHECK((ReadText(folder / "five_3.png") == ReadText(alone)));
    }
    RunWell(Join(how, {"-o", folder / "mixed.png", "-s", "7",
                       "a lighthouse in a storm, seen from far above, in oils", "a red dog", ""}));
    CHECK((ReadText(folder / "mixed_2.png") == ReadText(alone)));
  }
}

TEST_CASE("a list is drawn anew where its caches have another type") {
  const TemporaryFolder folder;
  const std::string model = MakeModel(folder);
  WriteText(folder / "list.txt", "a dog\na cat\n");
  const auto pictures = [&](const Arguments& how) {
    RunWell(Join({"render", folder / "list.txt", "-m", model, "-o", folder / "out", "-q"}, how));
    return Pictures(folder / "out").size();
  };
  CHECK(pictures({}) == 2);
  CHECK(pictures({"--kv", "8"}) == 4);
  CHECK(pictures({"--kv", "8"}) == 4);
  CHECK(pictures({}) == 4);
  CHECK(RunProgram({"merge", folder / "out"}).exit_code == 0);
}

TEST_CASE("8 bits cost a little likeness, and take half of the memory") {
  const TemporaryFolder folder;
  const std::string model = MakeModel(folder);
  const auto compared = [&](const Arguments& how) {
    return nlohmann::json::parse(
        RunWell(Join({"kl", model, "--json", "--dtype", "f32", "-n", "2", "-p", "a dog"}, how)).out);
  };
  const auto half = compared({"--kv", "16"}), quarter = compared({"--kv", "8"});
  CHECK(half["kl_mean"] > 0);
  CHECK(quarter["kl_mean"] > half["kl_mean"]);
  CHECK(quarter["kl_mean"] < 1e-2);
  CHECK_THAT(quarter["model"].get<std::string>(), Catch::EndsWith("keys and values q8_0"));
  const auto cache = [&](const Arguments& how) {
    const auto json = nlohmann::json::parse(RunWell(Join({"info", "--json", "-m", model}, how)).out);
    return json["memory"]["kv_cache"].get<double>();
  };
  CHECK(cache({"--kv", "8"}) == Approx(cache({"--kv", "16"}) * 34 / 64));
}

TEST_CASE("heads that are no whole blocks, and other bits, are refused") {
  const TemporaryFolder folder;
  const std::string tiny = kGoldens + "tiny-a/converted";
  CheckRefused({"generate", "-m", tiny, "--kv", "8", "a dog"}, kUsageExit,
               "heads of 16 numbers are no whole blocks of 32", folder.path());
  CheckRefused({"info", "-m", tiny, "--kv", "8"}, kUsageExit, "heads of 16 numbers", folder.path());
  CheckRefused({"generate", "-m", tiny, "--kv", "4", "a dog"}, kUsageExit, "--kv", folder.path());
}

}  // namespace
}  // namespace bifrons
