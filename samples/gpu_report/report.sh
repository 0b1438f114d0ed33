#!/usr/bin/env bash
# Reports on a GPU: bash report.sh [OPTION…], in the folder that bundle.sh made. Every part has a time limit and a log of
# its own, and the next one runs whatever became of it. The end of what is printed is the summary; send the whole folder.
#   --device D          as bifrons takes it (cuda)
#   --seconds-ops N     limit of each check: selftest, pictures, the sanitizers (120)
#   --seconds-speed N   limit of each measurement (135)
#   --only PART         that part alone; may be repeated
#   --out DIR           where the logs go (report)
# Parts: nvidia-smi info selftest pictures memcheck racecheck synccheck bench-1b pictures-1b bench-7b pytorch
# Exit code: 0 where all parts went well or were skipped, else 3.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
device=cuda seconds_ops=120 seconds_speed=135 out=report only=()
while [ $# -gt 0 ]; do
  option=$1
  case $option in
    --help) sed -n '2,/^[^#]/s/^# \?//p' "$0"; exit ;;
    --device | --seconds-ops | --seconds-speed | --only | --out)
      [ $# -gt 1 ] || { echo "report.sh: $option needs a value" >&2; exit 2; } ;;
    *) echo "report.sh: unknown option $option (--help)" >&2; exit 2 ;;
  esac
  case $option in
    --device) device=$2 ;;
    --seconds-ops) seconds_ops=$2 ;;
    --seconds-speed) seconds_speed=$2 ;;
    --only) only+=("$2") ;;
    --out) out=$2 ;;
  esac
  shift 2
done
parts=" nvidia-smi info selftest pictures memcheck racecheck synccheck bench-1b pictures-1b bench-7b pytorch "
for name in "${only[@]}"; do
  [[ $parts == *" $name "* ]] || { echo "report.sh: no part $name; there are:$parts" >&2; exit 2; }
done
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
export here device out

bifrons() { LD_LIBRARY_PATH=$here/lib "$here/bin/bifrons" "$@"; }
sanitizer() {
  local ops
  for ops in Norm "160×384 bf16+bf16 · bf16"; do
    LD_LIBRARY_PATH=$here/lib compute-sanitizer --tool "$1" --error-exitcode 9 \
      "$here/bin/bifrons" selftest -q --device "$device" --ops "$ops" || return
  done
}
# What is drawn and seen in company is what is drawn and seen alone.
pictures() {
  local batch
  for batch in 1 3; do
    rm -rf "$out/batch_$batch" && mkdir "$out/batch_$batch" && cd "$out/batch_$batch" || return 1
    bifrons generate --device "$device" --batch "$batch" --seed 1 -n 3 -q -o picture.png "a dog on a blue background" &&
      bifrons caption --device "$device" --batch "$batch" -q picture_{1,2,3}.png > captions.txt || return
    cat captions.txt
  done
  diff -r "$out/batch_1" "$out/batch_3" && echo "batch 1 and 3: the same bytes"
}
bench() { bifrons bench --device "$device" --dtype bf16 -m "random:janus-pro-$1" "${@:2}"; }
pytorch() {
  bifrons export -m random:janus-pro-1b --out "$out/weights" &&
    python3 "$here/pytorch_step.py" --device "$device" "$out/weights"
}
export -f bifrons sanitizer pictures bench pytorch

summary=() failed=0
wanted() { [ ${#only[@]} -eq 0 ] || [[ " ${only[*]} " == *" $1 "* ]]; }
# part NAME SECONDS COMMAND…: nothing of its outcome keeps the next part from running.
part() {
  local name=$1 seconds=$2 begin=$SECONDS status said
  shift 2
  wanted "$name" || return 0
  printf '\n== %s (at most %s s)\n' "$name" "$seconds"
  timeout -k 5 "$seconds" bash -c '"$@"' "$name" "$@" < /dev/null > "$out/$name.log" 2>&1
  status=$?
  tail -n 40 "$out/$name.log"
  said="exit code $status"
  [ $status -ne 124 ] && [ $status -ne 137 ] || said="ran out of time"
  [ $status -eq 0 ] || failed=3
  summary+=("$(printf '%-12s %-16s %5d s' "$name" "$said" $((SECONDS - begin)))")
}
# part_with CHECK NAME SECONDS COMMAND…: the part where the command CHECK succeeds, else a line in the summary.
part_with() {
  local check=$1 name=$2
  shift
  wanted "$name" || return 0
  if bash -c "$check" > /dev/null 2>&1; then
    part "$@"
  else
    summary+=("$(printf '%-12s skipped: this fails: %s' "$name" "$check")")
  fi
}

part_with nvidia-smi nvidia-smi 20 nvidia-smi
part info 20 bifrons info
part selftest "$seconds_ops" bifrons selftest -q --device "$device"
part pictures "$seconds_ops" pictures
for tool in memcheck racecheck synccheck; do
  part_with "compute-sanitizer --version" "$tool" "$seconds_ops" sanitizer "$tool"
done
part bench-1b "$seconds_speed" bench 1b --rows 2,32
part pictures-1b "$seconds_speed" bench 1b --pictures 1,16
part bench-7b "$seconds_speed" bench 7b --rows 2,32 --repeats 3
part_with "python3 -c 'import torch, transformers'" pytorch "$seconds_speed" pytorch
rm -rf "$out/weights"

printf '\n%s, %s\n' "$(date -u '+%Y-%m-%d %H:%M UTC')" "$device" | tee "$out/summary.txt"
printf '%s\n' "${summary[@]}" | tee -a "$out/summary.txt"
exit $failed
