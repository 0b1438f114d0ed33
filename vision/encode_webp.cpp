// WebP through libwebp; the container with EXIF data through libwebpmux.
#include <webp/encode.h>
#include <webp/mux.h>

#include <memory>

#include "vision/exif.h"
#include "vision/image_encoders.h"

namespace bifrons {
namespace {

struct Picture : WebPPicture {
  bool ready = WebPPictureInit(this) != 0;
  Picture() = default;
  Picture(const Picture&) = delete;
  ~Picture() { WebPPictureFree(this); }
};

struct Memory : WebPMemoryWriter {
  Memory() { WebPMemoryWriterInit(this); }
  Memory(const Memory&) = delete;
  ~Memory() { WebPMemoryWriterClear(this); }
};

struct DeleteMux {
  void operator()(WebPMux* mux) const { WebPMuxDelete(mux); }
};

Error Refused(const std::string& what) { return Failure("libwebp could not write the picture: " + what); }

Result<std::vector<uint8_t>> AddExif(const WebPData& bitstream, std::span<const uint8_t> exif) {
  const std::unique_ptr<WebPMux, DeleteMux> mux(WebPMuxCreate(&bitstream, 0));
  const WebPData chunk{exif.data(), exif.size()};
  WebPData file{};
  if (!mux || WebPMuxSetChunk(mux.get(), "EXIF", &chunk, 0) != WEBP_MUX_OK ||
      WebPMuxAssemble(mux.get(), &file) != WEBP_MUX_OK) {
    return Refused("its EXIF data do not go in");
  }
  std::vector<uint8_t> bytes(file.bytes, file.bytes + file.size);
  WebPDataClear(&file);
  return bytes;
}

}  // namespace

Result<std::vector<uint8_t>> EncodeWebp(const Image& image, std::span<const uint8_t> exif) {
  BIFRONS_CHECK(image.width > 0 && image.height > 0 && image.width <= kMaxWebpSide &&
                image.height <= kMaxWebpSide);
  BIFRONS_CHECK(image.rgb.size() == static_cast<size_t>(image.width * image.height * 3));
  WebPConfig config;
  Picture picture;
  if (!WebPConfigInit(&config) || !picture.ready) return Refused("another version than it was built with");
  config.quality = 90;
  config.use_sharp_yuv = 1;  // colours have half the resolution in lossy WebP: their edges are worth the time
  picture.use_argb = 1;
  picture.width = static_cast<int>(image.width), picture.height = static_cast<int>(image.height);
  Memory memory;
  picture.writer = WebPMemoryWrite;
  picture.custom_ptr = &memory;
  if (!WebPPictureImportRGB(&picture, image.rgb.data(), picture.width * 3) ||
      !WebPEncode(&config, &picture)) {
    return Refused("error " + std::to_string(picture.error_code));
  }
  if (exif.empty()) return std::vector<uint8_t>(memory.mem, memory.mem + memory.size);
  // The container says what the chunk is, so EXIF's own mark stays out of it.
  return AddExif({memory.mem, memory.size}, WithoutMark(exif));
}

}  // namespace bifrons
