#include "src/base/digest_map.h"

#include <cstring>
#include <random>

#include "src/base/sha256.h"

namespace bifrons {

Digest16 DigestOf(std::string_view text) {
  const Sha256::Digest whole = Sha256::Bytes(text);
  Digest16 half;
  std::memcpy(&half.high, whole.data(), sizeof half.high);
  std::memcpy(&half.low, whole.data() + sizeof half.high, sizeof half.low);
  return half;
}

const TableSecret& TableSecret::Get() {
  static const TableSecret secret = [] {
    std::random_device random;
    const auto draw = [&] { return uint64_t{random()} << 32 | random(); };
    return TableSecret{draw(), draw()};
  }();
  return secret;
}

}  // namespace bifrons
