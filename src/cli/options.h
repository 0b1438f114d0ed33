// The command line, parsed: one plain struct per verb. Only options*.cpp know the parsing library.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "kernels/sampling.h"
#include "src/base/result.h"
#include "src/cli/manual.h"
#include "src/jobs/picture_file.h"
#include "src/jobs/render.h"
#include "src/model/load_options.h"
#include "vision/image_file.h"

namespace bifrons {

struct GenerateOptions {
  LoadOptions load;
  std::vector<std::string> prompts;
  int images = 1;               // per prompt
  int best_of = 1;              // candidates drawn for each picture
  std::optional<int64_t> seed;  // none: a random one, printed
  // None of these: the picture's (--from), the model's or the reference's.
  std::optional<float> guidance, temperature, top_p, min_p;
  std::optional<int> top_k;
  PictureSize size;    // asked for; 0: unsaid
  std::string output;  // "" = out.png, or the next number that is free; "-" = standard output
  std::optional<PictureFormat> format;  // none: what `output`, else `from` ends in, else PNG
  std::string codes_out;
  std::string from;      // a picture to draw again
  int batch = 0;         // pictures drawn together; 0 = what memory allows, at most 16
  bool force = false;    // replace files that bifrons did not write
  bool preview = false;  // show pictures on the terminal
  bool json = false, verbose = false, quiet = false;
};

/// What all verbs that answer questions share.
struct AnswerOptions {
  LoadOptions load;
  ImageOptions image{.pipes = true};  // a person names them
  Sampling sampling{.guidance = 1, .temperature = 0};
  std::optional<int64_t> seed;  // none: a random one, printed when it matters
  int max_tokens = 0;           // of an answer
};

struct CaptionOptions {
  AnswerOptions answer;
  std::vector<std::string> inputs;  // images and folders of images
  std::string question;
  std::string jsonl;  // file to append results to; "" = standard output
  bool write_txt = false, recursive = false, overwrite = false;
  int batch = 0;  // images answered together; 0 = what memory allows, at most 16
  bool json = false, verbose = false, quiet = false;
};

struct AskOptions {
  AnswerOptions answer;
  std::vector<std::string> arguments;  // images, then the question
  bool json = false;
};

struct ChatOptions {
  AnswerOptions answer;
  std::optional<float> guidance;  // of what /draw draws; none: the model's
  PictureSize size;               // the same; 0: unsaid
  bool preview = false;           // show it on the terminal
  std::vector<std::string> images;
};

struct VqOptions {
  enum class Action { kEncode, kDecode, kRoundtrip };
  Action action = Action::kEncode;
  LoadOptions load;
  ImageOptions image{.pipes = true};  // a person names them
  std::vector<std::string> inputs;    // one
  std::string output;
  bool force = false;  // replace a file that bifrons did not write
  bool json = false;
};

struct InfoOptions {
  LoadOptions load;  // model, arithmetic and device of it
  int images = 1;
  bool json = false, tensors = false;
};

struct TokenizeOptions {
  std::string model;
  std::vector<std::string> texts;  // one
};

/// Either a prompt and its codes, or images and a question.
struct TraceOptions {
  LoadOptions load;
  std::string prompt, codes;
  ImageOptions image{.pipes = true};  // a person names them
  std::vector<std::string> images;
  std::optional<std::string> question;  // none: the default one
  std::string out;
  bool layers = false;  // the hidden states, too
};

struct RenderCommand {
  LoadOptions load;
  std::vector<std::string> lists;  // one, moved to `render`
  RenderOptions render;
  PictureSize size;  // asked for; 0: unsaid
  std::string name_template;
  std::string shard;              // "i/N"; "" = what the environment says
  std::string shard_source;       // the variable that said so
  std::vector<std::string> plot;  // axes
  bool json = false, verbose = false, quiet = false;
};

struct MergeOptions {
  std::vector<std::string> folders;
  std::string jobs;    // the list, to tell what is missing by its contents; "" = by what the manifests say
  std::string output;  // one manifest of all; "" = none
  bool force = false;  // replace a file that bifrons did not write
  bool quick = false;  // do not read the pictures
  bool json = false;
};

struct BenchOptions {
  LoadOptions load;
  std::vector<int> rows = {2, 8, 32};
  int position = 300;      // cached positions that a decode step attends to
  int prompt_tokens = 64;  // prefill
  int repeats = 5;
  std::vector<int> pictures;  // not empty: whole pictures, so many at once, instead of the stages
  std::string compare;        // a file that --json wrote before
  bool json = false, csv = false;
};

struct SelftestOptions {
  LoadOptions load;  // the device of it
  std::string ops;   // part of the names of the ops to check; "" = all
  bool json = false, quiet = false;
};

struct KlOptions {
  std::vector<std::string> models;  // one, moved to `load`
  LoadOptions load;
  std::string against;               // the reference; "" = the same model, as stored
  std::vector<std::string> prompts;  // none: some that every model can draw
  int images = 1;                    // per prompt
  int64_t seed = 1;                  // of a prompt's first picture
  std::optional<float> guidance;     // none: the reference's
  bool json = false, quiet = false;
};

struct ExportOptions {
  std::string model, out;
};

struct ConvertCommand {
  std::vector<std::string> models;  // one, moved to `model`
  std::string model, output;
  std::optional<WeightType> weights;  // none: as stored
  int threads = 0;                    // 0 = what affinity and cgroups allow
  bool force = false;                 // replace a file that bifrons did not write
  bool quiet = false;
};

struct PullCommand {
  std::vector<std::string> repositories;  // one: ORG/NAME or ORG/NAME@REVISION
  bool quiet = false;
};

struct CompletionOptions {
  std::vector<std::string> shells;  // one
};

struct ManOptions {
  std::vector<std::string> verbs;  // "vq", "encode"; none: the program
  std::string folder;              // for all pages; "" = one page on standard output
  bool force = false;              // replace files that bifrons did not write
};

/// Pages to write.
struct ManualFiles {
  std::string folder;
  bool force = false;
  std::vector<ManualPage> pages;
};

/// Help, completions or a manual page: print and exit 0.
struct HelpText {
  std::string text;
};

using Command =
    std::variant<HelpText, GenerateOptions, CaptionOptions, AskOptions, ChatOptions, VqOptions, InfoOptions,
                 TokenizeOptions, TraceOptions, BenchOptions, SelftestOptions, KlOptions, ExportOptions,
                 ConvertCommand, RenderCommand, MergeOptions, PullCommand, ManualFiles>;

/// Errors are kUsage, one line.
Result<Command> ParseCommandLine(int argc, const char* const* argv);

}  // namespace bifrons
