#include "src/model/weight_source.h"

#include <cstdio>
#include <filesystem>
#include <map>
#include <set>
#include <vector>

#include "src/base/name_sample.h"
#include "src/base/printable.h"
#include "src/model/checkpoint/adapter.h"
#include "src/model/checkpoint/checkpoint.h"
#include "src/model/checkpoint/model_texts.h"
#include "src/model/model_hash.h"
#include "src/model/model_path.h"
#include "src/model/random_weights.h"
#include "src/model/tensor_table.h"

namespace bifrons {
namespace fs = std::filesystem;
namespace {

std::string ShownDims(const std::vector<int64_t>& dims) {
  std::string s = "[";
  for (size_t i = 0; i < dims.size(); i++) s += (i ? ", " : "") + std::to_string(dims[i]);
  return s + "]";
}

bool HasShape(const StoredTensor& tensor, const Shape& shape) {
  if (tensor.dims.size() != static_cast<size_t>(shape.rank())) return false;
  for (int i = 0; i < shape.rank(); i++) {
    if (tensor.dims[static_cast<size_t>(i)] != shape[i]) return false;
  }
  return true;
}

class CheckpointWeights : public WeightSource {
 public:
  /// `model` is their folder, or the GGUF.
  CheckpointWeights(JanusConfig config, Checkpoint checkpoint, std::string model)
      : config_(std::move(config)),
        checkpoint_(std::move(checkpoint)),
        model_(std::move(model)),
        hash_(HashedFiles()) {}

  /// Finds and checks every tensor of the table.
  Status Bind() {
    std::vector<TensorSpec> table = TensorTable(config_);
    const NameSample extras = Extras(table);
    for (TensorSpec& spec : table) {
      const std::string& published = NameIn(config_.layout, spec);
      const StoredTensor* stored = checkpoint_.Find(published);
      if (!stored) {
        return DataError(model_ + ": tensor " + published +
                         " is missing from the model's files; expected shape " +
                         StoredShape(spec, config_.layout).ToString() +
                         (extras.count() > 0 ? "; they hold " + Described(extras) : ""));
      }
      const Shape expected = StoredShape(spec, config_.layout);
      if (!stored->loadable || (IsQuantized(stored->dtype) && !spec.quantizable)) {
        return DataError(*stored->file + ": tensor " + published + " has type " + Printable(stored->type) +
                         ", expected f32, bf16 or f16" +
                         (config_.layout == Layout::kGguf && spec.quantizable ? ", Q8_0, Q4_0 or Q4_K" : ""));
      }
      if (!HasShape(*stored, expected)) {
        return DataError(*stored->file + ": tensor " + published + " has shape " + ShownDims(stored->dims) +
                         ", but config.json calls for " + expected.ToString());
      }
      const std::string name = spec.name;
      bound_.emplace(name, Bound{std::move(spec), stored});
    }
    Warn(extras);
    return {};
  }

  const JanusConfig& config() const override { return config_; }
  bool Has(const std::string& name) const override { return bound_.contains(name); }
  DType TypeOf(const std::string& name) const override { return Find(name).stored->dtype; }
  bool InFile(const std::string& name) const override {
    return Has(name) && StoredPart(Find(name)).in_place();
  }
  void Release(const std::string& name) override {
    if (made_.erase(name) == 0) checkpoint_.DropPages(StoredPart(Find(name)));
  }
  void DropPages() override { checkpoint_.DropPages(); }

  TensorView Get(const std::string& name) override {
    if (const auto it = made_.find(name); it != made_.end()) return it->second.view();
    const Bound& bound = Find(name);
    const StoredTensor stored = StoredPart(bound);
    Tensor owner;
    auto view = Materialise(name, stored, &owner);
    BIFRONS_CHECK(view.ok(), "%s",
                  view.error().message.c_str());  // its type and rank were checked when it was bound
    view->shape = bound.spec.shape;
    if (owner.empty()) return *view;
    checkpoint_.DropPages(stored);
    owner.Reshape(bound.spec.shape);
    return made_.insert_or_assign(name, std::move(owner)).first->second.view();
  }

  Result<std::string> Hash() override { return hash_.Get(); }
  void BeginHash() override { hash_.Begin(); }

