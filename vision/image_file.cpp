#include "vision/image_file.h"

#include <cstring>
#include <filesystem>
#include <new>
#include <string_view>
#include <vector>

#include "src/base/input_file.h"
#include "src/base/mapped_file.h"
#include "vision/byte_order.h"
#include "vision/data_uri.h"
#include "vision/image_decoders.h"
#include "vision/iso_media.h"
#include "vision/orientation.h"

namespace bifrons {
namespace {

using Bytes = std::span<const uint8_t>;
using Decode = Result<Image> (*)(Bytes, const std::string&, const ImageOptions&);

struct Format {
  std::string_view start;  // of the file
  size_t more_at;          // where `more` has to stand
  std::string_view more;
  Decode decode;  // nullptr: known, not read
  const char* name;
  bool picture = true;
};

using namespace std::string_view_literals;
constexpr Format kFormats[] = {
    {"\xFF\xD8\xFF"sv, 0, ""sv, DecodeJpeg, "JPEG"},
    {"\x89PNG\r\n\x1a\n"sv, 0, ""sv, DecodePng, "PNG"},
    {"RIFF"sv, 8, "WEBP"sv, DecodeWebp, "WebP"},
    {"GIF87a"sv, 0, ""sv, DecodeGif, "GIF"},
    {"GIF89a"sv, 0, ""sv, DecodeGif, "GIF"},
    {"BM"sv, 15, "\0\0\0"sv, DecodeBmp, "BMP"},  // its header has less than 256 bytes
    {"8BPS"sv, 0, ""sv, DecodePsd, "PSD"},
    {"#?RADIANCE\n"sv, 0, ""sv, DecodeHdr, "HDR"},
    {"#?RGBE\n"sv, 0, ""sv, DecodeHdr, "HDR"},
    {"P7\n"sv, 0, ""sv, nullptr, "a PAM"},
    {"PF\n"sv, 0, ""sv, nullptr, "a PFM"},
    {"Pf\n"sv, 0, ""sv, nullptr, "a PFM"},
    {""sv, 4, "ftyp"sv, DecodeHeif, "HEIC or AVIF"},
    {"II*\0"sv, 0, ""sv, DecodeTiff, "TIFF"},
    {"MM\0*"sv, 0, ""sv, DecodeTiff, "TIFF"},
    {"II+\0"sv, 0, ""sv, DecodeTiff, "BigTIFF"},
    {"MM\0+"sv, 0, ""sv, DecodeTiff, "BigTIFF"},
    {"\xFF\x0A"sv, 0, ""sv, nullptr, "a JPEG XL"},
    {"\0\0\0\x0CJXL "sv, 0, ""sv, nullptr, "a JPEG XL"},
    {"\0\0\0\x0CjP  "sv, 0, ""sv, nullptr, "a JPEG 2000"},
    {"\x76\x2F\x31\x01"sv, 0, ""sv, nullptr, "an OpenEXR"},
    {"IIRO"sv, 0, ""sv, nullptr, "an Olympus ORF"},
    {"IIRS"sv, 0, ""sv, nullptr, "an Olympus ORF"},
    {"MMOR"sv, 0, ""sv, nullptr, "an Olympus ORF"},
    {"IIU\0"sv, 0, ""sv, nullptr, "a Panasonic RW2"},
    {"FUJIFILMCCD-RAW"sv, 0, ""sv, nullptr, "a Fujifilm RAF"},
    {"II\xBC\x01"sv, 0, ""sv, nullptr, "a JPEG XR"},
    {"DDS \x7C\0\0\0"sv, 0, ""sv, nullptr, "a DDS"},
    {"qoif"sv, 12, "\3"sv, nullptr, "a QOI"},  // of as many channels
    {"qoif"sv, 12, "\4"sv, nullptr, "a QOI"},
    {"gimp xcf "sv, 0, ""sv, nullptr, "an XCF"},
    {"icns"sv, 4, "\0"sv, nullptr, "an ICNS"},
    {"AT&TFORM"sv, 12, "DJV"sv, nullptr, "a DjVu"},
    {"FLIF"sv, 0, ""sv, nullptr, "a FLIF"},
    {"\x8AMNG\r\n\x1A\n"sv, 0, ""sv, nullptr, "an MNG"},
    {"%PDF"sv, 0, ""sv, nullptr, "a PDF", false},
    {"<svg"sv, 0, ""sv, nullptr, "an SVG"},
};

bool Holds(Bytes bytes, size_t at, std::string_view text) {
  if (text.empty()) return true;  // bytes may be null then
  return at <= bytes.size() && bytes.size() - at >= text.size() &&
         std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
}

Status CheckFileSize(size_t size, const std::string& name, const ImageOptions& options) {
  if (size <= static_cast<size_t>(options.max_file_bytes)) return {};
  return DataError(name + ": " + std::to_string(size) + " bytes are more than the " +
                   std::to_string(options.max_file_bytes) + " that are read of a picture; make it smaller");
}

// Icons and cursors of Windows: a count, then for each picture 16 bytes that end in its size and place.
bool LooksLikeIcon(Bytes bytes) {
  constexpr size_t kHeader = 6, kEntry = 16;
  if (!Holds(bytes, 0, "\0\0\1\0"sv) && !Holds(bytes, 0, "\0\0\2\0"sv)) return false;
  if (bytes.size() < kHeader + kEntry) return false;
  const uint64_t count = Little16(&bytes[4]), size = Little32(&bytes[14]), place = Little32(&bytes[18]);
  return count > 0 && bytes[9] == 0 && size > 0 && place >= kHeader + count * kEntry && place < bytes.size();
}

// Null: nothing that is known.
const Format* FindFormat(Bytes bytes) {
  for (const Format& format : kFormats)
    if (Holds(bytes, 0, format.start) && Holds(bytes, format.more_at, format.more)) return &format;
  // Without a mark at their start, the strictest first.
  static constexpr Format kDib = {""sv, 0, ""sv, DecodeBmp, "BMP"}, kPnm = {""sv, 0, ""sv, DecodePnm, "PNM"},
                          kTga = {""sv, 0, ""sv, DecodeTga, "TGA"},
                          kIcon = {""sv, 0, ""sv, nullptr, "an ICO or CUR"};
  if (LooksLikeIcon(bytes)) return &kIcon;
  if (LooksLikeDib(bytes)) return &kDib;
  if (LooksLikePnm(bytes)) return &kPnm;
  return LooksLikeTga(bytes) ? &kTga : nullptr;
}

Result<Image> DecodeByContents(Bytes bytes, const std::string& name, const ImageOptions& options) {
  const Format* const format = FindFormat(bytes);
  if (format && format->decode) return format->decode(bytes, name, options);
  if (format)
    return DataError(name + ": " + format->name + " file, which is not read; convert it to PNG or JPEG");
  return DataError(
      name +
      ": not a picture that is read here; use JPEG, PNG, WebP, GIF, BMP, PNM, TGA, PSD, HDR, TIFF, "
      "HEIC or AVIF");
}

// A stream to its end, or until there is too much of it.
Result<std::vector<uint8_t>> ReadAll(InputStream stream, const ImageOptions& options) {
  constexpr size_t kStep = size_t{1} << 16;
  std::vector<uint8_t> bytes;
  for (size_t used = 0;;) {
    bytes.resize(used + kStep);
    BIFRONS_TRY(const size_t count, stream.Read({reinterpret_cast<char*>(bytes.data()) + used, kStep}));
    used += count;
    BIFRONS_RETURN_IF_ERROR(CheckFileSize(used, stream.name(), options));
    if (count == 0) {
      bytes.resize(used);
      return bytes;
    }
  }
}

}  // namespace

Status CheckImageSize(int64_t width, int64_t height, const std::string& name, const ImageOptions& options) {
  const std::string size = std::to_string(width) + " × " + std::to_string(height) + " pixels";
  if (width < 1 || height < 1) return DataError(name + ": a picture of " + size + " shows nothing");
  if (width > options.max_side || height > options.max_side) {
    return DataError(name + ": " + size + ", and a side may have " + std::to_string(options.max_side) +
                     "; scale the picture down");
  }
  // Sides of up to 2^31 cannot overflow this.
  if (width * height > options.max_pixels) {
    return DataError(name + ": " + size + " are more than the " + std::to_string(options.max_pixels) +
                     " that are read; scale the picture down");
  }
  return {};
}

Error NoMemory(const std::string& name) {
  return Failure(name + ": not enough memory for the picture; scale it down");
}

Result<Image> NewImage(int64_t width, int64_t height, const std::string& name) {
  BIFRONS_TRY(Image image, NewImageWithoutRows(width, height, name));
  image.rgb.resize(static_cast<size_t>(width * height * 3));
  return image;
}

Result<Image> NewImageWithoutRows(int64_t width, int64_t height, const std::string& name) {
  Image image{width, height, {}};
  try {
    image.rgb.reserve(static_cast<size_t>(width * height * 3));
  } catch (const std::bad_alloc&) {
    return NoMemory(name);
  }
  return image;
}

FileKind KindOfFile(Bytes bytes) {
  const Format* const format = FindFormat(bytes);
  if (!format || !format->picture) return FileKind::kOther;
  if (format->decode != DecodeHeif) return format->decode ? FileKind::kPicture : FileKind::kUnreadPicture;
  switch (InspectIsoMedia(bytes).content) {
    case IsoMedia::Content::kPicture:
      return FileKind::kPicture;
    case IsoMedia::Content::kFilm:
      return FileKind::kOther;
    case IsoMedia::Content::kOther:
      break;
  }
  return FileKind::kUnreadPicture;
}

Result<Image> DecodeImage(Bytes bytes, const std::string& name, const ImageOptions& options) {
  if (bytes.empty()) return DataError(name + ": the file is empty; a picture was expected");
  BIFRONS_RETURN_IF_ERROR(CheckFileSize(bytes.size(), name, options));
  try {
    BIFRONS_TRY(Image image, DecodeByContents(bytes, name, options));
    if (options.orientation) ApplyOrientation(OrientationOfFile(bytes), &image);
    return image;
  } catch (const std::bad_alloc&) {
    return NoMemory(name);
  }
}

Result<Image> LoadImage(const std::string& source, const ImageOptions& options) {
  if (IsDataUri(source)) {
    BIFRONS_TRY(const std::vector<uint8_t> bytes, DecodeDataUri(source, options.max_file_bytes));
    return DecodeImage(bytes, "the data: URI", options);
  }
  if (source.starts_with("http://") || source.starts_with("https://"))
    return DataError(source +
                     ": is an address; download it first, or have curl -s write it to a pipe and give -");
  std::error_code error;
  if (options.pipes && (source == "-" || !std::filesystem::is_regular_file(source, error))) {
    BIFRONS_TRY(InputStream stream, InputStream::Open(source));
    const std::string name = stream.name();
    BIFRONS_TRY(const std::vector<uint8_t> bytes, ReadAll(std::move(stream), options));
    return DecodeImage(bytes, name, options);
  }
  BIFRONS_TRY(const MappedFile file, MappedFile::Open(source));
  return DecodeImage(file.bytes(), source, options);
}

}  // namespace bifrons
