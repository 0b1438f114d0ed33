// A cursor over untrusted little-endian bytes: every read is checked, none is aligned.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace bifrons {

static_assert(std::endian::native == std::endian::little, "checkpoints are mapped, not converted");

class ByteReader {
 public:
  explicit ByteReader(std::span<const uint8_t> bytes, size_t position = 0)
      : bytes_(bytes), position_(position < bytes.size() ? position : bytes.size()) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }

  /// false, and nothing changes, when fewer bytes are left.
  template <class T>
  [[nodiscard]] bool Read(T* out) {
    if (remaining() < sizeof(T)) return false;
    std::memcpy(out, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return true;
  }
  [[nodiscard]] bool Skip(uint64_t n) {
    if (remaining() < n) return false;
    position_ += n;
    return true;
  }
  [[nodiscard]] bool ReadText(uint64_t n, std::string_view* out) {
    if (remaining() < n) return false;
    *out = {reinterpret_cast<const char*>(bytes_.data()) + position_, static_cast<size_t>(n)};
    position_ += n;
    return true;
  }

 private:
  std::span<const uint8_t> bytes_;
  size_t position_;
};

}  // namespace bifrons