 private:
  struct Bound {
    TensorSpec spec;
    const StoredTensor* stored = nullptr;
  };

  std::vector<std::string> HashedFiles() const {
    std::vector<std::string> files = checkpoint_.files();
    for (const char* name : {"config.json", "tokenizer.json"}) {  // a GGUF has them inside
      const fs::path path = fs::path(model_) / name;
      if (std::error_code error; fs::exists(path, error)) files.push_back(path.string());
    }
    return files;
  }

  const Bound& Find(const std::string& name) const {
    const auto it = bound_.find(name);
    BIFRONS_CHECK(it != bound_.end(), "no tensor %s", name.c_str());
    return it->second;
  }

  /// What a tensor of ours is of the stored one.
  StoredTensor StoredPart(const Bound& bound) const {
    StoredTensor stored = *bound.stored;
    // A merged qkv's third begins `third` rows down; rows may be strided, so the offset counts in strides.
    if (const int64_t third = Third(bound.spec.transform);
        config_.layout == Layout::kOriginal && third >= 0) {
      stored.dims[0] = bound.spec.shape[0];
      stored.data += BytesOf(stored.dtype, third * stored.dims[0] * stored.stride(0));
    }
    return stored;
  }

  static int64_t Third(Transform transform) {
    switch (transform) {
      case Transform::kQueryOfQkv:
        return 0;
      case Transform::kKeyOfQkv:
        return 1;
      case Transform::kValueOfQkv:
        return 2;
      default:
        return -1;
    }
  }

  /// Tensors of the files that are not in the table, those aside that are known to be of no use.
  NameSample Extras(const std::vector<TensorSpec>& table) const {
    std::set<std::string_view> known;
    for (const TensorSpec& spec : table) known.insert(NameIn(config_.layout, spec));
    NameSample extras;
    for (const auto& [name, tensor] : checkpoint_.tensors()) {
      if (!known.contains(name) && !IsDropped(name)) extras.Add(name);
    }
    return extras;
  }

  static std::string Described(const NameSample& extras) {
    return extras.Counted("tensor") + " that a Janus of this config does not have: " + extras.ToString();
  }

  /// Of what is in the folder and has no effect.
  void Warn(const NameSample& extras) const {
    const auto warn = [&](const std::string& what) {
      std::fprintf(stderr, "bifrons: warning: %s: %s\n", model_.c_str(), what.c_str());
    };
    if (extras.count() > 0) warn("ignored " + Described(extras));
    NameSample empty;
    for (const std::string& name : checkpoint_.empty_files()) empty.Add(name);
    if (empty.count() > 0) warn("passed over " + empty.Counted("empty file") + ": " + empty.ToString());
    if (const std::string adapter = FindAdapterWeights(model_); !adapter.empty()) {
      warn("the PEFT adapter beside the model (" + adapter +
           ") is not applied: merge it (PEFT's merge_and_unload, then save_pretrained) and name that folder");
    }
  }

  JanusConfig config_;
  Checkpoint checkpoint_;
  std::string model_;
  std::map<std::string, Bound> bound_;
  std::map<std::string, Tensor> made_;  // copies: transposed or misaligned tensors
  ModelHash hash_;
};

}  // namespace

Result<std::unique_ptr<WeightSource>> OpenWeights(const std::string& model) {
  if (model.starts_with("random:")) return OpenRandomWeights(model);
  BIFRONS_TRY(const ModelTexts texts, OpenModelTexts(model));
  auto checkpoint = texts.is_gguf() ? Checkpoint::OpenGguf(model) : Checkpoint::Open(model);
  if (!checkpoint.ok()) {
    // Whoever has another model's folder need not fetch its weights first to learn that.
    BIFRONS_RETURN_IF_ERROR(CheckModelType(texts));
    return checkpoint.error();
  }
  BIFRONS_TRY(JanusConfig config, LoadConfig(texts, *checkpoint));
  auto source = std::make_unique<CheckpointWeights>(std::move(config), std::move(*checkpoint), model);
  BIFRONS_RETURN_IF_ERROR(source->Bind());
  return std::unique_ptr<WeightSource>(std::move(source));
}

}  // namespace bifrons
