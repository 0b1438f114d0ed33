#include "src/base/sha256.h"

namespace bifrons {

Sha256::Sha256()
    : MessageDigest([] {
        static const evp_md_st* const method = Fetch("SHA256");
        return method;
      }()) {}

Sha256::Digest Sha256::FinishBytes() {
  Digest digest;
  FinishInto(digest);
  return digest;
}

Sha256::Digest Sha256::Bytes(std::string_view text) {
  Sha256 sha;
  sha.Update(text);
  return sha.FinishBytes();
}

std::string Sha256::Hex(std::span<const uint8_t> bytes) {
  Sha256 sha;
  sha.Update(bytes);
  return sha.Finish();
}

}  // namespace bifrons
