// Names of pictures: a template such as {index}_{seed}_{slug}.png, filled in.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

/// What a template can name.
struct NameFields {
  int64_t index = 0;      // {index}: of the job, five digits at least
  int64_t number = 0;     // {number}: of the picture among its job's, from 0
  uint64_t seed = 0;      // {seed}
  std::string prompt{};   // {slug}: letters and digits of any script, the rest as -, at most 60 characters
  float guidance = 0;     // {cfg}
  float temperature = 0;  // {temperature}
};

class NameTemplate {
 public:
  /// Errors (kUsage): an unknown field, an unclosed brace, a name that would leave the output folder.
  /// {index:3} asks for at least three digits (of {number} and {seed} as well); {{ and }} are braces.
  static Result<NameTemplate> Parse(const std::string& text);
  /// Path relative to the output folder, '/' between folders; never empty, absolute, or with a "..". A slug
  /// is "picture" where the prompt has no letter or digit, and shorter where the name would become too long.
  /// What CheckNewName would refuse is altered: - in place of a character, _ in place of a dot or space at
  /// the end of a part, and behind the name of a device (con_.png).
  std::string Fill(const NameFields& fields) const;

 private:
  struct Part {
    std::string literal;  // where `field` is ""
    std::string field;
    int digits = 0;  // at least
  };
  std::vector<Part> parts_;
};

/// Whether a job's own file name stays in the output folder; the reason if not ("is an absolute path; …").
Status CheckFileName(const std::string& name);

/// The same for a file that is not there yet, which Windows has to be able to hold too: no character of
/// <>:"|?*\, no part that ends with a dot or a space or is called like a device (CON, nul.txt, COM1).
Status CheckNewName(const std::string& name);

/// Equal for names that some file systems take for one: they differ in case, or in how accents are composed.
std::string CanonicalName(const std::string& name);

}  // namespace bifrons
