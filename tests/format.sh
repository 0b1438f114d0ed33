#!/usr/bin/env bash
# What git has of C++ and CUDA is laid out as clang-format 14 does it; other versions do it otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
formatter=$(command -v clang-format-14) || { echo "no clang-format-14: skipped"; exit 77; }
git rev-parse --is-inside-work-tree > /dev/null 2>&1 || { echo "no git: skipped"; exit 77; }

git ls-files -z '*.h' '*.cpp' '*.cu' '*.cuh' | xargs -0 -r "$formatter" --dry-run -Werror
