#!/usr/bin/env bash
# An installed tree works by itself, moved anywhere: bash tests/install.sh BUILD_DIR
# Installs with completions and manual pages, draws with the installed program (no $BIFRONS_MODEL, no source tree nearby), builds samples/embed against
# the installed library, by find_package and by pkg-config, draws and asks with it.
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/.." && pwd)
build_dir=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset BIFRONS_MODEL

cmake --install "$build_dir" --prefix "$work/first" > /dev/null
mv "$work/first" "$work/moved"
cd "$work"
moved/bin/bifrons info | head -n 1 | tee info.txt
grep -q "^$work/moved/share/bifrons/janus-mini," info.txt
gzip -cd moved/share/man/man1/bifrons-generate.1.gz | grep -q '^\.TH BIFRONS'
bash -c 'source moved/share/bash-completion/completions/bifrons && complete -p bifrons' > /dev/null
ls moved/share/zsh/*/_bifrons moved/share/fish/vendor_completions.d/bifrons.fish > /dev/null
moved/bin/bifrons generate --seed 1 -o picture.png "a dog"

cmake -G Ninja -S "$source_dir/samples/embed" -B embed -DCMAKE_PREFIX_PATH="$work/moved" > /dev/null
cmake --build embed > /dev/null
if readelf -d embed/postcard | grep -E 'NEEDED.*(pango|cairo|opencv|curl|chafa|glib)'; then
  echo "install.sh: who embeds the engine needs none of these" >&2
  exit 1
fi
export PKG_CONFIG_PATH=$(dirname "$(find "$work/moved" -name bifrons.pc)")
g++ -std=c++20 "$source_dir/samples/embed/postcard.cpp" $(pkg-config --cflags --libs bifrons) -o by_pkg_config
BIFRONS_MODEL="$work/moved/share/bifrons/janus-mini" embed/postcard "a dog" picture.ppm > postcard.txt
head -n 1 postcard.txt
[ "$(head -c 2 picture.ppm)" = P6 ]
grep -q "^The model sees: ." postcard.txt
