#include "src/engine/row_batch.h"

#include <algorithm>
#include <cstring>

namespace bifrons {
namespace {

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

template <class Rows>
bool RemoveFrom(std::vector<std::unique_ptr<Rows>>& all, int64_t id) {
  return std::erase_if(all, [&](const auto& rows) { return rows->id == id; }) > 0;
}

int64_t Count(const auto& rows) { return static_cast<int64_t>(rows.size()); }

}  // namespace

bool RowBatch::Remove(int64_t id) { return RemoveFrom(pictures_, id) || RemoveFrom(answers_, id); }

StepResult RowBatch::Step(const TextCallback& on_text) {
  StepResult result;
  if (empty()) return result;
  Gather();
  SampleAnswers(on_text, result);  // whose rows stand behind those of pictures that may leave
  SamplePictures(result);
  if (!empty()) GoOn(result);
  return result;
}

// Hidden states of all rows into x_.
void RowBatch::Gather() {
  const int64_t hidden = janus_.config().llama.hidden;
  float* x = Grown(x_, 2 * Count(pictures_) + Count(answers_), hidden);
  for (const auto& p : pictures_) x = std::copy(p->hidden.begin(), p->hidden.end(), x);
  for (const auto& a : answers_) x = std::copy(a->hidden.begin(), a->hidden.end(), x);
}

void RowBatch::MakeScratch(int64_t n) {
  const auto threads = static_cast<size_t>(janus_.pool().threads());
  sampled_values_.resize(std::max(sampled_values_.size(), threads * static_cast<size_t>(n)));
  sample_buckets_.resize(threads * kSampleBuckets);
}

SampleScratch RowBatch::ScratchOf(int thread, int64_t n) {
  return {sampled_values_.data() + thread * n, sample_buckets_.data() + thread * kSampleBuckets};
}

Error RowBatch::NotNumbers(const std::string& token) const {
  return DataError("the model's logits are not numbers (NaN) at " + token +
                   "; its weights are damaged, or overflow in " + NameOf(janus_.compute()) + " arithmetic");
}

void RowBatch::SamplePictures(StepResult& result) {
  const int64_t codebook = janus_.config().vq.codebook_size, pictures = Count(pictures_);
  if (pictures == 0) return;
  float* logits = Grown(image_logits_, 2 * pictures, codebook);
  janus_.ImageLogits(x_.as<float>(), 2 * pictures, logits);
  MakeScratch(codebook);
  codes_.resize(pictures_.size());
  janus_.pool().ParallelFor(pictures, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; i++) {
      const PictureRows& p = *pictures_[static_cast<size_t>(i)];
      const float* pair = logits + 2 * i * codebook;
      const NoiseKey key{p.request.seed, static_cast<uint32_t>(p.codes.size()), NoiseStream::kImageTokens};
      codes_[static_cast<size_t>(i)] =
          SampleRow(pair, pair + codebook, codebook, p.request.sampling, key, ScratchOf(thread, codebook));
    }
  });
  for (size_t i = 0; i < pictures_.size(); i++) {
    PictureRows& p = *pictures_[i];
    if (codes_[i] != kNoToken) {
      p.codes.push_back(codes_[i]);
      result.image_tokens++;
      continue;
    }
    result.failed.push_back({p.id, NotNumbers("image token " + std::to_string(p.codes.size() + 1) + " of " +
                                              std::to_string(janus_.config().vq.tokens()))});
    pictures_[i] = nullptr;
  }
  std::erase(pictures_, nullptr);
}

