// Lists of a size that fuzzers do not reach: in time and memory that a child process is held to.
#include <sys/resource.h>

#include <array>
#include <ctime>

#include "tests/job_files.h"

namespace bifrons {
namespace {

struct Reading {
  int64_t jobs = 0, bad = 0, passed_over = 0;

  long megabytes = 0;  // held at most, above what the process had before
  double seconds = 0;  // of processor time
  char first_error[200] = {};
};

long MostMegabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss >> 10;
}

// What `write` puts into a pipe, read by a child: what it holds is its own.
template <class Write>
Reading Read(const Write& write) {
  int input[2], output[2];
  REQUIRE(pipe(input) == 0);
  REQUIRE(pipe(output) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    close(input[1]);
    Reading r;
    const long before = MostMegabytes();
    auto reader = JobReader::Open("/dev/fd/" + std::to_string(input[0]));
    for (; reader.ok();) {
      auto entry = (*reader)->Next();
      if (!entry.ok() || !*entry) break;
      const BadJob* const bad = std::get_if<BadJob>(&**entry);
      if (bad && r.bad == 0)
        std::snprintf(r.first_error, sizeof r.first_error, "%s", bad->error.message.c_str());
      bad ? r.bad++ : r.jobs++;
    }
    if (reader.ok()) r.passed_over = (*reader)->passed_over();
    if (!reader.ok())
      std::snprintf(r.first_error, sizeof r.first_error, "%s", reader.error().message.c_str());
    r.megabytes = MostMegabytes() - before;
    r.seconds = static_cast<double>(clock()) / CLOCKS_PER_SEC;
    const bool sent = ::write(output[1], &r, sizeof r) == static_cast<ssize_t>(sizeof r);
    _exit(sent ? 0 : 1);
  }
  close(input[0]), close(output[1]);
  signal(SIGPIPE, SIG_IGN);
  write([&](const std::string& text) {
    for (size_t at = 0; at < text.size();) {
      const ssize_t n = ::write(input[1], text.data() + at, text.size() - at);
      if (n <= 0) return;
      at += static_cast<size_t>(n);
    }
  });
  close(input[1]);
  Reading r;
  CHECK(::read(output[0], &r, sizeof r) == static_cast<ssize_t>(sizeof r));
  close(output[0]);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  return r;
}

std::string Repeated(const std::string& text, size_t times) {
  std::string all;
  all.reserve(text.size() * times);
  for (size_t i = 0; i < times; i++) all += text;
  return all;
}

// Sanitizers make everything slower and larger.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double kSlower = 20;
constexpr long kLarger = 2000;
#else
constexpr double kSlower = 1;
constexpr long kLarger = 0;
#endif

void CheckCost(const Reading& r, double seconds, long megabytes) {
  CHECK(r.seconds < seconds * kSlower);
  CHECK(r.megabytes < megabytes + kLarger);
}

TEST_CASE("a million entries of every format") {
  const std::string object = R"({"prompt": "a photo of a thing on a blue background", "seed": 7})";
  const std::string csv = "\"a photo of a thing, on blue\",7,Animals\n";
  const auto many = [](const std::string& head, const std::string& one, const std::string& tail) {
    return Read([&](const auto& write) {
      write(head);
      const std::string some = Repeated(one, 1000);
      for (int i = 0; i < 1000; i++) write(some);
      write(tail);
    });
  };
  for (const auto& [head, one, tail] : std::vector<std::array<std::string, 3>>{
           {"", "a photo of a thing on a blue background\n", ""},
           {"prompt,seed,category\n", csv, ""},
           {"", object + "\n", ""},
           {"[", object + ", ", "{\"prompt\": \"the last\"}]"},  // one line of 70 MB
           {"[\n", "  {\n    \"prompt\": \"a photo of a thing\",\n    \"seed\": 7\n  },\n",
            "\"the last\"\n]\n"},
           {"{\"prompts\": [", "\"a photo of a thing on a blue background\", ",
            "\"the last\"], \"x\": 1}"}}) {
    INFO(head << one);
    const Reading r = many(head, one, tail);
    CHECK(r.jobs == 1'000'000 + !tail.empty());
    CHECK(r.bad == 0);
    CheckCost(r, 12, 10);
  }
}

TEST_CASE("a million custom_ids and a million indices are small") {
  const Reading ids = Read([](const auto& write) {
    std::string some;
    for (int i = 0; i < 1'000'000; i++) {
      some += R"({"custom_id": "request-)" + std::to_string(i) +
              R"(", "method": "POST", "url": "/v1/images/generations", "body": {"prompt": "x"}})" + "\n";
      if (i % 1000 == 999) write(std::exchange(some, {}));
    }
  });
  CHECK(ids.jobs == 1'000'000);
  CheckCost(ids, 20, 50);
  const Reading indices = Read([](const auto& write) {
    std::string some;
    for (int64_t i = 0; i < 1'000'000; i++) {
      some += R"({"prompt": "x", "index": )" + std::to_string(i * 7919 % 1'000'003) + "}\n";
      if (i % 1000 == 999) write(std::exchange(some, {}));
    }
  });
  CHECK(indices.jobs == 1'000'000);
  CheckCost(indices, 12, 20);
}

