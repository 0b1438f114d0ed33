// WebP through libwebp: the first frame, on a canvas of transparent black.
#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>
#include <vector>

#include "vision/image_decoders.h"

namespace bifrons {
namespace {

struct DeleteDemuxer {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};

struct Frame {
  WebPIterator it{};
  bool found = false;
  explicit Frame(const WebPDemuxer* demuxer) { found = WebPDemuxGetFrame(demuxer, 1, &it) != 0; }
  Frame(const Frame&) = delete;
  ~Frame() {
    if (found) WebPDemuxReleaseIterator(&it);
  }
};

// How many bytes the file's own header claims.
uint64_t ClaimedBytes(std::span<const uint8_t> bytes) {
  uint64_t size = 0;
  for (size_t i = 0; i < 4 && bytes.size() >= 8; i++) size |= uint64_t{bytes[4 + i]} << (8 * i);
  return size + 8;
}

}  // namespace

Result<Image> DecodeWebp(std::span<const uint8_t> bytes, const std::string& name,
                         const ImageOptions& options) {
  const WebPData data{bytes.data(), bytes.size()};
  const std::unique_ptr<WebPDemuxer, DeleteDemuxer> demuxer(WebPDemux(&data));
  const auto broken = [&]() {
    const bool truncated = ClaimedBytes(bytes) > bytes.size();
    return DataError(name +
                     (truncated ? ": the WebP file is truncated; get it again" : ": a damaged WebP file"));
  };
  // A file that is cut short may still say that it would be too large.
  WebPBitstreamFeatures features;
  const bool known = WebPGetFeatures(bytes.data(), bytes.size(), &features) == VP8_STATUS_OK;
  if (known) BIFRONS_RETURN_IF_ERROR(CheckImageSize(features.width, features.height, name, options));
  if (!demuxer) return broken();
  const int64_t width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH);
  const int64_t height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
  BIFRONS_RETURN_IF_ERROR(CheckImageSize(width, height, name, options));
  const Frame frame(demuxer.get());
  if (!frame.found) return broken();
  const WebPIterator& it = frame.it;
  if (it.x_offset < 0 || it.y_offset < 0 || it.width < 1 || it.height < 1 || it.x_offset + it.width > width ||
      it.y_offset + it.height > height) {
    return DataError(name + ": a damaged WebP file: a frame outside its canvas");
  }
  BIFRONS_TRY(Image image, NewImage(width, height, name));
  uint8_t* const corner = image.rgb.data() + (int64_t{it.y_offset} * width + it.x_offset) * 3;
  const uint8_t* fragment = it.fragment.bytes;
  if (options.alpha == AlphaMode::kDrop) {
    const size_t room = image.rgb.size() - static_cast<size_t>(corner - image.rgb.data());
    if (!WebPDecodeRGBInto(fragment, it.fragment.size, corner, room, static_cast<int>(width * 3)))
      return broken();
    return image;
  }
  std::vector<uint8_t> rgba(static_cast<size_t>(it.width) * static_cast<size_t>(it.height) * 4);
  if (!WebPDecodeRGBAInto(fragment, it.fragment.size, rgba.data(), rgba.size(), it.width * 4))
    return broken();
  if (options.alpha == AlphaMode::kWhite) image.rgb.assign(image.rgb.size(), 255);
  const uint8_t* from = rgba.data();
  for (int64_t y = 0; y < it.height; y++) {
    for (int64_t x = 0; x < it.width; x++, from += 4) {
      PutPixel(from[0], from[1], from[2], from[3], options.alpha, corner + (y * width + x) * 3);
    }
  }
  return image;
}

}  // namespace bifrons
