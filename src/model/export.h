// Writes a model as transformers loads it: the converted layout.
#pragma once

#include <string>

#include "src/base/result.h"
#include "src/model/checkpoint/model_texts.h"
#include "src/model/weight_source.h"

namespace bifrons {

/// Writes config.json, generation_config.json, the processor's files, the tokenizer among `texts` padded with
/// filler entries to the model's vocabulary, and model.safetensors (each tensor in the type that `source`
/// has) into `out_folder`, which is created. transformers' JanusForConditionalGeneration loads the result.
/// config.json comes last, so that an interrupted export is no model. Errors: the folder holds something
/// already, the model is quantised (kUsage), the tokenizer is larger than the vocabulary or lacks a special
/// token (kBadData), a geometry that the converted layout cannot express or a file that cannot be written
/// (kFailure), Interrupted().
Status ExportModel(WeightSource& source, const ModelTexts& texts, const std::string& out_folder);

}  // namespace bifrons
