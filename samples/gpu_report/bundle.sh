#!/usr/bin/env bash
# Makes a folder and a .tar.gz of it for a machine with a GPU that has neither network nor our packages:
#   bash samples/gpu_report/bundle.sh [BUILD] [FOLDER]     (default: build/release, and gpu_report within it)
# In it are the program, the libraries that it needs without those of the system (libc, libstdc++, libgcc), the bundled
# model and report.sh. The other machine's libc and libstdc++ have to be as new as this one's.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/release}
folder=${2:-$build/gpu_report}
[ -x "$build/bifrons" ] || { echo "bundle.sh: no $build/bifrons: build it first" >&2; exit 2; }
[ ! -e "$folder" ] || { echo "bundle.sh: $folder exists: remove it, or name another" >&2; exit 2; }

mkdir -p "$folder"/{bin,lib,share/bifrons}
install -s "$build/bifrons" "$folder/bin/bifrons"
ldd "$build/bifrons" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' |
  grep -vE '/(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s)\.so\.[0-9]+$' | xargs cp -Lt "$folder/lib"
cp -r assets/janus-mini "$folder/share/bifrons/"
cp samples/gpu_report/{report.sh,pytorch_step.py,README.md} "$folder/"
tar -czf "$folder.tar.gz" -C "$(dirname "$folder")" "$(basename "$folder")"
du -shL "$folder" "$folder.tar.gz"
