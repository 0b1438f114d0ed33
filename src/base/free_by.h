// Objects of C libraries in std::unique_ptr.
#pragma once

namespace bifrons {

/// Deletes by calling `kFree`, as in std::unique_ptr<CURL, FreeBy<curl_easy_cleanup>>.
template <auto kFree>
struct FreeBy {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};

}  // namespace bifrons
