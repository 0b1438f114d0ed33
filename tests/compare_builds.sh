#!/usr/bin/env bash
# Do two builds compute the same, bit for bit? Every instruction set that this processor has and both dtypes; the bundled
# model and the tiny ones: pictures and their codes, traces (logits, pixels, vision features), answers, codes of images.
# Then, with --speed, whether B is slower: stages of random:janus-pro-1b, PAIRS alternating runs of both beside as many
# of A with itself.
# Usage: compare_builds.sh A/bifrons B/bifrons [--speed [PAIRS]]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
a=$(realpath "$1") b=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Everything that one build makes of one model, into a folder.
outputs() {  # PROGRAM MODEL OUT OPTIONS…
  local program=$1 model=$2 out=$3
  shift 3
  local image=$root/tests/goldens/images/$(cd "$root/tests/goldens/images" && ls -- *.png | head -1)
  mkdir -p "$out"
  # A picture's metadata tells the time and the program; its codes and raw pixels are what counts.
  "$program" generate -m "$model" "$@" -n 3 --seed 5 "a red dog" -o "$out/picture.png" --codes-out "$out/codes.npy"
  "$program" generate -m "$model" "$@" -n 2 --seed 9 --top-p 0.9 --temperature 0.8 --cfg 3 "two blue cats" \
    -o "$out/masked.png" --codes-out "$out/masked.npy"
  "$program" generate -m "$model" "$@" --seed 1 "x" -o "$out/one.png" --codes-out "$out/one.npy"
  "$program" trace -m "$model" "$@" --prompt "a red dog" --codes "$out/one.npy" --out "$out/trace"
  if "$program" info -m "$model" --json | grep "\"vision\"" >/dev/null; then
    "$program" trace -m "$model" "$@" --image "$image" --out "$out/answer"
    "$program" ask -m "$model" "$@" "$image" "What is this?" --max-tokens 40 >"$out/answer.txt"
    "$program" ask -m "$model" "$@" "$image" "And this?" --max-tokens 40 --temperature 0.8 --top-p 0.9 \
      --seed 3 >"$out/sampled.txt"
  fi
  if "$program" vq encode -m "$model" "$@" "$image" -o "$out/image.npy"; then
    "$program" vq decode -m "$model" "$@" "$out/image.npy" -o "$out/again.png"
  fi
  rm -f "$out"/{picture,masked,one}*.png
} >>"$work/log" 2>&1

isas=$("$a" generate --isa none x -o "$work/none.png" 2>&1 | sed -n 's/.*it has: //p' | tr -d ',') || true
[ -n "$isas" ] || { echo "no instruction sets"; exit 1; }
models=("$root/assets/janus-mini" "$root"/tests/goldens/tiny-*/{original,converted})
status=0 compared=0
for model in "${models[@]}"; do
  [ -d "$model" ] || continue
  for isa in $isas; do
    for dtype in f32 bf16; do
      name=$(basename "$(dirname "$model")")/$(basename "$model")
      for program in a b; do
        outputs "${!program}" "$model" "$work/$program" --isa "$isa" --dtype "$dtype" ||
          { echo "$name $isa $dtype: build $program failed:"; tail -5 "$work/log"; exit 1; }
      done
      if diff -r "$work/a" "$work/b" >"$work/diff"; then
        compared=$((compared + $(find "$work/a" -type f | wc -l)))
      else
        echo "$name $isa $dtype: $(grep -c . "$work/diff") differences: $(head -1 "$work/diff")"
        status=1
      fi
      rm -rf "$work/a" "$work/b"
    done
  done
done
echo "$compared files are the same"
[ "${3:-}" = --speed ] || exit $status

pairs=${4:-15}
# Seconds of each stage, a line each.
stages() {
  "$1" bench -m random:janus-pro-1b --rows 2,32 --repeats 3 --json |
    python3 -c '
import json, sys
r = json.load(sys.stdin)
for name in "prefill", "vq_decode", "image":
    if name in r: print(name, r[name]["ms"])
for d in r["decode"]: print("decode_%d_rows" % d["rows"], d["ms"])'
}
for i in $(seq "$pairs"); do
  stages "$a" | sed 's/^/a /'
  stages "$b" | sed 's/^/b /'
  stages "$a" | sed 's/^/c /'
done | python3 -c '
import collections, statistics, sys
runs = collections.defaultdict(lambda: collections.defaultdict(list))
for line in sys.stdin:
    who, stage, ms = line.split()
    runs[stage][who].append(float(ms))
worst = 0
for stage, r in sorted(runs.items()):
    ab = statistics.median(y / x for x, y in zip(r["a"], r["b"]))
    aa = [y / x for x, y in zip(r["a"], r["c"])]
    spread = max(0.02, abs(statistics.median(aa) - 1))
    print("%-14s %9.3f ms, B/A %.4f, A/A %.4f" % (stage, statistics.median(r["a"]), ab, statistics.median(aa)))
    if ab > 1 + spread: worst = 1
sys.exit(worst)' || status=1
exit $status
