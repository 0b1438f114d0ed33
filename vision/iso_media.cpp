#include "vision/iso_media.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

namespace bifrons {
namespace {

using Bytes = std::span<const uint8_t>;
using namespace std::string_view_literals;

// ISO 23008-12 and the AVIF specification: the brands of pictures and of sequences that hold one.
constexpr std::string_view kPictureBrands[] = {"heic"sv, "heix"sv, "heim"sv, "heis"sv, "hevc"sv, "hevx"sv,
                                               "hevm"sv, "hevs"sv, "mif1"sv, "mif2"sv, "msf1"sv, "miaf"sv,
                                               "avif"sv, "avis"sv, "avio"sv, "jpeg"sv, "avci"sv};
constexpr std::string_view kFilmBrands[] = {"isom"sv, "iso2"sv, "iso4"sv, "iso5"sv, "iso6"sv, "mp41"sv,
                                            "mp42"sv, "avc1"sv, "qt  "sv, "M4V "sv, "M4A "sv, "M4VP"sv,
                                            "dash"sv, "MSNV"sv, "f4v "sv, "XAVC"sv};
// The boxes that configure a decoder.
constexpr std::pair<std::string_view, const char*> kCodecs[] = {
    {"hvcC"sv, "HEVC"}, {"av1C"sv, "AV1"},  {"vvcC"sv, "VVC"},       {"avcC"sv, "H.264"},
    {"evcC"sv, "EVC"},  {"jpgC"sv, "JPEG"}, {"j2kH"sv, "JPEG 2000"}, {"uncC"sv, "no compression"}};

bool IsPicture(std::string_view brand) {
  return std::find(std::begin(kPictureBrands), std::end(kPictureBrands), brand) != std::end(kPictureBrands);
}

bool IsFilm(std::string_view brand) {
  return brand.starts_with("3g") ||  // 3GPP: 3gp4, 3g2a, …
         std::find(std::begin(kFilmBrands), std::end(kFilmBrands), brand) != std::end(kFilmBrands);
}

std::string_view Text(Bytes bytes, size_t at, size_t size) {
  return {reinterpret_cast<const char*>(bytes.data()) + at, size};
}

uint64_t Big(Bytes bytes, size_t at, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; i++) value = value << 8 | bytes[at + i];
  return value;
}

// Boxes are a size that counts itself (0: to the end; 1: in eight more bytes), four letters, the contents.
// Calls visit(letters, contents) until the bytes make no sense.
template <class Visit>
void VisitBoxes(Bytes bytes, const Visit& visit) {
  while (bytes.size() >= 8) {
    uint64_t size = Big(bytes, 0, 4);
    size_t header = 8;
    if (size == 1) {
      if (bytes.size() < 16) return;
      size = Big(bytes, 8, 8);
      header = 16;
    } else if (size == 0) {
      size = bytes.size();
    }
    if (size < header) return;
#ifndef BIFRONS_PLANTED_BUGS
    if (size > bytes.size()) return;
#endif
    visit(Text(bytes, 4, 4), bytes.subspan(header, static_cast<size_t>(size) - header));
    bytes = bytes.subspan(static_cast<size_t>(size));
  }
}

// Contents of the first box of that name; empty where there is none.
Bytes Find(Bytes bytes, std::string_view name) {
  Bytes found;
  VisitBoxes(bytes, [&](std::string_view letters, Bytes contents) {
    if (letters == name && found.empty()) found = contents;
  });
  return found;
}

// Items by number: which they are made of, what some are (libheif does not decode tone maps), their sizes.
struct Items {
  std::map<uint64_t, std::vector<uint64_t>> sources;
  std::set<uint64_t> tone_maps, others, av1, monochrome;
  std::map<uint64_t, uint64_t> pixels;  // as their property ispe says
  std::optional<uint64_t> primary;
  std::map<uint64_t, CodedSize> declared, coded;  // longest sides: as ispe says; as the codec's header does
};

CodedSize Longest(const CodedSize& a, const CodedSize& b) {
  return {std::max(a.width, b.width), std::max(a.height, b.height)};
}

// ISO 14496-12, 8.11.12: iref is references of numbers, the first of which is the item that refers.
void ReadReferences(Bytes iref, Items* items) {
  if (iref.size() < 4) return;
  const size_t number = iref[0] == 0 ? 2 : 4;
  VisitBoxes(iref.subspan(4), [&](std::string_view type, Bytes reference) {
    if (type != "dimg" || reference.size() < number + 2) return;
    std::vector<uint64_t>& sources = items->sources[Big(reference, 0, number)];
    const size_t count = Big(reference, number, 2);
    for (size_t i = 0; i < count && number + 2 + (i + 1) * number <= reference.size(); i++) {
      sources.push_back(Big(reference, number + 2 + i * number, number));
    }
  });
}

// ISO 14496-12, 8.11.6: iinf is a count and entries of number, protection and type.
void ReadTypes(Bytes iinf, Items* items) {
  const size_t start = iinf.size() < 4 || iinf[0] == 0 ? 6 : 8;
  if (iinf.size() < start) return;
  VisitBoxes(iinf.subspan(start), [&](std::string_view box, Bytes entry) {
    const size_t number = !entry.empty() && entry[0] == 2 ? 2 : 4;
    if (box != "infe" || entry.size() < 4 + number + 2 + 4) return;
    const std::string_view type = Text(entry, 4 + number + 2, 4);
    if (type == "av01") items->av1.insert(Big(entry, 4, number));
    const bool tone_map = type == "tmap";
    (tone_map ? items->tone_maps : items->others).insert(Big(entry, 4, number));
  });
}

// ISO 23008-12, 9.3: ipco holds properties; ipma gives each item the numbers of its own, from 1 on.
void ReadProperties(Bytes iprp, Items* items) {
  struct Property {
    CodedSize declared, coded;
    bool monochrome = false;  // and AV1
  };
  std::vector<Property> properties{{}};
  VisitBoxes(Find(iprp, "ipco"), [&](std::string_view box, Bytes property) {
    Property& own = properties.emplace_back();
    constexpr size_t kAv1Header = 4;  // before its OBUs
    if (box == "ispe" && property.size() >= 12) own.declared = {Big(property, 4, 4), Big(property, 8, 4)};
    if (box == "hvcC") own.coded = HevcCodedSize(property).value_or(CodedSize());
    if (box == "av1C" && property.size() >= kAv1Header) own.monochrome = property[2] & 0x10;
    if (box == "av1C" && property.size() > kAv1Header)
      own.coded = Av1CodedSize(property.subspan(kAv1Header)).value_or(CodedSize());
  });
  VisitBoxes(iprp, [&](std::string_view box, Bytes ipma) {
    if (box != "ipma" || ipma.size() < 8) return;
    const size_t number = ipma[0] == 0 ? 2 : 4, width = (ipma[3] & 1) ? 2 : 1;
    for (size_t at = 8; at + number + 1 <= ipma.size();) {
      const uint64_t item = Big(ipma, at, number);
      uint64_t& pixels = items->pixels[item];
      CodedSize &declared = items->declared[item], &coded = items->coded[item];
      const size_t count = ipma[at + number];
      at += number + 1;
      for (size_t i = 0; i < count && at + width <= ipma.size(); i++, at += width) {
        const size_t index = Big(ipma, at, width) & (width == 2 ? 0x7FFF : 0x7F);
        if (index >= properties.size()) continue;
        const Property& own = properties[index];
        if (own.monochrome) items->monochrome.insert(item);
        pixels = std::max(pixels, own.declared.width * own.declared.height);
        declared = Longest(declared, own.declared);
        coded = Longest(coded, own.coded);
      }
    }
  });
}

// ISO 14496-12, 8.11.4.
void ReadPrimary(Bytes pitm, Items* items) {
  const size_t number = pitm.empty() || pitm[0] == 0 ? 2 : 4;
  if (pitm.size() >= 4 + number) items->primary = Big(pitm, 4, number);
}

// ISO 14496-12, 8.11.3: where the items lie. Looks at the start of those that are coded as AV1: a decoder
// takes their size from there.
void ReadAv1Headers(Bytes iloc, Bytes file, Bytes idat, Items* items) {
  if (iloc.size() < 8) return;
  const int version = iloc[0];
  const size_t number = version < 2 ? 2 : 4;
  const size_t offset = iloc[4] >> 4, length = iloc[4] & 0xF, base = iloc[5] >> 4;
  const size_t index = version > 0 ? iloc[5] & 0xF : 0;
  const size_t method = version > 0 ? 2 : 0, extent = index + offset + length;
  for (size_t at = 6 + number; at + number + method + 2 + base + 2 <= iloc.size();) {
    const uint64_t item = Big(iloc, at, number);
    at += number;
    const Bytes data = method > 0 && (iloc[at + 1] & 0xF) == 1 ? idat : file;
    at += method + 2;
    uint64_t start = Big(iloc, at, base);
    at += base;
    const size_t extents = static_cast<size_t>(Big(iloc, at, 2));
    at += 2;
    if (extents > 0 && extent <= iloc.size() - at && items->av1.contains(item)) {
      start += Big(iloc, at + index, offset);
      const uint64_t size = Big(iloc, at + index + offset, length);
      if (start < data.size()) {
        const Bytes rest = data.subspan(static_cast<size_t>(start));
        const Bytes obus =
            rest.first(static_cast<size_t>(size == 0 ? rest.size() : std::min<uint64_t>(size, rest.size())));
        CodedSize& coded = items->coded[item];
        coded = Longest(coded, Av1CodedSize(obus).value_or(CodedSize()));
      }
    }
    at += extents * extent;
  }
}

Items ReadItems(Bytes file) {
  // Which of several boxes of one name libheif takes is its own affair: here all count.
  Items items;
  VisitBoxes(file, [&](std::string_view box, Bytes meta) {
    if (box != "meta" || meta.size() < 4) return;
    const Bytes boxes = meta.subspan(4);
    VisitBoxes(boxes, [&](std::string_view name, Bytes contents) {
      if (name == "iref") ReadReferences(contents, &items);
      if (name == "iinf") ReadTypes(contents, &items);
      if (name == "pitm") ReadPrimary(contents, &items);
      if (name == "iprp") ReadProperties(contents, &items);
    });
    const Bytes idat = Find(boxes, "idat");
    VisitBoxes(boxes, [&](std::string_view name, Bytes contents) {
      if (name == "iloc") ReadAv1Headers(contents, file, idat, &items);
    });
  });
  return items;
}

}  // namespace

