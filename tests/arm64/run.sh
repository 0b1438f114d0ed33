#!/usr/bin/env bash
# Cross-compiles the kernels and their tests for arm64 against Debian's arm64 packages, which are extracted under
# build/arm64: those of this machine stay as they are. Usage: run.sh [test]; `test` runs the tests under qemu-user too
# (minutes).
set -euo pipefail
cd "$(dirname "$0")/../.."
source samples/packages.sh
build=$PWD/build/arm64
sysroot=$build/sysroot
[ "${1-}" != test ] || install_packages qemu-user

if [ ! -d "$sysroot" ]; then
  mkdir -p "$build"
  rm -rf "$sysroot.part"
  # Nothing of it is run while it is extracted, so this needs no root.
  mmdebstrap --quiet --mode=chrootless --variant=extract --architectures=arm64 \
    --include=libc6-dev,libdnnl-dev,catch2 bookworm "$sysroot.part"
  mv "$sysroot.part" "$sysroot"
fi
cmake -S tests/arm64 -B "$build" -G Ninja -DCMAKE_TOOLCHAIN_FILE="$PWD/tests/arm64/toolchain.cmake" \
  -DARM64_SYSROOT="$sysroot" > /dev/null
cmake --build "$build"
[ "${1-}" != test ] || ctest --test-dir "$build" -j 2 --output-on-failure
