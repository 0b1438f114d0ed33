"""Draws a list of jobs on a Ray cluster whose nodes share a file system.

    python ray_render.py jobs.jsonl pictures --workers 3 -m ~/models/Janus-Pro-1B
    python ray_render.py jobs.jsonl pictures --workers 1:8 -- --cfg 3    # elastic; what follows -- goes to bifrons

Every worker is a Ray actor that keeps one `bifrons render -` and drives it through pipes: jobs go in as JSON lines,
what becomes of them comes out as JSON lines. Ray Data deals the jobs out in batches, adds and removes workers, and
starts a worker that died again, elsewhere if its machine is gone, with the batch it had. A worker starts a `bifrons`
that died again. A new `bifrons` first reads all manifests in the output folder, so that nothing is lost and what is
finished is not drawn twice. The same command continues a run that was ended as a whole.
"""

import argparse
import collections
import json
import math
import pathlib
import queue
import shutil
import subprocess
import sys
import threading
import uuid

import ray

ATTEMPTS = 2  # at a batch, then at each of its jobs: one that ends `bifrons` every time is given up and reported
HOPELESS = (2, 3)  # exit codes of bifrons: wrong usage, a bad model


class Bifrons:
    """A running `bifrons render -`. Ray kills it when its actor dies: nothing goes on drawing unseen."""

    def __init__(self, command):
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                         encoding="utf-8")
        self._events = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            if line.endswith("\n"):  # the last one of a killed process may be torn
                self._events.put(json.loads(line))
        self._events.put(None)

    def send(self, jobs):
        try:
            self._process.stdin.write("".join(json.dumps(job) + "\n" for job in jobs))
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it died, as the end of its events tells

    def events(self):
        """What it says, until it ends."""
        return iter(self._events.get, None)

    def exit_code(self):
        return self._process.wait()


class Worker:
    """Turns batches of tasks into rows: one per picture, one per job that failed. A task is a few jobs, as JSON."""

    def __init__(self, command):
        self._command = command
        self._bifrons = None
        self._answered = {}  # by what this `bifrons` was asked: rows

    def __call__(self, batch):
        tasks = list(batch["task"])
        rows = {}  # by task
        if not any(self._draw(tasks, rows) for _ in range(ATTEMPTS)):
            # Something in the batch ends bifrons every time: now one by one, so that the others get drawn.
            for task in tasks:
                if not any(self._draw([task], rows) for _ in range(ATTEMPTS)):
                    rows[task] = [row(job["index"], reason=f"bifrons died over it {ATTEMPTS} times")
                                  for job in json.loads(task)]
        flat = [r for task in tasks for r in rows[task]]
        return {field: [r[field] for r in flat] for field in row(0)}

    def _draw(self, tasks, rows):
        """Draws tasks that have no rows yet; False if bifrons died before it was through."""
        if self._bifrons is None:
            # A manifest has one writer: a name per process, here and on other machines.
            manifest = f"manifest-worker-{uuid.uuid4().hex[:12]}.jsonl"
            self._bifrons = Bifrons([*self._command, "--manifest", manifest])
            self._answered = {}
        # Ray may ask again for what it lost. A running bifrons must not be: it would take it for another job.
        rows.update((task, self._answered[task]) for task in tasks if task in self._answered)
        waiting = {task: json.loads(task) for task in tasks if task not in rows}
        jobs = {job["index"]: job for task in waiting.values() for job in task}
        self._bifrons.send(jobs.values())

        drawn = collections.defaultdict(dict)  # rows by index and number
        finished = set()  # indices
        events = self._bifrons.events()
        while waiting and (event := next(events, None)):
            index = event.get("index")
            if index not in jobs or index in finished:
                continue
            if event["event"] == "failed":
                drawn[index] = {0: row(index, reason=event["reason"])}
                finished.add(index)
            elif event["event"] in ("picture", "kept"):
                drawn[index][event["number"]] = row(index, event["number"], event["file"], event["sha256"])
                if len(drawn[index]) == jobs[index]["n"]:
                    finished.add(index)
            for task, its_jobs in list(waiting.items()):
                if all(job["index"] in finished for job in its_jobs):
                    rows[task] = self._answered[task] = [r for job in its_jobs for r in drawn[job["index"]].values()]
                    del waiting[task]
        if not waiting:
            return True
        code = self._bifrons.exit_code()
        self._bifrons = None
        if code in HOPELESS:
            raise RuntimeError(f"{' '.join(self._command)}: exit code {code}, its message is above")
        print(f"bifrons died ({code}) over {len(waiting)} tasks: starting it again", file=sys.stderr, flush=True)
        return False


