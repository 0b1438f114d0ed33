# Sourced by the tests of samples/cluster: a list of jobs, and whether a folder holds what a single process makes of it.

work=$(mktemp -d /tmp/bifrons.XXXXXX)
chmod 755 "$work"  # munged wants every user to reach its socket

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# wait_until SECONDS WHAT COMMAND…: until the command succeeds; a failure says what did not happen.
wait_until() {
  local seconds=$1 what=$2 end=$((SECONDS + $1))
  shift 2
  until "$@"; do
    [ $SECONDS -lt $end ] || fail "$what: not within $seconds s"
    sleep 0.05
  done
}

# end_processes NAME…: TERM to processes that this script started (variables with their ids), and waits.
end_processes() {
  local name pid
  for name in "$@"; do
    pid=${!name:-}
    [ -n "$pid" ] || continue
    kill "$pid" 2> /dev/null || true
    wait "$pid" 2> /dev/null || true
  done
}

# left_running: command lines that name this test's folder, other than its own. To be none in the end.
left_running() {
  pgrep -af -- "$work/" | grep -v "^$$ " || true
}

# write_jobs FILE JOBS N: JSON lines of N pictures each, every third with a seed of its own.
write_jobs() {
  local things=(dog cat fish rose house car) colours=(blue red green yellow white) i seed
  for ((i = 0; i < $2; i++)); do
    seed=
    ((i % 3)) || seed=", \"seed\": $((100 + i))"
    echo "{\"prompt\": \"a ${things[i % 6]} on a ${colours[i % 5]} background\", \"n\": $3$seed}"
  done > "$1"
}

# pictures_in FOLDER: a line with the hash and the name of every picture.
pictures_in() {
  (cd "$1" && find . -type f ! -name '*.jsonl' -print0 | sort -z | xargs -0 --no-run-if-empty sha256sum)
}

# listed FOLDER [NAME]: how many pictures its manifests (or those of this name, a pattern) list.
listed() {
  find "$1" -name "${2:-manifest*.jsonl}" -exec cat {} + 2> /dev/null | grep -c '"sha256"' || true
}
# lists_at_least COUNT FOLDER [NAME]
lists_at_least() {
  [ "$(listed "${@:2}")" -ge "$1" ]
}

# check_pictures FOLDER SINGLE COUNT: the folder's pictures are the single run's, and its manifests list each once.
check_pictures() {
  [ "$(pictures_in "$2" | wc -l)" = "$3" ] || fail "the single run drew $(pictures_in "$2" | wc -l) pictures, not $3"
  diff <(pictures_in "$2") <(pictures_in "$1") || fail "other pictures (>) than a single run's (<)"
  [ "$(cat "$1"/manifest*.jsonl | grep -o '"file": *"[^"]*"' | sort | uniq | wc -l)" = "$3" ] ||
    fail "the manifests do not list $3 files"
  local twice
  twice=$(cat "$1"/manifest*.jsonl | grep -o '"file": *"[^"]*"' | sort | uniq -d)
  [ -z "$twice" ] || fail "drawn more than once: $twice"
}
