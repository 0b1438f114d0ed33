// SHA-256 (FIPS 180-4), for naming files by their contents.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace bifrons {

class Sha256 {
 public:
  using Digest = std::array<uint8_t, 32>;

  Sha256();
  void Update(std::span<const uint8_t> bytes);
  void Update(std::string_view text) {
    Update(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }
  /// The object is spent afterwards.
  Digest FinishBytes();
  /// The same as 64 lower-case hexadecimal digits.
  std::string Finish();

  static Digest Bytes(std::string_view text);
  static std::string Hex(std::span<const uint8_t> bytes);
  static std::string Hex(std::string_view text) {
    return Hex(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

}  // namespace bifrons
