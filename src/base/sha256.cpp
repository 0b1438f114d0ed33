#include "src/base/sha256.h"

#include <openssl/evp.h>

#include <new>

#include "src/base/check.h"

namespace bifrons {
namespace {

// Out of a library context of our own, so that no configuration of the system's takes SHA-256 away.
const EVP_MD* Method() {
  static EVP_MD* const method = [] {
    OSSL_LIB_CTX* const library = OSSL_LIB_CTX_new();
    EVP_MD* const fetched = library ? EVP_MD_fetch(library, "SHA256", nullptr) : nullptr;
    if (!fetched) throw std::bad_alloc();
    return fetched;
  }();
  return method;
}

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (!context_ || EVP_DigestInit_ex2(context_.get(), Method(), nullptr) != 1) throw std::bad_alloc();
}

void Sha256::Update(std::span<const uint8_t> bytes) {
  BIFRONS_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

Sha256::Digest Sha256::FinishBytes() {
  Digest digest;
  BIFRONS_CHECK(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1);
  return digest;
}

std::string Sha256::Finish() {
  std::string hex;
  hex.reserve(2 * Digest().size());
  for (const uint8_t byte : FinishBytes()) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
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
