// Any bytes as a job file, without and with comments; and as a template for names, and the prompt whose slug
// fills it.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "src/jobs/file_name.h"
#include "src/jobs/job_reader.h"
#include "src/jobs/openai_batch.h"

namespace {

using namespace bifrons;

void ReadAll(const std::string& path, const std::string& comments) {
  auto reader = JobReader::Open(path, comments);
  if (!reader.ok()) return;
  for (;;) {
    const auto entry = (*reader)->Next();
    if (!entry.ok() || !*entry) return;
    if (const BadJob* bad = std::get_if<BadJob>(&**entry)) {
      (void)ErrorLine(bad->custom_id, bad->error);
    } else if (const Job& job = std::get<Job>(**entry); job.picture.has_value() == job.answer.has_value()) {
      abort();
    }
    if ((*reader)->passed_over() < 0) abort();
  }
}

void FillName(const std::string& text, const std::string& prompt) {
  const auto parsed = NameTemplate::Parse(text);
  if (!parsed.ok()) return;
  NameFields fields;
  fields.prompt = prompt;
  // Windows holds it, and its canonical form is one.
  const std::string name = parsed->Fill(fields), canonical = CanonicalName(name);
  if (!CheckNewName(name).ok() || CanonicalName(canonical) != canonical) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int fd = memfd_create("jobs", MFD_CLOEXEC);
  if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != static_cast<ssize_t>(size)) abort();
  const std::string path = "/proc/self/fd/" + std::to_string(fd);  // opened anew, at its start
  ReadAll(path, "");
  ReadAll(path, "#");
  const std::string text(reinterpret_cast<const char*>(data), size);
  FillName(text, text);
  FillName("{slug}_{index}", text);
  return 0;
}
