// How --help looks.
#include <sstream>
#include <string_view>
#include <utility>

#include "src/base/printable.h"
#include "src/cli/exit_codes.h"
#include "src/cli/option_groups.h"

namespace bifrons {
namespace {

constexpr size_t kLineWidth = 100, kNameWidth = 28;

// In characters; a byte that begins none counts as one.
size_t WidthOf(std::string_view text) {
  size_t width = 0;
  for (size_t at = 0; at < text.size(); width++)
    at += std::max<size_t>(Utf8CharacterSize(text.substr(at)), 1);
  return width;
}

class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() {
    column_width(kNameWidth);
    label("SUBCOMMAND", "VERB");
  }

  // CLI11 puts two empty lines between groups.
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    return CLI::detail::find_and_replace(Formatter::make_help(app, std::move(name), mode), "\n\n\n", "\n\n");
  }
  std::string make_footer(const CLI::App* app) const override {
    std::string footer = Formatter::make_footer(app);
    if (app->get_parent()) return footer;
    std::string codes;
    for (const auto& [code, meaning] : kExitCodes)
      codes += (codes.empty() ? "Exit codes: " : ", ") + std::to_string(code) + " " + meaning;
    return footer + Filled("", codes + ".", 0);
  }
  std::string make_description(const CLI::App* app) const override {
    return Filled("", app->get_description(), 0);
  }
  std::string make_option(const CLI::Option* option, bool positional) const override {
    return TwoColumns("  " + make_option_name(option, positional) + make_option_opts(option),
                      make_option_desc(option));
  }
  std::string make_subcommand(const CLI::App* verb) const override {
    return TwoColumns("  " + verb->get_name(), verb->get_description());
  }

  // The first short and the first long one.
  std::string make_option_name(const CLI::Option* option, bool positional) const override {
    if (positional) return option->get_name(true, false);
    const auto& shorts = option->get_snames();
    const auto& longs = option->get_lnames();
    std::string name = shorts.empty() ? "" : "-" + shorts[0];
    if (!longs.empty()) name += (name.empty() ? "--" : ", --") + longs[0];
    return name;
  }
  std::string make_option_usage(const CLI::Option* positional) const override {
    const std::string name = positional->get_name(true);
    const std::string shown = positional->get_expected_max() > 1 ? name + "..." : name;
    return IsAsked(*positional) ? shown : "[" + shown + "]";
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_type_size() == 0) return "";
    // Without the checks that CLI11 puts behind it; the descriptions have them in words.
    const std::string type = option->get_type_name();
    const bool several = option->get_expected_max() == CLI::detail::expected_max_vector_size;
    const std::string value = type.substr(0, type.find(':'));
    return " " + (!value.empty() && option->get_expected_min() == 0 ? "[" + value + "]" : value) +
           (several ? " ..." : "") + (option->get_required() ? " (required)" : "");
  }
  std::string make_option_desc(const CLI::Option* option) const override { return DescriptionOf(*option); }

 private:
  static std::string TwoColumns(const std::string& name, const std::string& description) {
    const size_t width = WidthOf(name);
    if (width >= kNameWidth)
      return Filled(name + '\n' + std::string(kNameWidth, ' '), description, kNameWidth);
    return Filled(name + std::string(kNameWidth - width, ' '), description, kNameWidth);
  }

  // Lines that begin in column `margin`, as the end of `begin` does.
  static std::string Filled(const std::string& begin, const std::string& text, size_t margin) {
    std::ostringstream out;
    out << begin;
    size_t at = margin;
    std::istringstream words(text);
    bool first = true;
    for (std::string word; words >> word; first = false) {
      if (!first && at + 1 + WidthOf(word) > kLineWidth) {
        out << '\n' << std::string(margin, ' ');
        at = margin, first = true;
      }
      out << (first ? "" : " ") << word;
      at += (first ? 0 : 1) + WidthOf(word);
    }
    out << '\n';
    return out.str();
  }
};

}  // namespace

std::string DescriptionOf(const CLI::Option& option) {
  std::string others;
  const auto add = [&](const std::vector<std::string>& names, const char* dashes) {
    for (size_t i = 1; i < names.size(); i++) others += (others.empty() ? "" : ", ") + (dashes + names[i]);
  };
  add(option.get_snames(), "-"), add(option.get_lnames(), "--");
  return option.get_description() + (others.empty() ? "" : " (also " + others + ")");
}

std::shared_ptr<CLI::Formatter> MakeHelpFormatter() { return std::make_shared<HelpFormatter>(); }

}  // namespace bifrons
