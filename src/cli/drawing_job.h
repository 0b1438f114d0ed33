// What `generate` draws: from flags, or from a picture that is to be drawn again.
#pragma once

#include <string>
#include <vector>

#include "src/cli/options.h"
#include "src/engine/draw.h"
#include "src/engine/metadata.h"

namespace bifrons {

struct DrawingJob {
  LoadOptions load;
  std::vector<DrawRequest> requests;  // one per picture
  std::string expected_hash;          // of the model a --from picture was drawn with; "" otherwise
  std::string library;   // that made a --from picture's convolutions, if it is to make them again
  Choice choice;         // how a --from picture was chosen
  bool redrawn = false;  // exactly the --from picture: whoever changes a setting draws another one
  // As the --from picture was resampled:
  int upscale = 1;
  int64_t resized_width = 0, resized_height = 0;
};

/// What can be told before a model is loaded: which, and with which arithmetic. Errors: a --from picture that
/// says nothing of bifrons.
Result<DrawingJob> BeginDrawing(const GenerateOptions& options);

/// Fills in the requests for the loaded model. Errors (kUsage): another model than the --from picture's;
/// prompts that it cannot draw.
Status AddRequests(const GenerateOptions& options, Janus& janus, DrawingJob* job);

}  // namespace bifrons
