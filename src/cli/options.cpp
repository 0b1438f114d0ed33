// Options that several verbs have.
#include <cstdlib>

#include "kernels/device.h"
#include "src/cli/option_groups.h"
#include "src/model/quantized_weights.h"

namespace bifrons {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int64_t kMaxSide = 1 << 20;

}  // namespace

CLI::App* InGroup(CLI::App* app, const char* group) {
  app->option_defaults()->group(group);
  return app;
}

void AddModel(CLI::App* app, std::string& model) {
  app->add_option("-m,--model", model,
                  "model folder, GGUF file, hf:ORG/NAME[@REVISION] (downloaded once), "
                  "random:janus-1.3b, random:janus-pro-1b or random:janus-pro-7b, or janus-mini, which is "
                  "bundled (default: $BIFRONS_MODEL, else janus-mini)")
      ->type_name(kModel)
      ->group(kEveryday);
  AddOffline(app);
}

void AddOffline(CLI::App* app) {
  // As one more way to set what Python's tools read, so that nothing else has to carry it to the hub's
  // client.
  app->add_flag_callback(
         "--offline", [] { ::setenv("HF_HUB_OFFLINE", "1", 1); },
         "download nothing: hf: is what is there already (default: $HF_HUB_OFFLINE)")
      ->group(kComputing);
}

void AddDtype(CLI::App* app, std::optional<DType>& compute) {
  InGroup(app, kComputing)
      ->add_option_function<std::string>(
          "--dtype", [&compute](const std::string& v) { compute = v == "f32" ? DType::kF32 : DType::kBF16; },
          "arithmetic: f32 or bf16 (default: bf16 where the device multiplies it)")
      ->check(CLI::IsMember({"f32", "bf16"}));
}

void AddType(CLI::App* app, std::optional<WeightType>& weights, const std::string& when) {
  CLI::Option* const option =
      InGroup(app, kComputing)
          ->add_option_function<std::string>(
              "--type", [&weights](const std::string& name) { weights = WeightType::Of(name); },
              "weights: matrices and the text embedding as " + WeightType::Names() + when +
                  "; ROLE=TYPE behind it, as in q4_0,down=q8_0, is one role's (" + MatrixRoleNames() +
                  ") (default: as stored)")
          ->check([](const std::string& name) {
            return WeightType::Of(name) ? ""
                                        : "no type of weights: use " + WeightType::Names() +
                                              ", or one with others by role, as in q4_0,down=q8_0";
          });
  OfferValues(option, WeightType::Named());
}

void AddKv(CLI::App* app, std::optional<DType>& kv) {
  InGroup(app, kComputing)
      ->add_option_function<std::string>(
          "--kv", [&kv](const std::string& bits) { kv = bits == "8" ? DType::kQ8_0 : DType::kBF16; },
          "bits of the transformer's cached keys and values: 16 (bf16) or 8 (blocks of q8_0, half the "
          "memory) (default: as --dtype)")
      ->check(CLI::IsMember({"8", "16"}));
}

void AddThreads(CLI::App* app, int& threads) {
  InGroup(app, kComputing)
      ->add_option("-t,--threads", threads, "threads (default: what affinity and cgroups allow)")
      ->check(Between<int>(1, kMaxThreads));
}

void AddDevice(CLI::App* app, LoadOptions& load) {
  AddThreads(app, load.threads);
  app->add_option(
         "--device", load.device,
         "auto (default: a GPU where there is one and the model fits it, else cpu), cpu, cuda or cuda:N "
         "(GPU number N), ref (slow scalar reference)")
      ->check(
          [](const std::string& name) {
            return name == kAutoDevice || IsDeviceName(name) ? "" : "must be auto, cpu, cuda, cuda:N or ref";
          },
          "{auto,cpu,cuda,ref}");
  app->add_option_function<std::string>(
         "--conv",
         [&load](const std::string& v) {
           load.convolutions = v == "cudnn" ? Convolutions::kCudnn : Convolutions::kOwn;
         },
         "a GPU's convolutions: own (default; auto is the same) or cudnn (NVIDIA's, from libcudnn.so.9)")
      ->check(CLI::IsMember({"own", "auto", "cudnn"}));
  OfferValues(app->add_option("--isa", load.isa,
                              "the cpu's instruction set: baseline, avx2, avx512, amx, neon, dotprod "
                              "(default: the best available)"),
              {"baseline", "avx2", "avx512", "amx", "neon", "dotprod"});
}

