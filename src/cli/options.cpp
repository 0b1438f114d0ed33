#include "src/cli/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <string_view>

namespace bifrons {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kMaxImages = 1'000'000;

template <class T>
void AddRanged(CLI::App* app, const std::string& name, std::optional<T>& target, T least, T most,
               const std::string& help) {
  app->add_option_function<T>(
         name, [&target](const T& value) { target = value; }, help)
      ->check([name, least, most](const std::string& text) -> std::string {
        T value{};
        if (!CLI::detail::lexical_cast(text, value) || !(value >= least && value <= most)) {
          return "must lie between " + CLI::detail::to_string(least) + " and " + CLI::detail::to_string(most);
        }
        return {};
      });
}

void AddModel(CLI::App* app, std::string& model) {
  app->add_option("-m,--model", model,
                  "model folder, or random:janus-pro-1b, random:janus-pro-7b (default: $BIFRONS_MODEL, else "
                  "the bundled janus-mini)");
}

void AddDtype(CLI::App* app, std::optional<DType>& compute) {
  app->add_option_function<std::string>(
         "--dtype", [&compute](const std::string& v) { compute = v == "f32" ? DType::kF32 : DType::kBF16; },
         "arithmetic: f32 or bf16 (default: bf16 where the processor multiplies it)")
      ->check(CLI::IsMember({"f32", "bf16"}));
}

void AddLoad(CLI::App* app, LoadOptions& load) {
  AddModel(app, load.model);
  AddDtype(app, load.compute);
  app->add_option("--threads", load.threads, "threads (default: what affinity and cgroups allow)")
      ->check(CLI::Range(1, kMaxThreads));
  app->add_option("--backend", load.backend, "cpu, or ref (slow scalar reference)")
      ->check(CLI::IsMember({"cpu", "ref"}));
  app->add_option("--isa", load.isa,
                  "instruction set: baseline, avx2, avx512, amx, neon (default: the best available)");
  app->add_option("--template", load.chat_template, "chat template: auto, janus-pro, janus-1.3b");
}

CLI::App* AddVerb(CLI::App& app, const char* name, const char* description, const char* examples) {
  CLI::App* verb = app.add_subcommand(name, description);
  verb->footer(std::string("Examples:\n") + examples);
  return verb;
}

// CLI11 would take a lone argument such as "[a, b]" for a list; a prompt is always one string.
void TakeWhole(CLI::Option* option) { option->allow_extra_args(false); }

std::string OneLine(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

Status Check(GenerateOptions& o) {
  if (o.prompts.empty() && o.from.empty())
    return UsageError("generate: give a prompt, as in: bifrons generate \"a dog\"");
  if (!o.prompts.empty() && !o.from.empty())
    return UsageError("generate: --from takes its prompt from the picture; give no other");
  if (!o.output.empty() && !o.output.ends_with(".png"))
    return UsageError("generate: --output " + o.output +
                      ": pictures are PNG files; the name must end in .png");
  if (o.seed && *o.seed > kMaxSeed - (o.images - 1)) {
    return UsageError("generate: the last picture's seed, --seed + n − 1, would exceed " +
                      std::to_string(kMaxSeed));
  }
  return {};
}

}  // namespace

Result<Command> ParseCommandLine(int argc, const char* const* argv) {
  CLI::App app{"bifrons draws pictures with DeepSeek's Janus models: one native program, no Python."};
  app.name("bifrons");
  app.set_version_flag("--version", std::string("bifrons ") + BIFRONS_VERSION);
  app.footer(
      "Examples:\n"
      "  bifrons generate \"a dog on a blue background\"\n"
      "  bifrons generate -m ~/models/Janus-Pro-1B -n 4 --seed 7 \"a lighthouse in a storm\"\n"
      "  bifrons VERB --help tells more of a verb.\n"
      "Exit codes: 0 success, 1 failure, 2 wrong usage, 3 bad model or data file, 130 interrupted.");
  app.require_subcommand(1);

  GenerateOptions generate;
  {
    CLI::App* verb = AddVerb(
        app, "generate", "Draw pictures from prompts",
        "  bifrons generate \"a dog\"                        writes out.png\n"
        "  bifrons generate -n 4 --seed 1 -o cat.png \"a cat\"  writes cat_1.png … cat_4.png, seeds 1 … 4\n"
        "  bifrons generate --from out.png -o again.png      draws the same bytes again\n"
        "  bifrons generate -- \"-5 degrees\"                  a prompt that begins with a dash");
    // This takes the first prompt; the others are what is left over.
    TakeWhole(
        verb->add_option("prompt", generate.prompts, "what to draw; several prompts are several pictures"));
    verb->allow_extras();
    verb->add_option("-n,--images", generate.images, "pictures per prompt; picture k has seed S+k")
        ->check(CLI::Range(1, kMaxImages));
    AddRanged<int64_t>(verb, "--seed", generate.seed, 0, kMaxSeed,
                       "seed of the first picture, 0 to 2^53-1 (default: random, printed)");
    AddRanged<float>(verb, "--cfg", generate.guidance, -1000, 1000,
                     "classifier-free guidance weight (default: the model's, else 5)");
    AddRanged<float>(verb, "--temperature", generate.temperature, 0, 1000, "0 = greedy (default 1)");
    AddRanged<int>(verb, "--top-k", generate.top_k, 0, 1 << 30,
                   "keep the k likeliest tokens (default 0 = all)");
    AddRanged<float>(verb, "--top-p", generate.top_p, 0, 1,
                     "keep the likeliest tokens up to this probability (default 1 = all)");
    AddRanged<float>(verb, "--min-p", generate.min_p, 0, 1,
                     "drop tokens below this share of the likeliest (default 0)");
    verb->add_option("-o,--output", generate.output,
                     "file to write (default out.png); several become NAME_1.png, NAME_2.png, …");
    verb->add_option("--codes-out", generate.codes_out,
                     "also write the image tokens: int32 .npy, [N] or [pictures, N]");
    verb->add_option("--from", generate.from,
                     "draw a picture again, with the settings it carries; other flags override them");
    verb->add_option("--batch", generate.batch,
                     "pictures drawn together (default: what memory allows, at most 16)")
        ->check(CLI::Range(1, 4096));
    verb->add_flag("--json", generate.json, "print a JSON line per picture");
    verb->add_flag("-v,--verbose", generate.verbose,
                   "print speed, against what this machine's memory allows");
    verb->add_flag("-q,--quiet", generate.quiet, "no progress bar");
    AddLoad(verb, generate.load);
  }
  InfoOptions info;
  {
    CLI::App* verb = AddVerb(app, "info", "Describe a model: geometry, parameters, types, memory",
                             "  bifrons info\n  bifrons info -m ~/models/Janus-Pro-7B --images 8\n  bifrons "
                             "info --json --tensors");
    AddModel(verb, info.model);
    AddDtype(verb, info.compute);
    verb->add_option("-n,--images", info.images, "pictures per batch, for the memory needed")
        ->check(CLI::Range(1, kMaxImages));
    verb->add_flag("--tensors", info.tensors, "list every tensor");
    verb->add_flag("--json", info.json, "print JSON");
  }
  TokenizeOptions tokenize;
  {
    CLI::App* verb = AddVerb(
        app, "tokenize", "Print a text's token ids as a JSON list (user text only, no BOS)",
        "  bifrons tokenize --text \"a dog\"\n  bifrons tokenize -m ~/models/Janus-Pro-1B --text \"Grüße\"");
    AddModel(verb, tokenize.model);
    TakeWhole(verb->add_option("--text", tokenize.text, "the text")->required());
  }
  TraceOptions trace;
  {
    CLI::App* verb =
        AddVerb(app, "trace", "Write the numbers behind given image tokens (teacher forcing), as .npy files",
                "  bifrons trace --prompt \"a dog\" --codes codes.npy --out trace/\n"
                "Writes ids.npy, uncond_ids.npy, logits_cond.npy, logits_uncond.npy, and pixels.npy when all "
                "tokens are given.");
    verb->add_option("--prompt", trace.prompt, "the prompt")->required();
    verb->add_option("--codes", trace.codes, "int32 .npy of image tokens, as generate --codes-out writes")
        ->required();
    verb->add_option("--out", trace.out, "folder to write into (made if absent)")->required();
    AddLoad(verb, trace.load);
  }
  BenchOptions bench;
  {
    CLI::App* verb =
        AddVerb(app, "bench", "Measure prefill, decode steps and VQ decoding against this machine's limits",
                "  bifrons bench\n  bifrons bench -m random:janus-pro-1b --rows 2,8,32 --json");
    verb->add_option("--rows", bench.rows, "rows of a decode step, two per picture")
        ->delimiter(',')
        ->check(CLI::Range(1, 4096));
    verb->add_option("--position", bench.position, "positions already in the cache")
        ->check(CLI::Range(1, 1 << 20));
    verb->add_option("--prompt-tokens", bench.prompt_tokens, "prompt length for prefill")
        ->check(CLI::Range(1, 1 << 20));
    verb->add_option("--repeats", bench.repeats, "runs of each measurement; the median is shown")
        ->check(CLI::Range(1, 1000));
    verb->add_flag("--json", bench.json, "print JSON");
    AddLoad(verb, bench.load);
  }
  ExportOptions exports;
  {
    CLI::App* verb = AddVerb(app, "export",
                             "Write a model as safetensors in the converted layout, as transformers loads it",
                             "  bifrons export -m random:janus-pro-1b --out /tmp/random-1b");
    AddModel(verb, exports.model);
    verb->add_option("--out", exports.out, "folder to write (must not exist, or be empty)")->required();
  }

  // Taken out first: CLI11 would end the verb at `--` once it has seen one prompt.
  const char* const* const marker = std::find(argv, argv + argc, std::string_view("--"));
  const int parsed = static_cast<int>(marker - argv);
  const std::vector<std::string> after(argv + std::min(parsed + 1, argc), argv + argc);
  try {
    app.parse(parsed, argv);
  } catch (const CLI::Success& e) {
    std::ostringstream out, err;
    app.exit(e, out, err);
    return Command(HelpText{out.str()});
  } catch (const CLI::ParseError& e) {
    const bool verb_known = !app.get_subcommands().empty();
    if (!verb_known && argc > 1 && argv[1][0] != '-') {
      return UsageError("no verb \"" + OneLine(argv[1]) + "\"; see bifrons --help");
    }
    const std::string verb = verb_known ? app.get_subcommands()[0]->get_name() + ": " : "";
    return UsageError(verb + OneLine(e.what()) + "; see bifrons " +
                      (verb_known ? app.get_subcommands()[0]->get_name() + " " : "") + "--help");
  }
  const std::string verb = app.get_subcommands()[0]->get_name();
  if (verb != "generate" && !after.empty())
    return UsageError(verb + ": unexpected argument " + OneLine(after[0]) + "; see bifrons " + verb +
                      " --help");
  if (verb == "generate") {
    for (const std::string& extra : app.get_subcommands()[0]->remaining()) {
      if (extra.starts_with("-") && extra.size() > 1) {
        return UsageError("generate: unknown option " + OneLine(extra) +
                          " (a prompt that begins with a dash goes after --); see bifrons generate --help");
      }
      generate.prompts.push_back(extra);
    }
    generate.prompts.insert(generate.prompts.end(), after.begin(), after.end());
    BIFRONS_RETURN_IF_ERROR(Check(generate));
    return Command(generate);
  }
  if (verb == "info") return Command(info);
  if (verb == "tokenize") return Command(tokenize);
  if (verb == "trace") return Command(trace);
  if (verb == "bench") return Command(bench);
  return Command(exports);
}

}  // namespace bifrons
