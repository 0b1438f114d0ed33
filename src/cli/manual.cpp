#include "src/cli/manual.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <sstream>

#include "src/cli/exit_codes.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

struct Described {
  const char* name;
  const char* description;
};

constexpr Described kEnvironment[] = {
    {"BIFRONS_MODEL", "the model where no --model names one"},
    {"CUDA_VISIBLE_DEVICES", "the GPUs that there are, as for every program that uses CUDA"},
    {"LD_LIBRARY_PATH", "where libcudnn.so.9 is looked for (--conv cudnn), as the system's loader does"},
    {"HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE", "folder of downloaded models (default: $HF_HOME/hub)"},
    {"HF_HOME",
     "folder of the hub's tools (default: $XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface)"},
    {"HF_ENDPOINT", "address of another hub than https://huggingface.co"},
    {"HF_TOKEN, HF_TOKEN_PATH",
     "the hub's token, or a file that has it (default: $HF_HOME/token); HF_HUB_DISABLE_IMPLICIT_TOKEN=1 "
     "sends "
     "none"},
    {"HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE", "1: download nothing, as --offline"},
    {"https_proxy, http_proxy, all_proxy, no_proxy", "proxies for downloads, as curl has them"},
    {"REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE", "file of the authorities that downloads trust"},
    {"XDG_CACHE_HOME, XDG_STATE_HOME", "folders of the files below"},
    {"TERM, TERM_PROGRAM, LC_TERMINAL", "what the terminal can show, for --preview"},
    {"BIFRONS_SHARD_COUNT",
     "completions of a Kubernetes job, for render; JOB_COMPLETION_INDEX, SLURM_ARRAY_TASK_ID and those "
     "beside "
     "it, RANK and WORLD_SIZE say which part of a list a process draws where no --shard does"},
    {"SOURCE_DATE_EPOCH", "the date of manual pages that bifrons man writes, in seconds since 1970"},
};

constexpr Described kFilesUsed[] = {
    {"~/.cache/huggingface/hub", "downloaded models, in the layout of Python's huggingface_hub"},
    {"~/.cache/bifrons", "hashes of models' files"},
    {"~/.local/state/bifrons/chat_history", "lines of bifrons chat"},
};

constexpr char32_t kEllipsis = 0x2026;

// Text as it stands: no request at the start of a line, no dash that is set as a hyphen, no curved quotes.
std::string Escaped(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const CodePoint character = DecodeUtf8(std::string_view(text).substr(at));
    const char c = text[at];
    if (character.value == kEllipsis) {
      out += "\\&...";  // terminals without UTF-8 have no other
    } else if (character.bytes > 1) {
      char code[16];
      std::snprintf(code, sizeof code, "\\[u%04X]", static_cast<unsigned>(character.value));
      out += code;
    } else if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if (c == '\'') {
      out += "\\(aq";
    } else if (c == '`') {
      out += "\\(ga";
    } else if (c == '^') {
      out += "\\(ha";
    } else if (c == '~') {
      out += "\\(ti";
    } else if (c == '.' && (at == 0 || text[at - 1] == '\n')) {
      out += "\\&.";
    } else {
      out += c;
    }
    at += static_cast<size_t>(character.bytes);
  }
  return out;
}

std::string Bold(const std::string& text) { return "\\fB" + Escaped(text) + "\\fR"; }
std::string Italic(const std::string& text) { return "\\fI" + Escaped(text) + "\\fR"; }

std::string Sentence(std::string text) {
  text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return Escaped(text) + (text.ends_with(".") ? "" : ".");
}

// A paragraph with its name in the margin.
std::string Tagged(const std::string& tag, const std::string& description) {
  return ".TP\n" + tag + "\n" + Escaped(description) + "\n";
}

std::string ShownArgument(const OptionRow& argument) {
  return Italic(argument.name) + (argument.several ? " ..." : "");
}

// "-o, --output FILE"
std::string ShownOption(const OptionRow& option) {
  std::string shown = option.short_name.empty() ? "" : Bold(option.short_name) + ", ";
  shown += Bold(option.name);
  if (option.value.empty()) return shown;
  const std::string value = option.choices.empty() ? option.value : Joined(option.choices, "|");
  return shown + (option.optional_value ? "[=" + Italic(value) + "]" : " " + Italic(value));
}