void RowBatch::SampleAnswers(const TextCallback& on_text, StepResult& result) {
  const int64_t vocabulary = janus_.config().llama.vocabulary, answers = Count(answers_);
  if (answers == 0) return;
  const float* x = x_.as<float>() + 2 * Count(pictures_) * janus_.config().llama.hidden;
  float* logits = Grown(text_logits_, answers, vocabulary);
  janus_.TextLogits(x, answers, logits);
  MakeScratch(vocabulary);
  tokens_.resize(answers_.size());
  janus_.pool().ParallelFor(answers, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; i++) {
      const AnswerRow& a = *answers_[static_cast<size_t>(i)];
      const NoiseKey key{a.seed, static_cast<uint32_t>(a.stream.tokens().size()), NoiseStream::kText};
      tokens_[static_cast<size_t>(i)] = SampleRow(logits + i * vocabulary, nullptr, vocabulary, a.sampling,
                                                  key, ScratchOf(thread, vocabulary));
    }
  });

  std::vector<std::unique_ptr<AnswerRow>> going;
  size_t kept = 0;
  for (size_t i = 0; i < answers_.size(); i++) {
    AnswerRow& a = *answers_[i];
    if (tokens_[i] == kNoToken) {
      result.failed.push_back(
          {a.id, NotNumbers("token " + std::to_string(a.stream.tokens().size() + 1) + " of the answer")});
      continue;
    }
    result.text_tokens++;
    if (Append(a, tokens_[i], on_text)) {
      tokens_[kept++] = tokens_[i];
      going.push_back(std::move(answers_[i]));
    } else {
      result.answers.push_back(Finish(a, on_text));
    }
  }
  tokens_.resize(kept);
  answers_ = std::move(going);
}

// The tokens just sampled go through the transformer; pictures with all their codes leave first.
void RowBatch::GoOn(StepResult& result) {
  const auto complete = [&](const auto& p) { return Count(p->codes) == janus_.config().vq.tokens(); };
  for (auto& p : pictures_) {
    if (complete(p)) result.pictures.push_back(std::move(p));
  }
  std::erase(pictures_, nullptr);
  if (empty()) return;

  const LlamaConfig& config = janus_.config().llama;
  const int64_t hidden = config.hidden, pictures = Count(pictures_);
  float* x = x_.as<float>();
  spans_.clear();
  if (pictures > 0) {
    codes_.clear();
    for (const auto& p : pictures_) codes_.push_back(p->codes.back());
    const float* embedded = Grown(embedded_, pictures, hidden);
    janus_.EmbedImageTokens(codes_, embedded_.as<float>());
    for (int64_t i = 0; i < pictures; i++) {
      PictureRows& p = *pictures_[static_cast<size_t>(i)];
      const int64_t position = p.prompt_tokens + Count(p.codes) - 1;
      for (const int64_t half : {0, 1})
        std::copy_n(embedded + i * hidden, hidden, x + (2 * i + half) * hidden);
      spans_.push_back({&p.conditional, position, 1, RowClass::kDecode});
      spans_.push_back({&p.unconditional, position, 1, RowClass::kDecode});
    }
    result.bytes_read += janus_.step_bytes() - janus_.llama().weight_bytes();
  }
  if (!answers_.empty()) {
    janus_.llama().EmbedText(tokens_, x + 2 * pictures * hidden);
    for (const auto& a : answers_) {
      const int64_t position = a->answer.prompt_tokens + Count(a->stream.tokens()) - 1;
      spans_.push_back({&a->cache, position, 1, RowClass::kDecode});
    }
    result.bytes_read += janus_.text_step_bytes() - janus_.llama().weight_bytes();
  }
  janus_.llama().Forward(spans_, x);
  result.rows = Count(spans_);
  result.bytes_read += janus_.llama().weight_bytes();
  for (const SequenceSpan& span : spans_)
    result.bytes_read += KvCache::Bytes(config, janus_.kv_type(), span.start + 1);

  const float* row = x;
  for (const auto& p : pictures_) std::copy_n(row, 2 * hidden, p->hidden.data()), row += 2 * hidden;
  for (const auto& a : answers_) std::copy_n(row, hidden, a->hidden.data()), row += hidden;
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
  row.answer.decode_seconds = Seconds(row.started);
  return std::move(row.answer);
}

}  // namespace bifrons
