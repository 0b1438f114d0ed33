#!/usr/bin/env bash
# Builds kernels/cuda with the host's compiler and runs it on the CPU: bash tests/cuda_on_cpu/run.sh [release|asan|mutants]
# asan: under ASan and UBSan. mutants: proves that planted faults are found.
set -euo pipefail
cd "$(dirname "$0")/../.."
kind=${1:-release}
folder=build/cuda_on_cpu_$kind
options=(-DCMAKE_BUILD_TYPE=Release)
case $kind in
  release) ;;
  asan)
    options=(-DCMAKE_BUILD_TYPE=RelWithDebInfo "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1 -DNDEBUG"
      -DBIFRONS_SANITIZE=address,undefined) ;;
  mutants) exec python3 tests/cuda_on_cpu/mutants.py "$folder" ;;
  *) echo "release, asan or mutants, not '$kind'" >&2; exit 2 ;;
esac
cmake -S tests/cuda_on_cpu -B "$folder" -G Ninja -DCMAKE_COMPILE_WARNING_AS_ERROR=ON "${options[@]}" > /dev/null
cmake --build "$folder"
exec ctest --test-dir "$folder" --output-on-failure --no-label-summary
