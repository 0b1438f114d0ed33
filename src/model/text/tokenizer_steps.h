// The steps of tokenizer.json's normalizer and pre-tokenizer.
#pragma once

#include "src/base/result.h"
#include "src/model/text/json_field.h"
#include "src/model/text/normalizer.h"
#include "src/model/text/pre_tokenizer.h"

namespace bifrons {

/// One of ReadSequence's fields. Errors: a type that is not supported, a field of it that makes no sense, an
/// expression that does not compile.
Result<NormalizerStep> ReadNormalizerStep(const JsonField&);
Result<PreTokenizerStep> ReadPreTokenizerStep(const JsonField&);

}  // namespace bifrons
