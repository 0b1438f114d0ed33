// What the shells complete, written from the table of options.
#pragma once

#include <string>

#include "src/cli/option_table.h"

namespace bifrons {

// Scripts to be sourced, or put where each shell looks for them: every verb with its options, of each the
// short and the first long name, values where they are known, files where a file is meant. `program`:
// TableOf's.
std::string BashCompletion(const VerbRow& program);
/// With descriptions.
std::string ZshCompletion(const VerbRow& program);
/// With descriptions.
std::string FishCompletion(const VerbRow& program);

}  // namespace bifrons
