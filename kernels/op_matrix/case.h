// What a case of the op matrix is, and where the cases come from: a file for each family of ops, which also
// has the derivation of its tolerances.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/op_matrix/numbers.h"
#include "kernels/op_matrix/stage.h"

namespace bifrons::op_matrix {

class Case {
 public:
  virtual ~Case() = default;

  std::string op, shape;
  bool published = false;      // a published model's shape
  double bytes = 0, macs = 0;  // see OpSpeed

  /// Puts inputs and outputs on the device and names the op; the same numbers every time.
  virtual void Place(Stage& stage) const = 0;
  /// OpResult::worst_share of what a device got.
  virtual double WorstShare(const std::vector<Tensor>& got, Device& reference) const = 0;
};

using Cases = std::vector<std::unique_ptr<Case>>;

inline Outcome RunOn(Device& device, const Case& one) {
  Stage stage(device);
  one.Place(stage);
  return stage.Run();
}

void AddCopyCases(Cases& cases);           // Upload, Copy, CopyRows, Fill, LookUp
void AddMultiplyCases(Cases& cases);       // Multiply with every epilogue, class and type
void AddExactProductCases(Cases& cases);   // Multiply where every sum is exact; its epilogues at their ends
void AddBlockProductCases(Cases& cases);   // Multiply with weights in blocks
void AddOwnLayoutCases(Cases& cases);      // two Multiplies by way of own layout
void AddNormedProductCases(Cases& cases);  // MultiplyNormed
void AddNormCases(Cases& cases);           // RmsNorm, LayerNorm, GroupNorm
void AddAttentionCases(Cases& cases);      // RopeStoreKv, Attend
void AddPageCases(Cases& cases);           // StoreKv, CopyPositions
void AddFullAttentionCases(Cases& cases);  // AttendAll
void AddSampleCases(Cases& cases);         // Sample
void AddConvolutionCases(Cases& cases);    // Convolve
void AddMapCases(Cases& cases);            // Upsample2x, UnfoldPatches, NearestCodeword, ToBytes

}  // namespace bifrons::op_matrix
