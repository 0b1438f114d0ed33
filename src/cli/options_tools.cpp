// The command lines of the verbs that look inside: info, tokenize, trace, bench, selftest, kl; and of those
// that make and fetch models: export, convert, pull.
#include "src/cli/option_groups.h"
#include "src/engine/answer.h"

namespace bifrons {
namespace {

// A model may stand behind -m or as an argument.
Status TakeModel(const std::string& verb, std::vector<std::string>& arguments, std::string& model) {
  if (arguments.size() > 1) return UsageError(verb + ": unexpected argument " + arguments[1]);
  if (!arguments.empty() && !model.empty())
    return UsageError(verb + ": give the model once, as " + arguments[0] + " or behind -m");
  if (!arguments.empty()) model = std::move(arguments[0]);
  return {};
}

}  // namespace

void AddInfo(CLI::App& app, InfoOptions& o) {
  CLI::App* verb =
      AddVerb(app, "info", "Describe a model: geometry, parameters, types, memory",
              "  bifrons info\n  bifrons info -m ~/models/Janus-Pro-7B --images 8 --device cuda\n"
              "  bifrons info --json --tensors");
  AddModel(verb, o.load.model);
  AddType(verb, o.load.weights);
  AddDtype(verb, o.load.compute);
  AddKv(verb, o.load.kv);
  AddDevice(verb, o.load);
  verb->add_option("-n,--images", o.images, "pictures per batch, for the memory needed")
      ->check(Between<int>(1, kMaxImages));
  verb->add_flag("--tensors", o.tensors, "list every tensor");
  verb->add_flag("--json", o.json, "print JSON");
}

void AddTokenize(CLI::App& app, TokenizeOptions& o) {
  CLI::App* verb =
      AddVerb(app, "tokenize", "Print a text's token ids as a JSON list (user text only, no BOS)",
              "  bifrons tokenize \"a dog\"\n  bifrons tokenize -m ~/models/Janus-Pro-1B \"Grüße\"\n"
              "  bifrons tokenize -- \"-5 degrees\"");
  AddModel(verb, o.model);
  MayBeAbsent(AddOne(verb, "text", o.texts, "the text"));
  AddOne(verb, "--text", o.texts, "the text, where it is not given by itself");
}

Status Check(const TokenizeOptions& o) {
  if (o.texts.empty()) return UsageError("tokenize: give a text, as in: bifrons tokenize \"a dog\"");
  if (o.texts.size() > 1)
    return UsageError("tokenize: unexpected argument " + o.texts[1] +
                      "; a text of several words needs quotes");
  return {};
}

void AddTrace(CLI::App& app, TraceOptions& o) {
  CLI::App* verb =
      AddVerb(app, "trace", "Write the numbers behind a picture's tokens or an answer, as .npy files",
              "  bifrons trace -p \"a dog\" --codes codes.npy -o trace/\n"
              "writes ids.npy, uncond_ids.npy, logits_cond.npy, logits_uncond.npy, and pixels.npy when all "
              "tokens are "
              "given (teacher forcing).\n"
              "  bifrons trace --image dog.png --question \"What is this?\" -o trace/\n"
              "writes ids.npy, pixel_values.npy [3,S,S], vision.npy [P,D] (the tower's features), "
              "aligned.npy [P,H],\n"
              "text_logits.npy [V] (of the answer's first token) and, where the model has a VQ encoder, "
              "vq_codes.npy.\n"
              "Of several images these arrays have one more dimension in front.\n"
              "  bifrons trace --layers --image dog.png -o trace/\n"
              "also writes the hidden states of the prompt's prefill, float32: hidden.npy [L+2,T,H] or, of a "
              "picture,\n"
              "hidden_cond.npy and hidden_uncond.npy [L+2,T,H]; of images vision_hidden.npy [N+2,P,D]. Of L "
              "layers of\n"
              "the transformer and N of the vision tower, [0] is what enters the first, [k] what leaves the "
              "k-th, and\n"
              "the last one that after the final norm (hidden_states of transformers has no [L]).");
  TakeWhole(verb->add_option("-p,--prompt", o.prompt, "the prompt"));
  verb->add_option("--codes", o.codes, "int32 .npy of image tokens, as generate --codes-out writes")
      ->type_name(kFile);
  verb->add_option("--image", o.images, "an image that the question is about; may be repeated")
      ->type_name(kFile)
      ->allow_extra_args(false);
  TakeWhole(verb->add_option_function<std::string>(
      "--question", [&o](const std::string& text) { o.question = text; },
      std::string("the question (default: ") + kDefaultQuestion + ")"));
  verb->add_option("-o,--output,--out", o.out, "folder to write into (made if absent)")
      ->type_name(kFolder)
      ->required();
  verb->add_flag("--layers", o.layers, "write what leaves every layer, too");
  AddImage(verb, o.image);
  AddLoad(verb, o.load);
}

Status Check(const TraceOptions& o) {
  const bool draws = !o.codes.empty(), looks = !o.images.empty() || o.question.has_value();
  if (draws == looks) return UsageError("trace: give either --prompt and --codes, or --image and --question");
  if (looks && !o.prompt.empty()) return UsageError("trace: --prompt goes with --codes, not with --image");
  return {};
}

void AddBench(CLI::App& app, BenchOptions& o) {
  CLI::App* verb = AddVerb(app, "bench", "Measure all stages against this machine's limits",
                           "  bifrons bench\n  bifrons bench -m random:janus-pro-1b --rows 2,8,32 --json\n"
                           "  bifrons bench --pictures 1,4,16\n"
                           "  bifrons bench --json > before.json\n  bifrons bench --compare before.json\n"
                           "Limits are measured in the same run: of reading memory, and of multiplying.");
  verb->add_option("--rows", o.rows, "rows of a decode step, two per picture")
      ->delimiter(',')
      ->check(Between<int>(1, 4096));
  verb->add_option("--position", o.position, "positions already in the cache")
      ->check(Between<int>(1, 1 << 20));
  verb->add_option("--prompt-tokens", o.prompt_tokens, "prompt length for prefill")
      ->check(Between<int>(1, 1 << 20));
  verb->add_option("--pictures", o.pictures,
                   "draw whole pictures, so many at once, instead of measuring stages")
      ->delimiter(',')
      ->check(Between<int>(1, 1024));
  verb->add_option("--repeats", o.repeats, "runs of each measurement; the median is shown")
      ->check(Between<int>(1, 1000));
  verb->add_option("--compare", o.compare,
                   "show the times of an earlier run beside, from what its --json printed")
      ->type_name(kFile);
  CLI::Option* const json = verb->add_flag("--json", o.json, "print JSON");
  verb->add_flag("--csv", o.csv, "print CSV: a line for each stage, with the settings of the run")
      ->excludes(json);
  AddLoad(verb, o.load);
}

void AddSelftest(CLI::App& app, SelftestOptions& o) {
  CLI::App* verb = AddVerb(
      app, "selftest", "Check what a device computes and how fast it is, and print a report to send",
      "  bifrons selftest\n  bifrons selftest --device cuda:1 --json\n"
      "  bifrons selftest --device cuda --ops \"Attend \"\n"
      "Every op at odd sizes against the scalar reference, the bundled model against another device, rates\n"
      "against limits: under two minutes. Exit code 0: all right, 3: something is wrong.");
  verb->add_option("--ops", o.ops, "check only ops whose name and shape contain this text");
  verb->add_flag("--json", o.json, "print JSON");
  verb->add_flag("-q,--quiet", o.quiet, "no progress bar");
  AddDevice(verb, o.load);
}

void AddExport(CLI::App& app, ExportOptions& o) {
  CLI::App* verb =
      AddVerb(app, "export", "Write a model as safetensors in the converted layout, as transformers loads it",
              "  bifrons export -m random:janus-pro-1b -o /tmp/random-1b");
  AddModel(verb, o.model);
  verb->add_option("-o,--output,--out", o.out, "folder to write (must not exist, or be empty)")
      ->type_name(kFolder)
      ->required();
}

void AddKl(CLI::App& app, KlOptions& o) {
  CLI::App* verb = AddVerb(
      app, "kl", "Measure what a type of weights or caches costs: how far predictions are from a reference's",
      "  bifrons kl --type q4_0\n  bifrons kl --dtype f32 --kv 8\n"
      "  bifrons kl janus-pro-1b-q8_0.gguf --against ~/models/Janus-Pro-1B -n 4\n"
      "The reference draws the prompts' pictures, in f32; then both models say for every token what may "
      "come\n"
      "next. KL is KL(reference || model) in nats. Both models are in memory at once.");
  MayBeAbsent(AddOne(verb, "model", o.models, "the model, the same as behind -m"))->type_name(kModel);
  verb->add_option("--against", o.against, "the reference (default: the same model, its weights as stored)")
      ->type_name(kModel);
  AddStrings(verb, "-p,--prompt", o.prompts, "a prompt; may be repeated (default: eight simple ones)");
  verb->add_option("-n,--images", o.images, "pictures per prompt, of consecutive seeds (default 1)")
      ->check(Between<int>(1, kMaxImages));
  AddRanged<int64_t>(verb, "--seed", o.seed, 0, kMaxSeed - kMaxImages,
                     "of a prompt's first picture (default 1)");
  AddRanged<float>(verb, kGuidanceNames, o.guidance, -1000, 1000,
                   "classifier-free guidance weight (default: the model's, else 5)");
  verb->add_flag("--json", o.json, "print JSON");
  verb->add_flag("-q,--quiet", o.quiet, "no progress bar");
  AddLoad(verb, o.load);
}

Status Complete(KlOptions& o) { return TakeModel("kl", o.models, o.load.model); }

void AddConvert(CLI::App& app, ConvertCommand& o) {
  CLI::App* verb =
      AddVerb(app, "convert", "Write a model as one GGUF file, which every verb takes with -m",
              "  bifrons convert ~/models/Janus-Pro-1B -o janus-pro-1b-q8_0.gguf --type q8_0\n"
              "  bifrons generate -m janus-pro-1b-q8_0.gguf \"a lighthouse in a storm\"\n"
              "Configuration, tokenizer and chat template are inside. What cannot be quantised (norms, "
              "convolutions,\n"
              "codebooks) stays as it is stored.");
  MayBeAbsent(AddOne(verb, "model", o.models, "the model, the same as behind -m"))->type_name(kModel);
  AddModel(verb, o.model);
  verb->add_option("-o,--output,--out", o.output, "file to write, NAME.gguf")->type_name(kFile)->required();
  AddForce(verb, o.force);
  verb->add_flag("-q,--quiet", o.quiet, "no progress bar");
  AddType(verb, o.weights, "");
  AddThreads(verb, o.threads);
}

Status Complete(ConvertCommand& o) {
  BIFRONS_RETURN_IF_ERROR(TakeModel("convert", o.models, o.model));
  if (o.output.ends_with(".gguf")) return {};
  return UsageError("convert: " + o.output + ": name a file that ends in .gguf, by which it is known again");
}

void AddPull(CLI::App& app, PullCommand& o) {
  CLI::App* verb = AddVerb(
      app, "pull",
      "Download a model from the Hugging Face hub into the cache that Python's tools use too, and print its "
      "folder",
      "  bifrons pull deepseek-community/Janus-Pro-1B\n"
      "  bifrons generate -m hf:deepseek-community/Janus-Pro-1B \"a lighthouse in a storm\"\n"
      "Again: goes on where it stopped. HF_HOME or HF_HUB_CACHE names the folder for models,\n"
      "HF_ENDPOINT another hub, HF_TOKEN or $HF_HOME/token a token; proxies are those of https_proxy\n"
      "and no_proxy.");
  AddOne(verb, "repository", o.repositories, "ORG/NAME or ORG/NAME@REVISION: a branch, tag or commit");
  AddOffline(verb);
  verb->add_flag("-q,--quiet", o.quiet, "no progress bar");
}

Status Check(const PullCommand& o) {
  if (o.repositories.empty())
    return UsageError("pull: give a repository, as in: bifrons pull deepseek-community/Janus-Pro-1B");
  if (o.repositories.size() > 1) return UsageError("pull: unexpected argument " + o.repositories[1]);
  return {};
}

}  // namespace bifrons
