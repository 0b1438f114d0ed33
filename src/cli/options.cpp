#include "src/cli/options.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "kernels/device.h"
#include "src/cli/option_groups.h"

namespace bifrons {
namespace {

constexpr int kMaxThreads = 1024;

}  // namespace

void AddModel(CLI::App* app, std::string& model) {
  app->add_option("-m,--model", model,
                  "model folder, hf:ORG/NAME[@REVISION] (downloaded once), random:janus-pro-1b or "
                  "random:janus-pro-7b (default: $BIFRONS_MODEL, else the bundled janus-mini)");
  AddOffline(app);
}

void AddOffline(CLI::App* app) {
  // As one more way to set what Python's tools read, so that nothing else has to carry it to the hub's
  // client.
  app->add_flag_callback(
      "--offline", [] { ::setenv("HF_HUB_OFFLINE", "1", 1); },
      "download nothing: hf: is what is there already (default: $HF_HUB_OFFLINE)");
}

void AddDtype(CLI::App* app, std::optional<DType>& compute) {
  app->add_option_function<std::string>(
         "--dtype", [&compute](const std::string& v) { compute = v == "f32" ? DType::kF32 : DType::kBF16; },
         "arithmetic: f32 or bf16 (default: bf16 where the device multiplies it)")
      ->check(CLI::IsMember({"f32", "bf16"}));
}

void AddDevice(CLI::App* app, LoadOptions& load) {
  app->add_option("--threads", load.threads, "threads (default: what affinity and cgroups allow)")
      ->check(CLI::Range(1, kMaxThreads));
  app->add_option(
         "--device", load.device,
         "auto (default: a GPU where there is one and the model fits it, else cpu), cpu, cuda or cuda:N "
         "(GPU number N), ref (slow scalar reference)")
      ->check([](const std::string& name) {
        return name == kAutoDevice || IsDeviceName(name) ? "" : "must be auto, cpu, cuda, cuda:N or ref";
      });
  app->add_option_function<std::string>(
         "--conv",
         [&load](const std::string& v) {
           load.convolutions = v == "cudnn" ? Convolutions::kCudnn : Convolutions::kOwn;
         },
         "a GPU's convolutions: own (default; auto is the same) or cudnn (NVIDIA's, from libcudnn.so.9)")
      ->check(CLI::IsMember({"own", "auto", "cudnn"}));
  app->add_option(
      "--isa", load.isa,
      "the cpu's instruction set: baseline, avx2, avx512, amx, neon (default: the best available)");
}

void AddLoad(CLI::App* app, LoadOptions& load) {
  AddModel(app, load.model);
  AddDtype(app, load.compute);
  AddDevice(app, load);
  app->add_option("--template", load.chat_template, "chat template: auto, janus-pro, janus-1.3b");
  app->add_flag_callback(
      "--profile", [&load] { load.profile = std::make_shared<Profile>(); },
      "at the end, print to standard error where the time went: by zone, with bytes, multiply-accumulates "
      "and rates");
}

void AddImage(CLI::App* app, ImageOptions& image) {
  app->add_option_function<std::string>(
         "--alpha",
         [&image](const std::string& v) {
           image.alpha = v == "white"   ? AlphaMode::kWhite
                         : v == "black" ? AlphaMode::kBlack
                                        : AlphaMode::kDrop;
         },
         "transparency: drop (default, as the reference does), or composite on white or black")
      ->check(CLI::IsMember({"drop", "white", "black"}));
  app->add_flag_callback(
      "--no-orientation", [&image] { image.orientation = false; },
      "leave images as stored, whatever their EXIF, XMP or TIFF orientation says; HEIC and AVIF are always "
      "upright");
}

CLI::App* AddVerb(CLI::App& app, const char* name, const char* description, const char* examples) {
  CLI::App* verb = app.add_subcommand(name, description);
  verb->footer(std::string("Examples:\n") + examples);
  return verb;
}

void TakeWhole(CLI::Option* option) { option->allow_extra_args(false); }

void AddForce(CLI::App* app, bool& force) {
  app->add_flag("--force", force, "replace a file that is there and that bifrons did not write");
}

void AddStrings(CLI::App* app, const char* name, std::vector<std::string>& strings, const std::string& help) {
  TakeWhole(app->add_option(name, strings, help));
  app->allow_extras();
}

Result<Command> ParseCommandLine(int argc, const char* const* argv) {
  CLI::App app{
      "bifrons draws pictures and answers questions about images with DeepSeek's Janus models: one native "
      "program, no Python."};
  app.name("bifrons");
  app.set_version_flag("--version", std::string("bifrons ") + BIFRONS_VERSION);
  app.footer(
      "Examples:\n"
      "  bifrons generate \"a dog on a blue background\"\n"
      "  bifrons generate -m ~/models/Janus-Pro-1B -n 4 --seed 7 \"a lighthouse in a storm\"\n"
      "  bifrons render prompts.txt -o pictures\n"
      "  bifrons caption dog.png\n"
      "  bifrons VERB --help tells more of a verb.\n"
      "Exit codes: 0 success, 1 failure, 2 wrong usage, 3 bad model or data file, jobs or images that failed "
      "while the rest was done, or a self-test that found something wrong, 130 interrupted (SIGINT), 143 "
      "ended (SIGTERM).");
  app.require_subcommand(1);

  GenerateOptions generate;
  CaptionOptions caption;
  AskOptions ask;
  ChatOptions chat;
  VqOptions vq;
  InfoOptions info;
  TokenizeOptions tokenize;
  TraceOptions trace;
  BenchOptions bench;
  SelftestOptions selftest;
  ExportOptions exports;
  RenderCommand render;
  MergeOptions merge;
  PullCommand pull;
  AddGenerate(app, generate);
  AddRender(app, render);
  AddMerge(app, merge);
  AddCaption(app, caption);
  AddAsk(app, ask);
  AddChat(app, chat);
  AddVq(app, vq);
  AddInfo(app, info);
  AddTokenize(app, tokenize);
  AddTrace(app, trace);
  AddBench(app, bench);
  AddSelftest(app, selftest);
  AddExport(app, exports);
  AddPull(app, pull);

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
      return UsageError(std::string("no verb \"") + argv[1] + "\"; see bifrons --help");
    }
    const std::string verb = verb_known ? app.get_subcommands()[0]->get_name() + ": " : "";
    return UsageError(verb + e.what() + "; see bifrons " +
                      (verb_known ? app.get_subcommands()[0]->get_name() + " " : "") + "--help");
  }
  const std::string verb = app.get_subcommands()[0]->get_name();
  std::vector<std::string>* const strings = verb == "generate"  ? &generate.prompts
                                            : verb == "caption" ? &caption.inputs
                                            : verb == "ask"     ? &ask.arguments
                                            : verb == "chat"    ? &chat.images
                                            : verb == "merge"   ? &merge.folders
                                                                : nullptr;
  if (!strings && !after.empty()) {
    return UsageError(verb + ": unexpected argument " + after[0] + "; see bifrons " + verb + " --help");
  }
  if (strings) {
    for (const std::string& extra : app.get_subcommands()[0]->remaining()) {
      if (extra.starts_with("-") && extra.size() > 1) {
        return UsageError(verb + ": unknown option " + extra +
                          " (what begins with a dash goes after --); see bifrons " + verb + " --help");
      }
      strings->push_back(extra);
    }
    strings->insert(strings->end(), after.begin(), after.end());
  }
  const auto checked = [](auto& options) -> Result<Command> {
    BIFRONS_RETURN_IF_ERROR(Check(options));
    return Command(std::move(options));
  };
  if (verb == "generate") return checked(generate);
  if (verb == "render") {
    BIFRONS_RETURN_IF_ERROR(Complete(render));
    return Command(std::move(render));
  }
  if (verb == "merge") return checked(merge);
  if (verb == "caption") return checked(caption);
  if (verb == "ask") return checked(ask);
  if (verb == "chat") return Command(chat);
  if (verb == "vq") return Command(vq);
  if (verb == "info") return Command(info);
  if (verb == "tokenize") return Command(tokenize);
  if (verb == "trace") return checked(trace);
  if (verb == "bench") return Command(bench);
  if (verb == "selftest") return Command(selftest);
  if (verb == "pull") return Command(pull);
  return Command(exports);
}

}  // namespace bifrons
