# Sourced by run.sh and planted.sh. build_fuzz TARGET… configures build/fuzz and builds; it shows the log only on failure.
build=${BIFRONS_FUZZ_BUILD:-build/fuzz}
build_fuzz() {
  mkdir -p "$build"
  { cmake -S tests/fuzz -B "$build" -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DBIFRONS_UNITY_BUILD=ON \
      -DCMAKE_CXX_COMPILER_LAUNCHER="$(command -v ccache || true)" &&
    cmake --build "$build" --target "$@"; } >"$build/build.log" 2>&1 || { cat "$build/build.log"; exit 1; }
}
# for_each FUNCTION NAME…: as many at a time as there are processors, as each keeps one busy; false where one failed.
for_each() {
  local work=$1 failed name
  failed=$(mktemp)
  shift
  for name in "$@"; do
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || true; done
    { "$work" "$name" || echo "$name" >> "$failed"; } &
  done
  wait
  name=$(cat "$failed")
  rm "$failed"
  [ -z "$name" ]
}
# What every target runs under: a finding is a crash, 5 s on one input, or more than 512 MB.
limits=(-rss_limit_mb=512 -timeout=5 -max_len=16384 -verbosity=1 -dict=tests/fuzz/json.dict)
# Freed memory that ASan keeps aside counts towards the limit: 64 MB of it are enough for readers.
export ASAN_OPTIONS=quarantine_size_mb=64
