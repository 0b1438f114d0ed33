// The command lines of `render` and `merge`.
#include <charconv>
#include <cmath>

#include "src/cli/option_groups.h"
#include "src/jobs/job_fields.h"

namespace bifrons {
namespace {

constexpr const char* kDefaultName = "{index}_{seed}_{slug}";
constexpr const char* kPlotName = "{index}_{number:2}_{slug}";

// "6G", "6GB", "512M", "8000000"; nothing if it is no size.
std::optional<double> ParseSize(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view suffix(end, static_cast<size_t>(text.data() + text.size() - end));
  if (suffix.size() == 2 && suffix[1] == 'B') suffix.remove_suffix(1);
  const int shift = suffix.empty() ? 0 : suffix == "K" ? 10 : suffix == "M" ? 20 : suffix == "G" ? 30 : -1;
  const double bytes = std::ldexp(number, shift);
  if (error != std::errc() || shift < 0 || !(bytes >= 0 && bytes < 1e18)) return std::nullopt;
  return bytes;
}

// Why it is no amount of memory to work with; "" if it is one.
std::string WrongMemory(const std::string& text) {
  constexpr double kLeast = 1 << 20;
  const std::optional<double> bytes = ParseSize(text);
  if (!bytes) return text + " is no size such as 6GB or 512MB";
  if (*bytes >= kLeast) return "";
  const bool no_unit = text.find_first_not_of("0123456789.") == std::string::npos;
  return text + (no_unit ? " has no unit, and as bytes" : "") + " is less than 1 MB; give a size such as 6GB";
}

}  // namespace

void AddRender(CLI::App& app, RenderCommand& o) {
  CLI::App* verb = AddVerb(
      app, "render", "Draw a list of prompts into a folder, and continue where an earlier run ended",
      "  bifrons render prompts.txt -o pictures             one prompt per line; the same again continues\n"
      "  bifrons render jobs.jsonl -o pictures -n 4 --grid  lines such as {\"prompt\": \"a cat\", \"seed\": "
      "7}\n"
      "  bifrons render batch.jsonl -o answers              an OpenAI Batch file; writes "
      "answers/output.jsonl\n"
      "  bifrons render metadata.jsonl -o geneval           GenEval's list; writes 00000/samples/0000.png …\n"
      "  bifrons render one.txt -o plot --plot cfg=1,3,5,7 temperature=0.7,1\n"
      "  bifrons render prompts.txt -o pictures --shard 0/4 one of four processes; bifrons merge checks all\n"
      "  tail -f queue | bifrons render - -o pictures       lines are drawn as they arrive\n"
      "Fields of a job, in JSON and as columns of CSV, all but the prompt optional:\n" +
          PictureFields::Names() +
          ".\nOther columns are ignored, with a warning.\n"
          "The same command again keeps what is there. Another model, --type, --kv or setting of a picture "
          "draws\n"
          "another one; another --dtype, --device or --isa does not: for their last bits take another "
          "folder.");
  AddOne(verb, "jobs", o.lists,
         "job file, its format told by its contents: prompts or A1111 lines; JSON lines, objects or "
         "an array of them, also in an object's \"jobs\" or \"prompts\"; CSV with a header; an "
         "OpenAI Batch file; GenEval's metadata; - for standard input")
      ->type_name(kFile);
  verb->add_option("-o,--output", o.render.folder,
                   "folder for pictures and manifest; made if it is not there")
      ->type_name(kFolder)
      ->required();
  AddRanged<int>(
      verb, std::string(kImagesNames) + ",--n", o.render.defaults.images, 1, kMaxImages,
      "pictures per job, where it does not say; picture k has its seed + k (default 1; GenEval's 4)");
  AddRanged<int64_t>(
      verb, "-s,--seed", o.render.defaults.seed, 0, kMaxSeed,
      "seed of every job without one (default: one per job, made up once and fixed by the manifest)");
  AddRanged<int>(verb, "--best-of", o.render.defaults.best_of, 1, kMaxBestOf,
                 "candidates drawn for each picture, of which the model keeps the one it likes best, where "
                 "a job's best_of does not say (default 1); picture k has its seed + k times that");
  AddFormat(verb, o.render.defaults.format, "png (default), jpg or webp");
  verb->add_option_function<int>(
          "--grid",
          [&o](int columns) {
            o.render.sheets = true;
            o.render.sheet_columns = columns;
          },
          "also contact sheets: of every job with several pictures, NAME_grid, and of all jobs with one, 36 "
          "on "
          "each, contact_sheet_001; so many columns (default: of one job as many as rows, of all jobs 6)")
      ->expected(0, 1)
      ->default_str("0")
      ->check(Between<int>(0, 1000));
  AddStrings(
      verb, "--plot", o.plot,
      "of every job an X/Y sheet: one or two of cfg=1,3,5 temperature=… top_k=… top_p=… min_p=… seed=… "
      "prompt=word,other word");
  AddSampling(verb, o.render.defaults.settings);
  AddAsked(verb, o.size);
  InGroup(verb, kFiles);
  verb->add_option(
      "--name", o.name_template,
      "names of pictures (default {index}_{seed}_{slug}); fields: index, number, seed, slug, cfg, "
      "temperature; {index:3} = three digits at least");
  verb->add_option("--upscale", o.render.defaults.upscale,
                   "resample pictures to 2 or 4 times the model's size, or the one that a job asks for")
      ->check(CLI::IsMember({"2", "4"}));
  verb->add_flag(
      "--strict-size", o.render.defaults.strict_size,
      "refuse jobs that ask for a size that the model does not draw (default: the picture's middle "
      "of that aspect, resampled)");
  verb->add_option(
          "--comments", o.render.defaults.comments,
          "lines of the list that begin so, as in --comments '#', are passed over (default: none, such "
          "a line is a prompt)")
      ->check([](const std::string& text) -> std::string { return text.empty() ? "must not be empty" : ""; });
  verb->add_option("--image-root", o.render.image_root,
                   "folder that the images of an OpenAI Batch file are in; requests see no other files "
                   "(default: the job file's folder; of a stream none, only data: URIs)")
      ->type_name(kFolder);
  InGroup(verb, kRunning);
  verb->add_option(
      "--shard", o.shard,
      "i/N: draw the i-th of N parts of the list, from 0 (default: of Slurm's job arrays, of Kubernetes' "
      "JOB_COMPLETION_INDEX with BIFRONS_SHARD_COUNT, of RANK and WORLD_SIZE)");
  verb->add_option("--manifest", o.render.manifest,
                   "name of this process's manifest, manifest*.jsonl (default manifest.jsonl, or "
                   "manifest-00i-of-00N.jsonl of a shard); all of the folder are read")
      ->default_str("");
  verb->add_flag(
      "--verify", o.render.verify,
      "read every picture that is finished; without it, size and time of a file tell whether it is "
      "what the manifest says");
  verb->add_option_function<std::string>(
          "--memory",
          [&o](const std::string& text) {
            o.render.scheduler.memory = static_cast<size_t>(ParseSize(text).value_or(0));
          },
          "for caches and rows, as in 6GB or 512MB (default: what is left beside the model and what else it "
          "needs)")
      ->check(WrongMemory);
  AddRanged<int64_t>(verb, "--batch", o.render.scheduler.pictures, 1, 4096,
                     "pictures drawn, or questions answered, at once at most (default 16)");
  verb->add_flag("--json", o.json,
                 "print a JSON line per picture, answer and failure, also of what is kept, and the summary");
  verb->add_flag("-v,--verbose", o.verbose, "print speed and memory at the end");
  verb->add_flag("-q,--quiet", o.quiet, "no progress bar and no summary");
  AddLoad(verb, o.load);
  RefuseForeign(verb);
  AddRefused(
      verb, "-p,--prompt",
      "render draws a list: a file with a prompt per line, or - for standard input; bifrons generate draws "
      "a prompt");
}

std::vector<std::string> WithOwnValues(std::vector<std::string> arguments) {
  const auto is_number = [&](size_t i) {
    return i < arguments.size() && !arguments[i].empty() &&
           arguments[i].find_first_not_of("0123456789") == std::string::npos;
  };
  std::vector<std::string> out;
  for (size_t i = 0; i < arguments.size(); i++) {
    const std::string& argument = arguments[i];
    out.push_back(argument == "--grid" && !is_number(i + 1) ? "--grid=0" : argument);
    if (argument != "--plot" && !argument.starts_with("--plot=")) continue;
    // One axis is the option's value; what follows is more of them as far as it looks so.
    if (argument == "--plot" && i + 1 < arguments.size()) out.push_back(arguments[++i]);
    while (i + 1 < arguments.size() && arguments[i + 1].find('=') != std::string::npos &&
           !arguments[i + 1].starts_with("-")) {
      out.insert(out.end(), {"--plot", arguments[++i]});
    }
  }
  return out;
}

Status Complete(RenderCommand& o) {
  RenderOptions& render = o.render;
  const auto render_error = [](const Error& error) { return Error{error.kind, "render: " + error.message}; };
  if (!o.plot.empty()) {
    auto plot = ParsePlot(o.plot);
    if (!plot.ok()) return render_error(plot.error());
    render.defaults.plot = std::move(*plot);
    if (render.defaults.images)
      return UsageError("render: --plot decides how many pictures a job has; leave out --images");
    if (render.sheets) return UsageError("render: --plot makes sheets of its own; leave out --grid");
  }
  if (o.lists.empty())
    return UsageError("render: give a list, as in: bifrons render prompts.txt -o pictures");
  if (o.lists.size() > 1)
    return UsageError("render: unexpected argument " + o.lists[1] + ": it draws one list, here " +
                      o.lists[0]);
  if (render.folder.empty())
    return UsageError(
        "render: give a folder for the pictures, as in: bifrons render prompts.txt -o pictures");
  render.jobs = std::move(o.lists[0]);
  const char* const name = o.plot.empty() ? kDefaultName : kPlotName;
  auto names = NameTemplate::Parse(o.name_template.empty() ? name : o.name_template);
  if (!names.ok()) return render_error(names.error());
  render.names = std::move(*names);
  if (!o.shard.empty()) {
    auto shard = ParseShard(o.shard);
    if (!shard.ok()) return render_error(shard.error());
    render.shard = *shard;
  } else {
    auto shard =
        ShardFromEnvironment([](const char* variable) -> const char* { return std::getenv(variable); });
    if (!shard.ok()) return render_error(shard.error());
    if (*shard) render.shard = (*shard)->shard, o.shard_source = (*shard)->source;
  }
  render.scheduler.answers = render.scheduler.pictures;  // --batch
  if (render.manifest.empty()) render.manifest = "manifest" + render.shard.Suffix() + ".jsonl";
  return {};
}

void AddMerge(CLI::App& app, MergeOptions& o) {
  CLI::App* verb =
      AddVerb(app, "merge", "Check rendered folders against their manifests; tell what is missing",
              "  bifrons merge pictures\n"
              "  bifrons merge part0 part1 part2                a list in several folders\n"
              "  bifrons merge pictures -o pictures/all.jsonl   one manifest of a folder's shards, by index\n"
              "  bifrons merge pictures --jobs prompts.txt --json\n"
              "Jobs are told by their index, which counts from 0; lines of a list count from 1.");
  AddStrings(verb, "folder", o.folders, "folders that render wrote; shards may share one")
      ->type_name(kFolder);
  verb->add_option("--jobs", o.jobs, "the list that was rendered: what is missing is told by its contents")
      ->type_name(kFile);
  verb->add_option(
          "-o,--output", o.output,
          "write one manifest of everything that is finished, sorted by index; it names pictures without "
          "their folders: copy the pictures of other folders beside it; render goes on from it as "
          "manifest*.jsonl")
      ->type_name(kFile);
  AddForce(verb, o.force);
  verb->add_flag("--quick", o.quick, "only look whether files exist, do not read them");
  verb->add_flag("--json", o.json, "print one JSON object");
}

Status Check(const MergeOptions& o) {
  if (o.folders.empty()) return UsageError("merge: give a folder, as in: bifrons merge pictures");
  return {};
}

}  // namespace bifrons
