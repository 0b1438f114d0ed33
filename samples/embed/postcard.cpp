// A program that embeds the engine: loads a model once, draws a prompt, writes the picture as PPM, and asks
// the model what it sees on it.
#include <cstdio>

#include "bifrons.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: postcard PROMPT OUT.ppm\n");
    return 2;
  }
  std::string error;
  bifrons::EngineOptions load;
  load.understanding = true;
  const auto engine = bifrons::Engine::Load(load, &error);
  if (!engine) {
    std::fprintf(stderr, "postcard: %s\n", error.c_str());
    return 1;
  }

  bifrons::DrawOptions options;
  options.prompt = argv[1];
  options.seed = 1;
  const auto progress = [](double share) {
    std::fprintf(stderr, "\r%3.0f %%", 100 * share);
    return true;  // false would stop
  };
  const auto pictures = engine->Draw(options, progress, &error);
  std::fprintf(stderr, "\n");
  if (pictures.empty()) {
    std::fprintf(stderr, "postcard: %s\n", error.c_str());
    return 1;
  }

  const bifrons::Picture& picture = pictures[0];
  std::FILE* file = std::fopen(argv[2], "wb");
  if (!file) {
    std::perror(argv[2]);
    return 1;
  }
  std::fprintf(file, "P6\n%d %d\n255\n", picture.width, picture.height);
  std::fwrite(picture.rgb.data(), 1, picture.rgb.size(), file);
  if (std::fclose(file) != 0) {
    std::perror(argv[2]);
    return 1;
  }
  std::printf("%s\n%s\n", argv[2], picture.parameters.c_str());

  bifrons::QuestionOptions question;
  question.images = {argv[2]};
  question.max_tokens = 64;
  std::string answer;
  if (!engine->Ask(question, nullptr, &answer, &error)) {
    std::fprintf(stderr, "postcard: %s\n", error.c_str());
    return 1;
  }
  std::printf("The model sees: %s\n", answer.c_str());
  return 0;
}
