#!/usr/bin/env bash
# Long test: samples/cluster/slurm.sh as an array of 4 on a Slurm of one node that this test starts. Half-way one task's
# bifrons gets a SIGKILL (its task fails and is requeued), one task is requeued as it runs, and one gets the signal that
# Slurm sends before a time limit (it requeues itself). The pictures are a single run's, each drawn once; the whole
# array again draws nothing. Installs slurm-wlm and munge if they are missing; no other Slurm is touched.
# usage: slurm.sh PROGRAM
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/cluster_common.sh"
source "$here/../samples/packages.sh"
program=$1
jobs=40 images=6 total=240
share=$((total / 4))

cleanup() {
  local status=$?
  [ $status = 0 ] || tail -n 40 "$work"/*.log >&2 || true
  [ -z "${slurmctld:-}" ] || scancel --full --user "$(id -un)" 2> /dev/null || true
  end_processes slurmd slurmctld munged
  rm -rf "$work"
  exit $status
}
trap cleanup EXIT
unset BIFRONS_MODEL

install_packages slurm-wlm munge
PATH=$PATH:/usr/sbin:/sbin

write_jobs "$work/jobs.jsonl" $jobs $images
"$program" render "$work/jobs.jsonl" -o "$work/single" --seed 7 -q > /dev/null

# ---- a cluster: everything in $work, no systemd, no cgroups, four CPUs whatever there are
mkdir "$work/munge" "$work/state" "$work/spool"
(umask 077 && head -c 128 /dev/urandom > "$work/munge/key")
munged --foreground --key-file="$work/munge/key" --socket="$work/munge/socket" --pid-file="$work/munge/pid" \
  --seed-file="$work/munge/seed" > "$work/munge.log" 2>&1 &
munged=$!

user=$(id -un) node=$(hostname -s) port=$((30000 + $$ % 10000 * 2))
export SLURM_CONF=$work/slurm.conf
cat > "$SLURM_CONF" << END
ClusterName=bifrons
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until the last run's credential has expired: 2 minutes by default.
AuthInfo=socket=$work/munge/socket,cred_expire=5
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1
SlurmdParameters=config_overrides
KillWait=2
NodeName=$node NodeAddr=127.0.0.1 CPUs=4 RealMemory=4096
PartitionName=all Nodes=ALL Default=YES
END
slurmctld -D > "$work/slurmctld.log" 2>&1 &
slurmctld=$!
slurmd -D > "$work/slurmd.log" 2>&1 &
slurmd=$!
node_is_idle() { [ "$(sinfo --noheader --format %T 2> /dev/null)" = idle ]; }
wait_until 60 "an idle node" node_is_idle

# ---- the array
export JOBS=$work/jobs.jsonl OUT=$work/out SEED=7 BIFRONS=$program
submit() {
  sbatch --parsable --chdir "$work" --cpus-per-task 1 --mem 500M "$here/../samples/cluster/slurm.sh"
}
manifest_of() { echo "manifest-00$1-of-004.jsonl"; }
# state_of TASK: RUNNING, PENDING, COMPLETED, FAILED, …
state_of() {
  scontrol show job "${array}_$1" 2> /dev/null | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p'
}
state_is() { [ "$(state_of "$1")" = "$2" ]; }
restarts() {
  scontrol show job "${array}_$1" | sed -n 's/.*Restarts=\([0-9]*\).*/\1/p'
}
no_jobs_left() { [ -z "$(squeue --noheader)" ]; }
# halfway TASK: waits until it has drawn something, but not all.
halfway() {
  wait_until 300 "pictures of task $1" lists_at_least 3 "$OUT" "$(manifest_of "$1")"
  [ "$(listed "$OUT" "$(manifest_of "$1")")" -lt $share ] || fail "too late to disturb task $1: this needs more jobs"
}
render_of() {  # its process id: the one whose environment says so
  local pid
  for pid in $(pgrep -f -- "$program render $JOBS -o $OUT"); do
    ! tr '\0' '\n' 2> /dev/null < "/proc/$pid/environ" | grep -qx "SLURM_ARRAY_TASK_ID=$1" || echo "$pid"
  done
}

array=$(submit)
halfway 1
victim=$(render_of 1)
[[ $victim =~ ^[0-9]+$ ]] || fail "no bifrons of task 1: '$victim'"
kill -KILL "$victim"
halfway 2
scontrol requeue "${array}_2"
halfway 3
scancel --batch --signal USR1 "${array}_3"

wait_until 30 "the failure of task 1" state_is 1 FAILED
[ "$(listed "$OUT" "$(manifest_of 1)")" -lt $share ] || fail "task 1 was through before it was killed"
! "$program" merge "$OUT" > "$work/merge.log" || fail "merge takes a folder for complete that is not"
scontrol requeue "${array}_1"
wait_until 600 "the array's end" no_jobs_left
for task in 0 1 2 3; do
  state_is $task COMPLETED || fail "task $task ended as $(state_of $task)"
done
for task in 1 2 3; do
  [ "$(restarts $task)" -ge 1 ] || fail "task $task was not restarted"
done
"$program" merge "$OUT"
check_pictures "$OUT" "$work/single" $total

before=$(listed "$OUT")
array=$(submit)
wait_until 300 "the second array's end" no_jobs_left
state_is 0 COMPLETED || fail "the second array ended as $(state_of 0)"
[ "$(listed "$OUT")" = "$before" ] || fail "the second array drew again"

end_processes slurmd slurmctld munged
slurmctld=
left=$(left_running)
[ -z "$left" ] || fail "left running: $left"
