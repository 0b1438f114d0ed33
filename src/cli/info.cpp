// bifrons info: what a model is and what it takes.
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "kernels/device.h"
#include "src/base/counted.h"
#include "src/cli/commands.h"
#include "src/model/choose_device.h"
#include "src/model/memory_plan.h"
#include "src/model/model_path.h"
#include "src/model/quantized_weights.h"
#include "src/model/tensor_table.h"
#include "src/model/weight_source.h"

namespace bifrons {
namespace {

struct NamedPart {
  Part part;
  const char* name;
};
constexpr NamedPart kParts[] = {{Part::kLanguage, "language model"},
                                {Part::kGeneration, "generation head and aligner"},
                                {Part::kVqDecoder, "VQ decoder"},
                                {Part::kVqEncoder, "VQ encoder"},
                                {Part::kVision, "vision tower"}};

const char* NameOfLayout(Layout layout) {
  switch (layout) {
    case Layout::kOriginal:
      return "original (multi_modality)";
    case Layout::kConverted:
      return "converted (janus)";
    case Layout::kGguf:
      break;
  }
  return "GGUF";
}

std::string Join(const std::vector<int64_t>& values) {
  std::string text;
  for (const int64_t v : values) text += (text.empty() ? "" : " ") + std::to_string(v);
  return text;
}

double Megabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

nlohmann::json MemoryJson(const MemoryPlan& plan) {
  return {{"weights", plan.weights},
          {"kv_cache", plan.kv_cache},
          {"activations", plan.activations},
          {"total", plan.total()}};
}

nlohmann::json ToJson(const JanusConfig& c, const MemoryPlan& plan, const std::string& model,
                      Precision precision, int images, const Device& device, uint64_t available) {
  nlohmann::json json;
  json["model"] = model;
  json["layout"] = NameOfLayout(c.layout);
  json["llama"] = {{"hidden", c.llama.hidden},         {"intermediate", c.llama.intermediate},
                   {"layers", c.llama.layers},         {"heads", c.llama.heads},
                   {"kv_heads", c.llama.kv_heads},     {"head_dim", c.llama.head_dim},
                   {"vocabulary", c.llama.vocabulary}, {"max_positions", c.llama.max_positions},
                   {"rope_theta", c.llama.rope_theta}, {"norm_eps", c.llama.norm_eps}};
  json["vq"] = {{"codebook_size", c.vq.codebook_size},
                {"codebook_dim", c.vq.codebook_dim},
                {"latent_channels", c.vq.latent_channels},
                {"base_channels", c.vq.base_channels},
                {"channel_multiplier", c.vq.channel_multiplier},
                {"res_blocks", c.vq.res_blocks},
                {"grid", c.vq.grid},
                {"image_tokens", c.vq.tokens()},
                {"image_size", c.vq.image_size()}};
  if (c.has_vision) {
    json["vision"] = {{"hidden", c.vision.hidden}, {"layers", c.vision.layers},
                      {"heads", c.vision.heads},   {"mlp", c.vision.mlp},
                      {"patch", c.vision.patch},   {"image_size", c.vision.image_size}};
  }
  json["guidance_default"] = c.guidance_default;
  int64_t parameters = 0;
  for (const NamedPart& p : kParts) {
    json["parameters"][p.name] = plan.part(p.part).parameters;
    json["stored_bytes"][p.name] = plan.part(p.part).bytes;
    parameters += plan.part(p.part).parameters;
  }
  json["parameters"]["total"] = parameters;
  json["memory"] = MemoryJson(plan);
  json["memory"]["dtype"] = NameOf(precision.compute), json["memory"]["kv"] = NameOf(precision.kv);
  json["memory"]["images"] = images;
  json["memory"]["available"] = available, json["memory"]["device"] = device.backend();
  if (const std::string library = device.convolution_library(); !library.empty())
    json["memory"]["convolutions"] = library;
  return json;
}

// `weights`: the type that they are given; none: they are as stored.
void Print(const JanusConfig& c, const MemoryPlan& plan, const std::string& model,
           const std::optional<WeightType>& weights) {
  const auto n = [](int64_t v) { return static_cast<long long>(v); };
  std::printf("%s, %s layout\n", model.c_str(), NameOfLayout(c.layout));
  std::printf(
      "  language model  %lld layers, hidden %lld, feed-forward %lld, %lld heads of %lld (%lld for keys and "
      "values)\n",
      n(c.llama.layers), n(c.llama.hidden), n(c.llama.intermediate), n(c.llama.heads), n(c.llama.head_dim),
      n(c.llama.kv_heads));
  std::printf("                  vocabulary %lld, %lld positions, rope theta %g, eps %g\n",
              n(c.llama.vocabulary), n(c.llama.max_positions), static_cast<double>(c.llama.rope_theta),
              static_cast<double>(c.llama.norm_eps));
  std::printf("  images          %lld x %lld pixels, %lld tokens (grid %lld), codebook %lld x %lld\n",
              n(c.vq.image_size()), n(c.vq.image_size()), n(c.vq.tokens()), n(c.vq.grid),
              n(c.vq.codebook_size), n(c.vq.codebook_dim));
  std::printf("  VQ decoder      base %lld, multipliers %s, %s, latent %lld\n", n(c.vq.base_channels),
              Join(c.vq.channel_multiplier).c_str(), Counted(c.vq.res_blocks, "residual block").c_str(),
              n(c.vq.latent_channels));
  if (c.has_vision) {
    std::printf("  vision tower    %lld layers, width %lld, %lld heads, patch %lld of %lld pixels\n",
                n(c.vision.layers), n(c.vision.hidden), n(c.vision.heads), n(c.vision.patch),
                n(c.vision.image_size));
  } else {
    std::printf("  vision tower    none: a drawing-only checkpoint\n");
  }
  std::printf("  guidance        %g by default\n\n", static_cast<double>(c.guidance_default));

  std::printf("%-30s %14s %12s\n", "part", "parameters",
              weights ? (std::string("MB as ") + weights->name()).c_str() : "stored MB");
  int64_t parameters = 0;
  uint64_t bytes = 0;
  for (const NamedPart& p : kParts) {
    std::printf("%-30s %14lld %12.1f\n", p.name, n(plan.part(p.part).parameters),
                Megabytes(plan.part(p.part).bytes));
    parameters += plan.part(p.part).parameters, bytes += plan.part(p.part).bytes;
  }
  std::printf("%-30s %14lld %12.1f\n", "all", n(parameters), Megabytes(bytes));
}

// How many tensors have a type; of those that were to have another one, how many have which.
struct TypeCounts {
  std::map<DType, int> tensors, instead;
};

TypeCounts CountTypes(const WeightSource& source, const std::vector<TensorSpec>& table,
                      const std::optional<WeightType>& wanted) {
  TypeCounts counts;
  for (const TensorSpec& spec : table) {
    if (!source.Has(spec.name)) continue;
    const DType type = source.TypeOf(spec.name);
    counts.tensors[type]++;
    if (wanted && spec.quantizable && type != wanted->For(RoleOf(spec.name))) counts.instead[type]++;
  }
  return counts;
}

void PrintTypes(const TypeCounts& counts, const std::optional<WeightType>& wanted) {
  const auto list = [](const std::map<DType, int>& by_type) {
    std::string text;
    for (const auto& [type, count] : by_type)
      text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + NameOf(type);
    return text;
  };
  std::printf("tensors: %s\n", list(counts.tensors).c_str());
  if (!counts.instead.empty()) {
    std::printf("of those for %s, rows are no whole blocks of it in: %s\n", wanted->name().c_str(),
                list(counts.instead).c_str());
  }
  std::printf("\n");
}

void PrintMemory(const char* what, const char* noun, const MemoryPlan& plan, Precision precision, int images,
                 const Device& device, uint64_t available) {
  const std::string library = device.convolution_library();
  const std::string with = library.empty() ? "" : " with " + library;
  const std::string kv = precision.kv == precision.compute
                             ? ""
                             : std::string(" with keys and values in ") + NameOf(precision.kv);
  std::printf(
      "memory to %s %s at once in %s%s on %s%s: weights %.1f MB + caches %.1f MB + activations %.1f MB "
      "= %.1f MB (%.1f MB available)\n",
      what, Counted(images, noun).c_str(), NameOf(precision.compute), kv.c_str(), device.backend().c_str(),
      with.c_str(), Megabytes(plan.weights), Megabytes(plan.kv_cache), Megabytes(plan.activations),
      Megabytes(plan.total()), Megabytes(available));
}

}  // namespace

Result<int> RunInfo(const InfoOptions& options) {
  BIFRONS_TRY(const std::string model, ResolveModel(options.load.model));
  BIFRONS_TRY(const auto source, OpenWeightsAs(model, options.load.weights, options.load.threads));
  BIFRONS_TRY(const auto device, ChooseDevice(options.load));
  const DType compute = options.load.compute.value_or(device->default_compute());
  const Precision precision{compute, options.load.kv.value_or(compute)};
  BIFRONS_RETURN_IF_ERROR(CheckKvType(source->config().llama, precision.kv));
  const uint64_t available = device->FreeMemory();
  const auto memory = [&](const ModelParts& parts) {
    const MemoryPlan plan = PlanMemory(*source, precision, parts, options.images);
    return device->keeps_tables() ? plan : plan.WithoutTables();
  };
  const MemoryPlan plan = memory(ModelParts{}), asking = memory(kUnderstandingParts);
  const auto table = TensorTable(source->config());
  const TypeCounts types = CountTypes(*source, table, options.load.weights);

  if (options.json) {
    nlohmann::json json =
        ToJson(source->config(), plan, model, precision, options.images, *device, available);
    if (source->config().has_vision) json["memory_to_answer"] = MemoryJson(asking);
    for (const auto& [type, count] : types.tensors) json["types"][NameOf(type)] = count;
    for (const auto& [type, count] : types.instead) json["types_instead"][NameOf(type)] = count;
    if (options.tensors) {
      for (const TensorSpec& t : table) {
        if (!source->Has(t.name)) continue;
        std::vector<int64_t> dims;
        for (int i = 0; i < t.shape.rank(); i++) dims.push_back(t.shape[i]);
        json["tensors"].push_back(
            {{"name", t.name}, {"shape", dims}, {"dtype", NameOf(source->TypeOf(t.name))}});
      }
    }
    std::printf("%s\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return 0;
  }
  Print(source->config(), plan, model, options.load.weights);
  PrintTypes(types, options.load.weights);
  PrintMemory("draw", "picture", plan, precision, options.images, *device, available);
  if (source->config().has_vision)
    PrintMemory("answer about", "image", asking, precision, options.images, *device, available);
  if (options.tensors) {
    std::printf("\n");
    for (const TensorSpec& t : table) {
      if (source->Has(t.name))
        std::printf("%-48s %-5s %s\n", t.name.c_str(), NameOf(source->TypeOf(t.name)),
                    t.shape.ToString().c_str());
    }
  }
  return 0;
}

}  // namespace bifrons
