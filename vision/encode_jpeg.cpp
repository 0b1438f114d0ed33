// JPEG through libjpeg-turbo, whose SIMD gives the bytes of its scalar code as long as the DCT is the integer
// one.
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

// Wants size_t and FILE to be declared before it.
#include <jpeglib.h>

#include "vision/image_encoders.h"

namespace bifrons {
namespace {

// What libjpeg's callbacks see. libjpeg reports errors by longjmp, which runs no destructors: Compress, which
// calls setjmp, holds nothing but plain values and references to what its caller owns.
struct Session {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jmp_buf on_error;
  char message[JMSG_LENGTH_MAX] = "";
  unsigned char* bytes = nullptr;
  unsigned long size = 0;

  ~Session() {
    jpeg_destroy_compress(&jpeg);
    std::free(bytes);
  }
};

void OnError(j_common_ptr jpeg) {
  auto* session = static_cast<Session*>(jpeg->client_data);
  jpeg->err->format_message(jpeg, session->message);
  longjmp(session->on_error, 1);
}

void OnMessage(j_common_ptr) {}

bool Compress(Session& s, const Image& image, std::span<const uint8_t> exif) {
  s.jpeg.err = jpeg_std_error(&s.errors);
  s.errors.error_exit = OnError;
  s.errors.output_message = OnMessage;
  s.jpeg.client_data = &s;
  if (setjmp(s.on_error)) return false;
  jpeg_create_compress(&s.jpeg);
  jpeg_mem_dest(&s.jpeg, &s.bytes, &s.size);
  s.jpeg.image_width = static_cast<JDIMENSION>(image.width);
  s.jpeg.image_height = static_cast<JDIMENSION>(image.height);
  s.jpeg.input_components = 3;
  s.jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&s.jpeg);
  jpeg_set_quality(&s.jpeg, 95, TRUE);
  s.jpeg.comp_info[0].h_samp_factor = s.jpeg.comp_info[0].v_samp_factor = 1;  // 4:4:4
  s.jpeg.dct_method = JDCT_ISLOW;
  s.jpeg.optimize_coding = TRUE;
  jpeg_start_compress(&s.jpeg, TRUE);
  if (!exif.empty()) {
    jpeg_write_marker(&s.jpeg, JPEG_APP0 + 1, exif.data(), static_cast<unsigned int>(exif.size()));
  }
  while (s.jpeg.next_scanline < s.jpeg.image_height) {
    auto* row =
        const_cast<JSAMPROW>(image.rgb.data()) + size_t{s.jpeg.next_scanline} * s.jpeg.image_width * 3;
    jpeg_write_scanlines(&s.jpeg, &row, 1);
  }
  jpeg_finish_compress(&s.jpeg);
  return true;
}

}  // namespace

Result<std::vector<uint8_t>> EncodeJpeg(const Image& image, std::span<const uint8_t> exif) {
  BIFRONS_CHECK(image.width > 0 && image.height > 0 && image.width <= kMaxJpegSide &&
                image.height <= kMaxJpegSide);
  BIFRONS_CHECK(image.rgb.size() == static_cast<size_t>(image.width * image.height * 3));
  BIFRONS_CHECK(exif.size() <= kMaxJpegExif);
  Session session;
  if (!Compress(session, image, exif)) {
    return Failure(std::string("libjpeg could not write the picture: ") + session.message);
  }
  return std::vector<uint8_t>(session.bytes, session.bytes + session.size);
}

}  // namespace bifrons
