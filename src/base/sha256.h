// SHA-256 (FIPS 180-4), for naming files by their contents.
#pragma once

#include <array>

#include "src/base/message_digest.h"

namespace bifrons {

class Sha256 : public MessageDigest {
 public:
  using Digest = std::array<uint8_t, 32>;

  Sha256();
  /// What Finish gives as digits. The object is spent afterwards.
  Digest FinishBytes();

  static Digest Bytes(std::string_view text);
  static std::string Hex(std::span<const uint8_t> bytes);
  static std::string Hex(std::string_view text) {
    return Hex(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }
};

}  // namespace bifrons
