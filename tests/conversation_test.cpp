// The engine's answers: batches that conversations join and leave, later turns, limits, and the ids behind
// them.
#include <algorithm>
#include <random>

#include "tests/golden_files.h"
#include "tests/test_pictures.h"
#include "tests/together.h"
#include "vision/image_file.h"

namespace bifrons {
namespace {

std::unique_ptr<Janus> LoadModel(const std::string& model, int threads, const std::string& backend = "cpu") {
  LoadOptions options;
  options.model = model;
  options.device = backend;
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

std::vector<AnswerRequest> RequestsOf(Janus& janus, const std::vector<Asked>& all) {
  std::vector<AnswerRequest> requests;
  for (const Asked& asked : all) requests.push_back(RequestOf(janus, asked));
  return requests;
}

TEST_CASE("Seven answers are those of each alone, in any order, joining at any time, with any thread count") {
  const std::vector<Asked> all = SevenRequests();
  std::vector<Answer> alone(all.size());
  {
    const auto janus = LoadTiny(1);
    for (size_t i = 0; i < all.size(); i++) alone[i] = AnswerAlone(*janus, RequestOf(*janus, all[i]));
  }
  for (size_t i = 0; i < all.size(); i++)
    CHECK(static_cast<int64_t>(alone[i].tokens.size()) == all[i].max_tokens);
  std::mt19937 random(4);
  for (const int threads : {1, 2, 3}) {
    const auto janus = LoadTiny(threads);
    std::vector<size_t> order = {0, 1, 2, 3, 4, 5, 6};
    for (const int every : {0, 1, 3}) {
      const auto together = AnswerTogether(*janus, RequestsOf(*janus, all), order, every);
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
  const auto requests = RequestsOf(*janus, all);
  const auto together = AnswerTogether(*janus, requests, {3, 1, 4}, 1);
  for (const size_t i : {1, 3, 4}) CHECK(AnswerAlone(*janus, requests[i]).tokens == together[i].tokens);
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
    request.cache = std::make_shared<PromptCache>();
    Scheduler scheduler(*janus, {});
    const auto answer = [&](const AnswerRequest& asked) {
      auto answered = AnswerOne(scheduler, asked, nullptr);
      REQUIRE(answered.ok());
      return *answered;
    };
    const Answer earlier = answer(request);
    CHECK(earlier.text == second["answer"].get<std::string>());
    CHECK(earlier.prompt_tokens == static_cast<int64_t>(Ints(golden / "0_ids.npy").size()));

    request.turns[0].answer = earlier.text;
    request.turns.push_back({1, second["text"], ""});
    request.images.push_back(LookAt(*janus, MustLoad((kGoldens / "pictures/tall.png").string())));
    CHECK(janus->EncodeTurns(request.turns).ids == Ints(golden / "chat_ids.npy"));
    AnswerRequest without = request;
    without.cache = nullptr;
    const auto chat_answer = Ints(golden / "chat_answer.npy");
    CHECK(answer(request).tokens == chat_answer);
    CHECK(answer(request).tokens == chat_answer);  // takes over a whole chunk
    CHECK(AnswerAlone(*janus, without).tokens == chat_answer);

    // A picture changed for another is not taken from the cache.
    std::swap(request.images[0], request.images[1]);
    without.images = request.images;
    const auto swapped = answer(request).tokens;
    CHECK(swapped == AnswerAlone(*janus, without).tokens);
    CHECK(swapped != chat_answer);
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
  const Answer ended = AnswerAlone(*ends, RequestOf(*ends, asked));
  CHECK(ended.complete);
  CHECK(ended.tokens == std::vector<int32_t>(expected.begin(), expected.begin() + 2));
  const Answer cut = AnswerAlone(*goes_on, RequestOf(*goes_on, asked));
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
    CHECK(static_cast<int64_t>(AnswerAlone(*goes_on, RequestOf(*goes_on, fills)).tokens.size()) == room);
  }
  question += "7";
  Scheduler scheduler(*goes_on, {});
  const auto refused = scheduler.Submit(RequestOf(*goes_on, {{picture}, question, 100, 0, 0}), {});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().kind == ErrorKind::kUsage);
  for (const int64_t number : {int64_t{1}, goes_on->config().vision.patches(), context})
    CHECK_THAT(refused.error().message, Catch::Contains(std::to_string(number)));
}

}  // namespace
}  // namespace bifrons
