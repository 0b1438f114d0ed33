// A program that embeds the engine: loads a model once, draws three candidates of a prompt at once, writes
// the one that the model likes best as PPM, and asks the model what it sees there. Ctrl-C cancels the
// drawing.
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <future>

#include "bifrons.h"

namespace {

std::atomic<bool> interrupted{false};  // lock-free: a signal's handler may set it

int Fail(const std::string& what) {
  std::fprintf(stderr, "\npostcard: %s\n", what.c_str());
  return 1;
}

bool WritePpm(const char* path, const bifrons::Picture& picture) {
  std::FILE* const file = std::fopen(path, "wb");
  if (!file) return false;
  std::fprintf(file, "P6\n%d %d\n255\n", picture.width, picture.height);
  const bool written = std::fwrite(picture.rgb.data(), 1, picture.rgb.size(), file) == picture.rgb.size();
  return std::fclose(file) == 0 && written;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: postcard PROMPT OUT.ppm\n");
    return 2;
  }
  bifrons::EngineError error;
  bifrons::EngineOptions load;
  load.understanding = true;
  const auto engine = bifrons::Engine::Load(load, &error);
  if (!engine) return Fail(error.message);

  bifrons::DrawOptions options;
  options.prompt = argv[1];
  options.best_of = 3;
  options.seed = 1;
  bifrons::Picture picture;
  std::promise<std::string> ended;  // with what went wrong
  bifrons::DrawCallbacks callbacks;
  // These run on the engine's threads.
  callbacks.on_update = [](const bifrons::DrawUpdate& update) {
    if (update.candidate > 0) return;  // once a step is enough
    std::fprintf(stderr, "\r%3.0f %%, %zu image tokens ", 100 * update.share, update.codes.size());
  };
  callbacks.on_picture = [&](int, bifrons::Picture best) { picture = std::move(best); };
  callbacks.on_end = [&](const bifrons::EngineError* why) { ended.set_value(why ? why->message : ""); };
  const bifrons::RequestId id = engine->Submit(options, callbacks, &error);
  if (id == bifrons::kNoRequest) return Fail(error.message);

  // The program has its thread for itself meanwhile.
  std::signal(SIGINT, [](int) { interrupted = true; });
  std::future<std::string> end = ended.get_future();
  while (end.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready)
    if (interrupted) engine->Cancel(id);
  if (const std::string why = end.get(); !why.empty()) return Fail(why);
  std::fprintf(stderr, "\r100 %%, %zu image tokens \n", picture.codes.size());
  if (!WritePpm(argv[2], picture)) return Fail(std::string("cannot write ") + argv[2]);
  std::printf("%s\n%s\n", argv[2], picture.parameters.c_str());

  // A short question may as well wait for its answer.
  bifrons::QuestionOptions question;
  question.images = {argv[2]};
  question.max_tokens = 64;
  std::string answer;
  if (!engine->Ask(question, nullptr, &answer, &error)) return Fail(error.message);
  std::printf("The model sees: %s\n", answer.c_str());
  return 0;
}
