#include "src/base/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace bifrons {
namespace {
constexpr int kWidth = 30;  // characters of the bar: fits 80 columns with label and note
constexpr auto kRedraw = std::chrono::milliseconds(100);

// A terminal on which a line can be drawn again.
bool CanRedraw() {
  const char* const term = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) && !(term && std::string_view(term) == "dumb");
}

}  // namespace

ProgressBar::ProgressBar(std::string label, bool enabled, std::chrono::milliseconds silent)
    : label_(std::move(label)),
      enabled_(enabled && CanRedraw()),
      start_(Clock::now()),
      drawn_(start_ + std::max(silent - kRedraw, std::chrono::milliseconds())) {}

ProgressBar::~ProgressBar() { Hide(); }

void ProgressBar::Hide() {
  if (std::exchange(shown_, false)) std::fputs("\r\033[K", stderr);
}

void ProgressBar::Update(double done, double total, const std::string& note) {
  const auto now = Clock::now();
  if (!enabled_ || now - drawn_ < kRedraw) return;
  drawn_ = now, shown_ = true;
  const double share = total > 0 ? std::clamp(done / total, 0.0, 1.0) : 0;
  const int full = static_cast<int>(share * kWidth);
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  // Rounded so that 100% and no time left mean the end.
  std::fprintf(stderr, "\r%s [%s%s] %3d%%  ", label_.c_str(),
               std::string(static_cast<size_t>(full), '#').c_str(),
               std::string(static_cast<size_t>(kWidth - full), '.').c_str(), static_cast<int>(100 * share));
  if (share > 0) {
    const int left = static_cast<int>(std::ceil(elapsed / share - elapsed));
    std::fprintf(stderr, "%d:%02d left  ", left / 60, left % 60);
  }
  std::fprintf(stderr, "%s\033[K", note.c_str());
  std::fflush(stderr);
}

void ProgressBar::Print(const std::string& line) {
  Hide();
  std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace bifrons
