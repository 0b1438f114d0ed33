// Fish: a line per verb and option, each with the verbs that it stands behind.
#include "src/cli/completion.h"

namespace bifrons {
namespace {

constexpr const char* kFishBegin = R"(# Made by: bifrons completion fish
# Whether the words so far begin with these verbs.
function __bifrons_behind
    set -l words (commandline -opc)
    set -e words[1]
    string match -q -- "$argv *" "$words "
end
# Whether they are these, and nothing else.
function __bifrons_at
    set -l words (commandline -opc)
    set -e words[1]
    test "$words" = "$argv"
end
complete -c bifrons -f
)";

std::string Quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

// The flags that have a value completed.
std::string FishOffers(const OptionRow& row) {
  switch (row.offer()) {
    case Offer::kChoices:
      return "-a " + Quoted(Joined(row.choices, " "));
    case Offer::kFiles:
      return "-F";
    case Offer::kModels:
      return "-F -a " + Quoted(RandomModels("random:"));
    case Offer::kFolders:
      return "-a '(__fish_complete_directories)'";
    case Offer::kNothing:
      break;
  }
  return "";
}

void AddLines(const VerbRow& verb, const std::string& path, std::string* script) {
  const auto complete = [&](const char* condition, const std::string& what) {
    *script += "complete -c bifrons -n " + Quoted(condition + (path.empty() ? "" : " " + path)) + what + "\n";
  };
  for (const VerbRow& sub : verb.verbs)
    complete("__bifrons_at", " -a " + sub.name + " -d " + Quoted(sub.description));
  const char* const condition = path.empty() ? "__bifrons_at" : "__bifrons_behind";
  for (const OptionRow& option : verb.options) {
    std::string what = " -l " + option.name.substr(2);
    if (!option.short_name.empty()) what += " -s " + option.short_name.substr(1);
    if (!option.value.empty() && !option.optional_value) {
      const std::string offered = FishOffers(option);
      const bool offers_files = option.offer() == Offer::kFiles || option.offer() == Offer::kModels;
      what += (offers_files ? " -r " : " -x ") + offered;
      if (offered.empty()) what.pop_back();
    }
    complete(condition, what + " -d " + Quoted(option.description));
  }
  if (verb.verbs.empty() && !verb.arguments.empty()) {
    const std::string offered = FishOffers(verb.arguments[0]);
    if (!offered.empty()) complete("__bifrons_behind", " " + offered);
  }
  for (const VerbRow& sub : verb.verbs)
    AddLines(sub, path.empty() ? sub.name : path + " " + sub.name, script);
}

}  // namespace

std::string FishCompletion(const VerbRow& program) {
  std::string script = kFishBegin;
  AddLines(program, "", &script);
  return script;
}

}  // namespace bifrons
