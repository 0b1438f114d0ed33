#include "src/engine/metadata.h"

#include <charconv>
#include <cmath>
#include <map>

#include "src/base/shortest.h"

namespace bifrons {
namespace {

constexpr std::string_view kSampler = "Gumbel-max";
constexpr std::string_view kFirstField = "Steps: ";
// As A1111's Extras tab has them.
constexpr const char* kUpscaleBy = "Postprocess upscale by";
constexpr const char* kUpscaleTo = "Postprocess upscale to";
constexpr const char* kCropTo = "Postprocess crop to";
constexpr const char* kUpscaler = "Postprocess upscaler";
constexpr std::string_view kLanczos = "Lanczos";

std::string Size(int64_t width, int64_t height) { return ShortestText(width) + "x" + ShortestText(height); }

// "512x256", each side from 1 to `most`.
bool ParseSize(std::string_view text, int64_t most, int64_t* width, int64_t* height) {
  const char* const end = text.data() + text.size();
  const auto side = [&](const char* at, int64_t* pixels) {
    const auto [stop, error] = std::from_chars(at, end, *pixels);
    return error == std::errc() && *pixels >= 1 && *pixels <= most ? stop : nullptr;
  };
  const char* const x = side(text.data(), width);
  return x && x != end && *x == 'x' && side(x + 1, height) == end;
}

std::string Quoted(const std::string& value) {
  if (!value.empty() && value.find_first_of(",:\"\\\n") == std::string::npos) return value;
  std::string out = "\"";
  for (const char c : value) {
    if (c == '\n') {
      out += "\\n";
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out + '"';
}

// "Key: value, Key: \"quoted, value\"" → map; false when it is not of that form. `twice`: a key that comes
// again, whose values would contradict each other.
bool ParseFields(std::string_view line, std::map<std::string, std::string>* fields, std::string* twice) {
  while (!line.empty()) {
    const size_t colon = line.find(": ");
    if (colon == std::string_view::npos) return false;
    std::string value;
    const std::string key(line.substr(0, colon));
    line.remove_prefix(colon + 2);
    if (line.starts_with('"')) {
      size_t i = 1;
      for (; i < line.size() && line[i] != '"'; i++) {
        if (line[i] == '\\' && i + 1 < line.size()) {
          i++;
          value += line[i] == 'n' ? '\n' : line[i];
        } else {
          value += line[i];
        }
      }
      if (i >= line.size()) return false;
      line.remove_prefix(i + 1);
    } else {
      const size_t end = std::min(line.find(", "), line.size());
      value = line.substr(0, end);
      line.remove_prefix(end);
    }
    if (!fields->emplace(key, value).second) *twice = key;
    if (line.starts_with(", ")) {
      line.remove_prefix(2);
    } else if (!line.empty()) {
      return false;
    }
  }
  return true;
}

// "-0.25 -3 0"
bool ParseScores(std::string_view text, std::vector<float>* scores) {
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    float score = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), score);
    if (error != std::errc() || end != word.data() + word.size()) return false;
    scores->push_back(score);
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
  return true;
}

}  // namespace

std::string IdentityOf(const std::string& model_hash, const std::string& weights, const std::string& kv) {
  return model_hash + (weights.empty() ? "" : " " + weights) + (kv.empty() ? "" : " kv " + kv);
}

std::string FormatParameters(const PictureSettings& s) {
  std::string text = s.prompt + "\n";
  text += std::string(kFirstField) + ShortestText(s.steps) + ", Sampler: " + std::string(kSampler);
  text += ", CFG scale: " + ShortestText(s.sampling.guidance) + ", Seed: " + ShortestText(s.seed);
  text += ", Size: " + Size(s.width, s.height);
  text += ", Model hash: " + s.model_hash + ", Model: " + Quoted(s.model);
  text +=
      ", Temperature: " + ShortestText(s.sampling.temperature) + ", Top-k: " + ShortestText(s.sampling.top_k);
  text += ", Top-p: " + ShortestText(s.sampling.top_p) + ", Min-p: " + ShortestText(s.sampling.min_p);
  if (!s.weights.empty()) text += ", Weights: " + Quoted(s.weights);
  text += ", Dtype: " + s.compute + ", KV: " + s.kv_type + ", Device: " + s.backend + ", ISA: " + s.isa;
  if (!s.convolutions.empty()) text += ", Convolutions: " + Quoted(s.convolutions);
  text += ", Template: " + s.chat_template + ", Version: " + Quoted(s.version);
  if (s.resized_width > 0) {
    const std::string size = Size(s.resized_width, s.resized_height);
    text += std::string(", ") + kUpscaleTo + ": " + size;
    // Of another aspect: the middle of what was drawn.
    if (s.resized_width * s.height != s.resized_height * s.width)
      text += std::string(", ") + kCropTo + ": " + size;
  } else if (s.upscale != 1) {
    text += std::string(", ") + kUpscaleBy + ": " + ShortestText(s.upscale);
  }
  if (s.resized_width > 0 || s.upscale != 1)
    text += std::string(", ") + kUpscaler + ": " + std::string(kLanczos);
  if (!s.choice.scores.empty()) {
    text += ", Best of: " + ShortestText(s.choice.scores.size()) +
            ", First seed: " + ShortestText(s.choice.first_seed);
    text += ", Scores: ";
    for (size_t i = 0; i < s.choice.scores.size(); i++)
      text += (i ? " " : "") + ShortestText(s.choice.scores[i]);
  }
  return text;
}

Result<PictureSettings> ParseParameters(std::string_view text) {
  const auto bad = [](const std::string& what) { return DataError("its `parameters` text " + what); };
  // The settings are the last line; a prompt may have lines of its own.
  const size_t newline = text.rfind("\n" + std::string(kFirstField));
  if (newline == std::string_view::npos) return bad("has no line that begins with \"Steps:\"");
  PictureSettings s;
  s.prompt = text.substr(0, newline);
  std::map<std::string, std::string> fields;
  std::string twice;
  if (!ParseFields(text.substr(newline + 1), &fields, &twice))
    return bad("is not a list of \"Name: value\" fields");
  if (!twice.empty()) return bad("has the field \"" + twice + "\" twice");

  std::string missing, wrong;
  const auto string = [&](const char* key, std::string* value) {
    const auto it = fields.find(key);
    if (it == fields.end()) {
      if (missing.empty()) missing = key;
    } else {
      *value = it->second;
    }
  };
  const auto number = [&](const char* key, auto* value, auto least, auto most) {
    std::string v;
    string(key, &v);
    if (!missing.empty()) return;
    const auto [end, error] = std::from_chars(v.data(), v.data() + v.size(), *value);
    const bool in_range =
        error == std::errc() && end == v.data() + v.size() && *value >= least && *value <= most;
    if (!in_range && wrong.empty()) wrong = std::string(key) + ": " + v;
  };
  std::string size, sampler;
  number("Steps", &s.steps, int64_t{1}, int64_t{1} << 30);
  string("Sampler", &sampler);
  number("CFG scale", &s.sampling.guidance, -1e6f, 1e6f);
  number("Seed", &s.seed, uint64_t{0}, static_cast<uint64_t>(kMaxSeed));
  string("Size", &size);
  string("Model hash", &s.model_hash);
  string("Model", &s.model);
  number("Temperature", &s.sampling.temperature, 0.0f, 1e6f);
  number("Top-k", &s.sampling.top_k, 0, 1 << 30);
  number("Top-p", &s.sampling.top_p, 0.0f, 1.0f);
  number("Min-p", &s.sampling.min_p, 0.0f, 1.0f);
  if (fields.contains("Weights")) s.weights = fields["Weights"];
  string("Dtype", &s.compute);
  string("KV", &s.kv_type);
  string("Device", &s.backend);
  string("ISA", &s.isa);
  if (fields.contains("Convolutions")) s.convolutions = fields["Convolutions"];
  string("Template", &s.chat_template);
  string("Version", &s.version);
  const auto refuse = [&](const char* key) {
    if (wrong.empty()) wrong = std::string(key) + ": " + fields[key];
  };
  const bool resized = fields.contains(kUpscaleTo);
  if (fields.contains(kUpscaleBy)) {
    number(kUpscaleBy, &s.upscale, 2, 4);
    if (s.upscale == 3 || resized) refuse(kUpscaleBy);
  }
  if (resized && !ParseSize(fields[kUpscaleTo], kMaxResizedSide, &s.resized_width, &s.resized_height))
    refuse(kUpscaleTo);
  if (fields.contains(kCropTo) && (!resized || fields[kCropTo] != fields[kUpscaleTo])) refuse(kCropTo);
  if (fields.contains(kUpscaleBy) || resized) {
    std::string upscaler;
    string(kUpscaler, &upscaler);
    if (upscaler != kLanczos && missing.empty()) refuse(kUpscaler);
  }
  if (fields.contains("Scores")) {
    number("First seed", &s.choice.first_seed, uint64_t{0}, static_cast<uint64_t>(kMaxSeed));
    if (!ParseScores(fields["Scores"], &s.choice.scores)) wrong = "Scores: " + fields["Scores"];
  }
  if (!missing.empty()) return bad("lacks the field \"" + missing + "\"; was it drawn by bifrons?");
  if (!wrong.empty()) return bad("has a value out of range, \"" + wrong + "\"");
  if (sampler != kSampler)
    return bad("names the sampler \"" + sampler + "\"; only " + std::string(kSampler) + " can be redrawn");
  if (!ParseSize(size, int64_t{1} << 30, &s.width, &s.height)) return bad("has a bad size, \"" + size + "\"");
  return s;
}

}  // namespace bifrons
