#!/usr/bin/env bash
# Draws a job file as a Slurm array, on any number of nodes that share a file system:
#
#   export JOBS=$PWD/prompts.jsonl OUT=$PWD/pictures
#   array=$(sbatch --parsable samples/cluster/slurm.sh)
#   sbatch --dependency=afterany:$array --wrap "bifrons merge $OUT"
#
# MODEL is a model's folder (default: the bundled model), SEED the seed of jobs that have none (1), BIFRONS the program.
# `bifrons render` takes its share of the jobs from the array's environment: --array=0-31 on sbatch's command line makes
# 32 shares. Whatever ends a task, the same sbatch command with the same --array continues: pictures that exist stay.
#SBATCH --job-name=bifrons
#SBATCH --array=0-3
#SBATCH --cpus-per-task=8
#SBATCH --mem=8G
#SBATCH --time=08:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --output=bifrons-%A_%a.log
#SBATCH --open-mode=append
set -euo pipefail
: "${JOBS:?is not set: the job file}" "${OUT:?is not set: the folder for the pictures}"

options=(--seed "${SEED:-1}" --threads "${SLURM_CPUS_PER_TASK:-1}")
[ -z "${MODEL:-}" ] || options+=(-m "$MODEL")
# Its names of pictures go nowhere: the manifest has them.
"${BIFRONS:-bifrons}" render "$JOBS" -o "$OUT" "${options[@]}" > /dev/null &
render=$!

# Two minutes before the time limit Slurm sends USR1 (--signal above): the task ends cleanly and queues up again. Not
# without end: a limit too short for a single picture would go round for ever.
continue_later() {
  kill -TERM "$render" || true
  wait "$render" || true
  [ "${SLURM_RESTART_COUNT:-0}" -lt 100 ] || { echo "restarted 100 times: giving up" >&2; exit 1; }
  echo "the time limit is near: queueing up again"
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
  exit
}
trap continue_later USR1
wait "$render"
