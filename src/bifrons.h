// bifrons for programs that embed it: load a Janus model once, draw from prompts, ask about images.
// samples/embed/ shows it in use. This header stands alone: nothing else of the source tree is needed to
// compile against it.
//
// Two ways lead to the same results. Draw and Ask wait for theirs. Submit returns at once, callbacks tell
// what becomes of the request; any number of requests share the steps of one engine, and what one becomes
// depends on none of the others.
#pragma once

#if __cplusplus < 202002L
#error "bifrons.h is C++20: compile with -std=c++20"
#endif

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace bifrons {

/// How to load a model. The defaults are those of the program `bifrons`.
struct EngineOptions {
  // A folder, a GGUF, "random:janus-pro-1b", "janus-mini" (the bundled one), or "" = $BIFRONS_MODEL, else
  // that.
  std::string model;
  std::string device =
      "auto";  // "cuda" (or "cuda:1", …), "cpu", "ref" (slow scalar reference); auto = cuda or else cpu
  std::string instruction_set;  // "" = the best this processor has
  std::string dtype;            // "f32", "bf16", or "" = bf16 where the processor multiplies it
  // The weights' matrices and text embedding: "bf16", "q8_0", "q4_0", "q4_k", "mixed", any of them with roles
  // behind it ("q4_0,down=q8_0"), or "" = as they are stored.
  std::string type;
  int kv_bits = 0;  // of the transformer's cached keys and values: 16 (bf16), 8 (q8_0), or 0 = as dtype
  int threads = 0;  // 0 = what affinity and cgroups allow
  // The halves to load; each takes memory of its own.
  bool drawing = true;
  bool understanding = false;
};

/// What went wrong.
struct EngineError {
  enum class Kind {
    kFailure,    // memory, a file, a device, what a callback threw: the same may succeed another time
    kUsage,      // the options, or a request that can never be served; the message says what to do
    kBadData,    // the model's files, an image
    kCancelled,  // by Cancel, by a callback that returned false, or by the engine's end
  };
  Kind kind = Kind::kFailure;
  std::string message;  // one line of UTF-8 that names the file, tensor or option
  std::string field;    // of a request, where one is at fault: "prompt", "seed", …
};

/// What to draw.
struct DrawOptions {
  std::string prompt;  // UTF-8
  int images = 1;
  uint64_t seed = 0;      // 0 … 2⁵³ − images · best_of; picture k has seed + k · best_of
  float guidance = -1;    // classifier-free guidance weight; negative = the model's default
  float temperature = 1;  // 0 = greedy
  int top_k = 0;          // 0 = all
  float top_p = 1;        // 1 = all
  float min_p = 0;        // 0 = none
  /// Candidates drawn for each picture, with seeds that count up, of which the model's understanding half
  /// keeps the one that shows the prompt best: 1 … 1000.
  int best_of = 1;
};

struct Picture {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb;    // [height, width, 3]
  std::vector<int32_t> codes;  // image tokens [grid²], row by row
  std::string parameters;      // the text that `bifrons generate` stores in its PNG files
  uint64_t seed = 0;           // that drew it
  std::vector<float> scores;  // of the candidates, in the order of their seeds: log-probabilities, 0 at best;
                              // empty when best_of is 1
};

/// A submitted request, from 1 on; never given twice.
using RequestId = int64_t;
constexpr RequestId kNoRequest = 0;

/// How far a request for pictures is.
struct DrawUpdate {
  RequestId id = kNoRequest;
  double share = 0;                // of the whole request, 0 … 1, which on_end stands for
  int image = 0, candidate = 0;    // whose codes these are, both from 0
  std::span<const int32_t> codes;  // image tokens so far, row by row; valid during the call
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

/// Told about a submitted request, on the engine's threads, one call of a request at a time. A callback may
/// submit and cancel; it must not wait (Wait, Draw, Ask, the engine's end), and while it runs the engine's
/// other work may stand still. A request fails when its callbacks throw; what on_end throws is dropped. All
/// but on_end may be empty.
struct DrawCallbacks {
  /// Some times a second or more; left out while another callback of the request runs.
  std::function<void(const DrawUpdate& update)> on_update;
  /// Picture `image` is there; in whatever order they are done.
  std::function<void(int image, Picture picture)> on_picture;
  /// Once, last: all pictures are there (nullptr), or why the others are not.
  std::function<void(const EngineError* error)> on_end;
};

/// The same of a question.
struct AskCallbacks {
  std::function<void(const std::string& more)> on_text;  // the answer as it comes, in whole characters
  /// Once, last: `answer` is all of it, or, with an error, what there was by then.
  std::function<void(const EngineError* error, const std::string& answer)> on_end;
};

/// One loaded model. Every function may be called from any thread, whatever others do meanwhile; the engine's
/// end alone must be the last call. Nothing is thrown: too little memory, and what a callback throws, are
/// failures, after which the engine can be used again.
class Engine {
 public:
  /// nullptr on failure. Of every function here `error` may be null.
  static std::unique_ptr<Engine> Load(const EngineOptions& options, EngineError* error);
  /// Cancels what is left; every on_end has returned when this does.
  ~Engine();

  /// Queues a request; kNoRequest if it is refused, and then nothing is called back. Callbacks may come
  /// before this returns.
  RequestId Submit(const DrawOptions& options, DrawCallbacks callbacks, EngineError* error);
  RequestId Submit(const QuestionOptions& options, AskCallbacks callbacks, EngineError* error);
  /// The request ends before the engine's next step, with an error (kCancelled). Ids of requests that have
  /// ended are ignored.
  void Cancel(RequestId id);
  /// Waits until the request has ended: its on_end has returned.
  void Wait(RequestId id);
  /// The same for all requests.
  void WaitForAll();

  /// Submits and waits; empty on failure. `progress`, if given, is called on this thread with a share from 0
  /// to 1, ten times a second or more; returning false stops the drawing.
  std::vector<Picture> Draw(const DrawOptions& options, const std::function<bool(double)>& progress,
                            EngineError* error);
  /// Submits and waits; the answer's text, false on failure. `on_text`, if given, gets the text on this
  /// thread as it comes, in whole characters; returning false ends the answer there.
  bool Ask(const QuestionOptions& options, const std::function<bool(const std::string&)>& on_text,
           std::string* answer, EngineError* error);

  /// The same, for callers to whom an error is its message.
  template <std::same_as<std::string> Message>
  static std::unique_ptr<Engine> Load(const EngineOptions& options, Message* error) {
    return WithMessage(error, [&](EngineError* e) { return Load(options, e); });
  }
  template <std::same_as<std::string> Message>
  std::vector<Picture> Draw(const DrawOptions& options, const std::function<bool(double)>& progress,
                            Message* error) {
    return WithMessage(error, [&](EngineError* e) { return Draw(options, progress, e); });
  }
  template <std::same_as<std::string> Message>
  bool Ask(const QuestionOptions& options, const std::function<bool(const std::string&)>& on_text,
           std::string* answer, Message* error) {
    return WithMessage(error, [&](EngineError* e) { return Ask(options, on_text, answer, e); });
  }

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  template <class Call>
  static auto WithMessage(std::string* message, const Call& call) {
    EngineError error;
    auto result = call(&error);
    if (message && !error.message.empty()) *message = std::move(error.message);
    return result;
  }
  std::unique_ptr<Impl> impl_;
};

}  // namespace bifrons
