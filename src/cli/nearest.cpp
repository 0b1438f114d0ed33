#include "src/cli/nearest.h"

#include <algorithm>
#include <array>

namespace bifrons {
namespace {

// Longer ones are no typing mistakes.
constexpr size_t kLongest = 64;

// Damerau's and Levenshtein's, no letter touched twice.
size_t Mistakes(std::string_view a, std::string_view b) {
  std::array<std::array<size_t, kLongest + 1>, kLongest + 1> least;
  for (size_t i = 0; i <= a.size(); i++) least[i][0] = i;
  for (size_t j = 0; j <= b.size(); j++) least[0][j] = j;
  for (size_t i = 1; i <= a.size(); i++) {
    for (size_t j = 1; j <= b.size(); j++) {
      least[i][j] = std::min(
          {least[i - 1][j] + 1, least[i][j - 1] + 1, least[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        least[i][j] = std::min(least[i][j], least[i - 2][j - 2] + 1);
    }
  }
  return least[a.size()][b.size()];
}

}  // namespace

std::string Nearest(std::string_view typed, const std::vector<std::string>& names) {
  constexpr size_t kLettersOfMistake = 3, kLettersOfBeginning = 3;
  std::string nearest;
  size_t fewest = typed.size() / kLettersOfMistake + 1;  // too many
  for (const std::string& name : names) {
    if (typed.size() > kLongest || name.size() > kLongest) continue;
    const bool begins = typed.size() >= kLettersOfBeginning && name.starts_with(typed);
    const size_t mistakes = begins ? 1 : Mistakes(typed, name);
    if (mistakes < fewest) nearest = name, fewest = mistakes;
  }
  return nearest;
}

}  // namespace bifrons
