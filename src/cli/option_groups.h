// What the verbs' definitions share, and where each verb is defined. Only options*.cpp include this.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/cli/option_table.h"
#include "src/cli/options.h"

namespace bifrons {

inline constexpr int kMaxImages = 1'000'000;

/// The groups of --help, in their order there.
inline constexpr const char* kEveryday = "Options";
inline constexpr const char* kSampling = "Sampling";
inline constexpr const char* kDrawing = "Drawing";
inline constexpr const char* kFiles = "Files";
inline constexpr const char* kReading = "Reading images";
inline constexpr const char* kRunning = "Running";
inline constexpr const char* kComputing = "Model and device";

/// What values are called in --help; completions offer files, folders and folders.
inline constexpr const char* kFile = "FILE";
inline constexpr const char* kFolder = "FOLDER";
inline constexpr const char* kModel = "MODEL";
/// Tells completions of an option's values, where no check has them.
void OfferValues(CLI::Option* option, const std::vector<std::string>& values);

/// Ours first, then those of other programs.
inline constexpr const char* kGuidanceNames = "--cfg,--cfg-scale,--guidance";
inline constexpr const char* kImagesNames = "-n,--images,-b,--batch-count";

/// The group of the options that are added to `app` from here on; returns it.
CLI::App* InGroup(CLI::App* app, const char* group);

/// A verb with examples below its options, in kEveryday. Whatever it does not know is left over.
CLI::App* AddVerb(CLI::App& app, const char* name, const char* description, const std::string& examples);
void AddModel(CLI::App* app, std::string& model);
/// --offline
void AddOffline(CLI::App* app);
void AddDtype(CLI::App* app, std::optional<DType>& compute);
/// --kv
void AddKv(CLI::App* app, std::optional<DType>& kv);
/// --type, of weights that are made while a model is loaded, or for a file.
void AddType(CLI::App* app, std::optional<WeightType>& weights,
             const std::string& when = ", made while loading");
/// --threads
void AddThreads(CLI::App* app, int& threads);
/// Threads, device, convolutions, instruction set: kComputing, as what AddDtype and AddLoad add.
void AddDevice(CLI::App* app, LoadOptions& load);
/// Model, its weights' type, arithmetic, those of AddDevice, profile; for verbs that run the transformer its
/// caches' type and its template as well.
void AddLoad(CLI::App* app, LoadOptions& load, bool transformer = true);
/// How images are read: kReading.
void AddImage(CLI::App* app, ImageOptions& image);
/// --format
template <class Format>
void AddFormat(CLI::App* app, Format& format, const char* help) {
  app->add_option_function<std::string>(
         "--format",
         [&format](const std::string& name) {
           if (auto parsed = ParsePictureFormat(name); parsed.ok()) format = *parsed;
         },
         help)
      ->check(CLI::IsMember({"png", "jpg", "jpeg", "webp"}));
}
/// --force
void AddForce(CLI::App* app, bool& force);
/// Strings, each taken as it stands (CLI11 would take "[a, b]" for a list), behind those that are there. Of
/// positional ones the first is taken; the others are left over for ParseCommandLine, and so is all that
/// follows
/// `--`.
CLI::Option* AddStrings(CLI::App* app, const char* name, std::vector<std::string>& strings,
                        const std::string& help);
/// A positional string that there has to be one of, taken as AddStrings takes them, so that what is one too
/// many can be told by the verb's Check, and whether there is one at all.
CLI::Option* AddOne(CLI::App* app, const char* name, std::vector<std::string>& strings,
                    const std::string& help);
CLI::Option* TakeWhole(CLI::Option* option);
/// A positional that may be left out, as --help and manual pages show it. CLI11's own mark is for those that
/// it asks for itself; of ours the verbs' Check does. Configuration files, whose mark this takes, there are
/// none.
inline CLI::Option* MayBeAbsent(CLI::Option* positional) { return positional->configurable(false); }
inline bool IsAsked(const CLI::Option& positional) { return positional.get_configurable(); }
/// --preview
void AddPreview(CLI::App* app, bool& preview);
/// --width and --height, also -W and -H.
void AddAsked(CLI::App* app, PictureSize& size);
/// An option that other programs have, refused with the reason whatever its value; not in --help.
void AddRefused(CLI::App* app, const std::string& names, const std::string& reason);
/// What image programs have and a model that draws token by token has not.
void RefuseForeign(CLI::App* app);

/// The command line's own help: groups, other spellings of a name behind the description, lines of 100
/// columns.
std::shared_ptr<CLI::Formatter> MakeHelpFormatter();
/// What an option is for, and its names beside the first short and the first long one.
std::string DescriptionOf(const CLI::Option& option);

/// `app` with its verbs, as far as --help tells of them.
VerbRow TableOf(const CLI::App& app);

/// Whether `text` is a number in decimals, of whatever size.
bool IsNumeral(const std::string& text, bool whole);

/// A check that a value is a number in a range; unlike CLI::Range this lets no NaN through, and says it as
/// people do.
template <class T>
auto Between(T least, T most) {
  return [least, most](const std::string& text) -> std::string {
    T value{};
    const bool is_number = CLI::detail::lexical_cast(text, value);
    if (!is_number && !IsNumeral(text, std::is_integral_v<T>))
      return text + (std::is_integral_v<T> ? " is no whole number" : " is no number");
    if (!is_number || !(value >= least && value <= most))
      return "must lie between " + CLI::detail::to_string(least) + " and " + CLI::detail::to_string(most);
    return {};
  };
}

/// A number, or an optional one, that must lie in a range.
template <class T, class Target>
void AddRanged(CLI::App* app, const std::string& name, Target& target, T least, T most,
               const std::string& help) {
  app->add_option_function<T>(
         name, [&target](const T& value) { target = value; }, help)
      ->check(Between<T>(least, most));
}

/// Guidance, temperature and masks (kSampling), into fields that GenerateOptions and DrawSettings share.
template <class Settings>
void AddSampling(CLI::App* app, Settings& settings) {
  InGroup(app, kSampling);
  AddRanged<float>(app, kGuidanceNames, settings.guidance, -1000, 1000,
                   "classifier-free guidance weight, 1 = none (default: the model's, else 5)");
  AddRanged<float>(app, "--temperature", settings.temperature, 0, 1000, "0 = greedy (default 1)");
  AddRanged<int>(app, "--top-k", settings.top_k, 0, 1 << 30, "keep the k likeliest tokens (default 0 = all)");
  AddRanged<float>(app, "--top-p", settings.top_p, 0, 1,
                   "keep the likeliest tokens up to this probability (default 1 = all)");
  AddRanged<float>(app, "--min-p", settings.min_p, 0, 1,
                   "drop tokens below this share of the likeliest (default 0)");
}

// ---- options_draw.cpp
void AddGenerate(CLI::App& app, GenerateOptions& options);
Status Check(const GenerateOptions& options);

// ---- options_render.cpp
void AddRender(CLI::App& app, RenderCommand& options);
void AddMerge(CLI::App& app, MergeOptions& options);
/// Arguments of `render` with what belongs to --grid and --plot told apart from what follows, which CLI11
/// would take for a value.
std::vector<std::string> WithOwnValues(std::vector<std::string> arguments);
/// Parses what has a syntax of its own.
Status Complete(RenderCommand& options);
Status Check(const MergeOptions& options);

// ---- options_see.cpp
void AddCaption(CLI::App& app, CaptionOptions& options);
void AddAsk(CLI::App& app, AskOptions& options);
void AddChat(CLI::App& app, ChatOptions& options);
void AddVq(CLI::App& app, VqOptions& options);
Status Check(const CaptionOptions& options);
Status Check(const AskOptions& options);
Status Check(const VqOptions& options);

// ---- options_tools.cpp
void AddInfo(CLI::App& app, InfoOptions& options);
void AddTokenize(CLI::App& app, TokenizeOptions& options);
void AddTrace(CLI::App& app, TraceOptions& options);
void AddBench(CLI::App& app, BenchOptions& options);
void AddSelftest(CLI::App& app, SelftestOptions& options);
void AddKl(CLI::App& app, KlOptions& options);
void AddExport(CLI::App& app, ExportOptions& options);
void AddConvert(CLI::App& app, ConvertCommand& options);
void AddPull(CLI::App& app, PullCommand& options);
/// Take the model, wherever it is named.
Status Complete(KlOptions& options);
Status Complete(ConvertCommand& options);
Status Check(const PullCommand& options);
Status Check(const TokenizeOptions& options);
Status Check(const TraceOptions& options);

// ---- options_documents.cpp
void AddCompletion(CLI::App& app, CompletionOptions& options);
void AddMan(CLI::App& app, ManOptions& options);
/// What to print or write about `app`, which has all its verbs.
Result<Command> Complete(const CLI::App& app, const CompletionOptions& options);
Result<Command> Complete(const CLI::App& app, const ManOptions& options);

}  // namespace bifrons