std::optional<SizeMismatch> FindSizeMismatch(Bytes file) {
  constexpr uint64_t kBlock = 8;  // the smallest that codecs fill up to
  const Items items = ReadItems(file);
  for (const auto& [item, coded] : items.coded) {
    const auto found = items.declared.find(item);
    if (found == items.declared.end()) continue;
    const CodedSize& declared = found->second;
    if (coded.width == 0 || declared.width == 0) continue;
    const auto agree = [](uint64_t a, uint64_t b) {
      return (std::min(a, b) + kBlock - 1) / kBlock * kBlock >= std::max(a, b);
    };
    if (!agree(coded.width, declared.width) || !agree(coded.height, declared.height))
      return SizeMismatch{declared, coded};
  }
  return std::nullopt;
}

bool IsMonochromeAv1(Bytes file) {
  const Items items = ReadItems(file);
  if (!items.primary) return false;
  const auto made_of = items.sources.find(*items.primary);
  const bool derived = made_of != items.sources.end() && !made_of->second.empty();
  return items.monochrome.contains(derived ? made_of->second[0] : *items.primary);
}

bool IsEndlesslyDerived(Bytes file) {
  const Items items = ReadItems(file);
  std::set<uint64_t> nested;  // made of what is made of others
  for (const auto& [item, sources] : items.sources) {
    const bool any = std::any_of(sources.begin(), sources.end(),
                                 [&](uint64_t source) { return items.sources.contains(source); });
    if (any) nested.insert(item);
  }
  const auto pixels_of = [&](uint64_t item) {
    const auto found = items.pixels.find(item);
    return found == items.pixels.end() ? 0.0 : static_cast<double>(found->second);
  };
  for (const auto& [item, sources] : items.sources) {
    if (items.tone_maps.contains(item) && !items.others.contains(item)) continue;
    constexpr double kSmall = 1 << 24;  // tiles may reach far beyond a small picture's edges
    double pixels = 0;
    for (const uint64_t source : sources) pixels += pixels_of(source);
    if (pixels > 4 * pixels_of(item) + kSmall) return true;
    // One that is turned or cropped only may be of a grid.
    if (nested.contains(item) && (sources.size() > 1 || nested.contains(sources[0]))) return true;
  }
  return false;
}

