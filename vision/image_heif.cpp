// HEIC and AVIF through libheif: the primary picture. Turning, mirroring and cropping that the container asks
// for are part of the picture, so they are always applied, and EXIF's orientation, which repeats them, never
// is. Beside the file 5 to 8 bytes for a pixel are held where pixels share their colours (4:2:0, as phones
// write them), up to 14 with 4:4:4, alpha or more than 8 bits: libheif keeps the planes of every step.
#include "src/base/free_by.h"
#include "src/base/printable.h"
#include "vision/image_decoders.h"
#include "vision/iso_media.h"

#ifdef BIFRONS_HEIF
#include <libheif/heif.h>
#include <sys/mman.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <new>
#endif

namespace bifrons {
namespace {

// For messages: a file that is cut short has lost the codec, but not the brand.
std::string Kind(const IsoMedia& media) {
  return media.codec == "AV1" || media.brand.starts_with("avi") ? "AVIF" : "HEIC";
}

Status CheckContent(const IsoMedia& media, const std::string& name) {
  if (media.content == IsoMedia::Content::kPicture) return {};
  if (media.content == IsoMedia::Content::kFilm) {
    return DataError(name + ": a video, which is not read; save one of its pictures as PNG or JPEG");
  }
  return DataError(name + ": a media file of the brand '" + Printable(media.brand) +
                   "', which is not read; convert it to PNG or JPEG");
}

#ifdef BIFRONS_HEIF

using Context = std::unique_ptr<heif_context, FreeBy<heif_context_free>>;
using Handle = std::unique_ptr<heif_image_handle, FreeBy<heif_image_handle_release>>;
using Options = std::unique_ptr<heif_decoding_options, FreeBy<heif_decoding_options_free>>;
using Profile = std::unique_ptr<heif_color_profile_nclx, FreeBy<heif_nclx_color_profile_free>>;
using Decoded = std::unique_ptr<heif_image, FreeBy<heif_image_release>>;

// Some of libheif's messages end in a line break.
std::string Message(const heif_error& error) {
  std::string message = Printable(error.message);
  while (!message.empty() && (message.back() == '?' || message.back() == ' ')) message.pop_back();
  return message;
}

Error Explain(const heif_error& error, const IsoMedia& media, const std::string& name) {
  const std::string file = Kind(media) + " file";
  if (error.code == heif_error_Memory_allocation_error &&
      error.subcode != heif_suberror_Security_limit_exceeded) {
    return Failure(name + ": not enough memory for the " + file + "; scale the picture down");
  }
  if (error.subcode == heif_suberror_End_of_data) {
    return DataError(name + ": the " + file + " is truncated; get it again");
  }
  if (error.code == heif_error_Unsupported_feature || error.code == heif_error_Unsupported_filetype) {
    const std::string codec = media.codec.empty() ? "" : " (" + media.codec + ")";
    return DataError(name + ": the " + file + " needs what this libheif lacks" + codec + ": " +
                     Message(error) + "; convert it to PNG or JPEG");
  }
  return DataError(name + ": a damaged " + file + ": " + Message(error));
}

// One picture on its way: what was asked for, and what libheif holds. The order of the members is that in
// which they must not be freed.
struct Decoding {
  const std::string& name;
  const ImageOptions& options;
  const IsoMedia& media;
  Context context{heif_context_alloc()};
  Handle handle{};
  Decoded decoded{};
  bool limited_grey = false;  // black is 16 and white 235

