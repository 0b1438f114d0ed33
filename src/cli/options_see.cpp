// The command lines of the verbs that take images: caption, ask, chat, vq.
#include <filesystem>

#include "src/base/printable.h"
#include "src/cli/answering.h"
#include "src/cli/option_groups.h"
#include "src/engine/answer.h"
#include "src/engine/caption_files.h"
#include "src/jobs/plan.h"

namespace bifrons {
namespace {

void AddAnswer(CLI::App* verb, AnswerOptions& o) {
  o.max_tokens = kDefaultMaxTokens;
  InGroup(verb, kSampling);
  verb->add_option("--max-tokens", o.max_tokens, "longest answer, in tokens (default 512)")
      ->check(Between<int>(1, 1 << 20));
  AddRanged<float>(verb, "--temperature", o.sampling.temperature, 0, 1000, "0 = greedy (default)");
  verb->add_option("--top-k", o.sampling.top_k, "keep the k likeliest tokens (default 0 = all)")
      ->check(Between<int>(0, 1 << 30));
  AddRanged<float>(verb, "--top-p", o.sampling.top_p, 0, 1,
                   "keep the likeliest tokens up to this probability (default 1 = all)");
  AddRanged<float>(verb, "--min-p", o.sampling.min_p, 0, 1,
                   "drop tokens below this share of the likeliest (default 0)");
  AddRanged<int64_t>(verb, "-s,--seed", o.seed, 0, kMaxSeed,
                     "seed of sampled answers (default: random, printed); greedy ones need none");
  AddImage(verb, o.image);
  AddLoad(verb, o.load);
}

// An image rather than a question about one.
bool IsImage(const std::string& argument) {
  if (argument == "-" || argument.starts_with("data:")) return true;
  std::error_code error;
  const auto status = std::filesystem::status(argument, error);
  if (std::filesystem::exists(status) && !std::filesystem::is_directory(status)) return true;
  return argument.find_first_of(" \t\n") == argument.npos && HasImageName(argument);
}

// Whether it is words of a question, and no path that is mistyped.
bool IsWords(const std::string& argument) {
  std::error_code error;
  return argument.find_first_of("/.:") == argument.npos && !std::filesystem::exists(argument, error);
}

// Of ask's arguments, where a question's words stand as images: an error that puts them together.
Status CheckQuoted(const std::vector<std::string>& arguments) {
  std::string images, question;
  for (const std::string& argument : arguments) {
    if (question.empty() && (IsImage(argument) || !IsWords(argument))) {
      images += ShownSource(argument) + ' ';
    } else {
      question += (question.empty() ? "" : " ") + argument;
    }
  }
  if (question.empty() || question == arguments.back()) return {};
  return UsageError("ask: a question of several words goes in quotes, as in: bifrons ask " + images + '"' +
                    Printable(question) + '"');
}

}  // namespace

void AddCaption(CLI::App& app, CaptionOptions& o) {
  CLI::App* verb = AddVerb(app, "caption", "Describe images, or ask each the same question",
                           "  bifrons caption dog.png\n"
                           "  bifrons caption --question \"How many dogs are there?\" *.jpg\n"
                           "  bifrons caption photos --recursive --write-txt   a .txt beside each image\n"
                           "  bifrons caption photos --jsonl captions.jsonl     results so far are kept\n"
                           "  curl -s $URL | bifrons caption -\n"
                           "Images are files, folders of images, data: URIs, or - for standard input.");
  o.question = kDefaultQuestion;
  AddStrings(verb, "image", o.inputs, "images and folders")->type_name(kFile);
  TakeWhole(verb->add_option("--question", o.question,
                             std::string("what to ask of every image (default: ") + kDefaultQuestion + ")"));
  verb->add_flag("--recursive", o.recursive, "folders within folders too");
  verb->add_flag("--write-txt", o.write_txt, "write each answer to a .txt file beside its image");
  verb->add_option("--jsonl", o.jsonl, "append a JSON line per image to this file")->type_name(kFile);
  verb->add_flag("--overwrite", o.overwrite, "answer again where a result exists already");
  InGroup(verb, kRunning);
  verb->add_option("--batch", o.batch, "images answered together (default: what memory allows, at most 16)")
      ->check(Between<int>(1, 4096));
  verb->add_flag("--json", o.json,
                 "print a JSON line per image: file, question, text, tokens (ids, without EOS), complete, "
                 "prompt_tokens, prefill_seconds, decode_seconds");
  verb->add_flag("-v,--verbose", o.verbose, "print speed");
  verb->add_flag("-q,--quiet", o.quiet, "no progress bar");
  AddAnswer(verb, o.answer);
}

Status Check(const CaptionOptions& o) {
  if (o.inputs.empty()) return UsageError("caption: give an image, as in: bifrons caption dog.png");
  for (const std::string& input : o.inputs) {
    if (IsWords(input) && (input.ends_with("?") || input.find(' ') != input.npos))
      return UsageError("caption: there is no file " + Printable(input) +
                        "; a question goes behind --question, or to bifrons ask");
  }
  if (o.write_txt && !o.jsonl.empty())
    return UsageError("caption: --write-txt and --jsonl both say where results go; give one");
  if (o.overwrite && !o.write_txt && o.jsonl.empty())
    return UsageError("caption: --overwrite goes with --write-txt or --jsonl");
  if (o.json && (o.write_txt || !o.jsonl.empty()))
    return UsageError(
        "caption: --json prints results; --write-txt and --jsonl write them to files; give one");
  return {};
}

void AddAsk(CLI::App& app, AskOptions& o) {
  CLI::App* verb = AddVerb(app, "ask", "Ask one question about one or several images, or about none",
                           "  bifrons ask dog.png \"What colour is the dog?\"\n"
                           "  bifrons ask before.png after.png \"What has changed?\"\n"
                           "  bifrons ask \"What can you do?\"");
  AddStrings(verb, "arguments", o.arguments, "images, then the question")->type_name(kFile);
  verb->add_flag("--json", o.json,
                 "print one JSON line: question, images, text, tokens (ids, without EOS), complete, "
                 "prompt_tokens, prefill_seconds, decode_seconds");
  AddAnswer(verb, o.answer);
}

Status Check(const AskOptions& o) {
  if (o.arguments.empty())
    return UsageError("ask: give images and a question, as in: bifrons ask dog.png \"What is this?\"");
  if (const std::string& last = o.arguments.back(); IsImage(last)) {
    if (const std::string& first = o.arguments.front(); !IsImage(first)) {
      return UsageError("ask: images come first, then the question, as in: bifrons ask " + ShownSource(last) +
                        " \"" + Printable(first) + '"');
    }
    return UsageError("ask: after " + ShownSource(last) + " no question follows, as in: bifrons ask " +
                      ShownSource(last) + " \"What is this?\"; bifrons caption describes images");
  }
  return CheckQuoted(o.arguments);
}

void AddChat(CLI::App& app, ChatOptions& o) {
  CLI::App* verb =
      AddVerb(app, "chat", "Talk about images, and draw, with one loaded model",
              "  bifrons chat dog.png\n"
              "Lines are questions. /image PATH shows an image, /draw PROMPT draws one, /help lists "
              "the rest.\n"
              "Of lines out of a file or a pipe all are tried; the exit code is 1 if one of them failed.");
  MayBeAbsent(AddStrings(verb, "image", o.images, "images that the first question is about"))
      ->type_name(kFile);
  InGroup(verb, kDrawing);
  AddPreview(verb, o.preview);
  AddRanged<float>(verb, kGuidanceNames, o.guidance, -1000, 1000,
                   "classifier-free guidance weight, 1 = none (default: the model's, else 5)");
  AddAsked(verb, o.size);
  AddAnswer(verb, o.answer);
  RefuseForeign(verb);
  AddRefused(verb, "-p,--prompt", "chat reads lines; /draw PROMPT draws one");
  AddRefused(verb, "-b,--batch-count", "/draw draws one picture");
}

void AddVq(CLI::App& app, VqOptions& o) {
  CLI::App* verb = AddVerb(app, "vq", "Turn images into the image tokens that the model draws with, and back",
                           "  bifrons vq encode dog.png -o codes.npy\n"
                           "  bifrons vq decode codes.npy -o dog.png\n"
                           "  bifrons vq roundtrip dog.png -o again.png    prints the PSNR");
  verb->require_subcommand(1);
  verb->footer(
      verb->get_footer() +
      "\nAll three take -o/--output, --force and the options of models and devices (-m, --device, …),\n"
      "encode and roundtrip those of images (--alpha, …): bifrons vq encode --help, and so on, lists\n"
      "them. Options go behind the second verb.");
  const auto add = [&](const char* name, VqOptions::Action action, const char* description, const char* input,
                       const char* output) {
    CLI::App* sub = verb->add_subcommand(name, description)->group("Verbs");
    sub->allow_extras();
    // Before anything can be wrong with the rest, which Check tells by the action.
    sub->preparse_callback([&o, action](size_t) { o.action = action; });
    AddOne(sub, "input", o.inputs, input)->type_name(kFile);
    CLI::Option* out = sub->add_option("-o,--output", o.output, output)->type_name(kFile);
    AddForce(sub, o.force);
    if (action == VqOptions::Action::kRoundtrip) {
      sub->add_flag("--json", o.json, "print JSON");
    } else {
      out->required();
    }
    if (action != VqOptions::Action::kDecode) AddImage(sub, o.image);
    AddLoad(sub, o.load, /*transformer=*/false);
  };
  add("encode", VqOptions::Action::kEncode, "Image to codes", "image file, data: URI or -",
      "int32 .npy [N] to write");
  add("decode", VqOptions::Action::kDecode, "Codes to image", "int32 .npy [N]", "PNG file to write");
  add("roundtrip", VqOptions::Action::kRoundtrip, "Image to codes to image; prints the PSNR",
      "image file, data: URI or -", "PNG file to write");
}

Status Check(const VqOptions& o) {
  using Action = VqOptions::Action;
  const std::string verb = o.action == Action::kEncode   ? "vq encode"
                           : o.action == Action::kDecode ? "vq decode"
                                                         : "vq roundtrip";
  const std::string example = "as in: bifrons " + verb +
                              (o.action == Action::kEncode   ? " dog.png -o codes.npy"
                               : o.action == Action::kDecode ? " codes.npy -o dog.png"
                                                             : " dog.png");
  if (o.inputs.empty()) return UsageError(verb + ": give a file, " + example);
  if (o.inputs.size() > 1)
    return UsageError(verb + ": unexpected argument " + o.inputs[1] + "; see bifrons " + verb + " --help");
  if (o.action != Action::kRoundtrip && o.output.empty())
    return UsageError(verb + ": give a file to write, " + example);
  if (o.action != Action::kEncode && !o.output.empty() && FormatOfName(o.output) != PictureFormat::kPng)
    return UsageError(verb + ": --output " + o.output +
                      ": the name must end in .png, which keeps every bit of what codes decode to");
  return {};
}

}  // namespace bifrons
