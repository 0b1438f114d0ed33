// The blocks that JPEG, PNG and WebP files consist of, walked without decoding a pixel. Each function calls
// visit(kind, payload) with views into the file, and ends where the file does not make sense any more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace bifrons {

inline bool StartsWith(std::span<const uint8_t> bytes, std::string_view prefix) {
  return bytes.size() >= prefix.size() && std::memcmp(bytes.data(), prefix.data(), prefix.size()) == 0;
}

inline bool IsJpeg(std::span<const uint8_t> file) { return StartsWith(file, "\xFF\xD8\xFF"); }
inline bool IsPng(std::span<const uint8_t> file) { return StartsWith(file, "\x89PNG\r\n\x1a\n"); }
inline bool IsWebp(std::span<const uint8_t> file) {
  return StartsWith(file, "RIFF") && file.size() >= 12 && StartsWith(file.subspan(8), "WEBP");
}

/// JPEG: segments FF xx, length (which counts itself), payload, up to the first scan. `kind` is xx.
template <class Visit>
void VisitJpegSegments(std::span<const uint8_t> file, const Visit& visit) {
  for (size_t at = 2; at + 4 <= file.size();) {
    if (file[at] != 0xFF) {
      at++;  // junk between segments
      continue;
    }
    const uint8_t marker = file[at + 1];
    if (marker == 0xDA || marker == 0xD9) break;
    if (marker == 0xFF) {
      at++;  // padding
      continue;
    }
    if (marker <= 0x01 || (marker >= 0xD0 && marker <= 0xD8)) {
      at += 2;  // without a payload
      continue;
    }
    const size_t length = size_t{file[at + 2]} << 8 | file[at + 3];
    if (length < 2 || length > file.size() - at - 2) break;
    visit(marker, file.subspan(at + 4, length - 2));
    at += 2 + length;
  }
}

/// PNG: chunks of length, type, payload, checksum. `kind` is the type.
template <class Visit>
void VisitPngChunks(std::span<const uint8_t> file, const Visit& visit) {
  for (size_t at = 8; file.size() - at >= 12;) {
    size_t length = 0;
    for (size_t i = 0; i < 4; i++) length = length << 8 | file[at + i];
    if (length > file.size() - at - 12) break;
    visit(std::string_view(reinterpret_cast<const char*>(&file[at + 4]), 4), file.subspan(at + 8, length));
    at += 12 + length;
  }
}

/// WebP: a RIFF file of four-letter name, length, payload, padding to an even length. `kind` is the name.
template <class Visit>
void VisitWebpChunks(std::span<const uint8_t> file, const Visit& visit) {
  for (size_t at = 12; at < file.size() && file.size() - at >= 8;) {
    size_t length = 0;
    for (size_t i = 0; i < 4; i++) length |= size_t{file[at + 4 + i]} << (8 * i);
    if (length > file.size() - at - 8) break;
    visit(std::string_view(reinterpret_cast<const char*>(&file[at]), 4), file.subspan(at + 8, length));
    at += 8 + length + length % 2;
  }
}

}  // namespace bifrons
