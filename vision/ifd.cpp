#include "vision/ifd.h"

namespace bifrons {

// An unsigned integer of `size` bytes; the caller has checked that they are there.
uint32_t Ifds::Read(size_t at, int size) const {
  uint32_t value = 0;
  for (int i = 0; i < size; i++) {
    value = value << 8 | bytes_.data()[at + static_cast<size_t>(big_endian_ ? i : size - 1 - i)];
  }
  return value;
}

std::optional<Ifds> Ifds::Open(std::span<const uint8_t> bytes) {
  constexpr size_t kHeader = 8;
  if (bytes.size() < kHeader || bytes[0] != bytes[1] || (bytes[0] != 'M' && bytes[0] != 'I'))
    return std::nullopt;
  const Ifds ifds(bytes, bytes[0] == 'M');
  if (ifds.Read(2, 2) != 42) return std::nullopt;
  return ifds;
}

std::optional<Ifds::Entry> Ifds::Find(size_t directory, uint32_t tag) const {
  constexpr size_t kEntry = 12;  // tag, type, count, value
  if (directory > bytes_.size() || bytes_.size() - directory < 2) return std::nullopt;
  const size_t entries = Read(directory, 2);
  std::optional<Entry> found;
  for (size_t i = 0; i < entries; i++) {
    const size_t at = directory + 2 + i * kEntry;
#ifndef BIFRONS_PLANTED_BUGS
    if (at + kEntry > bytes_.size()) break;
#endif
    if (Read(at, 2) == tag) found = Entry{Read(at + 2, 2), Read(at + 4, 4), at + 8};
  }
  return found;
}

std::optional<uint32_t> Ifds::Integer(const Entry& entry) const {
  const int size = entry.type == kByte ? 1 : entry.type == kShort ? 2 : entry.type == kLong ? 4 : 0;
  if (size == 0 || entry.count != 1) return std::nullopt;
  return Read(entry.value, size);
}

std::span<const uint8_t> Ifds::Data(const Entry& entry) const {
  if (entry.type != kByte && entry.type != kUndefined) return {};
  const size_t at = entry.count <= 4 ? entry.value : Read(entry.value, 4);
  if (at > bytes_.size() || bytes_.size() - at < entry.count) return {};
  return bytes_.subspan(at, entry.count);
}

}  // namespace bifrons
