#include "vision/png.h"

#include <png.h>
#include <utf8proc.h>
#include <zlib.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <optional>
#include <string_view>

#include "src/base/mapped_file.h"
#include "src/base/printable.h"
#include "vision/file_blocks.h"

namespace bifrons {
namespace {

// What libpng's callbacks see. libpng reports errors by longjmp, which runs no destructors: Encode, which
// calls setjmp, holds nothing but plain values and references to what its caller owns.
struct Session {
  char message[160] = "";
  std::vector<uint8_t>* written = nullptr;
};

void OnError(png_structp png, png_const_charp message) {
  auto* session = static_cast<Session*>(png_get_error_ptr(png));
  std::strncpy(session->message, message, sizeof(session->message) - 1);
  png_longjmp(png, 1);
}

void OnWarning(png_structp, png_const_charp) {}

void Append(png_structp png, png_bytep data, size_t size) {
  auto* session = static_cast<Session*>(png_get_io_ptr(png));
  session->written->insert(session->written->end(), data, data + size);
}

void Flush(png_structp) {}

// ---- text ---------------------------------------------------------------------------------------

// Code points of strict UTF-8; nullopt otherwise.
std::optional<std::u32string> CodePoints(const std::string& text) {
  std::u32string points;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t i = 0; i < text.size();) {
    utf8proc_int32_t point;
    const auto used = utf8proc_iterate(bytes + i, static_cast<utf8proc_ssize_t>(text.size() - i), &point);
    if (used <= 0) return std::nullopt;
    points.push_back(static_cast<char32_t>(point));
    i += static_cast<size_t>(used);
  }
  return points;
}

std::string FromLatin1(std::string_view text) {
  std::string utf8;
  for (const char byte : text) {
    const auto c = static_cast<uint8_t>(byte);
    if (c < 0x80) {
      utf8 += static_cast<char>(c);
    } else {
      utf8 += static_cast<char>(0xC0 | (c >> 6));
      utf8 += static_cast<char>(0x80 | (c & 0x3F));
    }
  }
  return utf8;
}

Status CheckKeyword(const std::string& keyword) {
  const bool printable =
      std::all_of(keyword.begin(), keyword.end(), [](char c) { return c >= 32 && c <= 126; });
  if (keyword.empty() || keyword.size() > 79 || !printable || keyword.front() == ' ' ||
      keyword.back() == ' ' || keyword.find("  ") != std::string::npos) {
    return UsageError("'" + keyword + "' cannot be a PNG keyword; use 1 to 79 printable ASCII characters");
  }
  return {};
}

// A text as its chunk stores it.
struct StoredText {
  std::string keyword, text;
  bool unicode;  // iTXt; else tEXt
};

Result<StoredText> ToStored(const std::string& keyword, const std::string& text) {
  BIFRONS_RETURN_IF_ERROR(CheckKeyword(keyword));
  const auto points = CodePoints(text);
  if (!points) return UsageError("the text '" + keyword + "' for the PNG is not UTF-8");
  if (points->find(U'\0') != std::u32string::npos) {
    return UsageError("the text '" + keyword + "' for the PNG holds a zero byte");
  }
  if (std::any_of(points->begin(), points->end(), [](char32_t c) { return c > 0xFF; })) {
    return StoredText{keyword, text, true};
  }
  std::string latin1;
  for (const char32_t c : *points) latin1 += static_cast<char>(c);
  return StoredText{keyword, latin1, false};
}

// ---- libpng -------------------------------------------------------------------------------------

bool Encode(Session& session, png_uint_32 width, png_uint_32 height, const uint8_t* rgb,
            const std::vector<png_text>& texts) {
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &session, OnError, OnWarning);
  if (png == nullptr) return false;
  png_infop info = png_create_info_struct(png);
  if (setjmp(png_jmpbuf(png))) {
    png_destroy_write_struct(&png, &info);
    return false;
  }
  if (info == nullptr) png_error(png, "out of memory");
  png_set_write_fn(png, &session, Append, Flush);
  png_set_IHDR(png, info, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  // Named, so that another default in another libpng does not change the bytes.
  png_set_compression_level(png, 6);
  png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_ALL_FILTERS);
  png_set_text(png, info, texts.data(), static_cast<int>(texts.size()));
  png_write_info(png, info);
  for (png_uint_32 y = 0; y < height; y++) png_write_row(png, rgb + size_t{y} * width * 3);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return true;
}

// ---- chunks -------------------------------------------------------------------------------------

// Far above what a prompt and its settings take, far below what could hurt.
constexpr size_t kMaxTextBytes = size_t{1} << 20;

uint32_t BigEndian(const uint8_t* p) {
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | uint32_t{p[3]};
}

// What zlib unpacks to; nullopt when it is damaged or larger than any text of ours.
std::optional<std::string> Inflate(std::string_view packed) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return std::nullopt;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string text;
  char part[4096];
  int state = Z_OK;
  while (state == Z_OK && text.size() <= kMaxTextBytes) {
    stream.next_out = reinterpret_cast<Bytef*>(part);
    stream.avail_out = sizeof(part);
    state = inflate(&stream, Z_NO_FLUSH);
    text.append(part, sizeof(part) - stream.avail_out);
  }
  inflateEnd(&stream);
  if (state != Z_STREAM_END || text.size() > kMaxTextBytes) return std::nullopt;
  return text;
}

// Cuts the bytes up to the next zero off `rest`; nullopt when there is none.
std::optional<std::string_view> CutAtZero(std::string_view& rest) {
  const size_t end = rest.find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view cut = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return cut;
}