IsoMedia InspectIsoMedia(Bytes file) {
  IsoMedia media;
  if (file.size() < 12 || Text(file, 4, 4) != "ftyp") return media;
  // The file may be cut short within its first box: the brand still tells what it was.
  const Bytes type =
      file.subspan(8, std::min<uint64_t>(std::max<uint64_t>(Big(file, 0, 4), 12), file.size()) - 8);
  media.brand = Text(type, 0, 4);
  bool picture = IsPicture(media.brand);
  for (size_t at = 8; at + 4 <= type.size() && !picture; at += 4) {
    picture = IsPicture(Text(type, at, 4));
  }
  media.content = picture               ? IsoMedia::Content::kPicture
                  : IsFilm(media.brand) ? IsoMedia::Content::kFilm
                                        : IsoMedia::Content::kOther;
  constexpr size_t kFlags = 4;  // version and flags that "meta" begins with
  const Bytes meta = Find(file, "meta");
  if (meta.size() < kFlags) return media;
  VisitBoxes(Find(Find(meta.subspan(kFlags), "iprp"), "ipco"), [&](std::string_view box, Bytes) {
    for (const auto& [name, codec] : kCodecs) {
      if (box == name && media.codec.empty()) media.codec = codec;
    }
  });
  return media;
}

}  // namespace bifrons
