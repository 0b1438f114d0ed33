// Any bytes as a PNG whose texts are wanted: as they are, and again with correct checksums, which no mutation
// hits.
#include <zlib.h>

#include <cstdint>
#include <vector>

#include "vision/png.h"

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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  (void)bifrons::ReadPngText({data, size}, "fuzz");
  if (size < 8) return 0;
  std::vector<uint8_t> fixed(data, data + size);
  FixChecksums(&fixed);
  (void)bifrons::ReadPngText(fixed, "fuzz");
  return 0;
}
