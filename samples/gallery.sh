#!/usr/bin/env bash
# Draws samples/gallery.txt (sixteen prompts whose combinations the bundled model never saw in training; chosen by
# samples/train/gallery_prompts.py, seed 1 each, nothing selected) and sets the pictures into samples/gallery.png.
# Needs ImageMagick's montage. Options go to bifrons: bash samples/gallery.sh --cfg 3
set -euo pipefail
cd "$(dirname "$0")/.."
bifrons=build/release/bifrons
[ -x "$bifrons" ] || { echo "build first: bash samples/quickstart.sh" >&2; exit 1; }
command -v montage > /dev/null || { echo "montage is missing: install ImageMagick (apt-get install imagemagick)" >&2; exit 1; }
pictures=$(mktemp -d)
trap 'rm -rf "$pictures"' EXIT

mapfile -t prompts < samples/gallery.txt
"$bifrons" generate --seed 1 "$@" -o "$pictures/p.png" -- "${prompts[@]}"
tiles=()
for i in "${!prompts[@]}"; do
  label=$(fold -s -w 26 <<< "${prompts[$i]}")
  tiles+=(-label "$label" "$pictures/p_$((i + 1)).png")
done
montage -font DejaVu-Sans -pointsize 12 "${tiles[@]}" -filter point -resize 192x192 -tile 4x4 -geometry +6+6 samples/gallery.png
echo "samples/gallery.png"