std::string Synopsis(const VerbRow& verb, const std::string& path) {
  std::string out = Bold(path) + " [" + Italic("option") + " ...]";
  for (const OptionRow& option : verb.options)
    if (option.required) out += " " + Bold(option.name) + " " + Italic(option.value);
  for (const OptionRow& argument : verb.arguments) {
    const std::string shown = ShownArgument(argument);
    out += argument.required ? " " + shown : " [" + shown + "]";
  }
  if (!verb.verbs.empty()) out = Bold(path) + " " + Italic("verb") + " [" + Italic("option") + " ...] ...";
  return out + "\n";
}

// Indented lines are commands, printed as they stand; other lines are prose.
std::string Examples(const std::string& text) {
  std::istringstream lines(text);
  std::string out;
  bool literal = false;
  for (std::string line; std::getline(lines, line);) {
    if (line == "Examples:" || line.empty()) continue;
    const bool command = line.starts_with("  ");
    if (command != literal) out += command ? ".PP\n.EX\n" : ".EE\n.PP\n", literal = command;
    out += Escaped(command ? line.substr(2) : line) + "\n";
  }
  if (literal) out += ".EE\n";
  return out.starts_with(".PP\n") ? out.substr(4) : out;
}

std::string Reference(const std::string& page) { return Bold(page) + "(1)"; }

std::string PageName(std::string path) {
  for (char& c : path)
    if (c == ' ') c = '-';
  return path;
}

std::string Options(const std::vector<OptionRow>& options) {
  std::string out, group;
  for (const OptionRow& option : options) {
    // The first, the everyday ones, stand right under the section's own heading.
    if (option.group != group && !group.empty()) out += ".SS " + Escaped(option.group) + "\n";
    group = option.group;
    out += Tagged(ShownOption(option), option.description);
  }
  return out;
}

std::string EnvironmentSection() {
  std::string out = ".SH ENVIRONMENT\n";
  for (const auto& [name, description] : kEnvironment) out += Tagged(Bold(name), description);
  out += ".SH FILES\n";
  for (const auto& [name, description] : kFilesUsed) out += Tagged(Italic(name), description);
  return out;
}

// The page of `path`, such as "bifrons vq", which is below `above`, then those of the verbs below it.
void AddPages(const VerbRow& verb, const std::string& path, const std::string& above, const std::string& date,
              std::vector<ManualPage>* pages) {
  const std::string name = PageName(path);
  std::string title = name;
  for (char& c : title) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  std::string summary = verb.description;
  if (summary.starts_with(name + " ")) summary.erase(0, name.size() + 1);
  if (summary.ends_with(".")) summary.pop_back();
  summary[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(summary[0])));
  std::string text = ".TH " + Escaped(title) + " 1 " + date +
                     " \"bifrons " BIFRONS_VERSION
                     "\" \"bifrons\"\n"
                     ".nh\n";  // names that are cut are other names
  text += ".SH NAME\n" + Escaped(name) + " \\- " + Escaped(summary) + "\n";
  text += ".SH SYNOPSIS\n" + Synopsis(verb, path);
  text += ".SH DESCRIPTION\n" + Sentence(verb.description) + "\n";
  for (const OptionRow& argument : verb.arguments)
    text += Tagged(ShownArgument(argument), argument.description);
  for (const VerbRow& sub : verb.verbs)
    text += Tagged(Reference(PageName(path + " " + sub.name)), sub.description);
  text += ".SH OPTIONS\n" + Options(verb.options);
  if (!verb.examples.empty()) text += ".SH EXAMPLES\n" + Examples(verb.examples);
  text += ".SH EXIT STATUS\n";
  for (const auto& [code, meaning] : kExitCodes) text += Tagged(Bold(std::to_string(code)), meaning);
  if (above.empty()) text += EnvironmentSection();
  text += ".SH SEE ALSO\n";
  std::string pages_to_see;
  const auto see = [&](const std::string& page) {
    pages_to_see += (pages_to_see.empty() ? "" : ",\n") + Reference(page);
  };
  if (!above.empty()) see(PageName(above));
  for (const VerbRow& sub : verb.verbs) see(PageName(path + " " + sub.name));
  text += pages_to_see + "\n";
  if (!above.empty()) text += ".PP\n" + Reference("bifrons") + " tells of the environment and of files.\n";
  pages->push_back({name, text});
  for (const VerbRow& sub : verb.verbs) AddPages(sub, path + " " + sub.name, path, date, pages);
}

}  // namespace

std::vector<ManualPage> ManualPages(const VerbRow& program, const std::string& date) {
  std::vector<ManualPage> pages;
  AddPages(program, program.name, "", date, &pages);
  return pages;
}

}  // namespace bifrons
