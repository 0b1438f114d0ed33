// Any bytes as a picture, then through preprocessing; as a data: URI; and as preprocessor_config.json. The
// first byte chooses options. PNG's checksums, which no mutation hits, are put
// right as well.
#include <zlib.h>

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "src/model/image_processor_json.h"
#include "vision/data_uri.h"
#include "vision/image_file.h"
#include "vision/preprocess.h"

namespace {

/// Writes what each chunk's checksum should be: length, type, data, checksum, all big-endian.
void FixChecksums(std::vector<uint8_t>* png) {
  for (size_t at = 8; png->size() - at >= 12;) {
    uint8_t* chunk = png->data() + at;
    const uint32_t length = uint32_t{chunk[0]} << 24 | chunk[1] << 16 | chunk[2] << 8 | chunk[3];
    if (length > png->size() - at - 12) return;
    const uLong sum = crc32(0, chunk + 4, length + 4);
    for (int i = 0; i < 4; i++) chunk[8 + length + i] = static_cast<uint8_t>(sum >> (24 - 8 * i));
    at += 12 + length;
  }
}

void Decode(std::span<const uint8_t> bytes, uint8_t choice) {
  bifrons::ImageOptions options;
  options.alpha = static_cast<bifrons::AlphaMode>(choice % 3);
  options.orientation = (choice & 4) == 0;
  options.max_pixels = 1 << 18;  // a fuzzer's pictures are small, and its time is short
  options.max_side = 1 << 16;
  const auto image = bifrons::DecodeImage(bytes, "fuzz", options);
  if (!image.ok()) return;
  if (image->rgb.size() != static_cast<size_t>(image->width * image->height * 3)) std::abort();
  bifrons::ImageProcessorConfig config;
  config.image_size = 14 + (choice >> 3);
  config.do_normalize = (choice & 8) != 0;
  (void)bifrons::Preprocess(*image, config);
}

}  // namespace

// libheif 1.15 and its decoders lose memory of theirs over damaged files, in threads of their own.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t choice = data[0];
  const std::span<const uint8_t> bytes(data + 1, size - 1);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  Decode(bytes, choice);
  if (text.starts_with("\x89PNG") && bytes.size() >= 8) {
    std::vector<uint8_t> fixed(bytes.begin(), bytes.end());
    FixChecksums(&fixed);
    Decode(fixed, choice);
  }
  if (bifrons::IsDataUri(text)) (void)bifrons::DecodeDataUri(text, 1000);
  if (text.starts_with("{")) (void)bifrons::ParseImageProcessorConfig(text, 384, "fuzz");
  return 0;
}
