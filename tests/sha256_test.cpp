#include "src/base/sha256.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <span>
#include <string>

using bifrons::Sha256;

namespace {

std::span<const uint8_t> Bytes(const std::string& s) {
  return {reinterpret_cast<const uint8_t*>(s.data()), s.size()};
}

}  // namespace

TEST_CASE("SHA-256 gives NIST's digests (FIPS 180-4 examples)") {
  CHECK(Sha256::Hex(Bytes("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(Sha256::Hex(Bytes("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(Sha256::Hex(Bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(Sha256::Hex(Bytes(std::string(1'000'000, 'a'))) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("SHA-256 does not depend on how the bytes come in") {
  const std::string text(200, 'x');
  for (size_t size = 0; size <= text.size(); size++) {  // all positions around a block's end and its padding
    const std::string whole = text.substr(0, size), expected = Sha256::Hex(Bytes(whole));
    for (const size_t cut : {size_t{0}, size / 3, size / 2, size}) {
      Sha256 parts;
      parts.Update(Bytes(whole.substr(0, cut)));
      parts.Update(Bytes(whole.substr(cut)));
      CHECK(parts.Finish() == expected);
    }
  }
}