  Error OtherSize(const CodedSize& declared, const CodedSize& held) const;
  Status Open(std::span<const uint8_t> bytes);
  Status TryMemory() const;
  Status FindRangeOfGrey();
  Status Decode(heif_chroma chroma);
  Result<Image> ToImage();
};

Error Decoding::OtherSize(const CodedSize& declared, const CodedSize& held) const {
  const auto text = [](const CodedSize& size) {
    return std::to_string(size.width) + " × " + std::to_string(size.height);
  };
  return DataError(name + ": a damaged " + Kind(media) + " file: it declares " + text(declared) +
                   " pixels and holds " + text(held));
}

Status Decoding::Open(std::span<const uint8_t> bytes) {
  // Ours are looked at below and say the numbers.
  heif_context_set_maximum_image_size_limit(context.get(), 1 << 30);
  heif_context_set_max_decoding_threads(context.get(), 0);
  heif_error error =
      heif_context_read_from_memory_without_copy(context.get(), bytes.data(), bytes.size(), nullptr);
  if (error.code != heif_error_Ok) return Explain(error, media, name);
  heif_image_handle* primary = nullptr;
  error = heif_context_get_primary_image_handle(context.get(), &primary);
  handle.reset(primary);
  if (error.code != heif_error_Ok) return Explain(error, media, name);
  // What is decoded may be larger than what is left when it is cropped.
  const int64_t width = heif_image_handle_get_ispe_width(primary);
  const int64_t height = heif_image_handle_get_ispe_height(primary);
  BIFRONS_RETURN_IF_ERROR(CheckImageSize(width, height, name, options));
  BIFRONS_RETURN_IF_ERROR(CheckImageSize(heif_image_handle_get_width(primary),
                                         heif_image_handle_get_height(primary), name, options));
  if (IsEndlesslyDerived(bytes)) {
    return DataError(name + ": a damaged " + Kind(media) + " file: its pictures are made of each other");
  }
  if (const auto mismatch = FindSizeMismatch(bytes)) return OtherSize(mismatch->declared, mismatch->coded);
  BIFRONS_RETURN_IF_ERROR(TryMemory());
  // A grid of tiles has a size of its own, which libheif holds against this; it has to be less.
  heif_context_set_maximum_image_size_limit(context.get(), static_cast<int>(std::max(width, height)) + 1);
  return IsMonochromeAv1(bytes) ? FindRangeOfGrey() : Status();
}

// libde265 makes room in a thread of its own, where nothing catches that there is none: the program would
// end. So whether there is room is tried before.
Status Decoding::TryMemory() const {
  constexpr uint64_t kPerPixel = 8, kBeside = uint64_t{16} << 20;
  if (media.codec != "HEVC") return {};
  const auto pixels = static_cast<uint64_t>(heif_image_handle_get_ispe_width(handle.get())) *
                      static_cast<uint64_t>(heif_image_handle_get_ispe_height(handle.get()));
  const auto size = static_cast<size_t>(pixels * kPerPixel + kBeside);
  // From the system: what this thread has freed is no room for another.
  void* const room = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return NoMemory(name);
  ::munmap(room, size);
  return {};
}

// libheif expands the range of colours only, whereas the programs that show AVIF expand that of grey too.
// Nobody does that in HEIC: there libheif writes the full range of grey, whatever it says.
Status Decoding::FindRangeOfGrey() {
  heif_color_profile_nclx* found = nullptr;
  heif_error error = heif_image_handle_get_nclx_color_profile(handle.get(), &found);
  Profile profile(found);
  if (!profile) {  // the stream itself says it
    heif_image* image = nullptr;
    error =
        heif_decode_image(handle.get(), &image, heif_colorspace_undefined, heif_chroma_undefined, nullptr);
    const Decoded native(image);
    if (error.code != heif_error_Ok) return Explain(error, media, name);
    error = heif_image_get_nclx_color_profile(image, &found);
    profile.reset(found);
  }
  limited_grey = profile && !profile->full_range_flag;
  return {};
}

Status Decoding::Decode(heif_chroma chroma) {
  const Options decoding(heif_decoding_options_alloc());
  if (!decoding) return Failure(name + ": not enough memory");
  decoding->strict_decoding = 1;  // a picture of which a part is missing is none
  heif_image* image = nullptr;
  const heif_error error =
      heif_decode_image(handle.get(), &image, heif_colorspace_RGB, chroma, decoding.get());
  decoded.reset(image);
  if (error.code != heif_error_Ok) return Explain(error, media, name);
  const auto size = [](int width, int height) {
    return CodedSize{static_cast<uint64_t>(width), static_cast<uint64_t>(height)};
  };
  const CodedSize declared =
      size(heif_image_handle_get_width(handle.get()), heif_image_handle_get_height(handle.get()));
  const CodedSize held = size(heif_image_get_primary_width(image), heif_image_get_primary_height(image));
  return held == declared ? Status() : OtherSize(declared, held);
}

// What a value of a limited range is of 255.
uint8_t Expanded(uint8_t value) {
  constexpr int kBlack = 16, kWhite = 235;
  const int range = kWhite - kBlack;
  return static_cast<uint8_t>(((std::clamp<int>(value, kBlack, kWhite) - kBlack) * 255 + range / 2) / range);
}

// Alpha-multiplied colours back to what they were.
uint8_t Divided(uint8_t colour, uint8_t alpha) {
  return alpha == 0 ? uint8_t{0} : static_cast<uint8_t>(std::min(colour * 255 / alpha, 255));
}

Result<Image> Decoding::ToImage() {
  const bool multiplied = heif_image_handle_is_premultiplied_alpha(handle.get()) != 0;
  const bool alpha =
      heif_image_handle_has_alpha_channel(handle.get()) && (options.alpha != AlphaMode::kDrop || multiplied);
  BIFRONS_RETURN_IF_ERROR(Decode(alpha ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB));
  // Frees the planes that the RGB picture was made of, before there is another one.
  handle.reset();
  context.reset();
  int stride = 0;
  const uint8_t* rows = heif_image_get_plane_readonly(decoded.get(), heif_channel_interleaved, &stride);
  if (!rows) return DataError(name + ": a damaged " + Kind(media) + " file: no colours");
  BIFRONS_TRY(Image image, NewImage(heif_image_get_primary_width(decoded.get()),
                                    heif_image_get_primary_height(decoded.get()), name));
  uint8_t* out = image.rgb.data();
  for (int64_t y = 0; y < image.height; y++) {
    const uint8_t* from = rows + y * stride;
    if (!alpha) {
      uint8_t* const row = out;
      out = std::copy_n(from, image.width * 3, out);
      if (limited_grey) std::transform(row, out, row, Expanded);
      continue;
    }
    for (int64_t x = 0; x < image.width; x++, from += 4, out += 3) {
      const uint8_t a = from[3];
      const auto colour = [&](int c) {
        const uint8_t value = limited_grey ? Expanded(from[c]) : from[c];
        return multiplied ? Divided(value, a) : value;
      };
      PutPixel(colour(0), colour(1), colour(2), a, options.alpha, out);
    }
  }
  return image;
}

Result<Image> Decode(std::span<const uint8_t> bytes, const IsoMedia& media, const std::string& name,
                     const ImageOptions& options) {
  const bool hevc = media.codec == "HEVC", av1 = media.codec == "AV1";
  if ((hevc && !heif_have_decoder_for_format(heif_compression_HEVC)) ||
      (av1 && !heif_have_decoder_for_format(heif_compression_AV1))) {
    return DataError(name + ": the libheif of this system has no decoder for " + media.codec +
                     "; install one, or convert the picture to PNG or JPEG");
  }
  Decoding decoding{name, options, media};
  if (!decoding.context) return Failure(name + ": not enough memory for the " + Kind(media) + " file");
  BIFRONS_RETURN_IF_ERROR(decoding.Open(bytes));
  return decoding.ToImage();
}

#endif

}  // namespace

Result<Image> DecodeHeif(std::span<const uint8_t> bytes, const std::string& name,
                         const ImageOptions& options) {
  const IsoMedia media = InspectIsoMedia(bytes);
  BIFRONS_RETURN_IF_ERROR(CheckContent(media, name));
#ifdef BIFRONS_HEIF
  try {
    return Decode(bytes, media, name, options);
  } catch (const std::bad_alloc&) {
    return Failure(name + ": not enough memory for the " + Kind(media) + " file; scale the picture down");
  } catch (const std::exception& e) {  // libheif is C++ behind its C functions
    return DataError(name + ": a damaged " + Kind(media) + " file: " + Printable(e.what()));
  }
#else
  (void)options;
  return DataError(name + ": this build has no HEIC and AVIF, which this " + Kind(media) +
                   " file needs; build with libheif-dev, or convert it to PNG or JPEG");
#endif
}

}  // namespace bifrons
