#!/usr/bin/env bash
# Proves that the fuzz targets would find something: each runs against readers with a planted bug and must crash
# within 60 s (they take up to 5 on an idle machine), starting from the committed corpus, as many at a time as there are
# processors. Usage: planted.sh [NAME…]
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/fuzz/build.sh
names=("$@")
[ ${#names[@]} -gt 0 ] || for f in tests/fuzz/*_fuzz.cpp; do names+=("$(basename "$f" _fuzz.cpp)"); done

build_fuzz "${names[@]/%/_planted}"
find_bug() {  # NAME: prints its line; false where nothing was found
  local name=$1 log=$build/$1_planted.log start scratch
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' RETURN
  start=$(date +%s%N)
  if "$build/${name}_planted" "${limits[@]}" -max_total_time=60 -artifact_prefix="$scratch/" \
      "$scratch" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
    echo "$name: the planted bug was NOT found in 60 s, see $log"
    return 1
  elif ! grep -qE 'ERROR: (AddressSanitizer|libFuzzer)|runtime error:' "$log"; then
    echo "$name: failed without a finding, see $log"
    return 1
  fi
  echo "$name: planted bug found after $((($(date +%s%N) - start) / 1000000)) ms: $(grep -m1 -oE \
    'ERROR: (AddressSanitizer|libFuzzer): [a-z -]*|runtime error: .{0,60}' "$log")"
}
for_each find_bug "${names[@]}"
