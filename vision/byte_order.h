// Unsigned integers as files store them. The caller has checked that the bytes are there.
#pragma once

#include <cstdint>

namespace bifrons {

inline uint32_t Little16(const uint8_t* p) { return uint32_t{p[0]} | uint32_t{p[1]} << 8; }
inline uint32_t Little32(const uint8_t* p) { return Little16(p) | Little16(p + 2) << 16; }
inline uint32_t Big16(const uint8_t* p) { return uint32_t{p[0]} << 8 | uint32_t{p[1]}; }
inline uint32_t Big32(const uint8_t* p) { return Big16(p) << 16 | Big16(p + 2); }

}  // namespace bifrons
