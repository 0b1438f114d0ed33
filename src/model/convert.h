// A model as one file: a GGUF.
#pragma once

#include <functional>
#include <string>

#include "src/base/result.h"
#include "src/model/checkpoint/model_texts.h"
#include "src/model/weight_source.h"

namespace bifrons {

struct ConvertOptions {
  std::string software;  // what writes it, with its version
  /// Hears how much is written, from 0 to 1; may be empty.
  std::function<void(double share)> progress;
};

class AtomicFile;

/// Writes a GGUF that `path` is to be to `file`, which the caller commits: every tensor of the table by our
/// name and in the type that `source` has, one after another, so that no more than one is held; the model's
/// texts as strings, config.json in the converted layout's form whatever the source's; and the tokenizer once
/// more in the form that other tools read. `texts` are the model's own, `tokenizer` those of the model whose
/// tokenizer it has. Errors: a tokenizer that is larger than the vocabulary or lacks a special token
/// (kBadData), too little room on the disk, told before anything is written (kFailure), AtomicFile::Write's,
/// Interrupted().
Status WriteGguf(WeightSource& source, const ModelTexts& texts, const ModelTexts& tokenizer,
                 const ConvertOptions& options, const std::string& path, AtomicFile& file);

}  // namespace bifrons
