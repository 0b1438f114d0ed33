// The command line of `generate`.
#include <algorithm>

#include "src/cli/option_groups.h"
#include "src/jobs/plan.h"

namespace bifrons {
namespace {

Status CheckOutput(const GenerateOptions& o) {
  if (o.output.empty()) return {};
  if (o.output == "-") {
    if (std::max<size_t>(o.prompts.size(), 1) * static_cast<size_t>(o.images) > 1)
      return UsageError("generate: --output -: standard output takes one picture; name files for several");
    if (o.json)
      return UsageError("generate: --output -: the picture is all of standard output; leave out --json");
    return {};
  }
  const auto format = FormatOfName(o.output);
  if (!format)
    return UsageError("generate: --output " + o.output + ": the name must end in .png, .jpg or .webp");
  if (o.format && *o.format != *format)
    return UsageError("generate: --output " + o.output + ": is no name for --format " + NameOf(*o.format));
  return {};
}

}  // namespace

void AddGenerate(CLI::App& app, GenerateOptions& o) {
  CLI::App* verb = AddVerb(
      app, "generate", "Draw pictures from prompts",
      "  bifrons generate \"a dog\"                          writes out.png; again: out_2.png\n"
      "  bifrons generate -n 4 -s 1 -o cat.png \"a cat\"     writes cat_1.png … cat_4.png, seeds 1 … 4\n"
      "  bifrons generate --best-of 4 \"two dogs\"           draws four, keeps the one the model likes best\n"
      "  bifrons generate --from out.png -o again.png      draws the same bytes again\n"
      "  bifrons generate -o - \"a cat\" | magick - cat.gif  the picture on standard output\n"
      "  bifrons generate -- \"-5 degrees\"                  a prompt that begins with a dash");
  MayBeAbsent(AddStrings(verb, "prompt", o.prompts, "what to draw; several prompts are several pictures"));
  AddStrings(verb, "-p,--prompt", o.prompts, "a prompt, the same as without -p; may be repeated");
  verb->add_option(
          kImagesNames, o.images,
          "pictures per prompt; picture k has seed S+k, with --best-of K the first of its candidates S+k·K")
      ->check(Between<int>(1, kMaxImages));
  AddRanged<int64_t>(verb, "-s,--seed", o.seed, 0, kMaxSeed,
                     "seed of the first picture, 0 to 2^53-1 (default: random, printed)");
  verb->add_option("-o,--output", o.output,
                   "file to write, .png, .jpg or .webp (default out.png, and out_2.png, … where that is "
                   "there); several "
                   "become NAME_1.png, NAME_2.png, …; replaces what bifrons drew; - is standard output")
      ->type_name(kFile);
  verb->add_option(
          "--best-of", o.best_of,
          "draw K candidates for each picture (seeds S … S+K-1), let the model judge them, keep the best")
      ->check(Between<int>(1, kMaxBestOf));
  verb->add_option(
          "--from", o.from,
          "draw a picture (PNG, JPEG or WebP) again, with the settings it carries; other flags override them")
      ->type_name(kFile);
  AddPreview(verb, o.preview);
  AddSampling(verb, o);
  AddAsked(verb, o.size);
  InGroup(verb, kFiles);
  AddFormat(verb, o.format,
            "png (keeps every bit), jpg or webp (default: what --output or --from ends in, else png)");
  AddForce(verb, o.force);
  verb->add_option("--codes-out", o.codes_out,
                   "also write the image tokens: int32 .npy, [N] or [pictures, N]")
      ->type_name(kFile);
  InGroup(verb, kRunning);
  verb->add_option("--batch", o.batch, "pictures drawn together (default: what memory allows, at most 16)")
      ->check(Between<int>(1, 4096));
  verb->add_flag("--json", o.json, "print a JSON line per picture: its file and every setting");
  verb->add_flag("-v,--verbose", o.verbose, "print speed, against what this machine's memory allows");
  verb->add_flag("-q,--quiet", o.quiet, "no progress bar");
  AddLoad(verb, o.load);
  RefuseForeign(verb);
}

Status Check(const GenerateOptions& o) {
  if (o.prompts.empty() && o.from.empty())
    return UsageError("generate: give a prompt, as in: bifrons generate \"a dog\"");
  if (!o.prompts.empty() && !o.from.empty())
    return UsageError("generate: --from takes its prompt from the picture; give no other");
  BIFRONS_RETURN_IF_ERROR(CheckOutput(o));
  const int64_t drawn = int64_t{o.images} * o.best_of;
  if (o.seed && *o.seed > kMaxSeed - (drawn - 1)) {
    return UsageError("generate: the last picture's seed, --seed + " + std::to_string(drawn - 1) +
                      ", would exceed " + std::to_string(kMaxSeed));
  }
  if (drawn > kMaxImages)
    return UsageError("generate: --images times --best-of must not exceed " + std::to_string(kMaxImages));
  return {};
}

}  // namespace bifrons
