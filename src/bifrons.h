// bifrons for programs that embed it: load a Janus model once, draw from prompts, ask about images.
// samples/embed/ shows it in use. This header stands alone: nothing else of the source tree is needed to
// compile against it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace bifrons {

/// How to load a model. The defaults are those of the program `bifrons`.
struct EngineOptions {
  std::string model;  // folder, "random:janus-pro-1b", or "" for $BIFRONS_MODEL or the bundled model
  std::string device =
      "auto";  // "cuda" (or "cuda:1", …), "cpu", "ref" (slow scalar reference); auto = cuda or else cpu
  std::string instruction_set;  // "" = the best this processor has
  std::string dtype;            // "f32", "bf16", or "" = bf16 where the processor multiplies it
  int threads = 0;              // 0 = what affinity and cgroups allow
  // The halves to load; each takes memory of its own.
  bool drawing = true;
  bool understanding = false;
};

/// What to draw. Picture k of `images` has seed + k; its pixels depend on nothing else that is being drawn.
struct DrawOptions {
  std::string prompt;  // UTF-8
  int images = 1;
  uint64_t seed = 0;      // 0 … 2⁵³ − images
  float guidance = -1;    // classifier-free guidance weight; negative = the model's default
  float temperature = 1;  // 0 = greedy
  int top_k = 0;          // 0 = all
  float top_p = 1;        // 1 = all
  float min_p = 0;        // 0 = none
};

struct Picture {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb;    // [height, width, 3]
  std::vector<int32_t> codes;  // image tokens, row by row
  std::string parameters;      // the text that `bifrons generate` stores in its PNG files
};

/// What to ask, of any number of images.
struct QuestionOptions {
  std::string question = "Describe this image.";  // UTF-8
  std::vector<std::string> images;                // paths or data: URIs, in the order the question means
  int max_tokens = 512;                           // longest answer
  float temperature = 0;                          // 0 = greedy
  float top_p = 1;                                // 1 = all
  float min_p = 0;                                // 0 = none
  uint64_t seed = 0;                              // of a sampled answer
};

/// One loaded model. Calls on one Engine must not overlap. Nothing is thrown: too little memory, and what a
/// callback throws, are failures, after which the engine can be used again.
class Engine {
 public:
  /// nullptr on failure, with one line in *error that names the file, tensor or option.
  static std::unique_ptr<Engine> Load(const EngineOptions& options, std::string* error);
  ~Engine();

  /// Empty on failure, with one line in *error. `progress`, if given, is called with a share from 0 to 1;
  /// returning false stops the drawing.
  std::vector<Picture> Draw(const DrawOptions& options, const std::function<bool(double)>& progress,
                            std::string* error);

  /// The answer's text; false on failure, with one line in *error. `on_text`, if given, gets the text as it
  /// comes, in whole characters; returning false ends the answer there.
  bool Ask(const QuestionOptions& options, const std::function<bool(const std::string&)>& on_text,
           std::string* answer, std::string* error);

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace bifrons
