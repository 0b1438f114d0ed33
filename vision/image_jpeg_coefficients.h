// The coefficients of JPEG files of several scans: 2 bytes per sample that libjpeg holds until the last pixel
// is out, so that 4:4:4 would take 9 bytes per pixel with the picture itself.
#pragma once

#include <cstddef>
#include <cstdio>

// Wants size_t and FILE to be declared before it.
#include <jpeglib.h>

namespace bifrons {

/// Between jpeg_create_decompress and jpeg_start_decompress: lets go of the coefficients of the rows that are
/// shown while the next ones are.
void DropCoefficientsOnceShown(jpeg_decompress_struct* jpeg);

}  // namespace bifrons
