// A Batch file that OpenAI's package wrote, answered. openai_batch.py writes the input, and checks that the
// package takes the output; this holds the program to that output, byte for byte.
#include "src/jobs/openai_batch.h"

#include <nlohmann/json.hpp>

#include "src/jobs/plan.h"
#include "tests/job_files.h"

namespace bifrons {
namespace {

using nlohmann::json;

const fs::path kFolder = fs::path(BIFRONS_TEST_DIR) / "goldens/openai_batch";

std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// One line for each entry of the input, with pictures and answers that no model made.
std::string Answers() {
  constexpr int64_t kCreated = 1'700'000'000;
  const std::string picture = ReadText(fs::path(BIFRONS_TEST_DIR) / "goldens/pillow.png");
  REQUIRE(!picture.empty());
  std::string lines;
  for (const JobReader::Entry& entry : ReadJobFile(ReadText(kFolder / "input.jsonl")).entries) {
    if (const BadJob* bad = std::get_if<BadJob>(&entry)) {
      lines += ErrorLine(bad->custom_id, bad->error) + "\n";
      continue;
    }
    const Job& job = std::get<Job>(entry);
    if (job.answer) {
      const bool complete = job.answer->turns.size() == 1;
      lines += ChatLine(job, "key", kCreated, job.model, "A \"dog\" – 犬.\n", complete, 590, 4) + "\n";
      continue;
    }
    std::vector<AnswerPicture> pictures;
    for (int i = 0; i < job.picture->images.value_or(1); i++) {
      pictures.push_back({"file:///out/" + std::to_string(i) + ".png", {}});
      if (job.inline_image) pictures.back().file = Bytes(picture);
    }
    const std::string format = job.picture->format.empty() ? "png" : job.picture->format;
    const PictureSize size = AskedSize(*job.picture, {"", 5, 384, 384}).value_or(PictureSize{384, 384});
    lines += ImagesLine(job, "key", kCreated, format, size, pictures) + "\n";
  }
  return lines;
}

TEST_CASE("the package's requests are understood") {
  const ReadJobs jobs = ReadJobFile(ReadText(kFolder / "input.jsonl"));
  CHECK(jobs.format == JobFormat::kOpenAi);
  CHECK(jobs.picture(0).prompt == "a cat");
  CHECK(jobs.picture(1).prompt == "a dog “in” the rain\n猫");
  CHECK(jobs.picture(1).settings.guidance == 4.5f);
  CHECK(jobs.picture(1).settings.min_p == 0.01f);
  CHECK(jobs.picture(1).seed == 7);
  CHECK(jobs.job(1).inline_image);
  CHECK(jobs.picture(2).format == "webp");
  CHECK(jobs.answer(3).images.at(0).starts_with("data:image/png;base64,"));
  CHECK(jobs.answer(3).max_tokens == 8);
  CHECK(jobs.answer(4).images.at(0) == "/pictures/a dog.png");
  CHECK(jobs.answer(4).turns.at(0).question == "Answer briefly.\n\nWhat is this?");
  CHECK(jobs.answer(4).turns.at(1).question == "What colour is it?");
  CHECK(jobs.job(5).inline_image);
  CHECK(jobs.job(5).quality == "high");
  CHECK(jobs.picture(5).width == 1536);
  CHECK_FALSE(jobs.job(6).inline_image);
  for (size_t i = 7; i < jobs.entries.size(); i++) CHECK(!jobs.bad(i).error.message.empty());
}

TEST_CASE("the answers are those that the package takes") {
  CHECK(Answers() == ReadText(kFolder / "output.jsonl"));
}

// After a change that is meant; then run openai_batch.py goldens.
TEST_CASE("write the answers", "[.write]") { WriteText(kFolder / "output.jsonl", Answers()); }

TEST_CASE("base64") {
  // RFC 4648, section 10.
  const std::pair<std::string, std::string> vectors[] = {{"f", "Zg=="},         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},       {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : vectors) {
    const std::vector<AnswerPicture> pictures = {{"", Bytes(plain)}};
    const json line = json::parse(ImagesLine({}, "", 0, "png", {1, 1}, pictures));
    CHECK(line["response"]["body"]["data"][0]["b64_json"] == encoded);
  }
}

TEST_CASE("errors of both kinds") {
  const json ours = json::parse(ErrorLine("a", Failure("the disk is full")));
  CHECK(ours["response"]["status_code"] == 500);
  CHECK(ours["response"]["body"]["error"]["type"] == "server_error");
  CHECK(ours["response"]["body"]["error"]["param"].is_null());
  CHECK(ours["error"].is_null());
  const json theirs = json::parse(ErrorLine("a", UsageError("x", "body.size")));
  CHECK(theirs["response"]["status_code"] == 400);
  CHECK(theirs["response"]["body"]["error"]["param"] == "size");
  CHECK(json::parse(ErrorLine("a", DataError("x", "custom_id")))["response"]["body"]["error"]["param"] ==
        "custom_id");
  // A message may quote bytes of the file; the line is UTF-8 whatever it quotes.
  CHECK(json::parse(ErrorLine("a", DataError("\xFF")))["response"]["body"]["error"]["message"] ==
        "\xEF\xBF\xBD");
}

TEST_CASE("an answer's request_id tells which request it answers") {
  Job job;
  job.custom_id = "a", job.model = "m";
  const auto id = [](const Job& of, const std::string& key) { return AnswerRequestId(of, key); };
  CHECK(id(job, "k") == id(job, "k"));
  CHECK(id(job, "k") != id(job, "l"));
  std::vector<Job> others(4, job);
  others[0].custom_id = "b", others[1].model = "n", others[2].quality = "low", others[3].inline_image = true;
  for (const Job& other : others) CHECK(id(job, "k") != id(other, "k"));
  CHECK(json::parse(ImagesLine(job, "k", 0, "png", {1, 1}, {}))["response"]["request_id"] == id(job, "k"));
  CHECK(json::parse(ChatLine(job, "k", 0, "m", "", true, 1, 1))["response"]["request_id"] == id(job, "k"));
}

TEST_CASE("ids belong to the request") {
  const auto id = [](const std::string& custom_id) {
    return json::parse(ErrorLine(custom_id, DataError("x")))["id"].get<std::string>();
  };
  CHECK(id("a") == id("a"));
  CHECK(id("a") != id("b"));
  CHECK(id("a").starts_with("batch_req_"));
}

}  // namespace
}  // namespace bifrons
