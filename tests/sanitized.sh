#!/usr/bin/env bash
# Builds and runs the tests of a sanitizer preset: bash tests/sanitized.sh asan|tsan [ctest options]
# TSan looks at the tests labelled `tsan` only: the engine's own.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
shift
targets=(all)
[ "$preset" != tsan ] || targets=(bifrons engine_test answer_test conversation_test scheduler_test kv_cache_test
  thread_pool_test same_picture_test)
cmake --preset "$preset" -DBIFRONS_TESTS=ON > /dev/null
cmake --build --preset "$preset" --target "${targets[@]}"
# TSan's shadow memory does not fit the address space as recent kernels randomise it.
setarch "$(uname -m)" -R ctest --preset "$preset" -j 2 --no-label-summary "$@"
