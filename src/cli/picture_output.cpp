#include "src/cli/picture_output.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "src/base/npy.h"
#include "src/base/shortest.h"
#include "src/cli/answering.h"
#include "src/cli/output_file.h"

namespace bifrons {
namespace {

// What a picture says about itself (metadata.h), as the manifests of render name it.
nlohmann::json ToJson(const std::string& file, PictureFormat format, const PictureSettings& s) {
  nlohmann::json line = {{"file", file},
                         {"prompt", s.prompt},
                         {"seed", s.seed},
                         {"guidance", Shortest(s.sampling.guidance)},
                         {"temperature", Shortest(s.sampling.temperature)},
                         {"top_k", s.sampling.top_k},
                         {"top_p", Shortest(s.sampling.top_p)},
                         {"min_p", Shortest(s.sampling.min_p)},
                         {"width", s.file_width()},
                         {"height", s.file_height()},
                         {"format", NameOf(format)},
                         {"drawn_width", s.width},
                         {"drawn_height", s.height},
                         {"upscale", s.upscale},
                         {"image_tokens", s.steps},
                         {"model", s.model},
                         {"model_hash", s.model_hash},
                         {"template", s.chat_template},
                         {"weights", s.weights.empty() ? "stored" : s.weights},
                         {"compute", s.compute},
                         {"kv", s.kv_type},
                         {"device", s.backend},
                         {"isa", s.isa},
                         {"convolutions", s.convolutions.empty() ? "own" : s.convolutions},
                         {"version", s.version}};
  if (!s.choice.scores.empty()) {
    line["scores"] = s.choice.scores;
    line["first_seed"] = s.choice.first_seed;
  }
  return line;
}

// Which of the candidates it is, and what the model thought of each; nothing of a picture that was the only
// one.
void TellChoice(const std::string& file, const PictureSettings& s) {
  if (s.choice.scores.empty()) return;
  std::string scores;
  char score[32];
  for (const float value : s.choice.scores) {
    std::snprintf(score, sizeof score, " %.4g", static_cast<double>(value));
    scores += score;
  }
  std::fprintf(stderr, "%s: seed %llu, the best of %zu from %llu on, which score%s\n", file.c_str(),
               static_cast<unsigned long long>(s.seed), s.choice.scores.size(),
               static_cast<unsigned long long>(s.choice.first_seed), scores.c_str());
}

Status WriteCodesOf(const std::string& path, const std::vector<std::vector<int32_t>>& codes) {
  const auto n = static_cast<int64_t>(codes.size()), tokens = static_cast<int64_t>(codes[0].size());
  Tensor all(DType::kI32, n == 1 ? Shape{tokens} : Shape{n, tokens});
  int32_t* out = all.as<int32_t>();
  for (const auto& row : codes) out = std::copy(row.begin(), row.end(), out);
  return WriteNpy(path, all.view());
}

}  // namespace

Result<PictureOutput> PictureOutput::Begin(const GenerateOptions& options, size_t count) {
  BIFRONS_TRY(DrawnFiles files, DrawnFiles::Begin(options, count));
  if (!options.codes_out.empty()) {
    BIFRONS_TRY(const OutputFile claimed, OutputFile::Claim(options.codes_out, options.force));
    BIFRONS_RETURN_IF_ERROR(files.CheckAreNot(claimed));
  }
  return PictureOutput(options, std::move(files));
}

Status PictureOutput::Write(size_t i, const DrawingJob& job, PictureSettings settings, DrawnPicture picture,
                            const Preview& preview) {
  settings.prompt = job.requests[i].prompt, settings.seed = picture.seed;
  settings.sampling = job.requests[i].sampling;
  settings.choice = job.redrawn ? job.choice : std::move(picture.choice);
  settings.upscale = job.upscale;
  settings.resized_width = job.resized_width, settings.resized_height = job.resized_height;
  const Image image = Resampled(std::move(picture.image), settings);
  BIFRONS_TRY(const auto bytes, EncodePicture(image, files_.format(), FormatParameters(settings)));
  BIFRONS_TRY(const std::string file, files_.Write(i, bytes));
  if (!options_->quiet && !job.redrawn) TellChoice(file, settings);
  if (!options_->codes_out.empty()) codes_.push_back(std::move(picture.codes));
  preview.Show(image);
  if (files_.piped()) return {};
  std::printf("%s\n",
              options_->json ? JsonLine(ToJson(file, files_.format(), settings)).c_str() : file.c_str());
  std::fflush(stdout);
  return {};
}

Status PictureOutput::WriteCodes() const {
  return options_->codes_out.empty() ? Status() : WriteCodesOf(options_->codes_out, codes_);
}

}  // namespace bifrons
