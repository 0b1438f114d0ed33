// Files that verbs write under names the user gave: nothing that somebody else made is replaced unasked.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "src/base/atomic_file.h"
#include "src/base/result.h"

namespace bifrons {

/// Told before minutes of work. Errors: neither is there a folder of that name nor can one be made
/// (kFailure).
Status CheckFolderCanBe(const std::string& folder);
/// `folder` and those above it, as far as they are absent. Errors: kFailure.
Status MakeFolder(const std::string& folder);

/// A name that may be written to.
class OutputFile {
 public:
  /// Told before minutes of work, not after. Errors: there is no such folder, it cannot be written, a folder
  /// or device has the name (kFailure); a file is there that bifrons did not write, and no `force` (kUsage).
  static Result<OutputFile> Claim(const std::string& path, bool force);

  const std::string& path() const { return path_; }
  /// Errors (kUsage): it is the file `other` as well, which is `what` ("the input").
  Status CheckIsNot(const std::string& other, const char* what) const;
  /// To write in pieces: what came there after Claim stays, when it is committed.
  Result<AtomicFile> Create() const { return AtomicFile::Create(path_, {.replace = replace_}); }
  /// Whole or not at all. Errors: the system's; a file that came there after Claim stays.
  Status Write(std::span<const uint8_t> bytes) const;

 private:
  OutputFile(std::string path, bool replace) : path_(std::move(path)), replace_(replace) {}
  std::string path_;
  bool replace_;
};

/// Names that count up from what is there: out.png, out_2.png, … or, of `several`, out_1.png, out_2.png, …
class NumberedFiles {
 public:
  /// `stem` may have a folder before it. Errors: Claim's about the folder.
  static Result<NumberedFiles> Begin(const std::string& stem, const std::string& extension, bool several);
  /// Writes under the next free name, which it returns.
  Result<std::string> Write(std::span<const uint8_t> bytes);

 private:
  NumberedFiles(std::string stem, std::string extension, int64_t next)
      : stem_(std::move(stem)), extension_(std::move(extension)), next_(next) {}
  std::string stem_, extension_;
  int64_t next_;  // 0: the name without a number
};

}  // namespace bifrons
