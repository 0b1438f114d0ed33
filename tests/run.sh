#!/usr/bin/env bash
# From a bare Debian 12 to tested: bash tests/run.sh [options of cmake]
# Installs the packages that are missing, builds, and runs everything that is not labelled `long`: the tests, and as
# tests of their own (label `whole`) the suite under ASan and UBSan, the engine under TSan, 5 s of every fuzz target,
# the search for planted bugs, and the kernels compiled for arm64. The last lines are ctest's summary. What is built
# already is not built again.
set -euo pipefail
cd "$(dirname "$0")/.."
source samples/packages.sh

install_packages "${build_packages[@]}" "${test_packages[@]}"
cmake --preset release -DBIFRONS_TESTS=ON "$@"
cmake --build --preset release
exec ctest --test-dir build/release -LE long -j 2 --output-on-failure --no-label-summary
