// A published checkpoint's tensors by their published names, whatever files they are in.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/mapped_file.h"
#include "src/base/result.h"
#include "src/base/tensor.h"

namespace bifrons {

/// More dimensions are refused; those that can be loaded have at most four.
constexpr size_t kMaxStoredRank = 16;

/// A tensor as a file stores it: its bytes lie in a mapped file and were bounds-checked when it was opened.
struct StoredTensor {
  std::string type;       // as the file calls it: "BF16", "F32", "I64", "BoolStorage", …
  bool loadable = false;  // type is one of f32, bf16, f16, or of a GGUF's blocks: `dtype` holds
  DType dtype = DType::kF32;
  std::vector<int64_t> dims;  // not negative; their product fits
  std::vector<int64_t>
      strides;  // in elements, not negative; empty: row-major. A pickled tensor may be transposed
  const uint8_t* data = nullptr;            // first element; no promise of alignment
  std::shared_ptr<const std::string> file;  // its path, for messages

  bool contiguous() const;
  /// Whether its elements can be read where they stand: contiguous, and aligned.
  bool in_place() const;
  /// From the first element to behind the last one: of a strided tensor with what lies between.
  std::span<const uint8_t> extent() const;
  /// Of dimension `i`, in elements.
  int64_t stride(size_t i) const;
};

/// What every reader (safetensors.h, pytorch_zip.h, gguf.h) produces. Found by std::string_view too.
using TensorMap = std::map<std::string, StoredTensor, std::less<>>;

/// `name`'s elements one after another: in place where the file has them so, and aligned; otherwise copied
/// into
/// `*owner`, which must live as long as the view. Errors: a type that is not loadable, more than four
/// dimensions.
Result<TensorView> Materialise(const std::string& name, const StoredTensor& stored, Tensor* owner);

class WeightIndex;

/// All files of a model folder: `*.safetensors` or `pytorch_model*.bin`, single or sharded by `*.index.json`;
/// or a GGUF.
/// Names behind one prefix of programs that wrap a model to train it (torch.compile, DistributedDataParallel,
/// PEFT) are found as if without it.
class Checkpoint {
 public:
  /// Which files to read in a folder that has both kinds; the other kind serves if there is only that.
  enum class Prefer { kSafetensors, kPytorch };

  /// Errors name the file and the tensor. A name that stands in two shards, or a shard of the index that is
  /// missing, or lacks what the index promises, is an error, and so is a folder with an adapter and no model.
  static Result<Checkpoint> Open(const std::string& folder, Prefer prefer = Prefer::kSafetensors);
  /// Of one file. Errors: OpenModelFile's, ReadGguf's.
  static Result<Checkpoint> OpenGguf(const std::string& path);

  const TensorMap& tensors() const { return tensors_; }
  /// nullptr when there is none.
  const StoredTensor* Find(std::string_view name) const;
  /// Takes the pages that a tensor of a file stands on out of this process's memory (MappedFile::DropPages);
  /// those of all files.
  void DropPages(const StoredTensor& tensor) const;
  void DropPages() const;
  /// Paths, in the order of their names.
  const std::vector<std::string>& files() const { return paths_; }
  /// Names of files in the folder that are passed over: a model's by their names, but empty.
  const std::vector<std::string>& empty_files() const { return empty_files_; }

 private:
  Checkpoint() = default;
  Status CheckPromises(const std::string& folder, const WeightIndex& index,
                       const std::string& index_path) const;
  Status DropWrappers(const std::string& folder);

  std::vector<MappedFile> files_;
  std::vector<std::string> paths_, empty_files_;
  TensorMap tensors_;
};

}  // namespace bifrons
