// BMP, TGA, PSD and Radiance HDR through stb_image, kept on a short lead: it gets as much memory as the
// picture's size explains, and is caught reading beyond the end, where it would see zeros. Its bytes are
// Pillow's, but for BMPs of 16 bits per pixel: it widens 5 bits to 8 another way, which makes a difference of
// one.
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "vision/image_decoders.h"

namespace {

// What stb_image may still allocate in this thread, and its blocks: the size stands before each.
thread_local size_t stb_budget = 0;
constexpr size_t kBlockHeader = alignof(std::max_align_t);

void StbFree(void* block) {
  if (block == nullptr) return;
  char* start = static_cast<char*>(block) - kBlockHeader;
  size_t size;
  std::memcpy(&size, start, sizeof(size));
  stb_budget += size;
  std::free(start);
}

void* StbMalloc(size_t size) {
  if (size > stb_budget) return nullptr;
  // Zeroed: a palette or a run that is too short must not show what was in memory before.
  char* start = static_cast<char*>(std::calloc(1, size + kBlockHeader));
  if (start == nullptr) return nullptr;
  stb_budget -= size;
  std::memcpy(start, &size, sizeof(size));
  return start + kBlockHeader;
}

// The formats chosen below have no use for it, but stb_image wants all three.
[[maybe_unused]] void* StbRealloc(void* block, size_t old_size, size_t size) {
  void* moved = StbMalloc(size);
  if (moved == nullptr || block == nullptr) return moved;
  std::memcpy(moved, block, std::min(old_size, size));
  StbFree(block);
  return moved;
}

}  // namespace

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_BMP
#define STBI_ONLY_TGA
#define STBI_ONLY_PSD
#define STBI_ONLY_HDR
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS (1 << 30)
#define STBI_MALLOC StbMalloc
#define STBI_FREE StbFree
#define STBI_REALLOC(block, size) StbRealloc(block, 0, size)
#define STBI_REALLOC_SIZED(block, old_size, size) StbRealloc(block, old_size, size)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace bifrons {
namespace {

// The bytes as stb_image's stream.
struct Stream {
  std::span<const uint8_t> rest;
  bool ran_out = false;
};

int Read(void* user, char* data, int size) {
  // stb_image fills its own buffer of this size as far as the file goes; any other size it really wants.
  constexpr int kBuffer = 128;
  auto* stream = static_cast<Stream*>(user);
  const size_t count = std::min(stream->rest.size(), static_cast<size_t>(std::max(size, 0)));
  if (size > 0 && (count == 0 || (size != kBuffer && count < static_cast<size_t>(size)))) {
    stream->ran_out = true;
  }
  if (count > 0) std::memcpy(data, stream->rest.data(), count);
  stream->rest = stream->rest.subspan(count);
  return static_cast<int>(count);
}

void Skip(void* user, int count) {
  auto* stream = static_cast<Stream*>(user);
  const size_t wanted = static_cast<size_t>(std::max(count, 0));
  if (wanted > stream->rest.size()) stream->ran_out = true;
  stream->rest = stream->rest.subspan(std::min(wanted, stream->rest.size()));
}

int AtEnd(void* user) { return static_cast<Stream*>(user)->rest.empty(); }

constexpr stbi_io_callbacks kStream{Read, Skip, AtEnd};
constexpr size_t kHeaderMemory = size_t{1} << 20;

struct Free {
  void operator()(uint8_t* pixels) const { stbi_image_free(pixels); }
};

}  // namespace

bool StbKnows(std::span<const uint8_t> bytes) {
  Stream stream{bytes};
  stb_budget = kHeaderMemory;
  int width, height, channels;
  return stbi_info_from_callbacks(&kStream, &stream, &width, &height, &channels) != 0;
}

Result<Image> DecodeWithStb(std::span<const uint8_t> bytes, const std::string& name,
                            const ImageOptions& options) {
  Stream stream{bytes};
  stb_budget = kHeaderMemory;
  int width, height, channels;
  if (!stbi_info_from_callbacks(&kStream, &stream, &width, &height, &channels)) {
    return DataError(name + ": a damaged or unsupported picture: " + stbi_failure_reason());
  }
  BIFRONS_RETURN_IF_ERROR(CheckImageSize(width, height, name, options));
  // The floats of an HDR picture, and the bytes made of them.
  stb_budget = static_cast<size_t>(width) * static_cast<size_t>(height) * 24 + kHeaderMemory;
  stream = {bytes};
  const std::unique_ptr<uint8_t, Free> pixels(
      stbi_load_from_callbacks(&kStream, &stream, &width, &height, &channels, 4));
  if (stream.ran_out) return DataError(name + ": the picture is truncated; get it again");
  if (!pixels) return DataError(name + ": a damaged or unsupported picture: " + stbi_failure_reason());
  BIFRONS_RETURN_IF_ERROR(CheckImageSize(width, height, name, options));
  BIFRONS_TRY(Image image, NewImage(width, height, name));
  // The fourth byte of an uncompressed BMP means nothing (BITMAPINFOHEADER: BI_RGB), whatever it holds.
  const bool opaque = bytes.size() >= 34 && bytes[0] == 'B' && bytes[1] == 'M' && bytes[30] == 0;
  const uint8_t* from = pixels.get();
  for (size_t at = 0; at < image.rgb.size(); at += 3, from += 4) {
    PutPixel(from[0], from[1], from[2], opaque ? 255 : from[3], options.alpha, image.rgb.data() + at);
  }
  return image;
}

}  // namespace bifrons
