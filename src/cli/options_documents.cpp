// The command lines of the verbs that tell about the command line itself: completion and man.
#include <charconv>
#include <cstdlib>
#include <ctime>

#include "src/cli/completion.h"
#include "src/cli/manual.h"
#include "src/cli/nearest.h"
#include "src/cli/option_groups.h"

namespace bifrons {
namespace {

// Today's, or that of $SOURCE_DATE_EPOCH, so that a build can be repeated.
std::string PageDate() {
  std::time_t seconds = std::time(nullptr);
  if (const char* epoch = std::getenv("SOURCE_DATE_EPOCH")) {
    const std::string_view text = epoch;
    std::from_chars(text.data(), text.data() + text.size(), seconds);
  }
  std::tm utc{};
  char date[32];
  if (!gmtime_r(&seconds, &utc) || std::strftime(date, sizeof date, "%Y-%m-%d", &utc) == 0)
    return "1970-01-01";
  return date;
}

}  // namespace

void AddCompletion(CLI::App& app, CompletionOptions& o) {
  CLI::App* verb = AddVerb(app, "completion", "Print what a shell needs to complete verbs, options and files",
                           "  source <(bifrons completion bash)          in ~/.bashrc\n"
                           "  source <(bifrons completion zsh)           in ~/.zshrc, behind compinit\n"
                           "  bifrons completion fish | source           in ~/.config/fish/config.fish\n"
                           "An installed bifrons has them where the shells look.");
  OfferValues(AddOne(verb, "shell", o.shells, "bash, zsh or fish"), {"bash", "zsh", "fish"});
}

void AddMan(CLI::App& app, ManOptions& o) {
  CLI::App* verb = AddVerb(app, "man", "Print a manual page, or write all of them",
                           "  bifrons man generate | man -l -\n"
                           "  bifrons man -o man1             bifrons.1, bifrons-generate.1, …\n"
                           "An installed bifrons has them where man looks: man bifrons-generate.");
  MayBeAbsent(AddStrings(verb, "verb", o.verbs, "the page of this verb (default: of the program)"));
  verb->add_option("-o,--output", o.folder, "folder to write all pages into (made if absent)")
      ->type_name(kFolder)
      ->check([](const std::string& folder) { return folder.empty() ? "names no folder" : ""; });
  AddForce(verb, o.force);
}

Result<Command> Complete(const CLI::App& app, const CompletionOptions& o) {
  if (o.shells.size() > 1) return UsageError("completion: unexpected argument " + o.shells[1]);
  const std::string shell = o.shells.empty() ? "" : o.shells[0];
  VerbRow table = TableOf(app);
  // Behind these two stand verbs as well, and nothing else of them.
  VerbRow help{"help", "Tell more of a verb", {}, {}, {}, table.verbs};
  const auto strip = [](const auto& self, VerbRow* verb) -> void {
    verb->options.clear(), verb->arguments.clear();
    for (VerbRow& sub : verb->verbs) self(self, &sub);
  };
  strip(strip, &help);
  for (VerbRow& verb : table.verbs)
    if (verb.name == "man") verb.verbs = help.verbs;
  table.verbs.push_back(std::move(help));
  if (shell == "bash") return Command(HelpText{BashCompletion(table)});
  if (shell == "zsh") return Command(HelpText{ZshCompletion(table)});
  if (shell == "fish") return Command(HelpText{FishCompletion(table)});
  return UsageError("completion: name a shell: bash, zsh or fish" + (shell.empty() ? "" : ", not " + shell));
}

Result<Command> Complete(const CLI::App& app, const ManOptions& o) {
  std::vector<ManualPage> pages = ManualPages(TableOf(app), PageDate());
  if (!o.folder.empty()) {
    if (!o.verbs.empty()) return UsageError("man: --output writes all pages; leave out " + o.verbs[0]);
    return Command(ManualFiles{o.folder, o.force, std::move(pages)});
  }
  const std::string prefix = app.get_name() + "-";
  const std::string verbs = Joined(o.verbs, "-");
  const std::string name = verbs.empty() ? app.get_name() : prefix + verbs;
  std::vector<std::string> names;  // without the prefix, which would make all of them alike
  for (ManualPage& page : pages) {
    if (page.name == name) return Command(HelpText{std::move(page.text)});
    if (page.name.starts_with(prefix)) names.push_back(page.name.substr(prefix.size()));
  }
  const std::string nearest = Nearest(verbs, names);
  return UsageError("man: no page " + name +
                    (nearest.empty() ? "" : " (did you mean " + prefix + nearest + "?)") +
                    "; see bifrons --help");
}

}  // namespace bifrons
