#include "src/base/git_blob_hash.h"

namespace bifrons {

GitBlobHash::GitBlobHash(int64_t size)
    : MessageDigest([] {
        static const evp_md_st* const method = Fetch("SHA1");
        return method;
      }()) {
  const std::string header = "blob " + std::to_string(size);
  Update(std::string_view(header.c_str(), header.size() + 1));  // with the zero behind it
}

}  // namespace bifrons
