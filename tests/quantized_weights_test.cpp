// Weights in another type than they are stored in: which get it, what they become, and what cannot be.
#include "src/model/quantized_weights.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "src/base/blocks.h"
#include "src/model/memory_plan.h"
#include "src/model/random_weights.h"

namespace bifrons {
namespace {

// Rows of 256 in the transformer, of 64 in gen_head's second matrix, of 40 in the vision tower.
JanusConfig SmallConfig() {
  JanusConfig c;
  c.name = "small";
  c.llama = {.hidden = 256,
             .intermediate = 512,
             .layers = 1,
             .heads = 4,
             .kv_heads = 2,
             .head_dim = 64,
             .vocabulary = 300,
             .max_positions = 300};
  c.vq = {.codebook_size = 70,
          .codebook_dim = 32,
          .latent_channels = 24,
          .base_channels = 32,
          .channel_multiplier = {1, 2},
          .res_blocks = 1,
          .grid = 3};
  c.vision = {.hidden = 40, .layers = 1, .heads = 4, .mlp = 160, .patch = 2, .image_size = 6};
  c.aligner = {40, 256, 2};
  c.gen_aligner = {32, 256, 2};
  c.gen_head_hidden = 64;
  c.gen_embed_dim = 32;
  return c;
}

std::unique_ptr<WeightSource> Made(WeightType wanted, int threads = 0) {
  auto made = QuantizeWeights(MakeRandomWeights(SmallConfig()), wanted, threads);
  REQUIRE(made.ok());
  return std::move(*made);
}

std::string BytesOf(TensorView view) { return {static_cast<const char*>(view.data), view.bytes()}; }

TEST_CASE(
    "matrices whose rows are whole blocks get the type, others the next one that they are whole blocks of") {
  const auto type_of = [](DType wanted, const std::string& name) { return Made(wanted)->TypeOf(name); };
  for (const DType wanted : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_K}) {
    INFO(NameOf(wanted));
    for (const char* name : {"llama.embed", "lm_head", "llama.layers.0.q", "llama.layers.0.down",
                             "gen_head.fc.weight", "gen_aligner.1.weight", "aligner.1.weight"})
      CHECK(type_of(wanted, name) == wanted);
    const DType less = wanted == DType::kQ4_K ? DType::kQ8_0 : wanted;
    CHECK(type_of(wanted, "gen_head.out.weight") == less);         // rows of 64
    CHECK(type_of(wanted, "gen_aligner.0.weight") == less);        // of 32
    CHECK(type_of(wanted, "siglip.layers.0.fc2.weight") == less);  // of 160
    // Rows of 40; no matrices; tables of small entries.
    for (const char* name :
         {"siglip.layers.0.q.weight", "aligner.0.weight", "llama.norm", "gen_head.out.bias",
          "vq.decoder.conv_in.weight", "vq.codebook", "gen_embed", "siglip.position"})
      CHECK(type_of(wanted, name) == DType::kBF16);
  }
}

TEST_CASE("tensors are what the blocks of their numbers are, whatever the threads") {
  const auto stored = MakeRandomWeights(SmallConfig());
  for (const DType wanted : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_K}) {
    const auto alone = Made(wanted, 1), together = Made(wanted, 3);
    for (const TensorSpec& spec : TensorTable(SmallConfig())) {
      INFO(NameOf(wanted) << " " << spec.name);
      const TensorView made = alone->Get(spec.name);
      CHECK(made.dtype == alone->TypeOf(spec.name));
      CHECK(made.shape == spec.shape);
      CHECK((BytesOf(made) == BytesOf(together->Get(spec.name))));
      const std::vector<float> x = ToFloats(stored->Get(spec.name));
      std::string expected = BytesOf(stored->Get(spec.name));
      if (IsQuantized(made.dtype)) {
        expected.resize(made.bytes());
        Quantize(x.data(), spec.shape.elements(), made.dtype, expected.data());
      }
      CHECK((BytesOf(made) == expected));
      alone->Release(spec.name);
      CHECK((BytesOf(alone->Get(spec.name)) == expected));
    }
  }
}

