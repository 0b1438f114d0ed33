#!/bin/bash
# Trains janus-mini from nothing to assets/janus-mini: somewhat over an hour on two idle cores without a GPU. Interrupted, it continues
# where it was. Needs python3 (3.11 or newer) and Noto Color Emoji (Debian: fonts-noto-color-emoji).
# Usage: run.sh [work directory]        MINUTES=120 run.sh trains longer, also from a finished state
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$here/work}
minutes=${MINUTES:-66}
mkdir -p "$work"
[ -x "$work/venv/bin/python" ] || python3 -m venv "$work/venv"
python=$work/venv/bin/python
"$python" -m pip install --quiet -r "$here/requirements.txt"

# One thread each, side by side: two multi-threaded trainings slow each other down fourfold. The large allocation thresholds
# keep memory between steps instead of returning it to the system.
export OMP_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184
cd "$here"
[ -f "$work/codebook.pt" ] || "$python" codebook.py "$work/codebook.pt"
[ -f "$work/tokenizer.json" ] || "$python" tokenizer.py "$work/tokenizer.json"
"$python" train_painter.py "$work" --minutes "$minutes" --batch 24 & painter=$!
"$python" train_drawer.py "$work" --minutes "$minutes" --batch 32 & drawer=$!
trap 'kill $painter $drawer 2>/dev/null || true' INT TERM
wait $painter
wait $drawer
"$python" export.py "$work" "$here/../../assets/janus-mini"
