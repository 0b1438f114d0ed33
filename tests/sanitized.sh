#!/usr/bin/env bash
# Builds and runs the tests of a sanitizer preset: bash tests/sanitized.sh asan|tsan [ctest options]
# TSan looks at the tests labelled `tsan` only: the engine's own and rendering. $BIFRONS_PLAIN_TESTS: a folder of the same
# tests without sanitizers; those that only run the program are taken from there.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
shift
target=all
[ "$preset" != tsan ] || target=tsan_tests
cmake --preset "$preset" -DBIFRONS_TESTS=ON "-DBIFRONS_PLAIN_TESTS=${BIFRONS_PLAIN_TESTS:-}" > /dev/null
cmake --build --preset "$preset" --target "$target"
# TSan's shadow memory does not fit the address space as recent kernels randomise it.
setarch "$(uname -m)" -R ctest --preset "$preset" -j 2 --no-label-summary "$@"