TEST_CASE("what is made is told, and planned for") {
  const auto stored = MakeRandomWeights(SmallConfig());
  CHECK_FALSE(stored->made_type());
  const auto quantized = Made(DType::kQ4_0);
  CHECK(quantized->made_type() == "q4_0");
  CHECK_FALSE(quantized->InFile("llama.embed"));
  CHECK(quantized->Hash().value() == stored->Hash().value());
  // Nothing to make: as if it had not been asked for.
  CHECK_FALSE(Made(DType::kBF16)->made_type());
  const auto plan = [](const WeightSource& source) {
    return PlanMemory(source, DType::kBF16, {}, 1).weights;
  };
  uint64_t less = 0;
  for (const TensorSpec& spec : TensorTable(SmallConfig())) {
    const bool drawn =
        spec.part == Part::kGeneration || (spec.part == Part::kLanguage && spec.name != "lm_head");
    if (drawn) less += BytesOf(DType::kBF16, spec.shape) - BytesOf(quantized->TypeOf(spec.name), spec.shape);
  }
  CHECK(plan(*quantized) == plan(*stored) - less);
}

TEST_CASE("what is quantised is not quantised again, unless it has the type") {
  const auto again = [](DType first, DType second) { return QuantizeWeights(Made(first), second); };
  for (const DType type : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_K}) {
    const auto same = again(type, type);
    REQUIRE(same.ok());
    CHECK((*same)->TypeOf("llama.layers.0.q") == type);
  }
  for (const auto& [first, second] :
       {std::pair(DType::kQ8_0, DType::kQ4_0), std::pair(DType::kQ4_K, DType::kQ8_0),
        std::pair(DType::kQ4_0, DType::kBF16)}) {
    const auto other = again(first, second);
    REQUIRE_FALSE(other.ok());
    CHECK(other.error().kind == ErrorKind::kUsage);
    CHECK(other.error().message == "small: llama.embed is stored as " + std::string(NameOf(first)) +
                                       " and cannot become " + NameOf(second) +
                                       "; take a model of f32, f16 or bf16, or leave --type out");
  }
}

TEST_CASE("types have names") {
  for (const DType type : kWeightTypes) {
    const auto found = WeightType::Of(NameOf(type));
    REQUIRE(found);
    CHECK(found->name() == NameOf(type));
    for (int role = 0; role < kMatrixRoles; role++) CHECK(found->For(static_cast<MatrixRole>(role)) == type);
  }
  for (const char* name : {"", ",", "f32", "Q8_0", "q8_0 ", "i32", "q8_0,", "q8_0,,o=q4_0", "o=q4_0",
                           "q8_0,o", "q8_0,o=", "q8_0,O=q4_0", "q8_0,o=q4_0,", "q8_0,o=q4_0,o=q4_0",
                           "q8_0,o=q4_0=q4_0", "q8_0,o=mixed", "mixed,o=q4_0", "Mixed"}) {
    INFO(name);
    CHECK_FALSE(WeightType::Of(name));
  }
}

TEST_CASE("roles have types of their own") {
  const std::string name = "q4_k,down=q8_0,qkv=q4_0,vision=bf16";
  const auto type = WeightType::Of(name);
  REQUIRE(type);
  CHECK(type->name() == name);
  const auto source = Made(*type);
  CHECK(source->made_type() == name);
  for (const auto& [tensor, expected] :
       {std::pair("llama.layers.0.q", DType::kQ4_0), std::pair("llama.layers.0.k", DType::kQ4_0),
        std::pair("llama.layers.0.v", DType::kQ4_0), std::pair("llama.layers.0.o", DType::kQ4_K),
        std::pair("llama.layers.0.gate", DType::kQ4_K), std::pair("llama.layers.0.up", DType::kQ4_K),
        std::pair("llama.layers.0.down", DType::kQ8_0), std::pair("llama.embed", DType::kQ4_K),
        std::pair("lm_head", DType::kQ4_K), std::pair("gen_head.fc.weight", DType::kQ4_K),
        std::pair("aligner.1.weight", DType::kQ4_K), std::pair("siglip.layers.0.fc2.weight", DType::kBF16)}) {
    INFO(tensor);
    CHECK(source->TypeOf(tensor) == expected);
  }
}

