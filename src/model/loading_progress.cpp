#include "src/model/loading_progress.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "src/model/memory_plan.h"
#include "src/model/tensor_table.h"

namespace bifrons {

class LoadingProgress::Told : public WeightSource {
 public:
  Told(std::unique_ptr<WeightSource> inner, const ModelParts& parts, std::function<void(double)> told)
      : inner_(std::move(inner)), told_(std::move(told)) {
    for (const TensorSpec& spec : TensorTable(config())) {
      const uint64_t bytes = PackedBytes(spec, TypeOf(spec.name), parts);
      left_.emplace(spec.name, bytes);
      all_ += bytes;
    }
  }

  const JanusConfig& config() const override { return inner_->config(); }
  TensorView Get(const std::string& name) override {
    told_(all_ > 0 ? static_cast<double>(got_) / static_cast<double>(all_) : 0);
    if (const auto first = left_.extract(name); !first.empty()) got_ += first.mapped();
    return inner_->Get(name);
  }
  bool Has(const std::string& name) const override { return inner_->Has(name); }
  DType TypeOf(const std::string& name) const override { return inner_->TypeOf(name); }
  bool InFile(const std::string& name) const override { return inner_->InFile(name); }
  Result<std::string> Hash() override { return inner_->Hash(); }
  void BeginHash() override { inner_->BeginHash(); }
  void Release(const std::string& name) override { inner_->Release(name); }
  void DropPages() override { inner_->DropPages(); }

  std::unique_ptr<WeightSource> End() {
    told_(1);
    return std::move(inner_);
  }

 private:
  std::unique_ptr<WeightSource> inner_;
  std::function<void(double)> told_;
  std::map<std::string, uint64_t> left_;  // bytes of those that nobody has asked for yet
  uint64_t all_ = 0, got_ = 0;
};

LoadingProgress::LoadingProgress(std::unique_ptr<WeightSource>& source, const ModelParts& parts,
                                 const std::function<void(double)>& told)
    : source_(source) {
  if (!told) return;
  auto counting = std::make_unique<Told>(std::move(source), parts, told);
  told_ = counting.get();
  source_ = std::move(counting);
}

LoadingProgress::~LoadingProgress() {
  if (told_) source_ = told_->End();
}

}  // namespace bifrons
