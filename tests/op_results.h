// The ops of the matrix, a section each, and what is asked of their results.
#pragma once

#include <catch2/catch.hpp>
#include <vector>

#include "kernels/op_matrix/op_matrix.h"

namespace bifrons {

/// OpSelection::text of every op.
inline constexpr const char* kOps[] = {"Upload",        "Copy ",           "CopyRows",  "Fill",
                                       "LookUp",        "Multiply",        "RmsNorm",   "LayerNorm",
                                       "StoreKv",       "CopyPositions",   "Attend ",   "AttendAll",
                                       "Sample",        "Convolve",        "GroupNorm", "Upsample2x",
                                       "UnfoldPatches", "NearestCodeword", "ToBytes"};

inline void CheckAll(const std::vector<OpResult>& results) {
  CHECK(!results.empty());
  for (const OpResult& result : results) {
    if (result.passed()) continue;
    INFO(result.op << " " << result.shape << ": " << result.worst_share << " of what is allowed, "
                   << (result.intact ? "guards intact" : "wrote where it may not"));
    CHECK(result.passed());
  }
}

}  // namespace bifrons
