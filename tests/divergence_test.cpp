// What a type of weights costs, in nats and in tokens.
#include "src/engine/divergence.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "tests/refusal.h"

namespace bifrons {
namespace {

const std::string kTiny = std::string(BIFRONS_TEST_DIR) + "/goldens/tiny-a/converted";
const std::string kOther = std::string(BIFRONS_TEST_DIR) + "/goldens/tiny-c/converted";

TEST_CASE("KL of two rows of logits is the textbook's") {
  const float p[] = {std::log(0.5f), std::log(0.25f), std::log(0.25f)};
  const float q[] = {std::log(0.25f) + 7, std::log(0.25f) + 7,
                     std::log(0.5f) + 7};  // a constant says nothing
  CHECK(KullbackLeibler(p, q) == Approx(0.5 * std::log(2) - 0.25 * std::log(2)).epsilon(1e-6));
  CHECK(KullbackLeibler(p, p) == 0);
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  const float sure[] = {0, kNever, kNever}, barred[] = {kNever, 0, 0};
  CHECK(KullbackLeibler(sure, p) == Approx(std::log(2)).epsilon(1e-6));
  CHECK(KullbackLeibler(sure, barred) == std::numeric_limits<double>::infinity());
  const float none[] = {0, std::nanf(""), 0};
  CHECK(std::isnan(KullbackLeibler(none, p)));
  CHECK(std::isnan(KullbackLeibler(p, none)));
}

nlohmann::json Compared(const Arguments& more) {
  return nlohmann::json::parse(
      RunWell(Join({"kl", kTiny, "--json", "-n", "2", "-p", "a dog", "-p", "two cats"}, more)).out);
}

TEST_CASE("a model is no way from itself, and its types ever further") {
  const auto same = Compared({"--dtype", "f32"});
  CHECK(same["pictures"] == 4);
  CHECK(same["tokens"] == 4 * 36);
  CHECK(same["kl_mean"] == 0);
  CHECK(same["kl_99"] == 0);
  CHECK(same["top_1"] == 1);
  CHECK(same["drawn"] == 1);
  double before = 0;
  for (const std::string type : {"q8_0", "q4_0"}) {
    const auto other = Compared({"--dtype", "f32", "--type", type});
    INFO(other.dump());
    CHECK(other["kl_mean"] > before);
    CHECK(other["kl_99"] >= other["kl_mean"]);
    CHECK(other["drawn"] < 1);
    before = other["kl_mean"];
  }
}

TEST_CASE("a file of a type is as far as the type made while loading") {
  const TemporaryFolder folder;
  const std::string file = folder / "m.gguf";
  RunWell({"convert", kTiny, "-o", file, "--type", "q4_0", "-q"});
  const auto json = nlohmann::json::parse(
      RunWell({"kl", "-m", file, "--against", kTiny, "--json", "-p", "a dog", "--dtype", "f32"}).out);
  const auto made = nlohmann::json::parse(
      RunWell({"kl", "-m", kTiny, "--type", "q4_0", "--json", "-p", "a dog", "--dtype", "f32"}).out);
  CHECK(json["kl_mean"] == made["kl_mean"]);
  CHECK(json["drawn"] == made["drawn"]);
}

TEST_CASE("what cannot be compared is refused") {
  const TemporaryFolder folder;
  CheckRefused({"kl", kTiny, "--against", "nowhere"}, kBadDataExit, "nowhere: there is no such folder",
               folder.path());
  CHECK_THAT(RunWell({"kl", kTiny, "-p", "a dog", "--dtype", "f32"}).err,
             Catch::Contains("warning: this compares converted with itself"));
  CHECK_THAT(RunWell({"kl", kTiny, "-p", "a dog", "--type", "q8_0"}).err, !Catch::Contains("warning"));
  CheckRefused({"kl", kTiny, kTiny}, kUsageExit, "kl: unexpected argument", folder.path());
  CheckRefused({"kl", kTiny, "--against", kOther}, kUsageExit, "they cannot be compared", folder.path());
}

}  // namespace
}  // namespace bifrons
