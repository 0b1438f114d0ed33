// PNG files: the picture and the text that says how it was drawn.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

/// Keyword and text, in the file's order; both UTF-8.
using PngText = std::vector<std::pair<std::string, std::string>>;

/// An 8-bit RGB file in memory, rgb [height, width, 3]. Texts go into tEXt chunks, or iTXt where Latin-1
/// cannot hold them. The bytes depend on the arguments only. Errors: a keyword that is not 1–79 printable
/// Latin-1 characters, a text that is not UTF-8 or holds a zero byte.
Result<std::vector<uint8_t>> EncodePng(int64_t width, int64_t height, std::span<const uint8_t> rgb,
                                       const PngText& text);

/// The tEXt, zTXt and iTXt chunks of a PNG file, walked without libpng: it would unpack the pixels to get
/// past them. `name` stands in the errors: not a PNG, truncated, a wrong checksum, a malformed text, more
/// than 1 MiB of texts.
Result<PngText> ReadPngText(std::span<const uint8_t> bytes, const std::string& name);
Result<PngText> ReadPngText(const std::string& path);

/// The last of the texts with that keyword, in a file that may be damaged elsewhere; nothing where there is
/// none, or where it is malformed or unpacks to more than 1 MiB.
std::optional<std::string> FindPngText(std::span<const uint8_t> bytes, std::string_view keyword);

}  // namespace bifrons