TEST_CASE("every role is some tensor's, and every quantizable tensor has one") {
  std::set<MatrixRole> found;
  for (const TensorSpec& spec : TensorTable(SmallConfig())) {
    if (spec.quantizable) found.insert(RoleOf(spec.name));
  }
  CHECK(found.size() == kMatrixRoles);
}

// A source whose tensors can be changed, in any of the types that are stored.
class Changed : public WeightSource {
 public:
  Changed(DType type) : inner_(MakeRandomWeights(SmallConfig())), type_(type) {}
  const JanusConfig& config() const override { return inner_->config(); }
  bool Has(const std::string& name) const override { return inner_->Has(name); }
  DType TypeOf(const std::string&) const override { return type_; }
  bool InFile(const std::string&) const override { return false; }
  Result<std::string> Hash() override { return inner_->Hash(); }
  void BeginHash() override {}
  void Release(const std::string& name) override { released.push_back(name); }
  void DropPages() override {}
  TensorView Get(const std::string& name) override {
    const TensorView view = inner_->Get(name);
    std::vector<float> x = ToFloats(view);
    if (change) change(x);
    Tensor& tensor = made_[name] = Tensor(type_, view.shape);
    for (size_t i = 0; i < x.size(); i++) {
      if (type_ == DType::kF32) tensor.as<float>()[i] = x[i];
      if (type_ == DType::kF16) tensor.as<F16>()[i] = ToF16(x[i]);
      if (type_ == DType::kBF16) tensor.as<BF16>()[i] = ToBF16(x[i]);
    }
    return tensor.view();
  }
  std::function<void(std::vector<float>&)> change;
  std::vector<std::string> released;

 private:
  std::unique_ptr<WeightSource> inner_;
  DType type_;
  std::map<std::string, Tensor> made_;
};

TEST_CASE("every stored type is widened before") {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    INFO(NameOf(type));
    auto stored = std::make_unique<Changed>(type);
    const std::vector<float> x = ToFloats(stored->Get("llama.layers.0.up"));
    Changed& source = *stored;
    const auto quantized = QuantizeWeights(std::move(stored), DType::kQ8_0).value();
    std::string expected(BytesOf(DType::kQ8_0, static_cast<int64_t>(x.size())), '\0');
    Quantize(x.data(), static_cast<int64_t>(x.size()), DType::kQ8_0, expected.data());
    CHECK((BytesOf(quantized->Get("llama.layers.0.up")) == expected));
    CHECK(source.released == std::vector<std::string>{"llama.layers.0.up"});  // nothing unquantised is held
  }
  auto wide = std::make_unique<Changed>(DType::kF32);
  const std::vector<float> x = ToFloats(wide->Get("lm_head"));
  const auto narrow = QuantizeWeights(std::move(wide), DType::kBF16).value();
  CHECK(narrow->TypeOf("llama.norm") == DType::kF32);
  const TensorView view = narrow->Get("lm_head");
  REQUIRE(view.dtype == DType::kBF16);
  for (size_t i = 0; i < x.size(); i++) REQUIRE(view.as<BF16>()[i].bits == ToBF16(x[i]).bits);
}

TEST_CASE("a number that is none spoils its block, and no other") {
  for (const DType type : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_K}) {
    for (const float none : {std::nanf(""), INFINITY, -INFINITY}) {
      INFO(NameOf(type) << " " << none);
      auto stored = std::make_unique<Changed>(DType::kF32);
      stored->change = [none](std::vector<float>& x) { x[256 * 5 + 3] = x[256 * 5 + 7] = none; };
      const auto quantized = QuantizeWeights(std::move(stored), type).value();
      const TensorView view = quantized->Get("llama.layers.0.gate");
      std::vector<float> y(static_cast<size_t>(view.shape.elements()));
      Dequantize(view.data, type, view.shape.elements(), y.data());
      const int64_t block = BlockOf(type).values;
      for (int64_t i = 0; i < view.shape.elements(); i++)
        REQUIRE(std::isfinite(y[static_cast<size_t>(i)]) == (i / block != 256 * 5 / block));
    }
  }
}

}  // namespace
}  // namespace bifrons