def row(index, number=0, file="", sha256="", reason=""):
    return {"index": index, "number": number, "file": file, "sha256": sha256, "reason": reason}


def read_tasks(path, images, seed):
    """Tasks out of a file of JSON lines. Jobs get everything stated that would depend on their place in the list."""
    tasks = collections.defaultdict(list)
    indices = set()
    lines = (line for line in path.read_text(encoding="utf-8").split("\n") if line.strip())
    for position, line in enumerate(lines):
        try:
            job = {"index": position, "n": images, "seed": seed}
            job.update((name, value) for name, value in json.loads(line).items() if value is not None)
            prompt, index = job["prompt"], job["index"]
        except (ValueError, AttributeError, KeyError):
            sys.exit(f"{path}, job {position}: not a job in JSON with a prompt: {line[:80]}")
        if type(index) is not int or index < 0 or index in indices:
            sys.exit(f"{path}, job {position}: index {index!r} is no number, or taken: {prompt[:80]}")
        indices.add(index)
        # bifrons tells equal jobs apart by their order: they go through the same process, as one task.
        tasks[json.dumps({**job, "index": None}, sort_keys=True)].append(job)
    return [json.dumps(jobs) for jobs in tasks.values()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jobs", type=pathlib.Path, help="jobs as JSON lines, as `bifrons render` takes them")
    parser.add_argument("out", type=pathlib.Path, help="folder for the pictures, the same on every node")
    parser.add_argument("--workers", default="1", metavar="N|MIN:MAX")
    parser.add_argument("--threads", type=int, default=1, help="CPUs per worker (default 1)")
    parser.add_argument("--batch", type=int, default=32, help="jobs that a worker gets at once (default 32)")
    parser.add_argument("-n", type=int, default=1, help="pictures of jobs that do not say (default 1)")
    parser.add_argument("--seed", type=int, default=1, help="of jobs that have none (default 1)")
    parser.add_argument("-m", "--model", help="the same on every node (default: the bundled model)")
    parser.add_argument("--bifrons", default="bifrons", help="the program, the same on every node")
    parser.add_argument("options", nargs="*", help="more options of bifrons render, after --")
    args = parser.parse_args()

    program = shutil.which(args.bifrons)
    if program is None:
        sys.exit(f"{args.bifrons}: no such program")
    # --shard: all of what it is sent, also where Ray itself runs in a Slurm array or under torchrun.
    command = [program, "render", "-", "-o", str(args.out.absolute()), "--shard", "0/1", "-n", str(args.n),
               "--seed", str(args.seed), "--threads", str(args.threads), "--json", "-q", *args.options]
    if args.model:
        command += ["-m", args.model]
    tasks = read_tasks(args.jobs, args.n, args.seed)

    low, _, high = args.workers.partition(":")
    pool = ray.data.ActorPoolStrategy(min_size=int(low), max_size=int(high or low), max_tasks_in_flight_per_actor=2)
    dataset = ray.data.from_items([{"task": task} for task in tasks],
                                  override_num_blocks=math.ceil(len(tasks) / args.batch))
    dataset = dataset.map_batches(Worker, fn_constructor_args=(command,), compute=pool, batch_size=None,
                                  num_cpus=args.threads)
    pictures, failed = 0, 0
    for result in dataset.iter_rows():
        if result["reason"]:
            failed += 1
            print(f"job {result['index']}: {result['reason']}", file=sys.stderr, flush=True)
        else:
            pictures += 1
    print(f"{pictures} pictures in {args.out}, {failed} jobs failed", flush=True)
    # What really is there decides.
    sys.exit(subprocess.run([program, "merge", str(args.out), "--jobs", str(args.jobs)]).returncode)


if __name__ == "__main__":
    main()
