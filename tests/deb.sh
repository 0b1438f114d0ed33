#!/usr/bin/env bash
# Long test: the Debian packages of a build install in a bare Debian 12 and draw: bash tests/deb.sh SOURCE BUILD_DIR
# Needs root; installs mmdebstrap if it is missing. Builds its own (prefix /usr, without CUDA) below BUILD_DIR.
set -euo pipefail
source_dir=$(cd "$1" && pwd)
build_dir=$(mkdir -p "$2/deb" && cd "$2/deb" && pwd)
source "$source_dir/samples/packages.sh"
[ "$(id -u)" = 0 ] || { echo "deb.sh: a bare Debian needs root" >&2; exit 1; }
install_packages mmdebstrap dpkg-dev
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake -G Ninja -S "$source_dir" -B "$build_dir" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr \
  -DBIFRONS_TESTS=OFF -DBIFRONS_CUDA=OFF > /dev/null
cmake --build "$build_dir" > /dev/null
rm -f "$build_dir"/*.deb
(cd "$build_dir" && cpack > /dev/null)
ls "$build_dir"/*.deb
cp "$build_dir"/*.deb "$work"
cp -r "$source_dir/samples/embed" "$work"

mmdebstrap --quiet --variant=apt bookworm "$work/root" > /dev/null
mkdir "$work/root/packages"
mv "$work"/*.deb "$work/embed" "$work/root/packages"
bare() { chroot "$work/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"; }
cp /etc/resolv.conf "$work/root/etc/"
bare bash -c 'apt-get update -q && apt-get install -q -y --no-install-recommends /packages/bifrons_*.deb' > "$work/apt.log" 2>&1 ||
  { tail -n 20 "$work/apt.log" >&2; exit 1; }
bare bifrons generate --seed 1 -o /packages/picture.png "a dog"
bare bifrons caption /packages/picture.png
bare bash -c 'apt-get install -q -y --no-install-recommends bash-completion zsh fish man-db' > "$work/apt.log" 2>&1 ||
  { tail -n 20 "$work/apt.log" >&2; exit 1; }
bare bash -c 'source /usr/share/bash-completion/bash_completion && _completion_loader bifrons; complete -p bifrons'
bare zsh -f -c 'autoload -Uz compinit && compinit -u && [[ $_comps[bifrons] == _bifrons ]] && autoload +X -U _bifrons'
bare fish -c 'complete -C "bifrons gen" | grep generate'
bare man -w bifrons bifrons-generate bifrons-vq-encode
bare man bifrons-generate | grep -q -e '--best-of'
bare bash -c 'apt-get install -q -y --no-install-recommends /packages/bifrons-dev_*.deb cmake make g++ pkg-config' \
  > "$work/apt.log" 2>&1 || { tail -n 20 "$work/apt.log" >&2; exit 1; }
bare bash -c 'cd /packages && cmake -S embed -B made > /dev/null && cmake --build made > /dev/null &&
  made/postcard "a dog" dog.ppm && head -c 2 dog.ppm | grep -q P6'
bare bash -c 'apt-get remove -q -y bifrons bifrons-dev > /dev/null 2>&1 && [ ! -e /usr/bin/bifrons ] && [ ! -e /usr/share/bifrons ]'
