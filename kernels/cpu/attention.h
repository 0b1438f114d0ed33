// Attention of the cpu device: which thread computes what. The loops are in attention-inl.h, those of tiles
// in tiles_amx.cpp.
#pragma once

#include "kernels/cpu/workspace.h"
#include "kernels/host/kv_pages.h"
#include "kernels/queue.h"

namespace bifrons::cpu {

/// Queue::Attend; q [rows, heads · head_dim], rows q_stride floats apart, y contiguous.
void AttendToPast(Workspace&, const float* q, int64_t q_stride, int64_t heads, const host::HostKvBatch&,
                  int64_t layer, float* y);

/// Queue::AttendAll.
void AttendToAll(Workspace&, const FullAttention&, const View& q, const View& k, const View& v,
                 const View& y);

}  // namespace bifrons::cpu
