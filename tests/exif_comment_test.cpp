// EXIF comments: those that piexif writes (tests/goldens/make_exif.py) are read, so are ours, and nothing
// malformed gets further than "there is none".
#include "vision/exif_comment.h"

#include <catch2/catch.hpp>
#include <string>

#include "src/base/mapped_file.h"
#include "vision/exif.h"
#include "vision/orientation.h"

namespace bifrons {
namespace {

using namespace std::string_literals;

const std::string kText = "雪の中の猫 🐈, très joli\nSteps: 576, Seed: 7";

std::vector<uint8_t> Golden(const std::string& name) {
  const MappedFile file = MappedFile::Open(std::string(BIFRONS_TEST_DIR) + "/goldens/" + name).value();
  return {file.bytes().begin(), file.bytes().end()};
}

std::vector<uint8_t> Bytes(const std::string& text) { return {text.begin(), text.end()}; }

// piexif 1.1.3: dump({"Exif": {UserComment: UserComment.dump("a🐈é", encoding="unicode")}}), but for the four
// bytes after each directory that say there is no further one: piexif leaves the second one's out.
const std::string kPiexif =
    "Exif\0\0MM\0*\0\0\0\x08"
    "\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1a"
    "\0\0\0\0"
    "\0\x01\x92\x86\0\x07\0\0\0\x10\0\0\0\x2c"
    "\0\0\0\0"
    "UNICODE\0"
    "\0a\xd8\x3d\xdc\x08\0\xe9"s;

TEST_CASE("piexif's comments are read") {
  for (const std::string name : {"comment.jpg", "comment.webp", "comment_orientation.jpg"}) {
    INFO(name);
    CHECK(ExifComment(ExifData(Golden(name))) == kText);
  }
  CHECK(ExifComment(ExifData(Golden("comment_ascii.jpg"))) == "a cat\nSteps: 576");
  CHECK(OrientationOfFile(Golden("comment_orientation.jpg")) == 6);
}

TEST_CASE("our comments are piexif's") {
  const auto exif = MakeExifComment("a🐈é");
  REQUIRE(exif.ok());
  CHECK(std::string(exif->begin(), exif->end()) == kPiexif);
}

TEST_CASE("comments come back") {
  for (const std::string& text :
       {kText, ""s, "x"s, "\uFFFF\U00010000\U0010FFFF"s, "a\0b"s, std::string(100'000, 'x')}) {
    const auto exif = MakeExifComment(text);
    REQUIRE(exif.ok());
    CHECK(ExifComment(*exif) == text);
    CHECK(ExifComment(WithoutMark(*exif)) == text);
    CHECK(!OrientationOf(*exif));
  }
  for (const std::string& text : {"\xFF"s, "\xC0\x80"s, "\xED\xA0\x80"s, "a\xE2\x82"s}) {
    const auto exif = MakeExifComment(text);
    REQUIRE_FALSE(exif.ok());
    CHECK(exif.error().kind == ErrorKind::kUsage);
  }
}

TEST_CASE("half surrogates and odd bytes do no harm") {
  const auto with = [](std::string units) {
    std::string exif = kPiexif.substr(0, kPiexif.size() - 8) + units;
    exif[6 + 8 + 18 + 2 + 7] = static_cast<char>(8 + units.size());
    return ExifComment(Bytes(exif));
  };
  CHECK(with("\0a\0b"s) == "ab");
  CHECK(with("\0a\0"s) == "a");                        // half a unit
  CHECK(with("\xd8\x3d"s) == "\uFFFD");                // nothing follows
  CHECK(with("\xd8\x3d\0a"s) == "\uFFFDa");            // no low half follows
  CHECK(with("\xdc\x08\xd8\x3d"s) == "\uFFFD\uFFFD");  // the wrong way round
  CHECK(with("\xd8\x3d\xd8\x3d\xdc\x08"s) == "\uFFFD🐈");
}

TEST_CASE("little-endian data hold little-endian text") {
  const std::string exif =
      "II*\0\x08\0\0\0"
      "\x01\0\x69\x87\x04\0\x01\0\0\0\x1a\0\0\0"
      "\0\0\0\0"
      "\x01\0\x86\x92\x07\0\x0c\0\0\0\x2c\0\0\0"
      "\0\0\0\0"
      "UNICODE\0"
      "a\0\xe9\0"s;
  CHECK(ExifComment(Bytes(exif)) == "aé");
}

TEST_CASE("malformed data have no comment") {
  const std::vector<uint8_t> good = Bytes(kPiexif);
  for (size_t size = 0; size < good.size(); size++) {
    INFO(size);
    CHECK(!ExifComment(std::span(good).first(size)));
  }
  // A flipped byte may leave another text, but never reads beyond the end (the sanitizers' part of this
  // test).
  for (size_t i = 0; i < good.size(); i++) {
    for (int bit = 0; bit < 8; bit++) {
      std::vector<uint8_t> flipped = good;
      flipped[i] ^= static_cast<uint8_t>(1 << bit);
      (void)ExifComment(flipped);
    }
  }
  const auto with = [&](size_t at, const std::string& part) {
    std::string text = kPiexif;
    text.replace(at, part.size(), part);
    return ExifComment(Bytes(text));
  };
  CHECK(with(0, "Exif") == "a🐈é");
  CHECK(!with(6 + 26 + 6, "\xFF\xFF\xFF\xFF"));   // the count
  CHECK(!with(6 + 26 + 10, "\xFF\xFF\xFF\xFF"));  // the offset
  CHECK(!with(6 + 18, "\xFF\xFF\xFF\xFF"));       // the directory's offset
  CHECK(!with(6 + 26 + 4, "\0\x02"s));            // the type
  CHECK(!with(6 + 44, "JIS\0\0\0\0\0"s));         // the character set
}

}  // namespace
}  // namespace bifrons
