#!/usr/bin/env bash
# Long test: samples/cluster/ray_render.py with three workers on a Ray cluster of its own. Half-way the bifrons of one
# and then another as a whole get a SIGKILL. The pictures are a single run's, each drawn once; the same command again
# draws nothing.
# usage: ray.sh PROGRAM FOLDER    (FOLDER keeps the Python environment with Ray, some 300 MB, for the next time)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/cluster_common.sh"
program=$1
venv=$2/ray
samples=$here/../samples/cluster
jobs=40 images=8 total=320

cleanup() {
  local status=$?
  [ $status = 0 ] || tail -n 40 "$work"/*.log >&2 || true
  end_processes driver ray
  rm -rf "$work"
  exit $status
}
trap cleanup EXIT
unset BIFRONS_MODEL RAY_ADDRESS
export HOME=$work RAY_USAGE_STATS_ENABLED=0  # Ray writes into HOME
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN

if ! cmp -s "$samples/requirements.txt" "$venv/requirements.txt"; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --requirement "$samples/requirements.txt"
  cp "$samples/requirements.txt" "$venv/requirements.txt"
fi

write_jobs "$work/jobs.jsonl" $jobs $images
"$program" render "$work/jobs.jsonl" -o "$work/single" --seed 7 -q > /dev/null

port=$((20000 + $$ % 10000))
"$venv/bin/ray" start --head --block --port $port --num-cpus 4 --include-dashboard false \
  --object-store-memory 100000000 --temp-dir "$work/ray" > "$work/ray.log" 2>&1 &
ray=$!
export RAY_ADDRESS=127.0.0.1:$port
wait_until 120 "Ray starts" grep -qs "Ray runtime started" "$work/ray.log"

out=$work/out
render() {
  "$venv/bin/python" "$samples/ray_render.py" "$work/jobs.jsonl" "$out" --workers 3 --batch 5 --seed 7 \
    --bifrons "$program"
}
render > "$work/driver.log" 2>&1 &
driver=$!

# Ids of the workers' bifrons processes, one a line.
renderers() {
  pgrep -f -- "$program render - -o $out " || true
}
three_renderers() { [ "$(renderers | wc -l)" = 3 ]; }
# Also as a zombie, where nobody collects orphans.
gone() { ! grep -qs '^State:[[:space:]]*[^XZ[:space:]]' "/proc/$1/status"; }
# halfway PICTURES WHAT: waits until so many are drawn, and all workers are there to choose from.
halfway() {
  wait_until 300 "$1 pictures" lists_at_least "$1" "$out"
  wait_until 120 "three workers" three_renderers
  [ "$(listed "$out")" -lt $total ] || fail "too late to $2: this needs more jobs"
}
# kill_process PID: refuses what is no process id of another process.
kill_process() {
  [[ $1 =~ ^[0-9]+$ ]] && [ "$1" -gt 1 ] && [ "$1" != $$ ] || fail "no process to kill: '$1'"
  kill -KILL "$1"
}

halfway $((total / 5)) "kill a bifrons"
victim=$(renderers | head -n 1)
kill_process "$victim"
wait_until 10 "the end of bifrons" gone "$victim"
wait_until 60 "another bifrons" grep -q "starting it again" "$work/driver.log"

halfway $((total / 2)) "kill a worker"
orphan=$(renderers | tail -n 1)
worker=$(ps -o ppid= -p "$orphan" | tr -d ' ')
ps -o args= -p "$worker" | grep -q '^ray::' || fail "$worker is no Ray worker: $(ps -o args= -p "$worker")"
kill_process "$worker"
wait_until 10 "the end of the worker" gone "$worker"
sleep 1  # not only when it is through with its batch
gone "$orphan" || fail "the bifrons of the killed worker goes on"

wait "$driver" || fail "the run ended with $?"
driver=
check_pictures "$out" "$work/single" $total
# Three workers' first manifests, one after each kill.
workers=$(ls "$out" | grep -c '^manifest-worker-')
[ "$workers" -ge 5 ] || fail "$workers bifrons drew: nothing was started again"

listed_before=$(listed "$out")
render > "$work/again.log" 2>&1 || fail "the second run ended with $?"
[ "$(listed "$out")" = "$listed_before" ] || fail "the second run drew again"

end_processes ray
ray=
left=$(left_running)
[ -z "$left" ] || fail "left running: $left"
grep -E "pictures in|finished" "$work/driver.log"
