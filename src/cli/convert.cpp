// bifrons convert: a model as one file.
#include "src/model/convert.h"

#include <cstdio>

#include "src/base/progress.h"
#include "src/cli/commands.h"
#include "src/cli/output_file.h"
#include "src/model/model_path.h"
#include "src/model/quantized_weights.h"

namespace bifrons {

Result<int> RunConvert(const ConvertCommand& options) {
  BIFRONS_TRY(const std::string model, ResolveModel(options.model));
  BIFRONS_TRY(const OutputFile output, OutputFile::Claim(options.output, options.force));
  BIFRONS_RETURN_IF_ERROR(output.CheckIsNot(model, "the model"));
  BIFRONS_TRY(const ModelTexts texts, OpenModelTexts(model));
  BIFRONS_TRY(const ModelTexts tokenizer, OpenTokenizerTexts(model));
  BIFRONS_TRY(const auto source, OpenWeightsAs(model, options.weights, options.threads));
  BIFRONS_TRY(AtomicFile file, output.Create());
  {
    ProgressBar bar("converting", !options.quiet);
    ConvertOptions how;
    how.software = std::string("bifrons ") + BIFRONS_VERSION;
    how.progress = [&bar](double share) { bar.Update(share, 1, ""); };
    BIFRONS_RETURN_IF_ERROR(WriteGguf(*source, texts, tokenizer, how, output.path(), file));
  }
  BIFRONS_RETURN_IF_ERROR(file.Commit());
  std::printf("%s\n", output.path().c_str());
  return 0;
}

}  // namespace bifrons
