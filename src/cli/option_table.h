// What --help tells, as data: what completions and manual pages are made of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bifrons {

/// What a shell offers in the place of a value.
enum class Offer : uint8_t { kNothing, kChoices, kFiles, kFolders, kModels };

/// The geometries with random weights, which are no files and offered beside them: "janus-1.3b janus-pro-1b
/// janus-pro-7b", each behind `before`.
std::string RandomModels(const std::string& before);

std::string Joined(const std::vector<std::string>& words, const std::string& between);

/// An option, or an argument that stands alone.
struct OptionRow {
  std::string name;        // "--output"; of an argument "prompt"
  std::string short_name;  // "-o"; "" = none
  std::string value;       // "FILE", "INT"; "" = a flag
  std::vector<std::string> choices;
  std::string description;
  std::string group;
  bool required = false;
  bool several = false;         // may be given again and again
  bool optional_value = false;  // taken only behind '='

  Offer offer() const;
};

/// A verb, or the program itself.
struct VerbRow {
  std::string name;  // its own word: "encode"
  std::string description;
  std::string examples;  // indented lines; others are prose
  std::vector<OptionRow> arguments, options;
  std::vector<VerbRow> verbs;
};

}  // namespace bifrons
