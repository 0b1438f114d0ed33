// The hidden states that trace --layers writes: those that the traced numbers rest on.
#include <cstring>

#include "src/engine/prefill.h"
#include "src/engine/trace.h"
#include "tests/golden_files.h"
#include "tests/test_pictures.h"

namespace bifrons {
namespace {

std::unique_ptr<Janus> LoadTiny(const std::string& folder, const std::string& backend) {
  LoadOptions options;
  options.model = (kGoldens / folder).string();
  options.device = backend;
  options.compute = DType::kF32;
  options.threads = 2;
  options.parts.understanding = true;
  auto janus = Janus::Load(options);
  if (!janus.ok()) FAIL(janus.error().message);
  return std::move(*janus);
}

// One layer's rows of f32 [layers, rows, width].
std::vector<float> LayerOf(const Tensor& states, int64_t layer) {
  const int64_t numbers = states.shape()[1] * states.shape()[2];
  const float* first = states.as<float>() + layer * numbers;
  return {first, first + numbers};
}

std::vector<float> FloatsOf(const Tensor& tensor) {
  return {tensor.as<float>(), tensor.as<float>() + tensor.shape().elements()};
}

DeviceTensor UploadedRows(Janus& janus, const std::vector<float>& rows, int64_t width) {
  return janus.device().PackTensor(
      {rows.data(), DType::kF32, {static_cast<int64_t>(rows.size()) / width, width}});
}

std::vector<float> EmbeddingsOf(Janus& janus, const std::vector<int32_t>& ids) {
  const DeviceTensor x =
      janus.device().NewTensor(DType::kF32, {static_cast<int64_t>(ids.size()), janus.config().llama.hidden});
  janus.llama().EmbedText(janus.steps(), Uploaded(janus, janus.steps(), ids).view(), x.view());
  return FloatsOf(janus.steps().Fetch(x.view()));
}

// Whether all of it but the layers themselves is what the model computes: embeddings first, the final norm
// last, and a change by every layer.
void CheckEnds(Janus& janus, const Tensor& states, const std::vector<int32_t>& ids) {
  const LlamaConfig& config = janus.config().llama;
  const auto n = static_cast<int64_t>(ids.size());
  REQUIRE((states.shape() == Shape{config.layers + 2, n, config.hidden}));
  CHECK((LayerOf(states, 0) == EmbeddingsOf(janus, ids)));
  for (int64_t l = 0; l <= config.layers; l++) {
    const auto before = LayerOf(states, l), after = LayerOf(states, l + 1);
    for (int64_t row = 0; row < n; row++) {
      INFO("layer " << l << ", row " << row);
      CHECK(std::memcmp(&before[static_cast<size_t>(row * config.hidden)],
                        &after[static_cast<size_t>(row * config.hidden)],
                        static_cast<size_t>(config.hidden) * sizeof(float)) != 0);
    }
  }
  const DeviceTensor x = UploadedRows(janus, LayerOf(states, config.layers), config.hidden);
  const DeviceTensor norm = janus.device().PackVector(ToFloats(janus.source().Get("llama.norm")));
  janus.steps().RmsNorm(x.view(), norm.view(), config.norm_eps, x.view());
  CHECK((FloatsOf(janus.steps().Fetch(x.view())) == LayerOf(states, config.layers + 1)));
}

TEST_CASE("a picture's hidden states begin with embeddings and end in its first logits") {
  for (const char* model : {"tiny-a/converted", "tiny-a/original", "tiny-b/original"}) {
    for (const char* backend : {"ref", "cpu"}) {
      INFO(model << ", " << backend);
      const auto janus = LoadTiny(model, backend);
      const int32_t codes[] = {1, 2};
      // The longer one is prefilled in two chunks.
      for (const std::string& prompt : {std::string("a dog"), std::string(300, 'x')}) {
        const auto plain = TraceCodes(*janus, prompt, codes), trace = TraceCodes(*janus, prompt, codes, true);
        REQUIRE((plain.ok() && trace.ok()));
        CHECK(plain->hidden_conditional.empty());
        CHECK((FloatsOf(plain->logits_conditional) == FloatsOf(trace->logits_conditional)));
        CheckEnds(*janus, trace->hidden_conditional, trace->prompt.conditional);
        CheckEnds(*janus, trace->hidden_unconditional, trace->prompt.unconditional);

        const int64_t hidden = janus->config().llama.hidden, codebook = janus->config().vq.codebook_size;
        const std::pair<const Tensor*, const Tensor*> halves[] = {
            {&trace->hidden_conditional, &trace->logits_conditional},
            {&trace->hidden_unconditional, &trace->logits_unconditional}};
        for (const auto& [states, expected] : halves) {
          const auto last = LayerOf(*states, janus->config().llama.layers + 1);
          const DeviceTensor x = UploadedRows(*janus, {last.end() - hidden, last.end()}, hidden);
          const DeviceTensor logits = janus->device().NewTensor(DType::kF32, {1, codebook});
          janus->ImageLogits(janus->steps(), x.view(), logits.view());
          CHECK(std::memcmp(janus->steps().Fetch(logits.view()).data(), expected->data(),
                            static_cast<size_t>(codebook) * sizeof(float)) == 0);
        }
      }
    }
  }
}

TEST_CASE("a question's hidden states begin with what the aligner made of its images") {
  const auto janus = LoadTiny("tiny-a/converted", "cpu");
  const Image images[] = {NoiseImage(13, 30, 5), NoiseImage(9, 9, 6)};
  const auto trace = TraceAnswer(*janus, images, "What?", true);
  REQUIRE(trace.ok());
  const SiglipConfig& tower = janus->config().vision;
  const int64_t n = tower.patches(), hidden = janus->config().llama.hidden;
  REQUIRE((trace->vision_hidden.shape() == Shape{2, tower.layers + 2, n, tower.hidden}));
  const int64_t one = (tower.layers + 2) * n * tower.hidden;
  for (int64_t i = 0; i < 2; i++) {
    CHECK(std::memcmp(trace->vision_hidden.as<float>() + i * one + (tower.layers + 1) * n * tower.hidden,
                      trace->vision.as<float>() + i * n * tower.hidden,
                      static_cast<size_t>(n * tower.hidden) * sizeof(float)) == 0);
  }
  const auto first = LayerOf(trace->hidden, 0);
  auto expected = EmbeddingsOf(*janus, trace->ids);
  int64_t seen = 0;
  for (size_t i = 0; i < trace->ids.size(); i++) {
    if (trace->ids[i] != janus->image_tokens().placeholder) continue;
    std::copy_n(trace->aligned.as<float>() + seen++ * hidden, hidden,
                expected.begin() + static_cast<ptrdiff_t>(i) * hidden);
  }
  CHECK(seen == 2 * n);
  CHECK((first == expected));

  const auto last = LayerOf(trace->hidden, janus->config().llama.layers + 1);
  const DeviceTensor x = UploadedRows(*janus, {last.end() - hidden, last.end()}, hidden);
  const DeviceTensor logits = janus->device().NewTensor(DType::kF32, {1, janus->config().llama.vocabulary});
  janus->TextLogits(janus->steps(), x.view(), logits.view());
  CHECK((FloatsOf(janus->steps().Fetch(logits.view())) == trace->logits));
}

// A sum of K products in f32 errs by some sqrt(K) roundings of its terms, and the layers' errors, `before` of
// them in front of the first one here, add up as independent ones do. A factor of sqrt(2) because attention
// and norms round as well, and another because both devices do.
void CheckAgreement(const Tensor& ours, const Tensor& reference, int64_t widest, int64_t before) {
  REQUIRE((ours.shape() == reference.shape()));
  for (int64_t l = 0; l < ours.shape()[0]; l++) {
    const auto a = LayerOf(ours, l), b = LayerOf(reference, l);
    double squares = 0;
    for (const float v : b) squares += double{v} * v;
    const double error = std::sqrt(SquaredError(a, b) / squares);
    const double bound = 2 * std::sqrt(static_cast<double>((before + l) * widest)) * 0x1p-24;
    INFO("layer " << l << ": relative error " << error << " of " << bound);
    CHECK(error <= bound);
  }
}

TEST_CASE("the cpu's hidden states are the ref device's but for rounding") {
  for (const char* model : {"tiny-a/converted", "tiny-b/original", "tiny-c/converted"}) {
    INFO(model);
    const auto cpu = LoadTiny(model, "cpu"), ref = LoadTiny(model, "ref");
    const int32_t code = 3;
    const auto a = TraceCodes(*cpu, "a dog on a hill", {&code, 1}, true);
    const auto b = TraceCodes(*ref, "a dog on a hill", {&code, 1}, true);
    REQUIRE((a.ok() && b.ok()));
    const int64_t widest = ref->config().llama.intermediate;
    CheckAgreement(a->hidden_conditional, b->hidden_conditional, widest, 0);
    CheckAgreement(a->hidden_unconditional, b->hidden_unconditional, widest, 0);
    const Image image = NoiseImage(20, 11, 2);
    const auto seen = TraceAnswer(*cpu, {&image, 1}, "Hm?", true);
    const auto again = TraceAnswer(*ref, {&image, 1}, "Hm?", true);
    REQUIRE((seen.ok() && again.ok()));
    // The patch embedding is a product before the first layer, the aligner is two.
    CheckAgreement(seen->vision_hidden, again->vision_hidden, ref->config().vision.mlp, 1);
    CheckAgreement(seen->hidden, again->hidden, widest, ref->config().vision.layers + 3);
  }
}

TEST_CASE("trace --layers writes them") {
  const TemporaryFolder folder;
  const Arguments model = {"--model", (kGoldens / "tiny-a/original").string(), "--dtype", "f32", "--layers"};
  RunWell(Join({"trace", "--prompt", "a dog", "--codes", (kGoldens / "tiny-a/golden/0_codes.npy").string(),
                "--out", folder / "drawn"},
               model));
  const auto length = static_cast<int64_t>(Ints(fs::path(folder / "drawn") / "ids.npy").size());
  for (const char* name : {"hidden_cond.npy", "hidden_uncond.npy"})
    CHECK((Load(fs::path(folder / "drawn") / name).shape() == Shape{3 + 2, length, 64}));

  const std::string picture = (kGoldens / "pictures/square.png").string();
  RunWell(Join({"trace", "--image", picture, "--out", folder / "seen"}, model));
  const fs::path seen = folder / "seen";
  const auto question = static_cast<int64_t>(Ints(seen / "ids.npy").size());
  CHECK((Load(seen / "hidden.npy").shape() == Shape{3 + 2, question, 64}));
  const Tensor tower = Load(seen / "vision_hidden.npy"), vision = Load(seen / "vision.npy");
  REQUIRE(tower.shape().rank() == 3);
  CHECK((LayerOf(tower, tower.shape()[0] - 1) == FloatsOf(vision)));

  RunWell({"trace", "--model", model[1], "--image", picture, "--out", folder / "without"});
  CHECK(!fs::exists(fs::path(folder / "without") / "hidden.npy"));
}

}  // namespace
}  // namespace bifrons
