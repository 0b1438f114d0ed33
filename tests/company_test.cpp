// What a request becomes does not depend on company: not on who else is there, when they came, who was
// cancelled, how much memory there is, on threads, or on when a device does its work.
#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "tests/deferred_device.h"
#include "tests/test_pictures.h"
#include "tests/together.h"

namespace bifrons {
namespace {

constexpr ModelParts kBothHalves{.understanding = true};

// A request for any model of these weights.
struct Wish {
  bool picture = false;
  DrawRequest draw;
  AnswerRequest answer;
  std::vector<Image> images;

  Submit For(Janus& janus) const {
    if (picture) return Drawing(draw);
    AnswerRequest request = answer;
    request.look = [this, &janus]() -> Result<std::vector<ImageFeatures>> {
      std::vector<ImageFeatures> all;
      for (const Image& image : images) all.push_back(LookAt(janus, image));
      return all;
    };
    return Asking(request);
  }
};

std::string Words(std::mt19937& random, int64_t count) {
  std::string text;
  for (int64_t i = 0; i < count; i++) text += " word" + std::to_string(random() % 90);
  return text;
}

// Pictures of few prompts, some of more than a chunk of tokens, some the best of several, and questions about
// none to two images.
std::vector<Wish> Wishes(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  const std::string prompts[] = {"a dog", "a cat", "", Words(random, 3), Words(random, 40)};
  std::vector<Wish> wishes(count);
  for (Wish& wish : wishes) {
    wish.picture = random() % 2 == 0;
    Sampling sampling;
    sampling.temperature = random() % 4 == 0 ? 0.0f : 0.7f;
    sampling.top_k = random() % 3 == 0 ? 5 : 0;
    if (wish.picture) {
      sampling.guidance = 1.0f + static_cast<float>(random() % 5);
      wish.draw = {prompts[random() % std::size(prompts)], random() % 1000, sampling};
      if (wish.draw.seed % 4 == 0) wish.draw.best_of = 2 + static_cast<int>(wish.draw.seed % 3);
      continue;
    }
    const auto images = static_cast<int64_t>(random() % 3);
    for (int64_t i = 0; i < images; i++)
      wish.images.push_back(NoiseImage(1 + random() % 40, 1 + random() % 40, random()));
    wish.answer.turns = {{images, Words(random, 1 + static_cast<int64_t>(random() % 8)), ""}};
    wish.answer.sampling = sampling;
    wish.answer.seed = random();
    wish.answer.max_tokens = 1 + random() % 25;
  }
  return wishes;
}

void CheckSame(const Outcome& a, const Outcome& alone) {
  REQUIRE(a.picture.has_value() == alone.picture.has_value());
  if (a.picture) {
    REQUIRE(a.picture->ok());
    const DrawnPicture &one = **a.picture, &other = **alone.picture;
    CHECK(one.codes == other.codes);
    CHECK((one.image.rgb == other.image.rgb));
    CHECK(one.seed == other.seed);
    CHECK(one.choice.scores == other.choice.scores);
  } else {
    REQUIRE(a.answer);
    REQUIRE(a.answer->ok());
    CHECK((*a.answer)->tokens == (*alone.answer)->tokens);
    CHECK((*a.answer)->text == (*alone.answer)->text);
    CHECK((*a.answer)->complete == (*alone.answer)->complete);
    CHECK(a.streamed == (*a.answer)->text);
  }
}

std::vector<Outcome> EachAlone(Janus& janus, const std::vector<Wish>& wishes) {
  std::vector<Outcome> alone;
  for (const Wish& wish : wishes) alone.push_back(std::move(RunTogether(janus, {wish.For(janus)}, {0})[0]));
  return alone;
}

struct Limits {
  double pictures_in_memory;  // of the largest; 0 = plenty
  int64_t pictures, answers;  // at once
};

// All wishes together, in some order, and a third as many pictures that are cancelled meanwhile.
void CheckCompany(Janus& janus, const std::vector<Wish>& wishes, const std::vector<Outcome>& alone,
                  const Limits& limits, std::mt19937& random) {
  std::vector<size_t> order(wishes.size());
  for (size_t i = 0; i < order.size(); i++) order[i] = i;
  std::shuffle(order.begin(), order.end(), random);

  size_t largest = 0;
  for (const Wish& wish : wishes) {
    if (wish.picture) largest = std::max(largest, PictureBytes(janus, wish.draw.prompt));
  }
  SchedulerOptions options{.pictures = limits.pictures, .answers = limits.answers};
  if (limits.pictures_in_memory > 0)
    options = WithCaches(janus, static_cast<size_t>(limits.pictures_in_memory * static_cast<double>(largest)),
                         options);

  std::vector<Submit> submits;
  std::vector<int> steps;
  // Bystanders that are cancelled at some step, wherever they are by then.
  std::vector<Scheduler::Id> bystanders;
  std::vector<Outcome> theirs(wishes.size() / 3);
  size_t next_bystander = 0;
  int step = 0;
  for (const size_t i : order) {
    const Submit submit = wishes[i].For(janus);
    const bool with_bystander = submits.size() % 3 == 0;
    submits.push_back([&, submit, i, with_bystander](Scheduler& scheduler, Outcome& outcome) {
      submit(scheduler, outcome);
      if (!with_bystander || next_bystander == theirs.size()) return;
      Outcome& their = theirs[next_bystander++];
      DrawRequest request = wishes[i].draw;
      request.prompt += " too";
      const auto id = scheduler.Submit(
          request, {[&scheduler, &bystanders, n = next_bystander](int64_t tokens) {
                      if (tokens == static_cast<int64_t>(n) % 7 + 1) scheduler.Cancel(bystanders[n - 1]);
                    },
                    [&](Result<DrawnPicture> picture) { their.picture = std::move(picture); }});
      if (!id.ok()) {
        their.picture = id.error();
        bystanders.push_back(Scheduler::kNoId);
        return;
      }
      bystanders.push_back(*id);
      if (next_bystander % 3 == 0) scheduler.Cancel(*id);  // before it begins
    });
    step += static_cast<int>(random() % 5);
    steps.push_back(step);
  }
  const auto outcomes = RunTogether(janus, submits, steps, options);
  for (size_t i = 0; i < order.size(); i++) {
    CAPTURE(limits.pictures_in_memory, i, order[i]);
    CheckSame(outcomes[i], alone[order[i]]);
  }
  REQUIRE(next_bystander == theirs.size());
  for (const Outcome& their : theirs) {
    REQUIRE(their.picture);
    REQUIRE_FALSE(their.picture->ok());
  }
}

TEST_CASE("sixty requests in a random mix, with cancellations, are what each is alone") {
  const auto wishes = Wishes(60, 1);
  const auto alone = EachAlone(*LoadTiny(1, kBothHalves), wishes);
  std::mt19937 random(2);
  struct Case {
    int threads;
    Limits limits;
  };
  for (const Case& c :
       {Case{1, {0, 16, 16}}, Case{2, {2.5, 16, 16}}, Case{3, {1, 3, 2}}, Case{2, {7, 5, 1}}}) {
    CAPTURE(c.threads);
    CheckCompany(*LoadTiny(c.threads, kBothHalves), wishes, alone, c.limits, random);
  }
}

// Nobody may take it that what was given is done, whoever comes and goes.
TEST_CASE("requests in a random mix, with cancellations, are the ref device's on one that works late") {
  const auto wishes = Wishes(15, 3);
  const auto alone = EachAlone(*LoadTiny(RefDevice(2), kBothHalves), wishes);
  std::mt19937 random(4);
  uint64_t seed = 1;
  for (const Limits& limits : {Limits{0, 16, 16}, Limits{2.5, 16, 16}, Limits{1, 3, 2}}) {
    CAPTURE(seed);
    CheckCompany(*LoadTiny(MakeDeferredDevice(seed++, 2), kBothHalves), wishes, alone, limits, random);
  }
}

}  // namespace
}  // namespace bifrons
