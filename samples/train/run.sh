#!/bin/bash
# Trains janus-mini from nothing to a model directory on two idle cores without a GPU. Interrupted, it continues
# where it was. Needs python3 (3.11 or newer), a C++ compiler and Noto Color Emoji (fonts-noto-color-emoji).
# Usage: run.sh [work directory [model directory]]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$here/work}
out=${2:-$work/janus-mini}
mkdir -p "$work"
[ -x "$work/venv/bin/python" ] || python3 -m venv "$work/venv"
python=$work/venv/bin/python
"$python" -m pip install --quiet -r "$here/requirements.txt"

# One thread each, side by side: two multi-threaded trainings slow each other down fourfold. The large allocation
# thresholds keep memory between steps instead of returning it to the system.
export OMP_NUM_THREADS=1 TORCHINDUCTOR_COMPILE_THREADS=1 MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184
stage() { exec "$python" "$here/train.py" "$1" --work "$work" ${CONFIG:+--config "$CONFIG"} "${@:2}"; }
trap 'kill $(jobs -p) 2>/dev/null; wait; exit 143' INT TERM

# Drawing: prompts to codes; and beside it codes to pixels, then what sees such pictures.
(stage draw) & draw=$!
(stage paint) & wait $!
(stage see) & wait $!
(stage encode) & wait $!
wait $draw
# Drawing and understanding together, in the same transformer.
(stage joint) & wait $!
(stage finetune) & wait $!
(stage polish) & wait $!
(stage export "$out")
