// A progress bar on a terminal; silent in a pipe.
#pragma once

#include <chrono>
#include <string>

namespace bifrons {

class ProgressBar {
 public:
  /// Draws on stderr when that is a terminal and `enabled`, nothing before `silent` have passed: what takes
  /// no longer needs no bar.
  ProgressBar(std::string label, bool enabled, std::chrono::milliseconds silent = {});
  /// Wipes the bar, so that what follows starts on a clean line.
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;

  /// done of total, with the time left by the rate so far and `note` behind; redrawn at most ten times a
  /// second.
  void Update(double done, double total, const std::string& note);
  /// Takes the bar away until the next Update: standard output may be the same terminal.
  void Hide();
  /// A line on stderr that stays, above the bar.
  void Print(const std::string& line);

 private:
  using Clock = std::chrono::steady_clock;
  std::string label_;
  bool enabled_, shown_ = false;
  Clock::time_point start_, drawn_;
};

}  // namespace bifrons
