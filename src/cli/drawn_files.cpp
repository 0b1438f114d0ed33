#include "src/cli/drawn_files.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "src/jobs/plan.h"

namespace bifrons {

namespace fs = std::filesystem;

Result<DrawnFiles> DrawnFiles::Begin(const GenerateOptions& options, size_t count) {
  DrawnFiles files;
  const auto of_name = [](const std::string& name, PictureFormat otherwise) {
    return FormatOfName(name).value_or(otherwise);
  };
  // The same bytes again are those of the same format.
  files.format_ =
      options.format.value_or(of_name(options.output, of_name(options.from, PictureFormat::kPng)));
  if (options.output.empty()) {
    BIFRONS_TRY(files.numbered_,
                NumberedFiles::Begin("out", std::string(".") + NameOf(files.format_), count > 1));
    return files;
  }
  if (options.output == "-") {
    if (::isatty(STDOUT_FILENO))
      return UsageError(
          "generate: --output -: standard output is a terminal; redirect it to a file or a program");
    files.piped_ = true;
    return files;
  }
  const fs::path path(options.output);
  for (size_t i = 0; i < count; i++) {
    const std::string numbered =
        path.stem().string() + "_" + std::to_string(i + 1) + path.extension().string();
    const std::string name = count == 1 ? options.output : (path.parent_path() / numbered).string();
    BIFRONS_TRY(OutputFile file, OutputFile::Claim(name, options.force));
    files.named_.push_back(std::move(file));
  }
  return files;
}

Status DrawnFiles::CheckAreNot(const OutputFile& other) const {
  for (const OutputFile& file : named_)
    BIFRONS_RETURN_IF_ERROR(other.CheckIsNot(file.path(), "the name of a picture"));
  return {};
}

Result<std::string> DrawnFiles::Write(size_t i, std::span<const uint8_t> bytes) {
  if (numbered_) return numbered_->Write(bytes);
  if (!piped_) {
    BIFRONS_RETURN_IF_ERROR(named_[i].Write(bytes));
    return named_[i].path();
  }
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size() || std::fflush(stdout) != 0)
    return Failure("cannot write to standard output");
  return std::string("-");
}

}  // namespace bifrons
