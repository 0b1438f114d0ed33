#include "vision/exif.h"

#include <string>
#include <string_view>

#include "vision/file_blocks.h"
#include "vision/ifd.h"
#include "vision/png.h"

namespace bifrons {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr std::string_view kExifMark{"Exif\0\0", 6};

// The APP1 segments that are marked as EXIF are one block that was cut up.
std::vector<uint8_t> ExifOfJpeg(Bytes file) {
  std::vector<uint8_t> exif;
  VisitJpegSegments(file, [&](uint8_t marker, Bytes payload) {
    if (marker != 0xE1 || !StartsWith(payload, kExifMark)) return;
    exif.insert(exif.end(), payload.begin() + (exif.empty() ? 0 : kExifMark.size()), payload.end());
  });
  return exif;
}

// "\nexif\n      12\n45786966…\n": the profile's name, its size, its bytes in hexadecimal.
std::vector<uint8_t> FromRawProfile(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\n\r\f\v";
  for (int line = 0; line < 3; line++) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < text.size(); i++) {
    if (kSpaces.find(text[i]) != std::string_view::npos) continue;
    const int high = digit(text[i]), low = i + 1 < text.size() ? digit(text[i + 1]) : -1;
    if (high < 0 || low < 0) return {};
    bytes.push_back(static_cast<uint8_t>(high << 4 | low));
    i++;
  }
  return bytes;
}

std::vector<uint8_t> ExifOfPng(Bytes file) {
  Bytes exif;
  VisitPngChunks(file, [&](std::string_view type, Bytes payload) {
    if (type == "eXIf" && exif.empty()) exif = payload;
  });
  if (!exif.empty()) return {exif.begin(), exif.end()};
  return FromRawProfile(FindPngText(file, "Raw profile type exif").value_or(""));
}

std::vector<uint8_t> ExifOfWebp(Bytes file) {
  Bytes exif;
  VisitWebpChunks(file, [&](std::string_view name, Bytes payload) {
    if (name == "EXIF" && exif.empty()) exif = payload;
  });
  return {exif.begin(), exif.end()};
}

}  // namespace

std::span<const uint8_t> WithoutMark(std::span<const uint8_t> exif) {
  while (StartsWith(exif, kExifMark)) exif = exif.subspan(kExifMark.size());
  return exif;
}

std::optional<int> OrientationOf(Bytes exif) {
  constexpr uint32_t kOrientation = 0x0112;
  const auto ifds = Ifds::Open(WithoutMark(exif));
  const auto entry = ifds ? ifds->Find(ifds->first_directory(), kOrientation) : std::nullopt;
  if (!entry) return std::nullopt;
  const uint32_t value = ifds->Integer(*entry).value_or(1);
  return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
}

std::vector<uint8_t> ExifData(Bytes file) {
  if (IsJpeg(file)) return ExifOfJpeg(file);
  if (IsPng(file)) return ExifOfPng(file);
  if (IsWebp(file)) return ExifOfWebp(file);
  return {};
}

}  // namespace bifrons
