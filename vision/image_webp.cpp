// WebP through libwebp: the first frame, on a canvas of transparent black.
#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
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

constexpr int64_t kWorthHalving = int64_t{1} << 22;  // pixels

bool IsLossless(const WebPData& frame) {
  WebPBitstreamFeatures features;
  return WebPGetFeatures(frame.bytes, frame.size, &features) == VP8_STATUS_OK && features.format == 2;
}

// Rows [top, top + rows) of a frame to `out`, in the colour space's order of bytes.
VP8StatusCode DecodeFrame(const WebPIterator& it, WEBP_CSP_MODE colours, int top, int rows, uint8_t* out,
                          int64_t stride, size_t room) {
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config)) return VP8_STATUS_INVALID_PARAM;
  config.options.use_cropping = rows < it.height;
  config.options.crop_top = top;
  config.options.crop_width = it.width, config.options.crop_height = rows;
  config.output.colorspace = colours;
  config.output.is_external_memory = 1;
  config.output.u.RGBA = {out, static_cast<int>(stride), room};
  return WebPDecode(it.fragment.bytes, it.fragment.size, &config);
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
  const auto failed = [&](VP8StatusCode status) {
    return status == VP8_STATUS_OUT_OF_MEMORY ? NoMemory(name) : broken();
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
  if (options.alpha == AlphaMode::kDrop) {
    BIFRONS_TRY(Image image, NewImage(width, height, name));
    uint8_t* const corner = image.rgb.data() + (int64_t{it.y_offset} * width + it.x_offset) * 3;
    const size_t room = image.rgb.size() - static_cast<size_t>(corner - image.rgb.data());
    const VP8StatusCode status = DecodeFrame(it, MODE_RGB, 0, it.height, corner, width * 3, room);
    if (status != VP8_STATUS_OK) return failed(status);
    return image;
  }
  BIFRONS_TRY(Image image, NewImageWithoutRows(width, height, name));
  const uint8_t background = options.alpha == AlphaMode::kWhite ? 255 : 0;
  const auto add_background = [&](int64_t rows) {
    image.rgb.resize(image.rgb.size() + static_cast<size_t>(rows * width * 3), background);
  };
  add_background(it.y_offset);
  // While it decodes, libwebp holds 4 bytes per pixel of a lossless frame. With the RGBA pixels and the
  // result that would be 11; half the frame at a time makes it 7.5.
  const bool halved = IsLossless(it.fragment) && int64_t{it.width} * it.height > kWorthHalving;
  const int part = halved ? (it.height + 1) / 2 : it.height;
  for (int top = 0; top < it.height; top += part) {
    const int rows = std::min(part, it.height - top);
    std::vector<uint8_t> rgba(static_cast<size_t>(it.width) * static_cast<size_t>(rows) * 4);
    const VP8StatusCode status =
        DecodeFrame(it, MODE_RGBA, top, rows, rgba.data(), int64_t{it.width} * 4, rgba.size());
    if (status != VP8_STATUS_OK) return failed(status);
    const uint8_t* from = rgba.data();
    for (int y = 0; y < rows; y++) {
      uint8_t* const left = AddRow(&image);
      std::fill_n(left, width * 3, background);
      for (uint8_t* out = left + it.x_offset * 3; out < left + (it.x_offset + it.width) * 3; out += 3) {
        PutPixel(from[0], from[1], from[2], from[3], options.alpha, out);
        from += 4;
      }
    }
  }
  add_background(height - it.y_offset - it.height);
  return image;
}

}  // namespace bifrons
