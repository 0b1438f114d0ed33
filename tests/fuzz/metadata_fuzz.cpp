// Any bytes as what a picture says about itself: as a file of which way up it is and how it was drawn are
// asked, as EXIF data, as an XMP packet and as the text of settings alone. The first byte chooses.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "src/engine/metadata.h"
#include "src/jobs/picture_file.h"
#include "vision/exif.h"
#include "vision/exif_comment.h"
#include "vision/orientation.h"
#include "vision/png.h"
#include "vision/xmp.h"

namespace {

void Check(std::optional<int> orientation) {
  if (orientation && (*orientation < 1 || *orientation > 8)) std::abort();
}

// What was read once must read the same when it is written again.
void ReadSettings(std::string_view text) {
  const auto settings = bifrons::ParseParameters(text);
  if (!settings.ok()) return;
  const std::string written = bifrons::FormatParameters(*settings);
  const auto again = bifrons::ParseParameters(written);
  if (!again.ok() || bifrons::FormatParameters(*again) != written) std::abort();
}

// generate --from wants a path.
void ReadFile(std::span<const uint8_t> bytes) {
  static const int file = memfd_create("picture", MFD_CLOEXEC);
  if (ftruncate(file, 0) != 0 || pwrite(file, bytes.data(), bytes.size(), 0) < 0) std::abort();
  const auto text = bifrons::ReadPictureParameters("/proc/self/fd/" + std::to_string(file));
  if (text.ok()) ReadSettings(*text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::span<const uint8_t> bytes(data + 1, size - 1);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  switch (data[0] % 4) {
    case 0:
      Check(bifrons::OrientationOfFile(bytes));
      (void)bifrons::FindPngText(bytes, "parameters");
      ReadFile(bytes);
      break;
    case 1:
      Check(bifrons::OrientationOf(bytes));
      (void)bifrons::ExifComment(bytes);
      break;
    case 2:
      Check(bifrons::XmpOrientation(text));
      break;
    default:
      ReadSettings(text);
  }
  return 0;
}
