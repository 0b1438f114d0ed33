// Who of the waiting requests begins, and what is dropped to make room for it.
#include <utility>

#include "src/base/out_of_memory.h"
#include "src/engine/scheduler_loop.h"

namespace bifrons {

// What a waiting picture takes: its rows, and those of its prefixes that are not there yet.
std::optional<Head> Scheduler::Loop::PictureHead() {
  // Pictures that wait to be decoded, judged and written hold little, but there has to be an end.
  const int64_t waiting = worker->unfinished(ImageWorker::Work::kDecode) + unjudged;
  if (pictures.empty() || waiting >= 2 * options.pictures) return {};
  const OpenPicture& picture = *pictures.front();
  size_t bytes = picture.bytes;
  for (const auto* ids : {&picture.prompt.conditional, &picture.prompt.unconditional}) {
    if (prefixes.Holds(*ids)) bytes -= prefixes.BytesFor(*ids);
  }
  return Head{picture.id, bytes};
}

std::optional<Head> Scheduler::Loop::AnswerHead() {
  if (answers.empty() || !answers.front()->looked) return {};
  const OpenAnswer& answer = *answers.front();
  const size_t there = answer.request.cache
                           ? answer.kept_bytes - prompts.GrowthFor(answer.request.cache, answer.kept_bytes)
                           : 0;
  return Head{answer.id, answer.bytes - there};
}

void Scheduler::Loop::Begin(const std::shared_ptr<OpenPicture>& picture) {
  const auto obtain = [&](const std::vector<int32_t>& ids) {
    const bool there = prefixes.Holds(ids);
    auto prefix = prefixes.Obtain(ids);
    if (!there) admission.Take(prefix->bytes);
    picture->bytes -= prefix->bytes;  // the prefix's own from now on
    return prefix;
  };
  Status begun = Guarded([&]() -> Status {
    picture->conditional = obtain(picture->prompt.conditional);
    picture->unconditional = obtain(picture->prompt.unconditional);
    running.emplace(picture->id, picture);
    starting.push_back(
        StartPicture(picture->id, picture->request, picture->conditional, picture->unconditional));
    return {};
  });
  admission.Begin(RequestKind::kPicture, picture->bytes);
  if (!begun.ok()) BreakOff(picture, std::move(begun).error());
}

void Scheduler::Loop::Begin(const std::shared_ptr<OpenAnswer>& answer) {
  Status begun = Guarded([&]() -> Status {
    std::shared_ptr<KeptPrompt> kept;
    if (const auto& conversation = answer->request.cache) {
      const size_t growth = prompts.GrowthFor(conversation, answer->kept_bytes);
      kept = prompts.Obtain(conversation, answer->kept_bytes);
      admission.Take(growth);
      answer->bytes -= answer->kept_bytes;  // the kept prompt's own from now on
    }
    running.emplace(answer->id, answer);
    starting.push_back(StartAnswer(janus, pool, answer->id, answer->request, answer->prompt, answer->limit,
                                   std::move(kept)));
    return {};
  });
  answer->request.images.clear();
  admission.Begin(RequestKind::kAnswer, answer->bytes);
  if (!begun.ok()) BreakOff(answer, std::move(begun).error());
}

// Drops one thing that is kept and not in use, if that is a step towards letting a head begin: not when all
// there is would not suffice, nor when it is a number that is exhausted. What a head would use itself comes
// last, and a picture's prefixes never go for its own sake, as it would need their memory again.
bool Scheduler::Loop::MakeRoom(std::optional<Head> picture, std::optional<Head> answer) {
  struct Spare {
    bool prefixes, prompt;
  };
  for (const auto& [spare_prefixes, spare_prompt] :
       {Spare{true, true}, Spare{true, false}, Spare{false, true}, Spare{false, false}}) {
    const DrawingPrompt* prefix = spare_prefixes && picture ? &pictures.front()->prompt : nullptr;
    const KeptPrompts::Key prompt = spare_prompt && answer ? answers.front()->request.cache : nullptr;
    if (picture && !spare_prefixes) picture->bytes = pictures.front()->bytes;
    if (answer && !spare_prompt) answer->bytes = answers.front()->bytes;
    Admission after = admission;
    after.Return(prefixes.IdleBytes(prefix) + prompts.IdleBytes(prompt));
    const auto kind = after.Next(picture, answer);
    if (!kind || (kind == RequestKind::kPicture && !spare_prefixes)) continue;
    size_t freed = prefixes.DropOne(prefix);
    if (freed == 0) freed = prompts.DropOne(prompt);
    admission.Return(freed);
    return freed > 0;
  }
  return false;
}

void Scheduler::Loop::Admit() {
  // Beyond these, prefixes that nobody uses go even while there is memory.
  constexpr int64_t kKeptPrefixes = 64;
  admission.Return(prompts.DropAbandoned());
  for (;;) {
    // An image that could not be read makes room for the next request.
    while (!answers.empty() && answers.front()->looked &&
           (!answers.front()->looking.ok() || *answers.front()->cancelled)) {
      const auto answer = answers.front();
      answers.pop_front();
      Fail(answer, *answer->cancelled ? Failure(kCancelled) : std::move(answer->looking).error());
      LookAhead();
    }
    const auto picture = PictureHead(), answer = AnswerHead();
    const auto kind = admission.Next(picture, answer);
    if (kind == RequestKind::kPicture) {
      const auto next = pictures.front();
      if (auto other = next->choice ? NextCandidate(next->choice) : nullptr) {
        pictures.front() = std::move(other);
      } else {
        pictures.pop_front();
      }
      Begin(next);
    } else if (kind == RequestKind::kAnswer) {
      const auto next = answers.front();
      answers.pop_front();
      Begin(next);
      LookAhead();
    } else if (!MakeRoom(picture, answer)) {
      break;
    }
  }
  while (prefixes.size() > kKeptPrefixes) {
    const size_t freed = prefixes.DropOne(nullptr);
    if (freed == 0) break;
    admission.Return(freed);
  }
}

}  // namespace bifrons
