// What the boxes of an ISO base media file (ISO 14496-12; "ftyp") tell before anything is decoded: HEIC and
// AVIF pictures, films and others share this container.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "vision/coded_size.h"

namespace bifrons {

struct IsoMedia {
  enum class Content { kPicture, kFilm, kOther };

  Content content = Content::kOther;
  std::string brand;  // four letters, the file's own
  std::string codec;  // the first that an item needs: "HEVC", "AV1", …; empty where none is known
};

/// Whether a picture that is made of others (a grid of tiles) is made of pictures that are made of others in
/// turn, or of far more pixels than it has. libheif follows such references without an end.
bool IsEndlesslyDerived(std::span<const uint8_t> file);

struct SizeMismatch {
  CodedSize declared, coded;
};

/// The first picture whose codec's header says another size than the file declares for it, more than filling
/// up the last block explains. A decoder makes room for the former.
std::optional<SizeMismatch> FindSizeMismatch(std::span<const uint8_t> file);

/// Whether the primary picture, or the first of those that it is made of, is coded as AV1 without colours.
bool IsMonochromeAv1(std::span<const uint8_t> file);

/// Every length is checked before it is followed; time is linear.
IsoMedia InspectIsoMedia(std::span<const uint8_t> file);

}  // namespace bifrons
