// A hash over bytes as they come, by OpenSSL.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct evp_md_st;
struct evp_md_ctx_st;

namespace bifrons {

class MessageDigest {
 public:
  void Update(std::span<const uint8_t> bytes);
  void Update(std::string_view text) {
    Update(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }
  /// Lower-case hexadecimal digits. The object is spent afterwards.
  std::string Finish();

 protected:
  explicit MessageDigest(const evp_md_st* method);
  /// `digest` is as long as the method's. The object is spent afterwards.
  void FinishInto(std::span<uint8_t> digest);
  /// By OpenSSL's name, to be kept for the life of the process; out of a library context of our own, so that
  /// no configuration of the system's takes it away.
  static const evp_md_st* Fetch(const char* name);

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

}  // namespace bifrons
