#include "src/engine/row_batch.h"

#include <algorithm>
#include <cmath>
#include <new>

#include "src/base/out_of_memory.h"
#include "src/base/seconds_since.h"
#include "src/engine/prefill.h"

namespace bifrons {
namespace {

// Steps whose pictures' tokens the host has not seen, at most: enough that a device never waits for the host,
// few enough that what is told of a picture and what is cancelled is true.
constexpr size_t kStepsAhead = 2;

int64_t Count(const auto& rows) { return static_cast<int64_t>(rows.size()); }

}  // namespace

RowBatch::RowBatch(Janus& janus, int64_t pictures) : janus_(janus), queue_(janus.steps()) {
  for (int64_t slot = pictures; slot-- > 0;) free_slots_.push_back(slot);
}

RowBatch::~RowBatch() {
  try {
    queue_.Wait(queue_.Record());
  } catch (const std::bad_alloc&) {
    // Whoever gave the work has been told, or is gone.
  }
}

void RowBatch::Add(std::unique_ptr<PictureRows> picture) {
  BIFRONS_CHECK(!free_slots_.empty());
  if (codes_.empty()) {
    const int64_t slots = Count(free_slots_);  // nobody has one yet
    image_tokens_ = janus_.device().NewTensor(DType::kI32, {slots, 1});
    codes_ = janus_.device().NewTensor(DType::kI32, {slots, janus_.config().vq.tokens()});
  }
  picture->slot = free_slots_.back();
  // Those that join together stay in their order, which is the one in which they are told of their tokens.
  const auto others =
      std::find_if(pictures_.begin(), pictures_.end(), [](const auto& p) { return p->tokens > 0; });
  pictures_.insert(others, std::move(picture));
  free_slots_.pop_back();
}

// Its slot may be taken by another one at once, whose codes are written after what was given for this one.
void RowBatch::Drop(size_t picture) noexcept {
  free_slots_.push_back(pictures_[picture]->slot);
  pictures_.erase(pictures_.begin() + static_cast<ptrdiff_t>(picture));
}

bool RowBatch::Remove(int64_t id) {
  for (size_t i = 0; i < pictures_.size(); i++) {
    if (pictures_[i]->id != id) continue;
    Drop(i);
    return true;
  }
  return std::erase_if(answers_, [&](const auto& answer) { return answer->id == id; }) > 0 ||
         std::erase_if(scored_, [&](const auto& scored) { return scored->id() == id; }) > 0;
}

// A step that breaks off must neither skip nor repeat a token of anybody's. So it has two halves. The first
// gives the work and may throw anywhere; the rows' states, which are their last tokens, are read only, and
// what was given writes nothing but what comes after them: keys and values, a token and buffers of the step.
// Giving all of it again, with fewer rows, writes the same there, as a row depends on itself alone. The
// second half moves the rows on and has all its room made.
//
// Where the device runs out of memory later, when the host waits, it is unknown what of the work since the
// last wait was done, whose and of which steps. Nothing can be built on that: all rows are lost.
StepResult RowBatch::Step(const TextCallback& on_text) {
  StepResult result;
  if (empty()) return result;
  const auto broken = [](Status status, bool lost) {
    StepResult nothing;
    nothing.status = std::move(status), nothing.lost = lost;
    return nothing;
  };
  Status status = Guarded([&]() -> Status {
    Give(result);
    return {};
  });
  if (!status.ok()) return broken(std::move(status), false);
  status = Guarded([&]() -> Status {
    Wait();
    return {};
  });
  if (!status.ok()) {
    Lose();
    return broken(std::move(status), true);
  }
  Take(on_text, result);
  TakeScored(result);
  CheckTokens(result);
  return result;
}

void RowBatch::Give(StepResult& result) {
  const int64_t pairs = 2 * Count(pictures_), answers = Count(answers_);
  result.answers.reserve(answers_.size() + scored_.size());
  result.failed.reserve(pictures_.size() + answers_.size() + scored_.size());
  downloads_.clear();
  GiveScored(result);
  if (pairs + answers == 0) return;
  const View x = Grown(janus_.device(), x_, pairs + answers, janus_.config().llama.hidden);
  GoOn(x, result);
  SamplePictures(x.Rows(0, pairs), result);
  SampleAnswers(x.Rows(pairs, answers));
}

void RowBatch::GiveScored(StepResult& result) {
  for (const auto& scored : scored_) {
    downloads_.push_back(scored->Give(janus_));
    result.rows += scored->rows();
    result.bytes_read += janus_.text_step_bytes();
  }
}

void RowBatch::Wait() {
  for (const Ticket& download : downloads_) queue_.Wait(download);
  if (sightings_.size() > kStepsAhead) queue_.Wait(sightings_[sightings_.size() - kStepsAhead - 1].ready);
}

void RowBatch::Take(const TextCallback& on_text, StepResult& result) noexcept {
  result.image_tokens = Count(pictures_);
  for (size_t i = 0; i < pictures_.size();) {
    PictureRows& p = *pictures_[i];
    p.conditional_prompt = p.unconditional_prompt = nullptr;
    if (++p.tokens < janus_.config().vq.tokens()) {
      i++;
    } else {
      Drop(i);
    }
  }
  size_t going = 0;
  for (size_t i = 0; i < answers_.size(); i++) {
    answers_[i]->last_hidden = {};
    if (TakeToken(*answers_[i], tokens_[i], on_text, result)) std::swap(answers_[going++], answers_[i]);
  }
  answers_.erase(answers_.begin() + static_cast<ptrdiff_t>(going), answers_.end());
}

void RowBatch::Lose() noexcept {
  // Until then downloads may still be on their way into what is dropped.
  const Status done = Guarded([&]() -> Status {
    queue_.Wait(queue_.Record());
    return {};
  });
  static_cast<void>(done);  // what is lost is lost
  sightings_.clear();
  while (!pictures_.empty()) Drop(pictures_.size() - 1);
  answers_.clear();
  scored_.clear();
}

// Hidden states of all rows into x: those of the last tokens, or of the prompts.
void RowBatch::GoOn(View x, StepResult& result) {
  int64_t row = 0;
  size_t joined = 0, going = 0;  // pictures that have just joined, answers that have not
  for (; joined < pictures_.size() && pictures_[joined]->tokens == 0; joined++) {
    const PictureRows& p = *pictures_[joined];
    queue_.Copy(p.conditional_prompt->last_hidden.view(), x.Rows(row++, 1));
    queue_.Copy(p.unconditional_prompt->last_hidden.view(), x.Rows(row++, 1));
  }
  const int64_t first = row;
  spans_.clear();
  if (const auto some = std::span(pictures_).subspan(joined); !some.empty()) {
    EmbedPictures(some, x.Rows(row, 2 * Count(some)));
    result.bytes_read += janus_.step_bytes() - janus_.llama().weight_bytes();
    row += 2 * Count(some);
  }
  while (going < answers_.size() && answers_[going]->last_hidden.empty()) going++;
  if (const auto some = std::span(answers_).first(going); !some.empty()) {
    EmbedAnswers(some, x.Rows(row, Count(some)));
    result.bytes_read += janus_.text_step_bytes() - janus_.llama().weight_bytes();
    row += Count(some);
  }
  for (; going < answers_.size(); going++) {
    queue_.Copy(answers_[going]->last_hidden.view(), x.Rows(row++, 1));
  }
  if (spans_.empty()) return;
  janus_.llama().Forward(queue_, spans_, x.Rows(first, Count(spans_)));
  result.rows += Count(spans_);
  result.bytes_read += janus_.llama().weight_bytes();
  const KvShape shape = KvShapeOf(janus_.config().llama, janus_.kv_type());
  for (const SequenceSpan& span : spans_) result.bytes_read += shape.Bytes(span.start + 1);
}

void RowBatch::EmbedPictures(std::span<const std::unique_ptr<PictureRows>> going, View x) {
  const int64_t count = Count(going), tokens = janus_.config().vq.tokens();
  std::vector<Sighting::Whose> whose;
  std::vector<int32_t> last, picture_of;  // where the last codes stand; which picture a row is of
  for (const auto& p : going) {
    last.push_back(static_cast<int32_t>(p->slot * tokens + p->tokens - 1));
    picture_of.insert(picture_of.end(), 2, static_cast<int32_t>(whose.size()));
    whose.push_back({p->id, p->tokens - 1});
    const int64_t position = p->prompt_tokens + p->tokens - 1;
    spans_.push_back({&p->conditional, position, 1, RowClass::kDecode});
    spans_.push_back({&p->unconditional, position, 1, RowClass::kDecode});
  }
  const View codes = image_tokens_.view().Rows(0, count);
  queue_.CopyRows(codes_.view().As({codes_.shape().elements(), 1}), last, codes);
  // Of a step that breaks off it stays, as its download does: it is of tokens that were drawn before.
  sightings_.push_back({{}, std::vector<int32_t>(going.size()), {}});
  sightings_.back().ready = queue_.Download(codes, sightings_.back().tokens.data());
  sightings_.back().whose = std::move(whose);
  const View embedded = Grown(janus_.device(), embedded_, count, x.width());
  janus_.EmbedImageTokens(queue_, codes, embedded);
  queue_.CopyRows(embedded, picture_of, x);
}

void RowBatch::EmbedAnswers(std::span<const std::unique_ptr<AnswerRow>> going, View x) {
  std::vector<int32_t> tokens;
  for (const auto& a : going) {
    tokens.push_back(a->stream.tokens().back());
    const int64_t position = a->answer.prompt_tokens + Count(a->stream.tokens()) - 1;
    spans_.push_back({&a->cache, position, 1, RowClass::kDecode});
  }
  janus_.llama().EmbedText(queue_, Uploaded(janus_, queue_, tokens).view(), x);
}

void RowBatch::SamplePictures(View hidden, StepResult& result) {
  if (pictures_.empty()) return;
  const int64_t tokens = janus_.config().vq.tokens();
  const View logits = Grown(janus_.device(), image_logits_, hidden.rows(), janus_.config().vq.codebook_size);
  janus_.ImageLogits(queue_, hidden, logits);
  requests_.clear();
  for (const auto& p : pictures_) {
    requests_.push_back(
        {.row = 2 * Count(requests_),
         .paired = true,
         .sampling = p->request.sampling,
         .noise = {p->request.seed, static_cast<uint32_t>(p->tokens), NoiseStream::kImageTokens},
         .to = p->slot * tokens + p->tokens});
  }
  queue_.Sample(logits, requests_, codes_.view());
  for (const auto& p : pictures_) {
    if (p->tokens + 1 < tokens) continue;
    DrawnCodes drawn{p->id, janus_.device().NewTensor(DType::kI32, {tokens}), {}};
    queue_.Copy(codes_.view().Rows(p->slot, 1).As({tokens}), drawn.codes.view());
    result.pictures.push_back(std::move(drawn));
  }
  for (DrawnCodes& drawn : result.pictures) drawn.ready = queue_.Record();
}

void RowBatch::SampleAnswers(View hidden) {
  if (answers_.empty()) return;
  const View logits = Grown(janus_.device(), text_logits_, hidden.rows(), janus_.config().llama.vocabulary);
  janus_.TextLogits(queue_, hidden, logits);
  requests_.clear();
  for (const auto& a : answers_) {
    requests_.push_back(
        {.row = Count(requests_),
         .sampling = a->sampling,
         .noise = {a->seed, static_cast<uint32_t>(a->stream.tokens().size()), NoiseStream::kText},
         .to = Count(requests_)});
  }
  const Shape shape{hidden.rows()};
  if (text_tokens_.bytes() < answers_.size() * sizeof(int32_t))
    text_tokens_ = janus_.device().NewTensor(DType::kI32, shape);
  text_tokens_.Reshape(shape);
  queue_.Sample(logits, requests_, text_tokens_.view());
  tokens_.resize(answers_.size());
  downloads_.push_back(queue_.Download(text_tokens_.view(), tokens_.data()));
}

// Whether the answer goes on. What telling or keeping its text lacks memory for, or its listener throws, ends
// this answer alone.
bool RowBatch::TakeToken(AnswerRow& row, int32_t token, const TextCallback& on_text,
                         StepResult& result) noexcept {
  bool goes_on = false;
  Status taken = Guarded([&]() -> Status {
    if (token < 0) {
      return NotNumbers(janus_, "token " + std::to_string(row.stream.tokens().size() + 1) + " of the answer");
    }
    result.text_tokens++;
    goes_on = Append(row, token, on_text);
    if (!goes_on) result.answers.push_back(Finish(row, on_text));
    return {};
  });
  if (taken.ok()) return goes_on;
  result.failed.push_back({row.id, std::move(taken).error()});
  return false;
}

void RowBatch::TakeScored(StepResult& result) noexcept {
  size_t going = 0;
  for (auto& scored : scored_) {
    if (!scored->Take()) {
      std::swap(scored_[going++], scored);
      continue;
    }
    Answer answer = scored->Finish();
    if (std::isfinite(answer.log_probability)) {
      result.answers.push_back(std::move(answer));
    } else {
      Status wrong = Guarded([&]() -> Status { return NotNumbers(janus_, "the text that is scored"); });
      result.failed.push_back({answer.id, std::move(wrong).error()});
    }
  }
  scored_.erase(scored_.begin() + static_cast<ptrdiff_t>(going), scored_.end());
}

// A picture without a token fails as soon as the host sees it; a complete one does where it is decoded.
void RowBatch::CheckTokens(StepResult& result) noexcept {
  for (; !sightings_.empty() && queue_.Done(sightings_.front().ready); sightings_.pop_front()) {
    const Sighting& seen = sightings_.front();
    for (size_t i = 0; i < seen.whose.size(); i++) {
      if (seen.tokens[i] >= 0) {
        const auto whose = [&](const auto& picture) { return picture->id == seen.whose[i].id; };
        const auto found = std::ranges::find_if(pictures_, whose);
        if (found != pictures_.end()) (*found)->codes.push_back(seen.tokens[i]);  // there is room
        continue;
      }
      if (!Remove(seen.whose[i].id)) continue;
      Status wrong = Guarded([&]() -> Status { return NotNumbers(janus_, seen.whose[i].token); });
      result.failed.push_back({seen.whose[i].id, std::move(wrong).error()});
    }
  }
}

// Whether the answer goes on after `token`.
bool RowBatch::Append(AnswerRow& row, int32_t token, const TextCallback& on_text) const {
  if (token == janus_.image_tokens().eos) {
    row.answer.complete = true;
    return false;
  }
  const std::string more = row.stream.Add(token);
  if (on_text && !more.empty()) on_text(row.id, more);
  return Count(row.stream.tokens()) < row.limit;
}

Answer RowBatch::Finish(AnswerRow& row, const TextCallback& on_text) const {
  const std::string rest = row.stream.Finish();
  if (on_text && !rest.empty()) on_text(row.id, rest);
  row.answer.id = row.id;
  row.answer.tokens = row.stream.tokens();
  row.answer.text = row.stream.text();
  row.answer.decode_seconds = SecondsSince(row.started);
  return std::move(row.answer);
}

}  // namespace bifrons
