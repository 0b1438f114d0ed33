// Manual pages, written from the table of options.
#pragma once

#include <string>
#include <vector>

#include "src/cli/option_table.h"

namespace bifrons {

struct ManualPage {
  std::string name;  // "bifrons-vq-encode"
  std::string text;  // for man, troff and mandoc
};

/// A page for the program and one for each verb, and for those below. `program`: TableOf's; `date`:
/// "2026-11-29".
std::vector<ManualPage> ManualPages(const VerbRow& program, const std::string& date);

}  // namespace bifrons
