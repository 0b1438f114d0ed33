// Where the pictures of `generate` go.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/cli/options.h"
#include "src/cli/output_file.h"
#include "src/jobs/picture_file.h"

namespace bifrons {

/// Files under the name of -o (NAME.png, or of several NAME_1.png, NAME_2.png, …), under names that count up
/// where there is none, or standard output.
class DrawnFiles {
 public:
  /// For `count` pictures. Errors: OutputFile::Claim's of each; standard output is a terminal (kUsage).
  static Result<DrawnFiles> Begin(const GenerateOptions& options, size_t count);

  PictureFormat format() const { return format_; }
  /// Whether it is standard output, which is to have nothing else on it.
  bool piped() const { return piped_; }
  /// Errors (kUsage): `other` is written as well.
  Status CheckAreNot(const OutputFile& other) const;
  /// Writes picture number `i`; returns the name it has. Errors: the system's.
  Result<std::string> Write(size_t i, std::span<const uint8_t> bytes);

 private:
  PictureFormat format_ = PictureFormat::kPng;
  bool piped_ = false;
  std::vector<OutputFile> named_;
  std::optional<NumberedFiles> numbered_;
};

}  // namespace bifrons
