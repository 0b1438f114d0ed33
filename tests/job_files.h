// Job files for tests: written, read whole, and the entries as expected.
#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "src/jobs/job_reader.h"
#include "tests/run_program.h"

namespace bifrons {

struct ReadJobs {
  JobFormat format = JobFormat::kLines;
  std::vector<JobReader::Entry> entries;
  int64_t passed_over = 0;

  const Job& job(size_t i) const {
    REQUIRE(i < entries.size());
    if (const BadJob* bad = std::get_if<BadJob>(&entries[i])) FAIL(bad->where << ": " << bad->error.message);
    return std::get<Job>(entries[i]);
  }
  const PictureJob& picture(size_t i) const {
    REQUIRE(job(i).picture);
    return *job(i).picture;
  }
  const AnswerJob& answer(size_t i) const {
    REQUIRE(job(i).answer);
    return *job(i).answer;
  }
  const BadJob& bad(size_t i) const {
    REQUIRE(i < entries.size());
    REQUIRE(std::holds_alternative<BadJob>(entries[i]));
    return std::get<BadJob>(entries[i]);
  }
};

inline ReadJobs ReadJobFile(const std::string& text, const std::string& name = "jobs",
                            const std::string& comments = "") {
  const TemporaryFolder folder;
  WriteText(folder / name, text);
  auto reader = JobReader::Open(folder / name, comments);
  INFO((reader.ok() ? "" : reader.error().message));
  REQUIRE(reader.ok());
  ReadJobs jobs;
  jobs.format = (*reader)->format();
  for (;;) {
    auto entry = (*reader)->Next();
    REQUIRE(entry.ok());
    jobs.passed_over = (*reader)->passed_over();
    if (!*entry) return jobs;
    jobs.entries.push_back(std::move(**entry));
  }
}

/// The only entry of a file, which must be refused.
inline void CheckBad(const std::string& text, const std::string& field, const std::string& says) {
  INFO(text.substr(0, 300));
  const ReadJobs jobs = ReadJobFile(text);
  REQUIRE(jobs.entries.size() == 1);
  CHECK(jobs.bad(0).error.field == field);
  CHECK(jobs.bad(0).error.kind == ErrorKind::kBadData);
  CHECK_THAT(jobs.bad(0).error.message, Catch::Contains(says));
  CHECK(jobs.bad(0).error.message.find('\n') == std::string::npos);
}

}  // namespace bifrons
