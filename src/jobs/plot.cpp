#include "src/jobs/plot.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "src/engine/sampler.h"

namespace bifrons {
namespace {

// A setting that is a number, and what the command line allows for it.
struct NumberAxis {
  const char* name;
  double least, most;
  bool whole;
  void (*apply)(PictureJob& job, double value);
};

constexpr NumberAxis kNumberAxes[] = {
    {"cfg", -1000, 1000, false,
     [](PictureJob& job, double v) { job.settings.guidance = static_cast<float>(v); }},
    {"temperature", 0, 1000, false,
     [](PictureJob& job, double v) { job.settings.temperature = static_cast<float>(v); }},
    {"top_k", 0, 1 << 30, true, [](PictureJob& job, double v) { job.settings.top_k = static_cast<int>(v); }},
    {"top_p", 0, 1, false, [](PictureJob& job, double v) { job.settings.top_p = static_cast<float>(v); }},
    {"min_p", 0, 1, false, [](PictureJob& job, double v) { job.settings.min_p = static_cast<float>(v); }},
    // Seeds end where doubles stop holding every integer.
    {"seed", 0, static_cast<double>(kMaxSeed), true,
     [](PictureJob& job, double v) { job.seed = static_cast<int64_t>(v); }},
};

constexpr const char* kPrompt = "prompt";

const NumberAxis* FindNumberAxis(const std::string& name) {
  const auto found = std::find_if(std::begin(kNumberAxes), std::end(kNumberAxes),
                                  [&](const NumberAxis& axis) { return name == axis.name; });
  return found == std::end(kNumberAxes) ? nullptr : found;
}

std::optional<double> ParseNumber(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

// "a,\"b, c\",d": nothing where a quote is not closed, or where text follows it.
std::optional<std::vector<std::string>> Split(const std::string& list) {
  std::vector<std::string> values(1);
  for (size_t i = 0; i < list.size(); i++) {
    if (list[i] == ',') {
      values.emplace_back();
    } else if (list[i] == '"' && values.back().empty()) {
      for (i++;; i++) {
        if (i >= list.size()) return std::nullopt;
        if (list[i] == '"' && (i + 1 >= list.size() || list[i + 1] != '"')) break;
        if (list[i] == '"') i++;
        values.back() += list[i];
      }
      if (i + 1 < list.size() && list[i + 1] != ',') return std::nullopt;
    } else {
      values.back() += list[i];
    }
  }
  return values;
}

std::string Shown(double value) {
  char buffer[32];
  return {buffer, std::to_chars(buffer, buffer + sizeof(buffer), value).ptr};
}

std::string Names() {
  std::string names;
  for (const NumberAxis& axis : kNumberAxes) names += std::string(axis.name) + ", ";
  return names + kPrompt;
}

Result<PlotAxis> ParseAxis(const std::string& text) {
  const auto wrong = [&](const std::string& what) { return UsageError("--plot " + text + ": " + what); };
  const size_t equals = text.find('=');
  if (equals == std::string::npos) return wrong("an axis is written as name=value,value,…");
  PlotAxis axis;
  axis.name = text.substr(0, equals);
  const NumberAxis* const number = FindNumberAxis(axis.name);
  if (!number && axis.name != kPrompt)
    return wrong("there is no setting '" + axis.name + "'; use one of " + Names());
  auto values = Split(text.substr(equals + 1));
  if (!values) return wrong("a quoted value ends with a quote, and a comma or nothing after it");
  axis.values = std::move(*values);

  std::set<std::string> texts;
  std::set<double> numbers;
  for (const std::string& value : axis.values) {
    if (value.empty() && (number || value == axis.values.front())) return wrong("a value is empty");
    bool fresh = false;
    if (number) {
      const auto parsed = ParseNumber(value);
      if (!parsed || (number->whole && *parsed != std::floor(*parsed))) {
        return wrong("'" + value + "' is not a " + (number->whole ? "whole " : "") + "number");
      }
      if (*parsed < number->least || *parsed > number->most) {
        return wrong(value + " is out of range; " + axis.name + " goes from " + Shown(number->least) +
                     " to " + Shown(number->most));
      }
      fresh = numbers.insert(*parsed).second;
    } else {
      fresh = texts.insert(value).second;
    }
    if (!fresh) return wrong("the value '" + value + "' is there twice");
    axis.labels.push_back(number ? axis.name + " " + value : value);
  }
  return axis;
}

}  // namespace

Result<std::vector<PlotAxis>> ParsePlot(const std::vector<std::string>& axes) {
  if (axes.empty() || axes.size() > 2) {
    return UsageError("--plot: give one axis or two, as in --plot cfg=1,3,5 temperature=0.7,1; these are " +
                      std::to_string(axes.size()));
  }
  std::vector<PlotAxis> parsed;
  for (const std::string& text : axes) {
    BIFRONS_TRY(PlotAxis axis, ParseAxis(text));
    parsed.push_back(std::move(axis));
  }
  if (parsed.size() == 2 && parsed[0].name == parsed[1].name) {
    return UsageError("--plot: both axes are " + parsed[0].name + "; give each setting one");
  }
  return parsed;
}

Status ApplyAxis(PictureJob& job, const PlotAxis& axis, size_t i) {
  const std::string& value = axis.values.at(i);
  if (const NumberAxis* const number = FindNumberAxis(axis.name)) {
    number->apply(job, ParseNumber(value).value());
    return {};
  }
  const std::string& wanted = axis.values.front();
  if (job.prompt.find(wanted) == std::string::npos) {
    return UsageError("--plot prompt: the prompt '" + job.prompt + "' does not have the text '" + wanted +
                      "'");
  }
  std::string prompt;
  for (size_t at = 0;;) {
    const size_t found = job.prompt.find(wanted, at);
    prompt.append(job.prompt, at, found - at);  // found may be npos: to the end
    if (found == std::string::npos) break;
    prompt += value;
    at = found + wanted.size();
  }
  if (prompt.empty()) return UsageError("--plot prompt: nothing is left of the prompt '" + job.prompt + "'");
  job.prompt = std::move(prompt);
  return {};
}

}  // namespace bifrons
