// The command line as a whole: which verb, which options, what belongs to neither.
#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <utility>

#include "src/cli/nearest.h"
#include "src/cli/option_groups.h"

namespace bifrons {
namespace {

using Verbs = std::vector<const CLI::App*>;  // {program, vq, encode}

bool IsOption(const std::string& argument) { return argument.size() > 1 && argument.starts_with("-"); }

// "--seed=7" → "--seed"
std::string NameOf(const std::string& option) { return option.substr(0, option.find('=')); }

std::vector<const CLI::App*> SubverbsOf(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

// With their dashes; those that are refused whatever their value only if asked for.
std::vector<std::string> OptionsOf(const CLI::App& app, bool refused = false) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty() && !refused) continue;
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

bool Has(const CLI::App& app, const std::string& option) {
  const std::vector<std::string> names = OptionsOf(app);
  return std::find(names.begin(), names.end(), option) != names.end() ||
         app.get_option_no_throw(option) != nullptr;
}

// " (did you mean --seed?)"
std::string Meant(const std::string& name) { return name.empty() ? "" : " (did you mean " + name + "?)"; }

// The verbs that the arguments begin with, as far as there are such.
Verbs LeadingVerbs(const CLI::App& app, const std::vector<std::string>& arguments) {
  Verbs verbs = {&app};
  for (const std::string& argument : arguments) {
    const std::vector<const CLI::App*> subverbs = SubverbsOf(*verbs.back());
    const auto named = std::find_if(subverbs.begin(), subverbs.end(),
                                    [&](const CLI::App* verb) { return verb->get_name() == argument; });
    if (named == subverbs.end()) break;
    verbs.push_back(*named);
  }
  return verbs;
}

// Those that CLI11 found.
Verbs ParsedVerbs(const CLI::App& app) {
  Verbs verbs = {&app};
  while (!verbs.back()->get_subcommands().empty()) verbs.push_back(verbs.back()->get_subcommands()[0]);
  return verbs;
}

// "vq encode"; "" for the program itself.
std::string NameOf(const Verbs& verbs) {
  std::string name;
  for (size_t i = 1; i < verbs.size(); i++) name += (i > 1 ? " " : "") + verbs[i]->get_name();
  return name;
}

// "vq encode: what; see bifrons vq encode --help"
Error Wrong(const Verbs& verbs, const std::string& what) {
  const std::string name = NameOf(verbs);
  return UsageError((name.empty() ? "" : name + ": ") + what + "; see bifrons " +
                    (name.empty() ? "" : name + " ") + "--help");
}

// "generate, chat": the verbs that have this option; "" for none.
std::string VerbsWith(const CLI::App& app, const std::string& option) {
  std::string names;
  for (const CLI::App* verb : SubverbsOf(app)) {
    const std::vector<std::string> options = OptionsOf(*verb);
    if (std::find(options.begin(), options.end(), option) != options.end())
      names += (names.empty() ? "" : ", ") + verb->get_name();
  }
  return names;
}

// What is no option of the last of `verbs`.
Error UnknownOption(const Verbs& verbs, const std::string& argument) {
  const std::string option = NameOf(argument);
  const std::vector<const CLI::App*> subverbs = SubverbsOf(*verbs.back());
  for (const CLI::App* subverb : subverbs) {
    if (!Has(*subverb, option)) continue;
    Verbs behind = verbs;
    behind.push_back(subverb);
    return Wrong(verbs, option + " goes behind the verb, as in: bifrons " + NameOf(behind) + " " + option);
  }
  std::string nearest = Nearest(option, OptionsOf(*verbs.back()));
  if (nearest.empty()) {
    if (const std::string others = VerbsWith(*verbs.front(), option); !others.empty())
      return Wrong(verbs, "unknown option " + option + ", which goes with " + others);
    nearest = Nearest(option, OptionsOf(*verbs.back(), /*refused=*/true));
  }
  if (!nearest.empty() || !subverbs.empty()) return Wrong(verbs, "unknown option " + option + Meant(nearest));
  return Wrong(verbs, "unknown option " + option + " (what begins with a dash goes after --)");
}

// Our verb for what other programs, and people, call it; "" where none does.
std::string OurVerb(const std::string& other) {
  constexpr std::pair<const char*, const char*> kVerbs[] = {
      {"draw", "generate"},   {"paint", "generate"}, {"create", "generate"},  {"txt2img", "generate"},
      {"batch", "render"},    {"list", "render"},    {"describe", "caption"}, {"see", "caption"},
      {"look", "caption"},    {"vqa", "ask"},        {"question", "ask"},     {"talk", "chat"},
      {"download", "pull"},   {"fetch", "pull"},     {"quantize", "convert"}, {"quantise", "convert"},
      {"benchmark", "bench"}, {"test", "selftest"},
  };
  for (const auto& [name, ours] : kVerbs) {
    if (other == name) return ours;
  }
  return {};
}

Error UnknownVerb(const Verbs& verbs, const std::string& argument) {
  std::vector<std::string> names;
  for (const CLI::App* verb : SubverbsOf(*verbs.back())) names.push_back(verb->get_name());
  std::string meant;
  if (verbs.size() == 1) {
    names.push_back("help");
    meant = OurVerb(argument);
  }
  if (meant.empty()) meant = Nearest(argument, names);
  if (meant.empty() && verbs.size() == 1 && argument.find(' ') != argument.npos)
    meant = "generate \"" + argument + '"';
  return Wrong(verbs, "no verb \"" + argument + "\"" + Meant(meant));
}

// Of an argument that no verb has a place for; "" for what does not look like a model.
std::string WhereModelsGo(const CLI::App& verb, const std::string& argument) {
  std::error_code error;
  const bool looks = argument.ends_with(".gguf") || argument.starts_with("hf:") ||
                     argument.starts_with("random:") || std::filesystem::is_directory(argument, error);
  return looks && Has(verb, "--model") ? " (a model goes behind -m)" : "";
}

Error Unexpected(const Verbs& verbs, const std::string& argument) {
  return Wrong(verbs, "unexpected argument " + argument + WhereModelsGo(*verbs.back(), argument));
}

// Whether what follows this argument is its value.
bool TakesValue(const CLI::App& verb, const std::string& argument) {
  const CLI::Option* option = IsOption(argument) ? verb.get_option_no_throw(argument) : nullptr;
  return option != nullptr && option->get_type_size() != 0;
}

// CLI11 takes -seed for -s with the value "eed", and -5 for what the verb works on.
Status CheckDashes(const CLI::App& app, const std::vector<std::string>& arguments) {
  const Verbs verbs = LeadingVerbs(app, arguments);
  for (size_t i = 0; i < arguments.size(); i++) {
    const std::string option = NameOf(arguments[i]);
    if (option.size() < 2 || option[0] != '-') continue;
    const bool number = option[1] >= '0' && option[1] <= '9';
    if (number && (i == 0 || !TakesValue(*verbs.back(), arguments[i - 1])))
      return UnknownOption(verbs, option);
    if (option.size() > 2 && option[1] != '-' && Has(*verbs.back(), "-" + option))
      return Wrong(verbs, "unknown option " + option + Meant("-" + option));
  }
  return {};
}

// What CLI11 could place nowhere, the first of it; `strings`: the last verb takes any number of them.
Status CheckLeftOver(const Verbs& verbs, bool strings) {
  Verbs outer;
  for (const CLI::App* verb : verbs) {
    outer.push_back(verb);
    for (const std::string& argument : verb->remaining()) {
      if (IsOption(argument)) return UnknownOption(outer, argument);
      if (!SubverbsOf(*verb).empty()) return UnknownVerb(outer, argument);
      if (!strings) return Unexpected(outer, argument);
    }
  }
  if (const auto subverbs = SubverbsOf(*verbs.back()); !subverbs.empty()) {
    return Wrong(verbs, verbs.size() == 1
                            ? "give a verb, as in: bifrons generate \"a dog\""
                            : "give a verb, as in: bifrons " + NameOf(verbs) + " " + subverbs[0]->get_name());
  }
  return {};
}

// `help`, `help vq encode` → --help, vq encode --help
Result<std::vector<std::string>> WithoutHelpVerb(const CLI::App& app, std::vector<std::string> arguments) {
  if (arguments.empty() || arguments[0] != "help") return arguments;
  arguments.erase(arguments.begin());
  if (!arguments.empty() && arguments[0] == "help") arguments.erase(arguments.begin());
  const Verbs verbs = LeadingVerbs(app, arguments);
  for (size_t i = verbs.size() - 1; i < arguments.size(); i++) {
    if (IsOption(arguments[i])) continue;
    if (!SubverbsOf(*verbs.back()).empty()) return UnknownVerb(verbs, arguments[i]);
    return Unexpected(verbs, arguments[i]);
  }
  arguments.push_back("--help");
  return arguments;
}

}  // namespace

Result<Command> ParseCommandLine(int argc, const char* const* argv) {
  CLI::App app{
      "bifrons draws pictures and answers questions about images with DeepSeek's Janus models: one native "
      "program, no Python."};
  app.name("bifrons");
  app.formatter(MakeHelpFormatter());
  app.set_help_flag("-h,--help", "print this and exit");
  app.set_version_flag("-V,--version", std::string("bifrons ") + BIFRONS_VERSION,
                       "print the version and exit");
  app.allow_extras();
  app.footer(
      "Examples:\n"
      "  bifrons generate \"a dog on a blue background\"\n"
      "  bifrons generate -m ~/models/Janus-Pro-1B -n 4 --seed 7 \"a lighthouse in a storm\"\n"
      "  bifrons render prompts.txt -o pictures\n"
      "  bifrons caption dog.png\n"
      "bifrons help VERB, or bifrons VERB --help, tells more of a verb.\n"
      "Options go behind the verb; what begins with a dash and is no option, behind --.");
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
  KlOptions kl;
  ExportOptions exports;
  ConvertCommand convert;
  RenderCommand render;
  MergeOptions merge;
  PullCommand pull;
  CompletionOptions completion;
  ManOptions man;
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
  AddKl(app, kl);
  AddExport(app, exports);
  AddConvert(app, convert);
  AddPull(app, pull);
  AddCompletion(app, completion);
  AddMan(app, man);

  // Taken out first: CLI11 would end the verb at `--` once it has seen one prompt.
  const char* const* const marker = std::find(argv + std::min(argc, 1), argv + argc, std::string_view("--"));
  const std::vector<std::string> after(marker + (marker == argv + argc ? 0 : 1), argv + argc);
  BIFRONS_TRY(auto arguments, WithoutHelpVerb(app, {argv + std::min(argc, 1), marker}));
  if (!arguments.empty() && arguments[0] == "render") arguments = WithOwnValues(std::move(arguments));
  BIFRONS_RETURN_IF_ERROR(CheckDashes(app, arguments));
  std::string wrong, missing;
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // CLI11 takes the last first
  } catch (const CLI::Success& e) {
    std::ostringstream out, err;
    app.exit(e, out, err);
    return Command(HelpText{out.str()});
  } catch (const CLI::RequiredError& e) {
    missing = e.what();
  } catch (const CLI::ParseError& e) {
    wrong = e.what();
  }
  const Verbs verbs = ParsedVerbs(app);
  const std::string verb = verbs.size() > 1 ? verbs[1]->get_name() : "";
  std::vector<std::string>* const strings = verb == "generate"     ? &generate.prompts
                                            : verb == "render"     ? &render.lists
                                            : verb == "caption"    ? &caption.inputs
                                            : verb == "ask"        ? &ask.arguments
                                            : verb == "chat"       ? &chat.images
                                            : verb == "merge"      ? &merge.folders
                                            : verb == "vq"         ? &vq.inputs
                                            : verb == "tokenize"   ? &tokenize.texts
                                            : verb == "convert"    ? &convert.models
                                            : verb == "kl"         ? &kl.models
                                            : verb == "pull"       ? &pull.repositories
                                            : verb == "completion" ? &completion.shells
                                            : verb == "man"        ? &man.verbs
                                                                   : nullptr;
  // A mistyped option is told rather than the required one that is missing for it.
  BIFRONS_RETURN_IF_ERROR(CheckLeftOver(verbs, strings != nullptr));
  if (!wrong.empty()) return Wrong(verbs, wrong);
  if (!strings && !after.empty()) return Unexpected(verbs, after[0]);
  if (strings) {
    const std::vector<std::string> more = verbs.back()->remaining();
    strings->insert(strings->end(), more.begin(), more.end());
    strings->insert(strings->end(), after.begin(), after.end());
  }
  // These two tell it with an example, and what else is missing first.
  if (!missing.empty() && verb != "render" && verb != "vq") return Wrong(verbs, missing);
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
  if (verb == "vq") return checked(vq);
  if (verb == "info") return Command(info);
  if (verb == "tokenize") return checked(tokenize);
  if (verb == "trace") return checked(trace);
  if (verb == "bench") return Command(bench);
  if (verb == "selftest") return Command(selftest);
  if (verb == "kl") {
    BIFRONS_RETURN_IF_ERROR(Complete(kl));
    return Command(std::move(kl));
  }
  if (verb == "convert") {
    BIFRONS_RETURN_IF_ERROR(Complete(convert));
    return Command(std::move(convert));
  }
  if (verb == "pull") return checked(pull);
  if (verb == "completion") return Complete(app, completion);
  if (verb == "man") return Complete(app, man);
  return Command(exports);
}

}  // namespace bifrons