TEST_CASE("lines that are too long") {
  const Reading lines = Read([](const auto& write) {
    write("a cat\n");
    for (int i = 0; i < 200; i++) write(std::string(1 << 20, 'p'));
    write("\na dog\n");
  });
  CHECK(lines.jobs == 2);
  CHECK(lines.bad == 1);
  CHECK_THAT(lines.first_error, Catch::Contains("longer than 64 MB"));
  CheckCost(lines, 5, 140);
  const Reading element = Read([](const auto& write) {
    write("[\"a cat\",\n\"");
    for (int i = 0; i < 65; i++) write(std::string(1 << 20, 'p'));
    write("\", \"a dog\"]");
  });
  CHECK(element.jobs == 2);
  CHECK_THAT(element.first_error, Catch::Contains("longer than 64 MB"));
  CheckCost(element, 5, 140);
}

TEST_CASE("values that would be many times their text, and deep ones") {
  const Reading values = Read([](const auto& write) {
    write("[\"a cat\", {\"prompt\": [");
    for (int i = 0; i < 20; i++) write(Repeated("{},", 1 << 18));
    write("1]}, \"a dog\"]");
  });
  CHECK(values.jobs == 2);
  CHECK_THAT(values.first_error, Catch::Contains("more than 100000 values"));
  CheckCost(values, 10, 100);
  const Reading deep = Read([](const auto& write) {
    write("{\"prompt\": \"a cat\"}\n{\"prompt\": ");
    for (int i = 0; i < 20; i++) write(std::string(1 << 20, '['));
    for (int i = 0; i < 20; i++) write(std::string(1 << 20, ']'));
    write("}\n{\"prompt\": \"a dog\"}\n");
  });
  CHECK(deep.jobs == 2);
  CHECK(deep.bad == 1);
  CheckCost(deep, 10, 160);
  // Every one of them might be the list of an object.
  const Reading lists = Read([](const auto& write) {
    write("{\"prompt\": \"a\", ");
    for (int i = 0; i < 20; i++) write(Repeated("\"jobs\": [1], ", 4000));
    write("\"seed\": 1}");
  });
  CHECK(lists.bad == 1);
  CheckCost(lists, 5, 100);
  const Reading unclosed = Read([](const auto& write) {
    for (int i = 0; i < 20; i++) write(Repeated("{\"a\":[\n", 10000));
  });
  CHECK(unclosed.jobs == 0);
  CheckCost(unclosed, 10, 100);
}

TEST_CASE("CSV with very many columns, and a quotation that never ends") {
  std::string header = "prompt", row = "a cat";
  for (int i = 0; i < 30'000; i++) header += ",column " + std::to_string(i), row += ",x";
  const Reading columns = Read([&](const auto& write) {
    write(header + "\n");
    for (int i = 0; i < 100; i++) write(row + "\n");
  });
  CHECK(columns.jobs == 100);
  CheckCost(columns, 5, 30);
  const Reading too_many =
      Read([&](const auto& write) { write("prompt" + std::string(200'000, ',') + "\n"); });
  CHECK_THAT(too_many.first_error, Catch::Contains("more than 100000 columns"));
  const Reading separators = Read([&](const auto& write) {
    write("prompt,seed\n");
    for (int i = 0; i < 60; i++) write(std::string(1 << 20, ','));
    write("\na cat,1\n");
  });
  CHECK(separators.jobs == 1);
  CHECK(separators.passed_over == 1);
  CheckCost(separators, 5, 160);
  const Reading quotation = Read([&](const auto& write) {
    write("prompt,seed\na cat,1\n\"a dog,2\n");
    const std::string more = Repeated("a fox" + std::string(57, '!') + ",3\n", 1 << 14);
    for (int i = 0; i < 200; i++) write(more);
  });
  CHECK(quotation.jobs > 2'900'000);  // those behind the 16 MB that the quotation took
  CHECK(quotation.bad >= 1);
  CHECK(quotation.bad <= 2);  // the line that it ended in may be one
  CHECK_THAT(quotation.first_error, Catch::Contains("not closed within 16 MB"));
  CheckCost(quotation, 60, 50);
}

}  // namespace
}  // namespace bifrons
