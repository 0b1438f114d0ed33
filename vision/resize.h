// Pillow's bicubic and Lanczos resampling, to the bit.
#pragma once

#include <cstdint>

#include "vision/image.h"

namespace bifrons {

/// Image.resize((width, height), Image.BICUBIC): antialiased, so every source pixel counts however small the
/// result. The same size gives the same bytes.
Image ResizeBicubic(const Image& image, int64_t width, int64_t height);

/// The same with Image.LANCZOS: sharper, and the better one for enlarging.
Image ResizeLanczos(const Image& image, int64_t width, int64_t height);

/// ImageOps.fit(image, (width, height), Image.LANCZOS): of an image of another aspect the middle is taken.
Image FitLanczos(const Image& image, int64_t width, int64_t height);

}  // namespace bifrons
