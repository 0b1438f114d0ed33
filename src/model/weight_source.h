// Where weights come from: a published checkpoint through the tensor table, or seeded random numbers.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "src/base/result.h"
#include "src/base/tensor.h"
#include "src/model/config.h"

namespace bifrons {

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual const JanusConfig& config() const = 0;
  /// The tensor of that name of the table (tensor_table.h), contiguous, in the type it is stored in. The view
  /// lives as long as the source. Asking for a name that the table lacks is our bug; `Has` tells of optional
  /// ones.
  virtual TensorView Get(const std::string& name) = 0;
  virtual bool Has(const std::string& name) const = 0;
  /// The type that Get(name) has, without producing the tensor: f32, bf16 or f16, or blocks where the table
  /// has the tensor as quantizable.
  virtual DType TypeOf(const std::string& name) const = 0;
  /// The type that matrices were asked for in and that the files have not (WeightType's name): it decides
  /// pictures beside the hash. None: weights are as stored.
  virtual std::optional<std::string> made_type() const { return {}; }
  /// Whether the view that Get(name) makes stands in a mapped file, not in memory of this process.
  virtual bool InFile(const std::string& name) const = 0;
  /// SHA-256 over the model's files (path-independent; cached by size and time), for pictures' metadata. Hex.
  virtual Result<std::string> Hash() = 0;
  /// Begins with what Hash() waits for, beside whatever else is done.
  virtual void BeginHash() = 0;
  /// Lets the source drop what it materialised for `name` (a random or transposed tensor), or the pages of
  /// its file that the tensor stands on. Get(name) makes a view anew.
  virtual void Release(const std::string& name) = 0;
  /// Takes all pages of mapped files out of this process's memory. Views stay valid: what is looked at is
  /// read again.
  virtual void DropPages() = 0;
};

/// `model` is a folder in either layout, a GGUF, or "random:janus-pro-1b" / "random:janus-pro-7b". Every
/// tensor of the table is checked here: missing, mistyped or of another shape is an error that names file and
/// tensor. Unknown extra tensors are warned about on stderr once.
Result<std::unique_ptr<WeightSource>> OpenWeights(const std::string& model);

}  // namespace bifrons
