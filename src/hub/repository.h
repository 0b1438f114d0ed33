// Which repository of the Hugging Face hub is meant, and at which revision.
#pragma once

#include <string>
#include <string_view>

#include "src/base/result.h"

namespace bifrons {

/// A model's repository, and a branch, tag or commit of it.
struct Repository {
  std::string name;  // "ORG/NAME"
  std::string revision = "main";

  /// As a command line says it: "ORG/NAME", or "ORG/NAME@REVISION" where that is not main.
  std::string shown() const { return revision == "main" ? name : name + "@" + revision; }
};

/// "ORG/NAME" or "ORG/NAME@REVISION"; "hf:" or "https://huggingface.co/" may stand before it. Names follow
/// the hub's own rules. Errors: kUsage.
Result<Repository> ParseRepository(std::string_view text);

/// Whether `text` has the form of "ORG/NAME" or "ORG/NAME@REVISION", with no prefix.
bool LooksLikeRepository(std::string_view text);

/// Whether it is a commit's hash: 40 lower-case hexadecimal digits.
bool IsCommit(std::string_view revision);

}  // namespace bifrons
