// What somebody may have meant by a name that there is not.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bifrons {

/// The first of `names` that is fewest typing mistakes away (a letter missing, too many, wrong, or two
/// swapped), or that `typed` begins; "" if none is near: one mistake in three letters at most.
std::string Nearest(std::string_view typed, const std::vector<std::string>& names);

}  // namespace bifrons
