// What `generate` writes: pictures with their settings in them, lines about them, their codes.
#pragma once

#include <cstdint>
#include <vector>

#include "src/cli/drawing_job.h"
#include "src/cli/drawn_files.h"
#include "src/cli/preview.h"

namespace bifrons {

class PictureOutput {
 public:
  /// Where `count` pictures of the job are to go. Errors: DrawnFiles::Begin's; --codes-out names a file of
  /// somebody else's, or one of the pictures.
  static Result<PictureOutput> Begin(const GenerateOptions& options, size_t count);

  /// Writes picture number `i`, in order, shows it and tells its name on standard output. `settings` are the
  /// model's (DescribeModel). Errors: EncodePicture's, the system's.
  Status Write(size_t i, const DrawingJob& job, PictureSettings settings, DrawnPicture picture,
               const Preview& preview);
  /// Once all are written.
  Status WriteCodes() const;

 private:
  PictureOutput(const GenerateOptions& options, DrawnFiles files)
      : options_(&options), files_(std::move(files)) {}

  const GenerateOptions* options_;
  DrawnFiles files_;
  std::vector<std::vector<int32_t>> codes_;
};

}  // namespace bifrons
