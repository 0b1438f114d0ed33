#include "src/jobs/plot.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "kernels/sampling.h"
#include "src/base/printable.h"
#include "src/base/shortest.h"

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

constexpr const char* kPromptAxis = "prompt";
constexpr size_t kMostPlotPictures = 1'000'000;  // as of a job without a plot

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

std::string Names() {
  std::string names;
  for (const NumberAxis& axis : kNumberAxes) names += std::string(axis.name) + ", ";
  return names + kPromptAxis;
}

// `shown` is what the user wrote, for messages.
Result<PlotAxis> MakeAxis(const std::string& shown, std::string name, std::vector<std::string> values) {
  const auto wrong = [&](const std::string& what) { return UsageError("--plot " + shown + ": " + what); };
  PlotAxis axis{std::move(name), std::move(values), {}};
  const NumberAxis* const number = FindNumberAxis(axis.name);
  if (!number && axis.name != kPromptAxis)
    return wrong("there is no setting '" + axis.name + "'; use one of " + Names());
  if (axis.values.empty()) return wrong("it has no values");
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
        return wrong(value + " is out of range; " + axis.name + " goes from " + ShortestText(number->least) +
                     " to " + ShortestText(number->most));
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

Result<PlotAxis> ParseAxis(const std::string& text) {
  const auto wrong = [&](const std::string& what) { return UsageError("--plot " + text + ": " + what); };
  const size_t equals = text.find('=');
  if (equals == std::string::npos) return wrong("an axis is written as name=value,value,…");
  std::string name = text.substr(0, equals);
  if (!FindNumberAxis(name) && name != kPromptAxis)
    return wrong("there is no setting '" + name + "'; use one of " + Names());
  auto values = Split(text.substr(equals + 1));
  if (!values) return wrong("a quoted value ends with a quote, and a comma or nothing after it");
  return MakeAxis(text, std::move(name), std::move(*values));
}

Status CheckAxes(const std::vector<PlotAxis>& axes) {
  if (axes.size() == 2 && axes[0].name == axes[1].name)
    return UsageError("--plot: both axes are " + axes[0].name + "; give each setting one");
  size_t pictures = 1;
  for (const PlotAxis& axis : axes) pictures *= axis.values.size();  // of lists that were read from somewhere
  if (pictures > kMostPlotPictures)
    return UsageError("--plot: makes " + std::to_string(pictures) + " pictures of a job; " +
                      std::to_string(kMostPlotPictures) + " is the most");
  return {};
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
  BIFRONS_RETURN_IF_ERROR(CheckAxes(parsed));
  return parsed;
}

Result<std::vector<PlotAxis>> PlotFromJson(const nlohmann::json& json) {
  if (!json.is_array() || json.size() > 2) return DataError("\"plot\" is not a list of at most two axes");
  std::vector<PlotAxis> axes;
  for (const nlohmann::json& axis : json) {
    const auto name = axis.is_object() ? axis.find("name") : axis.end();
    const auto values = axis.is_object() ? axis.find("values") : axis.end();
    if (!axis.is_object() || name == axis.end() || values == axis.end() || !name->is_string() ||
        !values->is_array())
      return DataError("\"plot\" has an axis without \"name\" and \"values\"");
    std::vector<std::string> texts;
    for (const nlohmann::json& value : *values) {
      if (!value.is_string()) return DataError("\"plot\" has a value that is no text");
      texts.push_back(value.get<std::string>());
    }
    auto made = MakeAxis(Printable(name->get<std::string>()), name->get<std::string>(), std::move(texts));
    if (!made.ok()) return DataError(made.error().message);
    axes.push_back(std::move(*made));
  }
  if (const Status checked = CheckAxes(axes); !checked.ok()) return DataError(checked.error().message);
  return axes;
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
