// The numbers that GGUF files are written with.
// Format: github.com/ggml-org/ggml, docs/gguf.md and src/gguf.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "src/base/dtype.h"

namespace bifrons {

inline constexpr uint32_t kGgufMagic = 0x46554747;  // "GGUF"
inline constexpr uint32_t kGgufVersion = 3;         // version 2 is the same; 1 had shorter counts
/// Where a file does not say otherwise in general.alignment.
inline constexpr uint32_t kGgufAlignment = 32;
/// ggml: GGML_MAX_NAME, less the zero; GGML_MAX_DIMS
inline constexpr size_t kMaxGgufName = 63;
inline constexpr size_t kMaxGgufRank = 4;

/// What the general.architecture of a Janus is.
inline constexpr const char* kGgufArchitecture = "janus";
/// Which program wrote the file, with its version.
inline constexpr const char* kGgufSoftwareKey = "janus.software";

/// ggml: gguf_type
enum class GgufValue : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};

/// ggml: ggml_type. What we have no name for is told by ggml's.
struct GgufType {
  uint32_t id;
  const char* name;
  Block block;
  std::optional<DType> ours;
};
inline constexpr GgufType kGgufTypes[] = {
    {0, "F32", {1, 4}, DType::kF32},
    {1, "F16", {1, 2}, DType::kF16},
    {30, "BF16", {1, 2}, DType::kBF16},
    {8, "Q8_0", {32, 34}, DType::kQ8_0},
    {2, "Q4_0", {32, 18}, DType::kQ4_0},
    {12, "Q4_K", {256, 144}, DType::kQ4_K},
    {3, "Q4_1", {32, 20}, {}},
    {6, "Q5_0", {32, 22}, {}},
    {7, "Q5_1", {32, 24}, {}},
    {9, "Q8_1", {32, 40}, {}},
    {10, "Q2_K", {256, 84}, {}},
    {11, "Q3_K", {256, 110}, {}},
    {13, "Q5_K", {256, 176}, {}},
    {14, "Q6_K", {256, 210}, {}},
    {15, "Q8_K", {256, 292}, {}},
    {16, "IQ2_XXS", {256, 66}, {}},
    {17, "IQ2_XS", {256, 74}, {}},
    {18, "IQ3_XXS", {256, 98}, {}},
    {19, "IQ1_S", {256, 50}, {}},
    {20, "IQ4_NL", {32, 18}, {}},
    {21, "IQ3_S", {256, 110}, {}},
    {22, "IQ2_S", {256, 82}, {}},
    {23, "IQ4_XS", {256, 136}, {}},
    {24, "I8", {1, 1}, {}},
    {25, "I16", {1, 2}, {}},
    {26, "I32", {1, 4}, {}},
    {27, "I64", {1, 8}, {}},
    {28, "F64", {1, 8}, {}},
    {29, "IQ1_M", {256, 56}, {}},
    {34, "TQ1_0", {256, 54}, {}},
    {35, "TQ2_0", {256, 66}, {}},
};

/// nullptr of types that were invented later.
constexpr const GgufType* FindGgufType(uint32_t id) {
  for (const GgufType& type : kGgufTypes) {
    if (type.id == id) return &type;
  }
  return nullptr;
}

/// nullptr of types that no GGUF has (kU8).
constexpr const GgufType* FindGgufType(DType ours) {
  for (const GgufType& type : kGgufTypes) {
    if (type.ours == ours) return &type;
  }
  return nullptr;
}

}  // namespace bifrons
