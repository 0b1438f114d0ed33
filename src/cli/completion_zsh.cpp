// Zsh: a function per verb, for _arguments.
#include "src/cli/completion.h"

namespace bifrons {
namespace {

// Sourced, it says what it is for; found in $fpath, it is the body of the function that was called.
constexpr const char* kZshEnd = R"(
if [ "$funcstack[1]" = _bifrons ]; then
  _bifrons "$@"
else
  compdef _bifrons bifrons
fi
)";

// Fit for the inside of single quotes, and of _arguments' or _describe's fields.
std::string Escaped(const std::string& text, const std::string& special) {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
      continue;
    }
    if (c == '\\' || special.find(c) != special.npos) out += '\\';
    out += c;
  }
  return out;
}

// ":FILE:_files"
std::string Action(const OptionRow& row, const std::string& name) {
  const std::string action = ":" + Escaped(name, ":") + ":";
  switch (row.offer()) {
    case Offer::kChoices:
      return action + "(" + Joined(row.choices, " ") + ")";
    case Offer::kFiles:
      return action + "_files";
    case Offer::kFolders:
      return action + "_files -/";
    case Offer::kModels:
      return action + "_bifrons_a_model";
    case Offer::kNothing:
      break;
  }
  return action;
}

// '(-o --output)'{-o+,--output=}'[file to write]:FILE:_files'
std::string Spec(const OptionRow& option) {
  const bool value = !option.value.empty();
  const std::string end = option.optional_value ? "=-" : value ? "=" : "";
  std::string spec = "[" + Escaped(option.description, "[]:") + "]";
  if (value)
    spec += (option.optional_value ? ":" : "") + Action(option, option.value) +
            (option.offer() == Offer::kNothing ? " " : "");
  const std::string once = option.several ? "*" : "";
  if (option.short_name.empty()) return "'" + once + option.name + end + spec + "'";
  const std::string others = "(" + option.short_name + " " + option.name + ")";
  return "'" + (option.several ? once : others) + "'{" + option.short_name + (value ? "+" : "") + "," +
         option.name + end + "}'" + spec + "'";
}

// The functions of the verbs below a verb, then its own.
void AddFunctions(const VerbRow& verb, const std::string& function, std::string* script) {
  for (const VerbRow& sub : verb.verbs) AddFunctions(sub, function + "_" + sub.name, script);
  *script += "\n" + function + "() {\n";
  if (!verb.verbs.empty()) *script += "  local line state\n";
  *script += std::string("  _arguments -s -S") + (verb.verbs.empty() ? "" : " -C");
  for (const OptionRow& option : verb.options) *script += " \\\n    " + Spec(option);
  if (verb.verbs.empty()) {
    // A message about a text would keep an option that begins there from being completed.
    for (const OptionRow& argument : verb.arguments) {
      const std::string text = argument.offer() == Offer::kNothing ? "_guard \"^-*\" " + argument.name : "";
      *script += " \\\n    '" + std::string(argument.several ? "*" : "") + Action(argument, argument.name) +
                 text + "'";
    }
    *script += "\n}\n";
    return;
  }
  *script += " \\\n    '1: :->verb' '*:: :->behind'\n  case $state in\n    verb)\n      local -a verbs=(";
  for (const VerbRow& sub : verb.verbs)
    *script += "\n        '" + sub.name + ":" + Escaped(sub.description, "") + "'";
  *script += "\n      )\n      _describe verb verbs\n      ;;\n    behind)\n      case $words[1] in\n";
  for (const VerbRow& sub : verb.verbs)
    *script += "        " + sub.name + ") " + function + "_" + sub.name + " ;;\n";
  *script += "      esac\n      ;;\n  esac\n}\n";
}

}  // namespace

std::string ZshCompletion(const VerbRow& program) {
  std::string script = "#compdef bifrons\n# Made by: bifrons completion zsh\n";
  AddFunctions(program, "_" + program.name, &script);
  script += "\n_bifrons_a_model() {\n  _alternative 'files:model:_files' 'names:random weights:(" +
            RandomModels("random\\:") + ")'\n}\n";
  return script + kZshEnd;
}

}  // namespace bifrons
