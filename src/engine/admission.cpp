#include "src/engine/admission.h"

#include <algorithm>

namespace bifrons {

bool Admission::FitsPicture(size_t bytes) const {
  if (pictures_.count >= limits_.pictures) return false;
  const size_t kept = limits_.kept_for_answers - std::min(limits_.kept_for_answers, answers_.bytes);
  const bool alone = pictures_.count == 0 && answers_.count == 0;
  return used() + bytes + (alone ? 0 : kept) <= limits_.bytes;
}

bool Admission::FitsAnswer(size_t bytes) const {
  return answers_.count < limits_.answers && used() + bytes <= limits_.bytes;
}

// An answer may overtake an older picture that has to wait, in the room that the picture could not use
// anyway.
bool Admission::FitsKeptRoom(const Head& answer, const Head& picture) const {
  const bool picture_needs_the_room = picture.bytes + limits_.kept_for_answers > limits_.bytes;
  return !picture_needs_the_room && FitsAnswer(answer.bytes) &&
         answers_.bytes + answer.bytes <= limits_.kept_for_answers;
}

std::optional<RequestKind> Admission::Next(const std::optional<Head>& picture,
                                           const std::optional<Head>& answer) const {
  const bool picture_is_older = picture && (!answer || picture->arrival < answer->arrival);
  if (picture_is_older) {
    if (FitsPicture(picture->bytes)) return RequestKind::kPicture;
    if (!answer) return {};
    // Where only the number of pictures is exhausted, the memory is there for whoever comes.
    const bool waits_for_memory = pictures_.count < limits_.pictures;
    const bool fits = waits_for_memory ? FitsKeptRoom(*answer, *picture) : FitsAnswer(answer->bytes);
    return fits ? std::optional(RequestKind::kAnswer) : std::nullopt;
  }
  if (!answer) return {};
  if (FitsAnswer(answer->bytes)) return RequestKind::kAnswer;
  const bool waits_for_memory = answers_.count < limits_.answers;
  if (picture && !waits_for_memory && FitsPicture(picture->bytes)) return RequestKind::kPicture;
  return {};
}

void Admission::Begin(RequestKind kind, size_t bytes) {
  Running& running = kind == RequestKind::kPicture ? pictures_ : answers_;
  running.count++, running.bytes += bytes;
}

void Admission::End(RequestKind kind, size_t bytes) {
  Running& running = kind == RequestKind::kPicture ? pictures_ : answers_;
  running.count--, running.bytes -= bytes;
}

}  // namespace bifrons
