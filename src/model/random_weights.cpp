#include "src/model/random_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <thread>
#include <vector>

#include "src/base/sha256.h"
#include "src/base/stop.h"
#include "src/base/thread_pool.h"
#include "src/model/tensor_table.h"

namespace bifrons {
namespace {

constexpr std::string_view kPrefix = "random:";
constexpr int64_t kElementsAtOnce = 1 << 20;     // between two looks at whether to stop; even
constexpr int64_t kElementsPerThread = 1 << 18;  // below this a thread costs more than it saves

// splitmix64's output function: a bijection with good avalanche.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

// FNV-1a: stable across machines and standard libraries, which std::hash is not.
uint64_t SeedOf(std::string_view name) {
  uint64_t hash = 0xCBF29CE484222325ull;
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3ull;
  return Mix(hash);
}

// The sum of four uniform bytes is near enough to normal (cut at 3.45 deviations) and indexes a table, so
// that no arithmetic in floating point is left per element.
constexpr int kSums = 4 * 255 + 1;
const double kSumDeviation = std::sqrt(4 * (256.0 * 256.0 - 1) / 12);

std::array<BF16, kSums> NormalTable(double deviation) {
  std::array<BF16, kSums> table;
  for (int sum = 0; sum < kSums; sum++) {
    table[static_cast<size_t>(sum)] =
        ToBF16(static_cast<float>((sum - (kSums - 1) / 2.0) / kSumDeviation * deviation));
  }
  return table;
}

// Elements [begin, end), begin even: a 64-bit hash per pair. Of a model that nobody waits for any more, the
// rest is left out.
void FillNormal(uint64_t seed, const std::array<BF16, kSums>& table, int64_t begin, int64_t end, BF16* out) {
  for (; begin < end && !StopRequested(); begin += kElementsAtOnce) {
    for (int64_t i = begin; i < std::min(end, begin + kElementsAtOnce); i += 2) {
      const uint64_t bits = Mix(seed + static_cast<uint64_t>(i / 2) * 0x9E3779B97F4A7C15ull);
      const uint64_t pairs = (bits & 0x00FF00FF00FF00FFull) + ((bits >> 8) & 0x00FF00FF00FF00FFull);
      const uint64_t sums = (pairs & 0x0000FFFF0000FFFFull) + ((pairs >> 16) & 0x0000FFFF0000FFFFull);
      out[i] = table[sums & 0xFFFF];
      if (i + 1 < end) out[i + 1] = table[sums >> 32];
    }
  }
}

class RandomWeights : public WeightSource {
 public:
  explicit RandomWeights(JanusConfig config) : config_(std::move(config)) {
    for (TensorSpec& spec : TensorTable(config_)) {
      const std::string name = spec.name;
      specs_.emplace(name, std::move(spec));
    }
  }

  const JanusConfig& config() const override { return config_; }
  bool Has(const std::string& name) const override { return specs_.contains(name); }
  bool InFile(const std::string&) const override { return false; }
  DType TypeOf(const std::string&) const override { return DType::kBF16; }
  void Release(const std::string& name) override { made_.erase(name); }
  void DropPages() override {}
  void BeginHash() override {}
  Result<std::string> Hash() override { return Sha256::Hex("bifrons random weights 1: " + config_.name); }

  TensorView Get(const std::string& name) override {
    const auto it = specs_.find(name);
    BIFRONS_CHECK(it != specs_.end(), "no tensor %s", name.c_str());
    auto [made, is_new] = made_.try_emplace(name);
    if (is_new) made->second = Make(it->second);
    return made->second.view();
  }

 private:
  // Deviation of a tensor's elements; 0 for a norm's weight, which is all ones.
  double Deviation(const TensorSpec& spec) const {
    const std::string& name = spec.name;
    const bool is_bias = name.ends_with(".bias");
    if (is_bias) return 0.02;
    if (spec.shape.rank() == 1) return 0;
    if (name == "llama.embed" || name == "gen_embed" || name == "vq.codebook") return 1;
    if (name == "siglip.position") return 0.1;
    const double fan_in = static_cast<double>(spec.shape.elements() / spec.shape[0]);
    double gain = 1;
    // Branches of a residual stream: their sum over all layers stays of order 1.
    if (name.starts_with("llama.layers.") && (name.ends_with(".o") || name.ends_with(".down"))) {
      gain = 1 / std::sqrt(2.0 * static_cast<double>(config_.llama.layers));
    }
    // After GELU or swish about half of the power is left.
    if (name.starts_with("gen_head.out") || name.ends_with(".conv1.weight") ||
        name.ends_with(".conv2.weight"))
      gain = 1.7;
    return gain / std::sqrt(fan_in);
  }

  Tensor Make(const TensorSpec& spec) const {
    Tensor tensor(DType::kBF16, spec.shape);
    BF16* out = tensor.as<BF16>();
    const int64_t n = spec.shape.elements();
    const double deviation = Deviation(spec);
    if (deviation == 0) {
      std::fill(out, out + n, ToBF16(1));
      return tensor;
    }
    const uint64_t seed = SeedOf(spec.name);
    const std::array<BF16, kSums> table = NormalTable(deviation);
    const int64_t threads = std::clamp<int64_t>(n / kElementsPerThread, 1, AvailableThreads());
    const int64_t part = (n / threads + 1) & ~int64_t{1};
    std::vector<std::jthread> others;  // join also when the next cannot be started
    for (int64_t t = 1; t < threads; t++) {
      const int64_t end = t + 1 == threads ? n : (t + 1) * part;
      others.emplace_back([=, &table] { FillNormal(seed, table, t * part, end, out); });
    }
    FillNormal(seed, table, 0, threads == 1 ? n : part, out);
    for (std::jthread& thread : others) thread.join();
    return tensor;
  }

  JanusConfig config_;
  std::map<std::string, TensorSpec> specs_;
  std::map<std::string, Tensor> made_;
};

}  // namespace

Result<std::unique_ptr<WeightSource>> OpenRandomWeights(const std::string& model) {
  BIFRONS_CHECK(model.starts_with(kPrefix));
  BIFRONS_TRY(JanusConfig config, PublishedConfig(model.substr(kPrefix.size())));
  return MakeRandomWeights(config);
}

std::unique_ptr<WeightSource> MakeRandomWeights(const JanusConfig& config) {
  return std::make_unique<RandomWeights>(config);
}

}  // namespace bifrons
