// Any bytes as an index.json: names are in order, and files lie beside it.
#include <cstdint>
#include <string_view>

#include "src/base/check.h"
#include "src/model/checkpoint/index_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto index = bifrons::ParseIndex({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!index.ok()) {
    BIFRONS_CHECK(index.error().message.find('\n') == std::string::npos);
    return 0;
  }
  BIFRONS_CHECK(index->size() > 0);
  for (size_t i = 0; i < index->size(); i++) {
    BIFRONS_CHECK(i == 0 || index->tensor(i - 1) < index->tensor(i));
    const std::string& file = index->files().at(index->file_of(i));
    BIFRONS_CHECK(!file.empty() && file != ".." && file.find('/') == std::string::npos);
  }
  return 0;
}
