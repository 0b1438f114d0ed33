#!/usr/bin/env bash
# Builds the fuzz targets and runs each for SECONDS (20), from its committed corpus, as many at a time as there are
# processors. One line each, with the coverage reached; exits 1 on a finding and says which input causes it.
# Usage: run.sh [SECONDS] [NAME…], e.g. run.sh 60 pickle
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/fuzz/build.sh
seconds=${1:-20}
shift $(($# > 0))
names=("$@")
[ ${#names[@]} -gt 0 ] || for f in tests/fuzz/*_fuzz.cpp; do names+=("$(basename "$f" _fuzz.cpp)"); done

build_fuzz "${names[@]/%/_fuzz}"
fuzz() {  # NAME: prints its line; false on a finding
  local name=$1 log=$build/$1.log
  mkdir -p "$build/corpus/$name" "$build/findings"  # what it learns stays out of the repository
  if "$build/${name}_fuzz" "${limits[@]}" -max_total_time="$seconds" -artifact_prefix="$build/findings/$name-" \
      "$build/corpus/$name" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
    coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -1)
    echo "$name: no finding in $seconds s, ${coverage:-cov: ?}, $(grep -o 'Done [0-9]* runs' "$log" | tail -1)"
  else
    echo "$name: FINDING in $(grep -o "$build/findings/[^ ]*" "$log" | tail -1), see $log"
    tail -n 40 "$log"
    return 1
  fi
}
for_each fuzz "${names[@]}"
