// bifrons export: a model as transformers loads it.
#include "src/model/export.h"

#include <cstdio>

#include "src/cli/commands.h"
#include "src/model/model_path.h"

namespace bifrons {

Result<int> RunExport(const ExportOptions& options) {
  BIFRONS_TRY(const std::string model, ResolveModel(options.model));
  BIFRONS_TRY(const ModelTexts texts, OpenTokenizerTexts(model));
  BIFRONS_TRY(const auto source, OpenWeights(model));
  BIFRONS_RETURN_IF_ERROR(ExportModel(*source, texts, options.out));
  std::printf("%s\n", options.out.c_str());
  return 0;
}

}  // namespace bifrons
