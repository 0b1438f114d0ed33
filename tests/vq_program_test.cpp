// bifrons vq: pictures to codes and back, from the outside.
#include <cmath>

#include "tests/golden_files.h"
#include "tests/refusal.h"
#include "tests/test_pictures.h"
#include "vision/image_file.h"

namespace bifrons {
namespace {

const std::string kModel = (kGoldens / "tiny-a/converted").string();
constexpr int kSide = 12;  // of its pictures
constexpr int kCodebook = 96, kTokens = 36;

std::vector<uint8_t> Pixels(const std::string& path) {
  auto image = LoadImage(path);
  INFO(path);
  REQUIRE(image.ok());
  REQUIRE(image->width == kSide);
  REQUIRE(image->height == kSide);
  return image->rgb;
}

double Psnr(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  REQUIRE(a.size() == b.size());
  double squares = 0;
  for (size_t i = 0; i < a.size(); i++) squares += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return 10 * std::log10(255 * 255 / (squares / static_cast<double>(a.size())));
}

Arguments Vq(const std::string& verb, const Arguments& more) {
  return Join({"vq", verb, "--model", kModel, "--dtype", "f32"}, more);
}

// The number in front of "dB".
double PrintedPsnr(const std::string& out) {
  const size_t unit = out.find(" dB");
  INFO(out);
  REQUIRE(unit != std::string::npos);
  const size_t start = out.find_last_not_of("0123456789.-", unit - 1);
  return std::stod(out.substr(start == std::string::npos ? 0 : start + 1));
}

TEST_CASE("roundtrip is encode and decode, and its PSNR is that of the two pictures") {
  const TemporaryFolder folder;
  WriteTestPicture(folder / "square.png", kSide, kSide, 1);
  WriteTestPicture(folder / "wide.png", 50, 21, 2);
  for (const std::string name : {"square", "wide"}) {
    const std::string picture = folder / (name + ".png"), codes = folder / (name + ".npy");
    const ProgramResult roundtrip = RunWell(Vq("roundtrip", {picture, "-o", folder / "round.png"}));
    RunWell(Vq("encode", {picture, "-o", codes}));
    CHECK(Ints(codes).size() == kTokens);
    RunWell(Vq("decode", {codes, "-o", folder / "decoded.png"}));
    CHECK(Pixels(folder / "decoded.png") == Pixels(folder / "round.png"));

    // What the encoder saw: as a user cuts a picture to size, or as it is cut here.
    RunWell({"trace", "--model", kModel, "--dtype", "f32", "--image", picture, "--question", "x", "--out",
             folder / "trace"});
    const auto values = Floats(folder / "trace/pixel_values.npy");
    std::vector<uint8_t> seen;
    for (int i = 0; i < kSide * kSide; i++) {
      for (int c = 0; c < 3; c++) {
        const float value = values[static_cast<size_t>(c * kSide * kSide + i)];
        seen.push_back(static_cast<uint8_t>(std::lround((double{value} + 1) / 2 * 255)));
      }
    }
    if (name == "square") CHECK(seen == Pixels(picture));
    CHECK(Ints(folder / "trace/vq_codes.npy") == Ints(codes));
    const auto json =
        nlohmann::json::parse(RunWell(Vq("roundtrip", {picture, "-o", folder / "round.png", "--json"})).out);
    CHECK((json["image"] == picture && json["file"] == folder / "round.png"));
    CHECK(PrintedPsnr(roundtrip.out) == Approx(Psnr(seen, Pixels(folder / "round.png"))).margin(0.0051));
  }
}

TEST_CASE("decode draws what generate drew") {
  const TemporaryFolder folder;
  RunWell({"generate", "--model", kModel, "--dtype", "f32", "--seed", "3", "-o", folder / "drawn.png",
           "--codes-out", folder / "codes.npy", "a dog"});
  RunWell(Vq("decode", {folder / "codes.npy", "-o", folder / "decoded.png"}));
  CHECK(Pixels(folder / "decoded.png") == Pixels(folder / "drawn.png"));
}

TEST_CASE("codes and pictures that vq refuses") {
  const TemporaryFolder folder;
  const std::string codes = folder / "codes.npy", out = folder / "out.png";
  const auto decode = [&](std::vector<int32_t> values, const Shape& shape, const std::string& says) {
    REQUIRE(WriteNpy(codes, {values.data(), DType::kI32, shape}).ok());
    CheckRefused(Vq("decode", {codes, "-o", out}), kBadDataExit, says, folder.path());
  };
  decode(std::vector<int32_t>(kTokens - 1, 1), {kTokens - 1}, std::to_string(kTokens));
  decode(std::vector<int32_t>(kTokens + 1, 1), {kTokens + 1}, std::to_string(kTokens));
  decode({}, {0}, "codes.npy");
  std::vector<int32_t> outside(kTokens, 1);
  outside[7] = kCodebook;
  decode(outside, {kTokens}, std::to_string(kCodebook));
  outside[7] = -1;
  decode(outside, {kTokens}, "-1");
  WriteText(codes, "no array");
  CheckRefused(Vq("decode", {codes, "-o", out}), kBadDataExit, "codes.npy", folder.path());
  CheckRefused(Vq("decode", {folder / "none.npy", "-o", out}), kBadDataExit, "none.npy", folder.path());
  CheckRefused(Vq("encode", {folder / "none.png", "-o", folder / "new.npy"}), kBadDataExit, "none.png",
               folder.path());
  CheckRefused(Vq("roundtrip", {codes, "-o", out}), kBadDataExit, "codes.npy", folder.path());

  WriteTestPicture(folder / "picture.png", kSide, kSide, 1);
  CheckRefused(Vq("encode", {folder / "picture.png", "-o", folder / "no/codes.npy"}), kFailureExit,
               "codes.npy", folder.path());
  CheckRefused(Vq("roundtrip", {folder / "picture.png", "-o", folder / "no/out.png"}), kFailureExit,
               "out.png", folder.path());
  for (const Arguments& arguments :
       {Arguments{"vq"}, Arguments{"vq", "paint"}, Vq("encode", {}), Vq("decode", {}), Vq("roundtrip", {})})
    CheckRefused(arguments, kUsageExit, "", folder.path());
}

}  // namespace
}  // namespace bifrons
