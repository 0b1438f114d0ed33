#include "vision/image_jpeg_coefficients.h"

#include <jerror.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace bifrons {
namespace {

// What stands behind libjpeg's jvirt_barray_ptr: all rows in memory, in one piece unless they take more than
// a gigabyte.
struct Rows {
  JBLOCKARRAY rows;
  JDIMENSION width;    // in blocks
  JDIMENSION count;    // of rows
  JDIMENSION zeroed;   // rows below are initialised
  JDIMENSION dropped;  // rows below were given back
};

jvirt_barray_ptr Request(j_common_ptr jpeg, int pool, boolean, JDIMENSION width, JDIMENSION count,
                         JDIMENSION) {
  auto* array = static_cast<Rows*>((*jpeg->mem->alloc_small)(jpeg, pool, sizeof(Rows)));
  *array = {(*jpeg->mem->alloc_barray)(jpeg, pool, width, count), width, count, 0, 0};
  return reinterpret_cast<jvirt_barray_ptr>(array);
}

// Gives the whole pages of rows [dropped, end) back to the system.
void Drop(Rows* array, JDIMENSION end) {
  const ptrdiff_t blocks =
      static_cast<ptrdiff_t>(end - array->dropped) * static_cast<ptrdiff_t>(array->width);
  if (array->rows[end] - array->rows[array->dropped] != blocks) return;  // not in one piece
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto from = (reinterpret_cast<uintptr_t>(array->rows[array->dropped]) + page - 1) / page * page;
  const auto to = reinterpret_cast<uintptr_t>(array->rows[end]) / page * page;
  constexpr uintptr_t kWorthACall = uintptr_t{1} << 18;
  if (to < from + kWorthACall) return;
  madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
  array->dropped = end;
}

JBLOCKARRAY Access(j_common_ptr jpeg, jvirt_barray_ptr handle, JDIMENSION start, JDIMENSION count,
                   boolean writable) {
  auto* array = reinterpret_cast<Rows*>(handle);
  if (start > array->count || count > array->count - start) ERREXIT(jpeg, JERR_BAD_VIRTUAL_ACCESS);
  for (; array->zeroed < start + count; array->zeroed++) {
    std::memset(array->rows[array->zeroed], 0, size_t{array->width} * sizeof(JBLOCK));
  }
  // Scans write them; what only reads them makes pixels, from the top down.
  if (!writable && start > array->dropped && start < array->count) Drop(array, start);
  return array->rows + start;
}

}  // namespace

void DropCoefficientsOnceShown(jpeg_decompress_struct* jpeg) {
  jpeg->mem->request_virt_barray = Request;
  jpeg->mem->access_virt_barray = Access;
}

}  // namespace bifrons
