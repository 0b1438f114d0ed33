// Weights in another type than the model's files have, made tensor by tensor as they are asked for.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "src/model/tensor_table.h"
#include "src/model/weight_source.h"
#include "src/model/weight_type.h"

namespace bifrons {

/// Of the matrices that a step reads, as most of them have it.
inline DType MatrixType(const WeightSource& source) { return source.TypeOf("llama.layers.0.gate"); }
/// What the weights were asked for as, or MatrixType's name.
std::string WeightsName(const WeightSource& source);

/// The type that a tensor gets where `wanted` is asked for: that itself where its rows are whole blocks, q8_0
/// for q4_k where they are whole blocks of that (ggml takes q5_0 there, the next one larger), else the type
/// that it has. What the table does not call quantizable stays as it is.
DType WeightTypeFor(const TensorSpec& spec, DType stored, const WeightType& wanted);

/// `source` with the tensors that may be quantised in the type `wanted`. Get makes one tensor, with all of
/// `threads` (0: those that there are), and lets go of what it was made from, so that no more than one
/// unquantised tensor is held. A block with a number that is none gets a scale that is none. Errors (kUsage):
/// a tensor is stored quantised already, and in another type.
Result<std::unique_ptr<WeightSource>> QuantizeWeights(std::unique_ptr<WeightSource> source, WeightType wanted,
                                                      int threads = 0);

/// OpenWeights, then QuantizeWeights where a type is wanted.
Result<std::unique_ptr<WeightSource>> OpenWeightsAs(const std::string& model,
                                                    std::optional<WeightType> wanted, int threads = 0);

}  // namespace bifrons
