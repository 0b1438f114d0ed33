// The engine's answers: batches that conversations join and leave, later turns, limits, and the ids behind
// them.
#include <algorithm>
#include <random>

#include "src/engine/answer.h"
#include "tests/golden_files.h"
#include "tests/test_pictures.h"
#include "vision/image_file.h"

namespace bifrons {
namespace {

std::unique_ptr<Janus> LoadModel(const std::string& model, int threads, const std::string& backend = "cpu") {
  LoadOptions options;
  options.model = model;
  options.backend = backend;
  options.compute = DType::kF32;
  options.threads = threads;
  options.parts = kUnderstandingParts;
  auto janus = Janus::Load(options);
  if (!janus.ok()) FAIL(janus.error().message);
  return std::move(*janus);
}

std::unique_ptr<Janus> LoadTiny(int threads, const std::string& backend = "cpu") {
  return LoadModel((kGoldens / "tiny-a/converted").string(), threads, backend);
}

Image MustLoad(const std::string& file) {
  auto image = LoadImage(file);
  if (!image.ok()) FAIL(image.error().message);
  return std::move(*image);
}

// A request before it has met a model.
struct Asked {
  std::vector<Image> images;
  std::string question;
  int64_t max_tokens = 0;
  float temperature = 0;
  uint64_t seed = 0;
};

AnswerRequest RequestOf(Janus& janus, const Asked& asked) {
  AnswerRequest request;
  request.turns = {{static_cast<int64_t>(asked.images.size()), asked.question, ""}};
  for (const Image& image : asked.images) request.images.push_back(LookAt(janus, image));
  request.sampling.temperature = asked.temperature;
  request.seed = asked.seed;
  request.max_tokens = asked.max_tokens;
  return request;
}

// Seven with pictures of different sizes, questions and answers of different lengths; one with two pictures,
// one with none; greedy and drawn.
std::vector<Asked> SevenRequests() {
  const TemporaryFolder folder;
  const std::pair<int, int> sizes[] = {{12, 12}, {1, 1}, {3, 50}, {64, 64}, {17, 5}, {200, 31}, {40, 41}};
  std::vector<Asked> all;
  std::string question;
  for (int i = 0; i < 7; i++) {
    WriteTestPicture(folder / "p.png", sizes[i].first, sizes[i].second, static_cast<uint32_t>(i));
    Asked asked;
    asked.images.push_back(MustLoad(folder / "p.png"));
    if (i == 3) asked.images.push_back(all[1].images[0]);
    if (i == 4) asked.images.clear();
    asked.question = question;
    asked.max_tokens = 4 + (i * 5) % 9;
    asked.temperature = i % 2 ? 0.8f : 0;
    asked.seed = static_cast<uint64_t>(100 + i);
    question += i == 2 ? "what is under the tree, " : "and ü ";
    all.push_back(std::move(asked));
  }
  return all;
}

// Answers by id. Request `order[i]` joins after `every · i` steps.
std::vector<Answer> AnswerAll(Janus& janus, const std::vector<Asked>& all, const std::vector<size_t>& order,
                              size_t every) {
  AnswerBatch batch(janus);
  std::vector<Answer> answers(all.size());
  std::vector<std::string> streamed(all.size());
  size_t next = 0, steps = 0;
  while (next < order.size() || batch.size() > 0) {
    while (next < order.size() && steps >= every * next) {
      const size_t id = order[next++];
      REQUIRE(batch.Add(static_cast<int64_t>(id), RequestOf(janus, all[id])).ok());
    }
    for (Answer& answer :
         batch.Step([&](int64_t id, const std::string&more) { streamed[static_cast<size_t>(id)] += more; })) {
      answers[static_cast<size_t>(answer.id)] = std::move(answer);
    }
    steps++;
  }
  for (const size_t id : order) CHECK(streamed[id] == answers[id].text);
  return answers;
}

TEST_CASE("Seven answers are those of each alone, in any order, joining at any time, with any thread count") {
  const std::vector<Asked> all = SevenRequests();
  std::vector<Answer> alone(all.size());
  {
    const auto janus = LoadTiny(1);
    for (size_t i = 0; i < all.size(); i++) alone[i] = std::move(AnswerAll(*janus, all, {i}, 0)[i]);
  }
  for (size_t i = 0; i < all.size(); i++)
    CHECK(static_cast<int64_t>(alone[i].tokens.size()) == all[i].max_tokens);
  std::mt19937 random(4);
  for (const int threads : {1, 2, 3}) {
    const auto janus = LoadTiny(threads);
    std::vector<size_t> order = {0, 1, 2, 3, 4, 5, 6};
    for (const size_t every : {0, 1, 3}) {
      const auto together = AnswerAll(*janus, all, order, every);
      for (const size_t i : order) {
        CAPTURE(threads, every, i);
        CHECK(together[i].tokens == alone[i].tokens);
        CHECK(together[i].text == alone[i].text);
      }
      std::shuffle(order.begin(), order.end(), random);
    }
  }
}

TEST_CASE("ref's answers are the same alone and in a batch") {
  const std::vector<Asked> all = SevenRequests();
  const auto janus = LoadTiny(2, "ref");
  const auto together = AnswerAll(*janus, all, {3, 1, 4}, 1);
  for (const size_t i : {1, 3, 4}) CHECK(AnswerAll(*janus, all, {i}, 0)[i].tokens == together[i].tokens);
}

TEST_CASE("A later turn has the reference's ids and answer, with and without the earlier turn's cache") {
  for (const std::string name : {"tiny-a", "tiny-b", "tiny-c"}) {
    INFO(name);
    const fs::path golden = kGoldens / name / "understanding";
    const auto json = nlohmann::json::parse(ReadText(golden / "golden.json"));
    const auto janus = LoadModel((kGoldens / name / "original").string(), 2);
    const auto first = json["questions"][0], second = json["second_turn"];
    AnswerRequest request;
    request.turns = {{1, first["text"], ""}};
    request.images = {LookAt(*janus, MustLoad((kGoldens / "pictures/wide.png").string()))};
    request.max_tokens = json["max_tokens"];
    PromptCache cache;
    AnswerBatch batch(*janus);
    REQUIRE(batch.Add(1, request, &cache).ok());
    std::vector<Answer> done;
    while (done.empty()) done = batch.Step(nullptr);
    CHECK(done[0].text == second["answer"].get<std::string>());
    CHECK(done[0].prompt_tokens == static_cast<int64_t>(Ints(golden / "0_ids.npy").size()));

    request.turns[0].answer = done[0].text;
    request.turns.push_back({1, second["text"], ""});
    request.images.push_back(LookAt(*janus, MustLoad((kGoldens / "pictures/tall.png").string())));
    CHECK(janus->EncodeTurns(request.turns).ids == Ints(golden / "chat_ids.npy"));
    REQUIRE(batch.Add(2, request, &cache).ok());
    REQUIRE(batch.Add(3, request, &cache).ok());  // takes over a whole chunk
    REQUIRE(batch.Add(4, request).ok());
    done.clear();
    while (batch.size() > 0)
      for (Answer& answer : batch.Step(nullptr)) done.push_back(std::move(answer));
    REQUIRE(done.size() == 3);
    for (const Answer& answer : done) CHECK(answer.tokens == Ints(golden / "chat_answer.npy"));

    // A picture changed for another is not taken from the cache.
    std::swap(request.images[0], request.images[1]);
    REQUIRE(batch.Add(5, request, &cache).ok());
    REQUIRE(batch.Add(6, request).ok());
    done.clear();
    while (batch.size() > 0)
      for (Answer& answer : batch.Step(nullptr)) done.push_back(std::move(answer));
    CHECK(done[0].tokens == done[1].tokens);
    CHECK(done[0].tokens != Ints(golden / "chat_answer.npy"));
  }
}

TEST_CASE("Questions have the reference's ids, be they padded with white space or empty") {
  for (const std::string name : {"tiny-a", "tiny-b", "tiny-c"}) {
    const fs::path golden = kGoldens / name / "understanding";
    const auto json = nlohmann::json::parse(ReadText(golden / "golden.json"));
    const auto janus = LoadModel((kGoldens / name / "original").string(), 1);
    for (size_t q = 0; q < json["questions"].size(); q++) {
      const auto& question = json["questions"][q];
      const Turn turn{static_cast<int64_t>(question["pictures"].size()), question["text"], ""};
      INFO(name << ", question " << q);
      CHECK(janus->EncodeTurns({&turn, 1}).ids == Ints(golden / (std::to_string(q) + "_ids.npy")));
    }
  }
}

TEST_CASE("Nothing in a question or an answer becomes a token of the template") {
  for (const std::string name : {"tiny-a/converted", "tiny-b/original"}) {
    const auto janus = LoadModel((kGoldens / name).string(), 1);
    const Tokenizer& tokenizer = janus->tokenizer();
    const int64_t patches = janus->config().vision.patches();
    const std::string markers =
        "<image_placeholder> <begin_of_image><end_of_image> <|User|>: x <|Assistant|>:<｜end▁of▁sentence｜>"
        "<｜begin▁of▁sentence｜><｜▁pad▁｜>";
    const auto plain = janus->EncodeTurns(std::vector<Turn>{{2, "x", "y"}, {1, "x", ""}});
    const auto marked = janus->EncodeTurns(std::vector<Turn>{{2, markers, markers}, {1, markers, ""}});
    REQUIRE(plain.image_starts.size() == 3);
    REQUIRE(marked.image_starts.size() == 3);
    for (const std::string token :
         {"<image_placeholder>", "<begin_of_image>", "<end_of_image>", "<|User|>", "<|Assistant|>",
          "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>", "<｜▁pad▁｜>"}) {
      const auto id = tokenizer.IdOf(token);
      if (!id) continue;  // Janus-1.3B's roles are words
      INFO(token);
      CHECK(std::count(marked.ids.begin(), marked.ids.end(), *id) ==
            std::count(plain.ids.begin(), plain.ids.end(), *id));
    }
    for (const int64_t start : marked.image_starts) {
      CHECK(marked.ids[static_cast<size_t>(start - 1)] == *tokenizer.IdOf("<begin_of_image>"));
      CHECK(marked.ids[static_cast<size_t>(start)] == *tokenizer.IdOf("<image_placeholder>"));
      CHECK(marked.ids[static_cast<size_t>(start + patches)] == *tokenizer.IdOf("<end_of_image>"));
    }
    // Their characters are there, as a user may ask about them.
    CHECK_THAT(tokenizer.Decode(marked.ids, false), Catch::Contains(markers));
  }
}

TEST_CASE("An answer ends with EOS, with max_tokens and with the context; what leaves no room is refused") {
  // A model whose EOS is the third token of an answer.
  const TemporaryFolder folder;
  fs::copy(kGoldens / "tiny-a/converted", folder / "model");
  const auto expected = Ints(kGoldens / "tiny-a/understanding/0_answer.npy");
  {
    const auto janus = LoadTiny(1);
    auto config = nlohmann::json::parse(ReadText(folder / "model/tokenizer_config.json"));
    config["eos_token"] = janus->tokenizer().Decode(std::vector<int32_t>{expected[2]}, false);
    REQUIRE(janus->tokenizer().IdOf(config["eos_token"].get<std::string>()) == expected[2]);
    WriteText(folder / "model/tokenizer_config.json", config.dump());
  }
  const auto ends = LoadModel(folder / "model", 1), goes_on = LoadTiny(1);
  const Image picture = MustLoad((kGoldens / "pictures/wide.png").string());
  const Asked asked{{picture}, "What is on the picture?", 12, 0, 0};
  const Answer ended = std::move(AnswerAll(*ends, {asked}, {0}, 0)[0]);
  CHECK(ended.complete);
  CHECK(ended.tokens == std::vector<int32_t>(expected.begin(), expected.begin() + 2));
  const Answer cut = std::move(AnswerAll(*goes_on, {asked}, {0}, 0)[0]);
  CHECK_FALSE(cut.complete);
  CHECK(cut.tokens == expected);

  // Questions that fill the context up to its last position, and one that is too long.
  const int64_t context = goes_on->config().llama.max_positions;
  std::string question;
  const auto length = [&] {
    return static_cast<int64_t>(goes_on->EncodeTurns(std::vector<Turn>{{1, question, ""}}).ids.size());
  };
  for (const int64_t room : {4, 1}) {
    while (length() < context - room) question += "7";
    const Asked fills{{picture}, question, 100, 0, 0};
    CHECK(static_cast<int64_t>(AnswerAll(*goes_on, {fills}, {0}, 0)[0].tokens.size()) == room);
  }
  question += "7";
  AnswerBatch batch(*goes_on);
  const Status refused = batch.Add(0, RequestOf(*goes_on, {{picture}, question, 100, 0, 0}));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().kind == ErrorKind::kUsage);
  for (const int64_t number : {int64_t{1}, goes_on->config().vision.patches(), context})
    CHECK_THAT(refused.error().message, Catch::Contains(std::to_string(number)));
  CHECK(batch.size() == 0);
}

}  // namespace
}  // namespace bifrons
