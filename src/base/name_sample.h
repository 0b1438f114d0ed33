// A few of many names, for a message of one line.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "src/base/counted.h"
#include "src/base/printable.h"

namespace bifrons {

class NameSample {
 public:
  /// Keeps the first `shown` names, however many are added.
  explicit NameSample(size_t shown = 3) : shown_(shown) {}

  void Add(std::string_view name) {
    if (count_++ < shown_) list_ += (list_.empty() ? "" : ", ") + Printable(name);
  }
  size_t count() const { return count_; }
  /// "a, b, c, …", made printable.
  std::string ToString() const { return count_ > shown_ ? list_ + ", …" : list_; }
  /// "1 tensor", "4 tensors".
  std::string Counted(const std::string& noun) const {
    return bifrons::Counted(static_cast<int64_t>(count_), noun);
  }

 private:
  size_t shown_, count_ = 0;
  std::string list_;
};

}  // namespace bifrons
