// JPEG through libjpeg-turbo, with its default settings: they are Pillow's as well (accurate integer DCT,
// smooth upsampling).
#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <vector>

// Wants size_t and FILE to be declared before it.
#include <jerror.h>
#include <jpeglib.h>

#include "vision/image_decoders.h"
#include "vision/image_jpeg_coefficients.h"

namespace bifrons {
namespace {

// A progressive file walks the whole picture once per scan, however short the scan: a bound on what a small
// file can cost. Encoders write about ten.
constexpr int kMaxScans = 200;

// What libjpeg's callbacks see. libjpeg reports errors by longjmp, which runs no destructors: the functions
// that call setjmp hold nothing but plain values and pointers to what their callers own.
struct Session {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  jmp_buf on_error;
  char message[JMSG_LENGTH_MAX] = "";
  bool created = false;

  ~Session() {
    if (created) jpeg_destroy_decompress(&jpeg);
  }
};

void OnError(j_common_ptr jpeg) {
  auto* session = static_cast<Session*>(jpeg->client_data);
  jpeg->err->format_message(jpeg, session->message);
  longjmp(session->on_error, 1);
}

void OnMessage(j_common_ptr) {}

void OnProgress(j_common_ptr common) {
  auto* session = static_cast<Session*>(common->client_data);
  if (session->jpeg.input_scan_number > kMaxScans) {
    std::snprintf(session->message, sizeof(session->message), "more than %d scans", kMaxScans);
    longjmp(session->on_error, 1);
  }
}

// The bytes are all there from the start. When they run out, libjpeg is told to wait for more and returns:
// that is how a truncated file shows, where libjpeg's own source would paint the rest grey.
void OnSource(j_decompress_ptr) {}

boolean OnEnd(j_decompress_ptr) { return FALSE; }

void OnSkip(j_decompress_ptr jpeg, long count) {
  if (count <= 0) return;
  const size_t skipped = std::min(static_cast<size_t>(count), jpeg->src->bytes_in_buffer);
  jpeg->src->next_input_byte += skipped;
  jpeg->src->bytes_in_buffer -= skipped;
}

enum class Outcome { kDone, kTruncated, kFailed };

Outcome ReadHeader(Session& s, std::span<const uint8_t> bytes) {
  s.jpeg.err = jpeg_std_error(&s.errors);
  s.errors.error_exit = OnError;
  s.errors.output_message = OnMessage;
  s.jpeg.client_data = &s;
  if (setjmp(s.on_error)) return Outcome::kFailed;
  jpeg_create_decompress(&s.jpeg);
  s.created = true;
  s.source.next_input_byte = bytes.data();
  s.source.bytes_in_buffer = bytes.size();
  s.source.init_source = s.source.term_source = OnSource;
  s.source.fill_input_buffer = OnEnd;
  s.source.skip_input_data = OnSkip;
  s.source.resync_to_restart = jpeg_resync_to_restart;
  s.jpeg.src = &s.source;
  s.progress.progress_monitor = OnProgress;
  s.jpeg.progress = &s.progress;
  DropCoefficientsOnceShown(&s.jpeg);
  return jpeg_read_header(&s.jpeg, TRUE) == JPEG_SUSPENDED ? Outcome::kTruncated : Outcome::kDone;
}

Outcome Start(Session& s) {
  if (setjmp(s.on_error)) return Outcome::kFailed;
  s.jpeg.out_color_space = s.jpeg.num_components == 4 ? JCS_CMYK : JCS_RGB;
  return jpeg_start_decompress(&s.jpeg) ? Outcome::kDone : Outcome::kTruncated;
}

// Appends the rows to the image, through row [width, 4] for CMYK.
Outcome ReadRows(Session& s, Image* image, uint8_t* row) {
  if (setjmp(s.on_error)) return Outcome::kFailed;
  const size_t width = s.jpeg.output_width;
  while (s.jpeg.output_scanline < s.jpeg.output_height) {
    uint8_t* out = AddRow(image);
    JSAMPROW target = row ? row : out;
    if (jpeg_read_scanlines(&s.jpeg, &target, 1) != 1) return Outcome::kTruncated;
    if (!row) continue;
    // Pillow takes every file to hold inverted ink, as Adobe's do, so a stored value is what the ink lets
    // through; the product is rounded as its cmyk2rgb does.  [PIL/JpegImagePlugin.py: "CMYK;I"]
    for (size_t x = 0; x < width; x++) {
      const uint32_t key = row[4 * x + 3];
      for (size_t c = 0; c < 3; c++) {
        const uint32_t product = (255u - row[4 * x + c]) * key + 128;
        out[3 * x + c] = static_cast<uint8_t>(key - ((product + (product >> 8)) >> 8));
      }
    }
  }
  return Outcome::kDone;
}

Error Explain(Outcome outcome, const Session& session, const std::string& name) {
  if (outcome == Outcome::kTruncated) return DataError(name + ": the JPEG file is truncated; get it again");
  if (session.errors.msg_code == JERR_OUT_OF_MEMORY) return NoMemory(name);
  return DataError(name + ": a damaged or unsupported JPEG file: " + session.message);
}

}  // namespace

Result<Image> DecodeJpeg(std::span<const uint8_t> bytes, const std::string& name,
                         const ImageOptions& options) {
  Session session;
  Outcome outcome = ReadHeader(session, bytes);
  if (outcome != Outcome::kDone) return Explain(outcome, session, name);
  const int channels = session.jpeg.num_components;
  if (channels != 1 && channels != 3 && channels != 4) {
    return DataError(name + ": a JPEG file of " + std::to_string(channels) +
                     " channels; 1, 3 and 4 are read");
  }
  const int64_t width = session.jpeg.image_width, height = session.jpeg.image_height;
  BIFRONS_RETURN_IF_ERROR(CheckImageSize(width, height, name, options));
  outcome = Start(session);
  if (outcome != Outcome::kDone) return Explain(outcome, session, name);
  BIFRONS_TRY(Image image, NewImageWithoutRows(width, height, name));
  std::vector<uint8_t> row(channels == 4 ? static_cast<size_t>(width) * 4 : 0);
  outcome = ReadRows(session, &image, row.empty() ? nullptr : row.data());
  if (outcome != Outcome::kDone) return Explain(outcome, session, name);
  return image;
}

}  // namespace bifrons
