#!/bin/bash
# Trains janus-mini from nothing to assets/janus-mini: about three hours on two idle cores without a GPU. Interrupted, it continues where it
# was. Needs python3 (3.11 or newer), a C++ compiler and Noto Color Emoji (Debian: fonts-noto-color-emoji).
# Usage: run.sh [work directory]        MINUTES=180 run.sh trains longer in all stages, also from a finished state
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
[ -f "$work/tokenizer.json" ] || "$python" tokenizer.py "$work/tokenizer.json"
trap 'kill $(jobs -p) 2>/dev/null || true' INT TERM

# Drawing: codes to pixels, and prompts to codes.
"$python" train_painter.py "$work" --minutes "$minutes" --batch 24 & painter=$!
"$python" train_drawer.py "$work" --minutes "$minutes" --batch 32 & drawer=$!
wait $painter
wait $drawer

# What there is to see: pictures as the decoder draws them, good and bad, and with them the encoder and the vision tower.
draws=$work/draws
[ -d "$draws" ] || "$python" export.py "$work" "$draws"
[ -f "$work/paintings.pt" ] || "$python" painted.py "$draws" "$work"
[ -f "$work/judged-spoilt.pt" ] || "$python" judged.py "$draws" "$work" spoilt
[ -f "$work/judged-drawn.pt" ] || "$python" judged.py "$draws" "$work" drawn --drawn & judged=$!
"$python" train_tower.py "$work" --minutes "$((minutes / 8))" --batch 48 --lr 1.5e-3 & tower=$!
wait $judged
wait $tower

# Drawing and understanding together, in the same transformer.
"$python" train_joint.py "$work" --minutes "$minutes" --batch 24 --talks 16 --lr 2e-3 --muon 0.008 & joint=$!
"$python" train_encoder.py "$work" --minutes "$((minutes / 7))" --batch 24 --lr 2e-3 --start "$draws"
wait $joint
"$python" export.py "$work" "$here/../../assets/janus-mini"
