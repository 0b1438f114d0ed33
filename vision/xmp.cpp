#include "vision/xmp.h"

#include "vision/file_blocks.h"
#include "vision/png.h"

namespace bifrons {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr std::string_view kMark{"http://ns.adobe.com/xap/1.0/\0", 29};

std::string Text(Bytes bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

std::string XmpPacket(Bytes file) {
  Bytes packet;
  if (IsJpeg(file)) {
    VisitJpegSegments(file, [&](uint8_t marker, Bytes payload) {
      if (marker == 0xE1 && StartsWith(payload, kMark)) packet = payload.subspan(kMark.size());
    });
  } else if (IsPng(file)) {
    return FindPngText(file, "XML:com.adobe.xmp").value_or("");
  } else if (IsWebp(file)) {
    VisitWebpChunks(file, [&](std::string_view name, Bytes payload) {
      if (name == "XMP " && packet.empty()) packet = payload;
    });
  }
  return Text(packet);
}

std::optional<int> XmpOrientation(std::string_view packet) {
  constexpr std::string_view kName = "tiff:Orientation";
  for (size_t at = packet.find(kName); at != std::string_view::npos; at = packet.find(kName, at)) {
    at += kName.size();
    const std::string_view rest = packet.substr(at);
    const size_t mark = rest.starts_with("=\"") ? 2 : rest.starts_with(">") ? 1 : 0;
    if (mark == 0 || rest.size() <= mark || rest[mark] < '0' || rest[mark] > '9') continue;
    const int value = rest[mark] - '0';
    return value >= 1 && value <= 8 ? value : 1;
  }
  return std::nullopt;
}

}  // namespace bifrons
