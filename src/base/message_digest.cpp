#include "src/base/message_digest.h"

#include <openssl/evp.h>

#include <array>
#include <new>

#include "src/base/check.h"

namespace bifrons {

const EVP_MD* MessageDigest::Fetch(const char* name) {
  OSSL_LIB_CTX* const library = OSSL_LIB_CTX_new();
  EVP_MD* const fetched = library ? EVP_MD_fetch(library, name, nullptr) : nullptr;
  if (!fetched) throw std::bad_alloc();
  return fetched;
}

void MessageDigest::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

MessageDigest::MessageDigest(const EVP_MD* method) : context_(EVP_MD_CTX_new()) {
  if (!context_ || EVP_DigestInit_ex2(context_.get(), method, nullptr) != 1) throw std::bad_alloc();
}

void MessageDigest::Update(std::span<const uint8_t> bytes) {
  BIFRONS_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

void MessageDigest::FinishInto(std::span<uint8_t> digest) {
  BIFRONS_CHECK(static_cast<size_t>(EVP_MD_CTX_get_size(context_.get())) == digest.size());
  BIFRONS_CHECK(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1);
}

std::string MessageDigest::Finish() {
  std::array<uint8_t, EVP_MAX_MD_SIZE> bytes;
  const auto digest = std::span(bytes).first(static_cast<size_t>(EVP_MD_CTX_get_size(context_.get())));
  FinishInto(digest);
  std::string hex;
  hex.reserve(2 * digest.size());
  for (const uint8_t byte : digest) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

}  // namespace bifrons
