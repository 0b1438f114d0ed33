// Axes of plots: what they parse to, what they do to a job, and what is refused.
#include "src/jobs/plot.h"

#include <catch2/catch.hpp>

namespace bifrons {
namespace {

using Texts = std::vector<std::string>;

PictureJob Applied(const std::string& axis, size_t i, const std::string& prompt = "a dog and a dog") {
  PictureJob job;
  job.prompt = prompt;
  const auto axes = ParsePlot({axis});
  REQUIRE(axes.ok());
  REQUIRE(ApplyAxis(job, axes->front(), i).ok());
  return job;
}

TEST_CASE("two axes parse in their order") {
  const auto axes = ParsePlot({"cfg=1,3.5,-7", "temperature=0.7,1"});
  REQUIRE(axes.ok());
  REQUIRE(axes->size() == 2);
  CHECK((*axes)[0].name == "cfg");
  CHECK((*axes)[0].values == Texts{"1", "3.5", "-7"});
  CHECK((*axes)[0].labels == Texts{"cfg 1", "cfg 3.5", "cfg -7"});
  CHECK((*axes)[1].name == "temperature");
  CHECK((*axes)[1].labels == Texts{"temperature 0.7", "temperature 1"});
}

TEST_CASE("every number reaches its setting") {
  CHECK(Applied("cfg=1,3.5", 1).settings.guidance == 3.5f);
  CHECK(Applied("temperature=0,0.1", 1).settings.temperature == 0.1f);
  CHECK(Applied("temperature=0,0.1", 0).settings.temperature == 0.0f);
  CHECK(Applied("top_k=0,50", 1).settings.top_k == 50);
  CHECK(Applied("top_p=0.9", 0).settings.top_p == 0.9f);
  CHECK(Applied("min_p=1e-3", 0).settings.min_p == 1e-3f);
  CHECK(Applied("seed=1,9007199254740991", 1).seed == 9007199254740991);
  const PictureJob job = Applied("cfg=2", 0);
  CHECK(job.prompt == "a dog and a dog");
  CHECK_FALSE(job.seed.has_value());
  CHECK_FALSE(job.settings.temperature.has_value());
}

TEST_CASE("prompts are searched and replaced") {
  CHECK(Applied("prompt=dog,cat,bird", 0).prompt == "a dog and a dog");
  CHECK(Applied("prompt=dog,cat,bird", 2).prompt == "a bird and a bird");
  CHECK(Applied("prompt=dog,dogdog", 1).prompt == "a dogdog and a dogdog");
  CHECK(Applied("prompt= and a dog,", 1).prompt == "a dog");
  CHECK(Applied("prompt=a,a=b", 1).prompt == "a=b dog a=bnd a=b dog");
  CHECK(Applied("prompt=\"a, \"\"b\"\"\",\"c,d\",e\"f", 1, "a, \"b\"!").prompt == "c,d!");
  CHECK(Applied("prompt=\"a, \"\"b\"\"\",\"c,d\",e\"f", 2, "a, \"b\"!").prompt == "e\"f!");
  CHECK(Applied("prompt=犬,猫", 1, "犬の絵").prompt == "猫の絵");
  CHECK((*ParsePlot({"prompt=\"a, b\",c"}))[0].labels == Texts{"a, b", "c"});

  PictureJob job;
  job.prompt = "a fish";
  const auto absent = ApplyAxis(job, (*ParsePlot({"prompt=dog,cat"}))[0], 0);
  REQUIRE_FALSE(absent.ok());
  CHECK(absent.error().kind == ErrorKind::kUsage);
  CHECK(absent.error().message.find("'dog'") != std::string::npos);
  CHECK_FALSE(ApplyAxis(job, (*ParsePlot({"prompt=a fish,"}))[0], 1).ok());
  CHECK(job.prompt == "a fish");
}

TEST_CASE("what is no plot is one clear line") {
  const auto message = [](const Texts& axes) {
    const auto parsed = ParsePlot(axes);
    INFO((axes.empty() ? "" : axes[0]));
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().kind == ErrorKind::kUsage);
    CHECK(parsed.error().message.starts_with("--plot"));
    CHECK(parsed.error().message.find('\n') == std::string::npos);
    return parsed.error().message;
  };
  const auto says = [&](const Texts& axes, const std::string& part) {
    const std::string text = message(axes);
    INFO(text);
    CHECK(text.find(part) != std::string::npos);
  };
  says({}, "one axis or two");
  says({"cfg=1", "seed=1", "top_k=1"}, "these are 3");
  says({"cfg"}, "name=value");
  says({"=1"}, "no setting ''");
  says({"steps=1"}, "no setting 'steps'; use one of cfg");
  says({"CFG=1"}, "no setting 'CFG'");
  says({"cfg="}, "empty");
  says({"cfg=1,"}, "empty");
  says({"cfg=,1"}, "empty");
  says({"prompt=,cat"}, "empty");
  says({"cfg=1,x"}, "'x' is not a number");
  says({"cfg=1 "}, "'1 ' is not a number");
  says({"cfg=nan"}, "'nan' is not a number");
  says({"cfg=inf"}, "'inf' is not a number");
  says({"cfg=1e999"}, "'1e999' is not a number");
  says({"top_k=1.5"}, "not a whole number");
  says({"cfg=1001"}, "1001 is out of range; cfg goes from -1000 to 1000");
  says({"temperature=-0.1"}, "from 0 to 1000");
  says({"top_p=1.01"}, "from 0 to 1");
  says({"top_k=-1"}, "out of range");
  says({"seed=9007199254740992"}, "out of range");
  says({"cfg=1,2,1.0"}, "'1.0' is there twice");
  says({"prompt=dog,cat,cat"}, "'cat' is there twice");
  says({"cfg=1,2", "cfg=3"}, "both axes are cfg");
  says({"prompt=\"dog"}, "quote");
  says({"prompt=\"dog\"x,cat"}, "quote");
}

}  // namespace
}  // namespace bifrons
