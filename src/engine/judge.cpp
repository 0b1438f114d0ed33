#include "src/engine/judge.h"

#include "src/model/text/utf8.h"

namespace bifrons {

AnswerRequest JudgeRequest(const std::string& prompt) {
  AnswerRequest request;
  request.turns = {{1, kDefaultQuestion, ""}};
  request.scored_text = StripPythonWhitespace(ReplaceInvalidUtf8(prompt));
  return request;
}

}  // namespace bifrons
