#include "src/engine/judge.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "src/engine/answer.h"

namespace bifrons {

Result<double> JudgePicture(Janus& janus, const Image& picture, const std::string& prompt) {
  AnswerRequest request;
  request.turns = {{1, "Does this picture show " + prompt + "?", ""}};
  request.images = {LookAt(janus, picture)};
  BIFRONS_TRY(const std::vector<float> logits, FirstTokenLogits(janus, request));
  // However a model writes it: models differ in the space and the capital letter.
  std::set<int32_t> yes;
  for (const char* word : {" yes", " Yes", "yes", "Yes"}) {
    const std::vector<int32_t> ids = janus.tokenizer().Encode(word);
    if (!ids.empty()) yes.insert(ids.front());
  }
  const double largest = *std::max_element(logits.begin(), logits.end());
  double all = 0, affirmed = 0;
  for (size_t i = 0; i < logits.size(); i++) {
    const double weight = std::exp(logits[i] - largest);
    all += weight;
    if (yes.contains(static_cast<int32_t>(i))) affirmed += weight;
  }
  return std::log(std::max(affirmed / all, 1e-300));  // finite, so that scores can be written and read
}

}  // namespace bifrons
