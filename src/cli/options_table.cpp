// The table that completions and manual pages are made of, read from the parser's own.
#include "src/cli/option_groups.h"
#include "src/cli/option_table.h"
#include "src/model/config.h"

namespace bifrons {
namespace {

// The names in "TEXT:{png,jpg}", as CLI11 describes a check of membership.
std::vector<std::string> ChoicesOf(const std::string& type) {
  const size_t begin = type.find(":{");
  if (begin == type.npos) return {};
  return CLI::detail::split(type.substr(begin + 2, type.find('}', begin) - begin - 2), ',');
}

OptionRow RowOf(const CLI::Option& option) {
  OptionRow row;
  const auto& shorts = option.get_snames();
  const auto& longs = option.get_lnames();
  row.name = longs.empty() ? option.get_name(true) : "--" + longs[0];
  if (!shorts.empty()) row.short_name = "-" + shorts[0];
  if (option.get_type_size() != 0) {
    const std::string type = option.get_type_name();
    row.value = type.substr(0, type.find(':'));
    row.choices = ChoicesOf(type);
  }
  row.description = DescriptionOf(option);
  row.group = option.get_group();
  row.required = option.get_positional() ? IsAsked(option) : option.get_required();
  row.several = option.get_expected_max() == CLI::detail::expected_max_vector_size;
  row.optional_value = !row.value.empty() && option.get_expected_min() == 0;
  return row;
}

}  // namespace

std::string Joined(const std::vector<std::string>& words, const std::string& between) {
  return CLI::detail::join(words, between);
}

std::string RandomModels(const std::string& before) {
  std::string names;
  for (const char* name : kPublishedNames) names += (names.empty() ? "" : " ") + before + name;
  return names;
}

Offer OptionRow::offer() const {
  if (!choices.empty()) return Offer::kChoices;
  if (value == kFile) return Offer::kFiles;
  if (value == kModel) return Offer::kModels;
  return value == kFolder ? Offer::kFolders : Offer::kNothing;
}

void OfferValues(CLI::Option* option, const std::vector<std::string>& values) {
  option->type_name("TEXT:{" + CLI::detail::join(values) + "}");
}

VerbRow TableOf(const CLI::App& app) {
  VerbRow table{app.get_name(), app.get_description(), app.get_footer(), {}, {}, {}};
  for (const std::string& group : app.get_groups()) {
    if (group.empty()) continue;  // refused whatever the value
    for (const CLI::Option* option :
         app.get_options([&](const CLI::Option* o) { return o->get_group() == group; })) {
      (option->get_positional() ? table.arguments : table.options).push_back(RowOf(*option));
    }
  }
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    table.verbs.push_back(TableOf(*verb));
  return table;
}

}  // namespace bifrons
