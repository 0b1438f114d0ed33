#include "src/model/quantized_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "src/base/blocks.h"
#include "src/base/stop.h"
#include "src/base/thread_pool.h"

namespace bifrons {
namespace {

constexpr int64_t kValuesAtOnce = 1 << 14;  // widened to f32: 64 KB, which stay in a core's cache

bool IsWhole(const Shape& shape, DType type) { return shape[shape.rank() - 1] % BlockOf(type).values == 0; }

template <class T>
void Widen(const void* from, int64_t begin, int64_t n, float* to) {
  const T* const x = static_cast<const T*>(from) + begin;
  for (int64_t i = 0; i < n; i++) to[i] = ToFloat(x[i]);
}

void Widen(const TensorView& view, int64_t begin, int64_t n, float* to) {
  switch (view.dtype) {
    case DType::kF32:
      return Widen<float>(view.data, begin, n, to);
    case DType::kBF16:
      return Widen<BF16>(view.data, begin, n, to);
    case DType::kF16:
      return Widen<F16>(view.data, begin, n, to);
    default:
      BIFRONS_CHECK(false, "a tensor of %s where single numbers were expected", NameOf(view.dtype));
  }
}

// Numbers that are none become 0; the blocks that they are in are told.
std::vector<int64_t> TakeOutNonNumbers(int64_t n, int64_t block, float* x) {
  std::vector<int64_t> damaged;
  for (int64_t i = 0; i < n; i++) {
    if (std::isfinite(x[i])) continue;
    x[i] = 0;
    if (damaged.empty() || damaged.back() != i / block) damaged.push_back(i / block);
  }
  return damaged;
}

// n values from x, which are overwritten, to `to`.
void Narrow(float* x, int64_t n, DType type, void* to) {
  if (type == DType::kBF16) {
    std::transform(x, x + n, static_cast<BF16*>(to), ToBF16);
    return;
  }
  const Block block = BlockOf(type);
  const std::vector<int64_t> damaged = TakeOutNonNumbers(n, block.values, x);
  Quantize(x, n, type, to);
  // Damage shows in what is computed, as it does where weights are not quantised. A block begins with its
  // scale.
  const F16 none = ToF16(std::nanf(""));
  for (const int64_t i : damaged)
    std::memcpy(static_cast<uint8_t*>(to) + static_cast<size_t>(i) * block.bytes, &none, sizeof none);
}

class QuantizedWeights : public WeightSource {
 public:
  QuantizedWeights(std::unique_ptr<WeightSource> inner, WeightType wanted, int threads)
      : inner_(std::move(inner)),
        wanted_(std::move(wanted)),
        threads_(threads > 0 ? threads : AvailableThreads()) {}

  /// Says of every tensor which type it gets.
  Status Choose() {
    for (const TensorSpec& spec : TensorTable(config())) {
      if (!inner_->Has(spec.name)) continue;
      const DType stored = inner_->TypeOf(spec.name), type = WeightTypeFor(spec, stored, wanted_);
      if (type == stored) continue;
      if (IsQuantized(stored)) {
        return UsageError(config().name + ": " + spec.name + " is stored as " + NameOf(stored) +
                          " and cannot become " + NameOf(type) +
                          "; take a model of f32, f16 or bf16, or leave --type out");
      }
      made_as_.emplace(spec.name, type);
    }
    return {};
  }

  const JanusConfig& config() const override { return inner_->config(); }
  bool Has(const std::string& name) const override { return inner_->Has(name); }
  DType TypeOf(const std::string& name) const override {
    const auto it = made_as_.find(name);
    return it == made_as_.end() ? inner_->TypeOf(name) : it->second;
  }
  std::optional<std::string> made_type() const override {
    return made_as_.empty() ? inner_->made_type() : std::optional(wanted_.name());
  }
  bool InFile(const std::string& name) const override {
    return !made_as_.contains(name) && inner_->InFile(name);
  }
  Result<std::string> Hash() override { return inner_->Hash(); }
  void BeginHash() override { inner_->BeginHash(); }
  void Release(const std::string& name) override {
    if (made_as_.contains(name)) {
      made_.erase(name);
    } else {
      inner_->Release(name);
    }
  }
  void DropPages() override { inner_->DropPages(); }

  TensorView Get(const std::string& name) override {
    const auto type = made_as_.find(name);
    if (type == made_as_.end()) return inner_->Get(name);
    auto [made, is_new] = made_.try_emplace(name);
    if (is_new) {
      made->second = Make(inner_->Get(name), type->second);
      inner_->Release(name);
    }
    return made->second.view();
  }

 private:
  Tensor Make(const TensorView& from, DType type) const {
    Tensor tensor(type, from.shape);
    const int64_t values = from.shape.elements(), pieces = (values + kValuesAtOnce - 1) / kValuesAtOnce;
    auto* const to = static_cast<uint8_t*>(tensor.data());
    ThreadPool pool(threads_);  // beside milliseconds of work it costs nothing
    pool.ParallelFor(pieces, [&](int64_t begin, int64_t end, int) {
      std::vector<float> x(kValuesAtOnce);
      // Of a model that nobody waits for any more, the rest is left out.
      for (int64_t i = begin; i < end && !StopRequested(); i++) {
        const int64_t first = i * kValuesAtOnce, n = std::min(kValuesAtOnce, values - first);
        Widen(from, first, n, x.data());
        Narrow(x.data(), n, type, to + BytesOf(type, first));
      }
    });
    return tensor;
  }

  std::unique_ptr<WeightSource> inner_;
  const WeightType wanted_;
  const int threads_;
  std::map<std::string, DType> made_as_;  // of those whose type is not the stored one
  std::map<std::string, Tensor> made_;
};

}  // namespace

std::string WeightsName(const WeightSource& source) {
  return source.made_type().value_or(NameOf(MatrixType(source)));
}

DType WeightTypeFor(const TensorSpec& spec, DType stored, const WeightType& wanted) {
  if (!spec.quantizable) return stored;
  const DType type = wanted.For(RoleOf(spec.name));
  if (IsWhole(spec.shape, type)) return type;
  return type == DType::kQ4_K && IsWhole(spec.shape, DType::kQ8_0) ? DType::kQ8_0 : stored;
}

Result<std::unique_ptr<WeightSource>> QuantizeWeights(std::unique_ptr<WeightSource> source, WeightType wanted,
                                                      int threads) {
  auto quantized = std::make_unique<QuantizedWeights>(std::move(source), std::move(wanted), threads);
  BIFRONS_RETURN_IF_ERROR(quantized->Choose());
  return std::unique_ptr<WeightSource>(std::move(quantized));
}

Result<std::unique_ptr<WeightSource>> OpenWeightsAs(const std::string& model,
                                                    std::optional<WeightType> wanted, int threads) {
  BIFRONS_TRY(auto source, OpenWeights(model));
  if (!wanted) return source;
  return QuantizeWeights(std::move(source), *std::move(wanted), threads);
}

}  // namespace bifrons
