// XMP packets in picture files: where editing programs write the orientation that EXIF data may lack.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace bifrons {

/// The XMP packet of a JPEG (APP1), PNG (text "XML:com.adobe.xmp") or WebP (XMP chunk) file; empty where
/// there is none.
std::string XmpPacket(std::span<const uint8_t> file);

/// The orientation, 1 to 8, in the attribute or element tiff:Orientation; nothing where there is none. The
/// packet is searched, not parsed: time and memory are linear.  [PIL/Image.py: getexif]
std::optional<int> XmpOrientation(std::string_view packet);

}  // namespace bifrons
