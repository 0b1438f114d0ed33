#include "src/engine/judge.h"

#include "src/engine/answer.h"
#include "src/model/text/utf8.h"

namespace bifrons {

Result<double> JudgePicture(Janus& janus, const Image& picture, const std::string& prompt) {
  AnswerRequest request;
  request.turns = {{1, kDefaultQuestion, ""}};
  request.images = {LookAt(janus, picture)};
  return LogProbability(janus, request, StripPythonWhitespace(ReplaceInvalidUtf8(prompt)));
}

}  // namespace bifrons
