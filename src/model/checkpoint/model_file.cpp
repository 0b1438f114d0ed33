#include "src/model/checkpoint/model_file.h"

#include <string_view>

namespace bifrons {

Result<MappedFile> OpenModelFile(const std::string& path) {
  BIFRONS_TRY(MappedFile file, MappedFile::Open(path));
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  // github.com/git-lfs/git-lfs, docs/spec.md; before 2014 the host was another.
  for (const char* version : {"version https://git-lfs.github.com/", "version https://hawser.github.com/"}) {
    if (!text.starts_with(version)) continue;
    return DataError(path +
                     ": a Git LFS pointer instead of the file: run `git lfs pull` in the model's folder, or "
                     "download the file itself");
  }
  return file;
}

}  // namespace bifrons
