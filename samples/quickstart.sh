#!/usr/bin/env bash
# From a bare Debian 12 to a picture: bash samples/quickstart.sh ["a prompt"]
# Installs the packages that are missing, builds, draws with the bundled model, names the file. What is there already is
# not done again.
set -euo pipefail
cd "$(dirname "$0")/.."
source samples/packages.sh
prompt=${1-a dog on a blue background}

install_packages "${build_packages[@]}"
# The tests need more packages; tests/run.sh turns them on in the same folder. What another compiler warns of is no
# reason to draw nothing.
[ -f build/release/build.ninja ] || cmake --preset release -DBIFRONS_TESTS=OFF --compile-no-warning-as-error
cmake --build --preset release --target bifrons
build/release/bifrons generate --seed 1 -o out.png -- "$prompt"
echo "\"$prompt\" is drawn in $PWD/out.png"
