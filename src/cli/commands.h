// The verbs. Each prints its answer and returns the exit code, or an error for main to print.
#pragma once

#include <atomic>

#include "src/base/result.h"
#include "src/cli/options.h"

namespace bifrons {

/// While this is set, a signal ends the program at once: nothing is under way that could be finished.
extern std::atomic<bool> waiting_for_input;

Result<int> RunGenerate(const GenerateOptions& options);
Result<int> RunCaption(const CaptionOptions& options);
Result<int> RunAsk(const AskOptions& options);
Result<int> RunChat(const ChatOptions& options);
Result<int> RunVq(const VqOptions& options);
Result<int> RunInfo(const InfoOptions& options);
Result<int> RunTokenize(const TokenizeOptions& options);
Result<int> RunTrace(const TraceOptions& options);
Result<int> RunBench(const BenchOptions& options);
Result<int> RunExport(const ExportOptions& options);
Result<int> RunRender(const RenderCommand& options);
Result<int> RunMerge(const MergeOptions& options);

}  // namespace bifrons
