// The verbs. Each prints its answer and returns the exit code, or an error for main to print.
#pragma once

#include "src/base/result.h"
#include "src/cli/options.h"

namespace bifrons {

Result<int> RunGenerate(const GenerateOptions& options);
Result<int> RunCaption(const CaptionOptions& options);
Result<int> RunAsk(const AskOptions& options);
Result<int> RunChat(const ChatOptions& options);
Result<int> RunVq(const VqOptions& options);
Result<int> RunInfo(const InfoOptions& options);
Result<int> RunTokenize(const TokenizeOptions& options);
Result<int> RunTrace(const TraceOptions& options);
Result<int> RunBench(const BenchOptions& options);
Result<int> RunSelftest(const SelftestOptions& options);
Result<int> RunKl(const KlOptions& options);
Result<int> RunExport(const ExportOptions& options);
Result<int> RunConvert(const ConvertCommand& options);
Result<int> RunRender(const RenderCommand& options);
Result<int> RunMerge(const MergeOptions& options);
Result<int> RunPull(const PullCommand& options);
Result<int> RunMan(const ManualFiles& manual);

}  // namespace bifrons