// PNG specification, third edition, 11.3.3: keyword, 0, then
//   tEXt: Latin-1;  zTXt: method 0, deflated Latin-1;  iTXt: packed?, method 0, language, 0, keyword, 0,
//   UTF-8.
std::optional<std::pair<std::string, std::string>> ParseText(std::string_view type, std::string_view rest) {
  const auto keyword = CutAtZero(rest);
  if (!keyword || keyword->empty() || keyword->size() > 79) return std::nullopt;
  std::string key = FromLatin1(*keyword);
  if (type == "tEXt") return std::pair{std::move(key), FromLatin1(rest)};
#ifndef BIFRONS_PLANTED_BUGS
  if (rest.size() < (type == "zTXt" ? 1u : 2u)) return std::nullopt;
#endif
  if (type == "zTXt") {
    auto text = rest[0] == 0 ? Inflate(rest.substr(1)) : std::nullopt;
    if (!text) return std::nullopt;
    return std::pair{std::move(key), FromLatin1(*text)};
  }
  const bool packed = rest[0] == 1;
  if (rest[0] > 1 || (packed && rest[1] != 0)) return std::nullopt;
  rest.remove_prefix(2);
  if (!CutAtZero(rest) || !CutAtZero(rest)) return std::nullopt;
  auto text = packed ? Inflate(rest) : std::string(rest);
  if (!text || !CodePoints(*text)) return std::nullopt;
  return std::pair{std::move(key), std::move(*text)};
}

}  // namespace

Result<std::vector<uint8_t>> EncodePng(int64_t width, int64_t height, std::span<const uint8_t> rgb,
                                       const PngText& text) {
  BIFRONS_CHECK(width > 0 && height > 0 && width <= PNG_USER_WIDTH_MAX && height <= PNG_USER_HEIGHT_MAX);
  BIFRONS_CHECK(rgb.size() == static_cast<size_t>(width * height * 3));
  std::vector<StoredText> stored;
  for (const auto& [keyword, value] : text) {
    BIFRONS_TRY(StoredText one, ToStored(keyword, value));
    stored.push_back(std::move(one));
  }
  std::string none;
  std::vector<png_text> chunks(stored.size());
  for (size_t i = 0; i < stored.size(); i++) {
    chunks[i].compression = stored[i].unicode ? PNG_ITXT_COMPRESSION_NONE : PNG_TEXT_COMPRESSION_NONE;
    chunks[i].key = stored[i].keyword.data();
    chunks[i].text = stored[i].text.data();
    chunks[i].text_length = stored[i].unicode ? 0 : stored[i].text.size();
    chunks[i].itxt_length = stored[i].unicode ? stored[i].text.size() : 0;
    chunks[i].lang = none.data();
    chunks[i].lang_key = none.data();
  }
  std::vector<uint8_t> bytes;
  Session session;
  session.written = &bytes;
  if (!Encode(session, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), rgb.data(),
              chunks)) {
    return Failure(std::string("libpng could not write the picture: ") + session.message);
  }
  return bytes;
}

Result<PngText> ReadPngText(std::span<const uint8_t> bytes, const std::string& name) {
  constexpr size_t kSignature = 8, kFrame = 12;  // a chunk's length, type and checksum
  if (bytes.size() < kSignature || png_sig_cmp(bytes.data(), 0, kSignature) != 0) {
    return DataError(name + ": not a PNG file");
  }
  PngText texts;
  size_t total = 0;
  for (std::span<const uint8_t> rest = bytes.subspan(kSignature);;) {
    if (rest.size() < kFrame) return DataError(name + ": the PNG file ends before its last chunk");
    const size_t size = BigEndian(rest.data());
    if (size > rest.size() - kFrame) return DataError(name + ": the PNG file ends within a chunk");
    const std::string_view type(reinterpret_cast<const char*>(rest.data()) + 4, 4);
    const std::string_view body(type.data() + 4, size);
    if (crc32(0, rest.data() + 4, static_cast<uInt>(size + 4)) != BigEndian(rest.data() + 8 + size)) {
      return DataError(name + ": the checksum of the PNG chunk '" + Printable(type) + "' does not match");
    }
    if (type == "IEND") return texts;
    if (type == "tEXt" || type == "zTXt" || type == "iTXt") {
      auto text = ParseText(type, body);
      if (!text) {
        return DataError(name + ": a malformed " + std::string(type) + " chunk, or one of more than " +
                         std::to_string(kMaxTextBytes) + " bytes");
      }
      total += text->first.size() + text->second.size();
      if (total > kMaxTextBytes) {
        return DataError(name + ": more than " + std::to_string(kMaxTextBytes) + " bytes of text");
      }
      texts.push_back(std::move(*text));
    }
    rest = rest.subspan(kFrame + size);
  }
}

std::optional<std::string> FindPngText(std::span<const uint8_t> bytes, std::string_view keyword) {
  if (!IsPng(bytes)) return std::nullopt;
  // Only the one that is wanted is unpacked: many small chunks could unpack to very much.
  std::string_view type, body;
  VisitPngChunks(bytes, [&](std::string_view chunk, std::span<const uint8_t> payload) {
    const bool text = chunk == "tEXt" || chunk == "zTXt" || chunk == "iTXt";
    if (!text || payload.size() <= keyword.size() || payload[keyword.size()] != 0 ||
        !StartsWith(payload, keyword)) {
      return;
    }
    type = chunk;
    body = {reinterpret_cast<const char*>(payload.data()), payload.size()};
  });
  if (body.empty()) return std::nullopt;
  auto text = ParseText(type, body);
  if (!text) return std::nullopt;
  return std::move(text->second);
}

Result<PngText> ReadPngText(const std::string& path) {
  BIFRONS_TRY(const MappedFile file, MappedFile::Open(path));
  return ReadPngText(file.bytes(), path);
}

}  // namespace bifrons
