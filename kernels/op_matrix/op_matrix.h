// Every op of a Queue at odd and at published shapes: the same cases say whether a device is right and how
// fast it is. They reach a device's numbers through its queues alone.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "kernels/device.h"

namespace bifrons {

/// Which cases: those of the kinds below whose "op shape" contains `text`.
struct OpSelection {
  std::string text;
  bool odd = true;         // small and awkward
  bool published = false;  // of the published models; the ref device takes minutes over them
};

struct OpResult {
  std::string op, shape;  // "Multiply", "97×130 bf16+bf16 · bf16 decode +gelu"
  /// The largest error as a share of what arithmetic of the case's types allows: right up to 1, and infinite
  /// where numbers must be exact and are not.
  double worst_share = 0;
  /// Whether everything that the op may not write is as it was: guards around all tensors, and inputs.
  bool intact = true;

  bool passed() const { return worst_share <= 1 && intact; }
};

size_t CountOps(const OpSelection&);

// What follows ends early, with the results so far, when a stop is requested (src/base/stop.h).

/// Runs the selected ops on `tested` and judges them by `reference` or by arithmetic in f64. `report`, unless
/// empty, is told of every result at once. Throws std::bad_alloc.
std::vector<OpResult> CheckOps(Device& tested, Device& reference, const OpSelection&,
                               const std::function<void(const OpResult&)>& report = {});

/// As CheckOps, but the results of all others must be those of `device` bit by bit.
std::vector<OpResult> CheckSameBits(Device& device, std::span<Device* const> others, const OpSelection&,
                                    const std::function<void(const OpResult&)>& report = {});

struct OpSpeed {
  std::string op, shape;
  double seconds = 0;  // of one run: the median of several
  double bytes = 0;    // that one run must at least read and write
  double macs = 0;     // multiply-accumulates of one run; 0 where bytes are what counts

  double gigabytes_per_second() const { return bytes / seconds / 1e9; }
  double gigamacs_per_second() const { return macs / seconds / 1e9; }
};

/// Measures the selected ops, each for `least_seconds` or a few runs. Weights of decode products come from
/// memory, not from a cache. Throws std::bad_alloc.
std::vector<OpSpeed> MeasureOps(Device& device, const OpSelection&, double least_seconds = 0.02,
                                const std::function<void(const OpSpeed&)>& report = {});

}  // namespace bifrons
