#!/usr/bin/env bash
# Long test: as much of samples/cluster/kubernetes.yaml as there is without a cluster. Kubernetes' schemas take it (and
# refuse it when it is broken), its numbers agree, and the command and environment of its pods, run as processes here,
# of which one is killed half-way and replaced, draw a single run's pictures.
# usage: kubernetes.sh PROGRAM FOLDER    (FOLDER keeps the Python environment with the schemas for the next time)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/cluster_common.sh"
program=$1
venv=$2/kubernetes
yaml=$here/../samples/cluster/kubernetes.yaml
validate=kubernetes-validate==1.37.0
jobs=40 images=4 total=160

cleanup() {
  local status=$?
  [ $status = 0 ] || tail -n 40 "$work"/*.log >&2 || true
  end_processes pod0 pod1 pod2 pod3
  rm -rf "$work"
  exit $status
}
trap cleanup EXIT
unset BIFRONS_MODEL

if [ "$(cat "$venv/installed" 2> /dev/null)" != $validate ]; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet $validate
  echo $validate > "$venv/installed"
fi

# The oldest version that the file is for, and the newest whose schemas are there.
for version in 1.33 1.37; do
  "$venv/bin/kubernetes-validate" --strict -k $version "$yaml"
  for mistake in 's/backoffLimitPerIndex/backOffLimitPerIndex/' 's/completions: 4/completions: four/' \
    's/accessModes: .*/accessModes: ReadWriteMany/'; do
    sed "$mistake" "$yaml" > "$work/broken.yaml"
    ! cmp -s "$yaml" "$work/broken.yaml" || fail "$mistake changes nothing"
    ! "$venv/bin/kubernetes-validate" --strict -k $version "$work/broken.yaml" > "$work/broken.log" 2>&1 ||
      fail "$mistake was not noticed"
  done
done

# The pods' part as variables of this script, with /data and the number of threads of this machine.
"$venv/bin/python" - "$yaml" "$work/data" > "$work/pod.sh" << 'END'
import shlex, sys, yaml
job = next(d for d in yaml.safe_load_all(open(sys.argv[1])) if d["kind"] == "Job")["spec"]
[container] = job["template"]["spec"]["containers"]
args = [arg.replace("/data", sys.argv[2]) for arg in container["args"]]
args[args.index("--threads") + 1] = "1"
env = {e["name"]: e["value"].replace("/data", sys.argv[2]) for e in container["env"]}
assert env["BIFRONS_SHARD_COUNT"] == str(job["completions"]), "as many shards as completions"
assert job["completionMode"] == "Indexed" and job["parallelism"] <= job["completions"]
[rule] = [r for r in job["podFailurePolicy"]["rules"] if "onExitCodes" in r]
assert rule["onExitCodes"]["containerName"] == container["name"]
[mount] = container["volumeMounts"]
assert mount["mountPath"] == "/data"
assert env["XDG_CACHE_HOME"].startswith(sys.argv[2] + "/"), "pods hash the model again and again"
print("pods=" + str(job["completions"]))
print("args=(" + shlex.join(args) + ")")
print("env=(" + shlex.join(f"{name}={value}" for name, value in env.items()) + ")")
END
source "$work/pod.sh"
[ "$pods" = 4 ] || fail "this test is for 4 pods, not $pods"

mkdir "$work/data"
write_jobs "$work/data/jobs.jsonl" $jobs $images
"$program" render "$work/data/jobs.jsonl" -o "$work/single" --seed 1 -q > /dev/null

out=$work/data/pictures
start_pod() {
  env "${env[@]}" JOB_COMPLETION_INDEX="$1" "$program" "${args[@]}" >> "$work/pod$1.log" 2>&1 &
}
start_pod 0; pod0=$!
start_pod 1; pod1=$!
start_pod 2; pod2=$!
start_pod 3; pod3=$!
wait_until 120 "pictures of pod 2" lists_at_least 3 "$out" manifest-002-of-004.jsonl
kill -KILL "$pod2"
! wait "$pod2" || fail "pod 2 was through before it was killed: this needs more jobs"
! "$program" merge "$out" > "$work/merge.log" || fail "merge takes a folder for complete that is not"
start_pod 2; pod2=$!
for pod in 0 1 2 3; do
  name=pod$pod
  wait "${!name}" || fail "pod $pod ended with $?"
done
# The model was hashed once for all pods and their successors.
hashes=("$work/data/cache/bifrons"/sha256-*)
[ -s "${hashes[0]}" ] || fail "no pod left the model's hash on the volume"
"$program" merge "$out"
check_pictures "$out" "$work/single" $total
