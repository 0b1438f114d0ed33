// Images to the tokens that the model draws with, and back.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/base/result.h"
#include "src/model/janus.h"

namespace bifrons {

/// The image as the VQ tokenizer takes it: resized and padded to its square, as for the vision tower.
Image FitForCodes(Janus& janus, const Image& image);

/// Codes [grid²] of a fitted image, row by row.
std::vector<int32_t> EncodeImage(Janus& janus, const Image& fitted);

/// Pixels f32 [image_size, image_size, 3] of codes i32 [grid²], which are the codebook's; given to images().
DeviceTensor DecodePixels(Janus& janus, View codes);
/// The same as bytes, waited for.
Image DecodeImage(Janus& janus, View codes);

/// The picture of codes. Errors: VqDecoder::CheckCodes'.
Result<Image> DecodeCodes(Janus& janus, std::span<const int32_t> codes);

/// Peak signal-to-noise ratio in dB of two images of one size; infinite for equal ones.
double Psnr(const Image& a, const Image& b);

}  // namespace bifrons
