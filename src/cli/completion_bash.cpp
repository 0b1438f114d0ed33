// Bash: one function that finds the verb, then what the last word but one asks for.
#include "src/cli/completion.h"

namespace bifrons {
namespace {

constexpr const char* kBashBegin = R"(# Made by: bifrons completion bash
_bifrons() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb= i
  # --format=jpg comes as three words.
  [[ $before == = ]] && before=${COMP_WORDS[COMP_CWORD - 2]}
  [[ $word == = ]] && word=
  # random:janus-pro-1b as well: what stands before the colon is complete.
  local random=
  if [[ $word == : && $before == random ]]; then
    random=1 word= before=${COMP_WORDS[COMP_CWORD - 2]}
  elif [[ $before == : && ${COMP_WORDS[COMP_CWORD - 2]} == random ]]; then
    random=1 before=${COMP_WORDS[COMP_CWORD - 3]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$verb ${COMP_WORDS[i]}" in
)";

constexpr const char* kVerbFound = R"( verb+=" ${COMP_WORDS[i]}" ;;
      *) break ;;
    esac
  done
  local options= offer= words= models= ended=
  for (( ; i < COMP_CWORD; i++)); do
    [[ ${COMP_WORDS[i]} == -- ]] && before= ended=1
  done
  case "$verb" in
)";

constexpr const char* kBashEnd = R"(  esac
  [[ $ended ]] && options=
  [[ $offer == options || ($options && $word == -*) ]] && offer=words words=$options
  COMPREPLY=()
  case "$offer" in
    words) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word") ;;
    files | folders)
      compopt -o filenames 2> /dev/null
      [[ $offer == files ]] && i=-f || i=-d
      mapfile -t COMPREPLY < <(compgen "$i" -- "$word")
      ;;
    models)
      if [[ $random ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$models" -- "$word")
      else
        # As file names their colon would be quoted.
        [[ random: == "$word"* ]] || compopt -o filenames 2> /dev/null
        mapfile -t COMPREPLY < <(compgen -f -W "random:${models// / random:}" -- "$word")
      fi
      ;;
  esac
}
complete -F _bifrons bifrons
)";

std::vector<std::string> NamesOf(const OptionRow& option) {
  if (option.short_name.empty()) return {option.name};
  return {option.short_name, option.name};
}

// "' generate' | ' vq' | ' vq encode'", in the order of the table.
void AddPaths(const VerbRow& verb, const std::string& path, std::vector<std::string>* paths) {
  for (const VerbRow& sub : verb.verbs) {
    paths->push_back("'" + path + " " + sub.name + "'");
    AddPaths(sub, path + " " + sub.name, paths);
  }
}

// The assignments that have `value` completed.
std::string BashOffers(const OptionRow& value) {
  switch (value.offer()) {
    case Offer::kChoices:
      return "offer=words words='" + Joined(value.choices, " ") + "'";
    case Offer::kFiles:
      return "offer=files";
    case Offer::kFolders:
      return "offer=folders";
    case Offer::kModels:
      return "offer=models models='" + RandomModels("") + "'";
    case Offer::kNothing:
      break;
  }
  return "offer=";
}

// The branch of a verb, and those of the verbs below it.
void AddBranches(const VerbRow& verb, const std::string& path, std::string* script) {
  std::vector<std::string> options, verbs;
  std::string values;
  for (const OptionRow& option : verb.options) {
    const std::vector<std::string> names = NamesOf(option);
    options.insert(options.end(), names.begin(), names.end());
    if (option.value.empty() || option.optional_value) continue;
    // A value may begin with a dash.
    values += "        " + Joined(names, " | ") + ") options= " + BashOffers(option) + " ;;\n";
  }
  for (const VerbRow& sub : verb.verbs) verbs.push_back(sub.name);
  *script += "    '" + path + "')\n      options='" + Joined(options, " ") + "'\n      ";
  if (!verbs.empty()) {
    *script += "offer=words words='" + Joined(verbs, " ") + "'";
  } else if (!verb.arguments.empty() && verb.arguments[0].offer() != Offer::kNothing) {
    *script += BashOffers(verb.arguments[0]);
  } else {
    *script += "offer=options";
  }
  if (!values.empty()) *script += "\n      case \"$before\" in\n" + values + "      esac";
  *script += "\n      ;;\n";
  for (const VerbRow& sub : verb.verbs) AddBranches(sub, path + " " + sub.name, script);
}

}  // namespace

std::string BashCompletion(const VerbRow& program) {
  std::vector<std::string> paths;
  AddPaths(program, "", &paths);
  std::string script = kBashBegin;
  script += "      " + Joined(paths, " | \\\n      ") + ")\n       ";
  script += kVerbFound;
  AddBranches(program, "", &script);
  return script + kBashEnd;
}

}  // namespace bifrons
