// Pictures that are the best of several candidates.
#include "src/base/out_of_memory.h"
#include "src/engine/judge.h"
#include "src/engine/scheduler_loop.h"

namespace bifrons {

Status Scheduler::Loop::CheckJudgement(const std::string& prompt) const {
  AnswerRequest request = JudgeRequest(prompt);
  request.look = [] { return std::vector<ImageFeatures>(); };  // nobody will
  BIFRONS_TRY(const auto judgement, PlanAnswer(std::move(request)));
  return CheckFits(judgement->bytes, "judging a picture");
}

// Null when all have begun.
std::shared_ptr<OpenPicture> Scheduler::Loop::NextCandidate(const std::shared_ptr<OpenChoice>& choice) {
  const int number = choice->begun;
  if (number == choice->request.best_of) return nullptr;
  auto candidate = std::make_shared<OpenPicture>();
  candidate->id = choice->candidate_id(number);
  candidate->cancelled = choice->cancelled;
  candidate->request = choice->request;
  candidate->request.seed += static_cast<uint64_t>(number);
  candidate->prompt = choice->prompt, candidate->bytes = choice->picture_bytes;
  candidate->choice = choice;
  candidate->handlers.on_tokens = [choice](int64_t) {
    choice->tokens++;
    if (choice->handlers.on_tokens) choice->handlers.on_tokens(choice->tokens);
  };
  if (choice->handlers.on_codes) {
    candidate->handlers.on_codes = [choice, number](int, std::span<const int32_t> codes) {
      choice->handlers.on_codes(number, codes);
    };
  }
  candidate->handlers.on_done = [this, choice, number](Result<DrawnPicture> drawn) {
    Status judged = Guarded([&]() -> Status {
      if (!drawn.ok()) return std::move(drawn).error();
      Judge(choice, number, std::move(*drawn));
      return {};
    });
    if (!judged.ok()) Leave(*choice, std::move(judged));
  };
  const std::lock_guard lock(choice->mutex);
  choice->begun++, choice->unfinished++;
  return candidate;
}

void Scheduler::Loop::Judge(const std::shared_ptr<OpenChoice>& choice, int number, DrawnPicture drawn) {
  const auto candidate = std::make_shared<DrawnPicture>(std::move(drawn));
  AnswerRequest request = JudgeRequest(choice->request.prompt);
  request.look = [this, candidate]() -> Result<std::vector<ImageFeatures>> {
    return std::vector<ImageFeatures>{LookAt(janus, candidate->image)};
  };
  const auto judgement = PlanAnswer(std::move(request)).value();  // as CheckJudgement found
  judgement->id = choice->judgement_id(number);
  judgement->cancelled = choice->cancelled;
  judgement->handlers.on_done = [this, choice, number, candidate](Result<Answer> answer) {
    unjudged--;
    if (answer.ok()) Compare(*choice, number, answer->log_probability, *candidate);
    Leave(*choice, answer.ok() ? Status() : Status(std::move(answer).error()));
  };
  {
    const std::lock_guard lock(mutex);
    new_answers.push_back(judgement);
    unjudged++;
    something_changed = true;
  }
  changed.notify_all();
}

// They come in any order; the earliest of equals stays.
void Scheduler::Loop::Compare(OpenChoice& choice, int number, double log_probability,
                              DrawnPicture& candidate) {
  const std::lock_guard lock(choice.mutex);
  std::vector<float>& scores = choice.scores;
  const float score = scores[static_cast<size_t>(number)] = static_cast<float>(log_probability);
  if (choice.best_number) {
    const float best = scores[static_cast<size_t>(*choice.best_number)];
    if (score < best || (score == best && number > *choice.best_number)) return;
  }
  choice.best_number = number;
  choice.best = std::move(candidate);
}

void Scheduler::Loop::Leave(OpenChoice& choice, Status status) noexcept {
  const bool failed = !status.ok();
  bool last = false;
  {
    const std::lock_guard lock(choice.mutex);
    if (failed && !choice.error) choice.error = std::move(status).error();
    last = --choice.unfinished == 0;
  }
  if (failed && !last) {
    *choice.cancelled = true;
    any_cancelled = true;
    Changed();  // the loop takes out the others
  }
  if (!last) return;
  // Nobody is left who could touch it. Before the last candidate begins, the next one is there.
  Close(choice, [&] {
    if (choice.error) return choice.Fail(std::move(*choice.error));
    choice.best.choice = {choice.request.seed, std::move(choice.scores)};
    choice.handlers.on_done(std::move(choice.best));
  });
}

}  // namespace bifrons
