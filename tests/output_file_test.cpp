// What verbs may write over, and the names they count up to where they may not.
#include <sys/stat.h>

#include "tests/run_program.h"
#include "tests/test_pictures.h"

namespace bifrons {
namespace {

const std::string kModel = (fs::path(BIFRONS_TEST_DIR) / "goldens/tiny-a/converted").string();

Arguments Generate(const Arguments& more) {
  return Join({"generate", "--model", kModel, "--dtype", "f32", "--quiet"}, more);
}

// The program runs there, and the test's own folder is restored.
class WorkingFolder {
 public:
  explicit WorkingFolder(const fs::path& folder) : before_(fs::current_path()) { fs::current_path(folder); }
  ~WorkingFolder() { fs::current_path(before_); }

 private:
  fs::path before_;
};

void CheckKept(const Arguments& arguments, const std::string& file, const std::string& contents) {
  INFO(Shown(arguments));
  const ProgramResult result = RunProgram(arguments);
  INFO(result.err);
  CHECK(result.exit_code == 2);
  CHECK(result.err.find(file) != std::string::npos);
  CHECK(result.err.find("--force") != std::string::npos);
  CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
  CHECK((ReadText(file) == contents));
}

TEST_CASE("without a name pictures count up from what is there") {
  const TemporaryFolder folder;
  const WorkingFolder here(folder.path());
  WriteText("out.png", "somebody's");
  CHECK(RunWell(Generate({"a dog"})).out == "out_2.png\n");
  CHECK(RunWell(Generate({"a dog"})).out == "out_3.png\n");
  WriteText("out_7.png", "another's");
  CHECK(RunWell(Generate({"a dog"})).out == "out_8.png\n");
  CHECK(RunWell(Generate({"-n", "2", "a dog"})).out == "out_9.png\nout_10.png\n");
  CHECK(ReadText("out.png") == "somebody's");
  CHECK(ReadText("out_7.png") == "another's");
  fs::remove("out.png");
  CHECK(RunWell(Generate({"a dog"})).out == "out.png\n");
}

TEST_CASE("names that only look numbered, and links, are somebody's as well") {
  const TemporaryFolder folder;
  const WorkingFolder here(folder.path());
  for (const std::string name :
       {"out_x.png", "out_.png", "out_99999999999999999999.png", "out_2.png.bak", "out_-3.png"})
    WriteText(name, "");
  fs::create_symlink("nowhere.png", "out.png");
  fs::create_directory("out_2.png");
  CHECK(RunWell(Generate({"a dog"})).out == "out_3.png\n");
  CHECK(fs::is_symlink("out.png"));
  CHECK_FALSE(fs::exists("nowhere.png"));
}

TEST_CASE("several pictures of a first run have the numbers 1 to N") {
  const TemporaryFolder folder;
  const WorkingFolder here(folder.path());
  CHECK(RunWell(Generate({"-n", "3", "a dog"})).out == "out_1.png\nout_2.png\nout_3.png\n");
  CHECK(RunWell(Generate({"a dog", "a cat"})).out == "out_4.png\nout_5.png\n");
}

TEST_CASE("-o replaces what bifrons drew, and other files only by --force") {
  const TemporaryFolder folder;
  const std::string out = folder / "cat.png";
  WriteTestPicture(out, 3, 2, 1);
  const std::string photograph = ReadText(out);
  CheckKept(Generate({"-o", out, "a dog"}), out, photograph);
  RunWell(Generate({"-o", out, "--seed", "1", "--force", "a dog"}));
  const std::string first = ReadText(out);
  RunWell(Generate({"-o", out, "--seed", "2", "a dog"}));  // it is ours now
  CHECK((ReadText(out) != first));

  // Of several, one that is somebody's is enough, and nothing is drawn.
  WriteText(folder / "many_2.png", "text");
  CheckKept(Generate({"-o", folder / "many.png", "-n", "3", "a dog"}), folder / "many_2.png", "text");
  CHECK_FALSE(fs::exists(folder / "many_1.png"));

  // An empty file, and a link to somebody's.
  WriteText(folder / "empty.png", "");
  CheckKept(Generate({"-o", folder / "empty.png", "a dog"}), folder / "empty.png", "");
  WriteText(folder / "target", "text");
  fs::create_symlink("target", folder / "link.png");
  CheckKept(Generate({"-o", folder / "link.png", "a dog"}), folder / "link.png", "text");
  fs::create_symlink("gone", folder / "dangling.png");
  CheckKept(Generate({"-o", folder / "dangling.png", "a dog"}), folder / "dangling.png", "");
  CHECK_FALSE(fs::exists(folder / "gone"));

  // A pipe is no file to write to, whatever is forced.
  REQUIRE(::mkfifo((folder / "pipe.png").c_str(), 0600) == 0);
  CHECK(RunProgram(Generate({"-o", folder / "pipe.png", "--force", "a dog"})).exit_code == 1);
}

TEST_CASE("image tokens, manifests and decoded pictures follow the same rule") {
  const TemporaryFolder folder;
  const std::string picture = folder / "a.png", codes = folder / "codes.npy", list = folder / "list.txt",
                    all = folder / "all.jsonl", out = folder / "out", decoded = folder / "decoded.png";
  WriteText(codes, "notes");
  CheckKept(Generate({"-o", picture, "--codes-out", codes, "a dog"}), codes, "notes");
  CHECK_FALSE(fs::exists(picture));
  RunWell(Generate({"-o", picture, "--codes-out", codes, "--force", "a dog"}));
  // Nothing in an array says whose it is.
  CheckKept(Generate({"-o", picture, "--codes-out", codes, "a dog"}), codes, ReadText(codes));
  const ProgramResult both =
      RunProgram(Generate({"-o", folder / "x.png", "--codes-out", folder / "./x.png", "a dog"}));
  CHECK(both.exit_code == 2);
  CHECK(both.err.find("the name of a picture too") != std::string::npos);
  CHECK_FALSE(fs::exists(folder / "x.png"));

  const auto vq = [&](const std::string& verb, const std::string& in, const std::string& to) {
    return Arguments{"vq", verb, "--model", kModel, "--dtype", "f32", in, "-o", to};
  };
  WriteText(list, "a dog\n"), WriteText(decoded, "notes"), WriteText(all, "notes");
  CheckKept(vq("encode", picture, list), list, "a dog\n");
  RunWell(Join(vq("encode", picture, codes), {"--force"}));
  const std::string before = ReadText(picture);
  CHECK(RunProgram(Join(vq("encode", picture, picture), {"--force"})).err.find("the input too") !=
        std::string::npos);
  CHECK((ReadText(picture) == before));
  CheckKept(vq("decode", codes, decoded), decoded, "notes");
  RunWell(Join(vq("decode", codes, decoded), {"--force"}));
  RunWell(vq("roundtrip", picture, decoded));
  WriteText(folder / "again.png", "notes");
  CheckKept(vq("roundtrip", picture, folder / "again.png"), folder / "again.png", "notes");

  RunWell({"render", list, "-o", out, "--model", kModel, "--dtype", "f32", "--quiet"});
  CheckKept({"merge", out, "-o", all}, all, "notes");
  CheckKept({"merge", out, "-o", list}, list, "a dog\n");
  RunWell({"merge", out, "-o", all, "--force"});
  RunWell({"merge", out, "-o", all});
  const std::string manifest = out + "/manifest.jsonl", lines = ReadText(manifest);
  CHECK_THAT(RunProgram({"merge", out, "-o", manifest, "--force"}).err,
             Catch::Contains("is a manifest to merge too"));
  CHECK(ReadText(manifest) == lines);
}

}  // namespace
}  // namespace bifrons