void AddLoad(CLI::App* app, LoadOptions& load, bool transformer) {
  AddModel(app, load.model);
  AddType(app, load.weights);
  AddDtype(app, load.compute);
  if (transformer) AddKv(app, load.kv);
  AddDevice(app, load);
  if (transformer) {
    OfferValues(
        app->add_option("--template", load.chat_template, "chat template: auto, janus-pro, janus-1.3b"),
        {"auto", "janus-pro", "janus-1.3b"});
  }
  app->add_flag_callback(
      "--profile", [&load] { load.profile = std::make_shared<Profile>(); },
      "at the end, print to standard error where the time went: by zone, with bytes, multiply-accumulates "
      "and rates");
}

void AddImage(CLI::App* app, ImageOptions& image) {
  InGroup(app, kReading)
      ->add_option_function<std::string>(
          "--alpha",
          [&image](const std::string& v) {
            image.alpha = v == "white"   ? AlphaMode::kWhite
                          : v == "black" ? AlphaMode::kBlack
                                         : AlphaMode::kDrop;
          },
          "transparency: drop (default, as the reference does), or composite on white or black")
      ->check(CLI::IsMember({"drop", "white", "black"}));
  app->add_flag_callback(
      "--no-orientation", [&image] { image.orientation = false; },
      "leave images as stored, whatever their EXIF, XMP or TIFF orientation says; HEIC and AVIF are always "
      "upright");
}

CLI::App* AddVerb(CLI::App& app, const char* name, const char* description, const std::string& examples) {
  CLI::App* verb = app.add_subcommand(name, description)->group("Verbs");
  verb->footer("Examples:\n" + examples);
  // What is left over is told by ParseCommandLine: CLI11 would list it backwards, and only after other
  // mistakes.
  verb->allow_extras();
  return InGroup(verb, kEveryday);
}

bool IsNumeral(const std::string& text, bool whole) {
  if (whole) {
    const size_t digits = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
    return text.size() > digits && text.find_first_not_of("0123456789", digits) == text.npos;
  }
  char* end = nullptr;
  std::strtod(text.c_str(), &end);
  return !text.empty() && *end == '\0';
}

CLI::Option* TakeWhole(CLI::Option* option) { return option->allow_extra_args(false); }

void AddForce(CLI::App* app, bool& force) {
  app->add_flag("--force", force, "replace a file that is there and that bifrons did not write");
}

void AddPreview(CLI::App* app, bool& preview) {
  app->add_flag(
      "--preview", preview,
      "show finished pictures on the terminal (standard error): kitty's, iTerm2's and sixel graphics, else "
      "characters");
}

CLI::Option* AddStrings(CLI::App* app, const char* name, std::vector<std::string>& strings,
                        const std::string& help) {
  return TakeWhole(app->add_option_function<std::vector<std::string>>(
      name,
      [&strings](const std::vector<std::string>& more) {
        strings.insert(strings.end(), more.begin(), more.end());
      },
      help));
}

CLI::Option* AddOne(CLI::App* app, const char* name, std::vector<std::string>& strings,
                    const std::string& help) {
  return TakeWhole(app->add_option_function<std::string>(
      name, [&strings](const std::string& one) { strings.push_back(one); }, help));
}

void AddAsked(CLI::App* app, PictureSize& size) {
  AddRanged<int64_t>(app, "-W,--width", size.width, 1, kMaxSide, "pixels: the model's own width, no other");
  AddRanged<int64_t>(app, "-H,--height", size.height, 1, kMaxSide,
                     "pixels: the model's own height, no other");
}

void AddRefused(CLI::App* app, const std::string& names, const std::string& reason) {
  const std::string shown = names.substr(names.rfind(',') + 1);
  app->add_option_function<std::string>(
         names, [shown, reason](const std::string&) { throw CLI::ValidationError(shown, reason); }, "")
      ->expected(0, 1)
      ->group("");
}

void RefuseForeign(CLI::App* app) {
  AddRefused(
      app, "--steps",
      "the model draws a picture's tokens one by one, always all of them; there are no steps to choose");
  AddRefused(app, "--sampling-method",
             "tokens are drawn by --temperature, --top-k, --top-p and --min-p; there is no other method");
  AddRefused(app, "--size", "the model draws pictures of one size, its own, which bifrons info tells");
  AddRefused(
      app, "--negative-prompt",
      "guidance compares with an empty prompt of the same length, as the model was trained, and not with "
      "another one");
}

}  // namespace bifrons
