#!/usr/bin/env python3
"""Proves that the emulator would see a wrong kernel: plants faults in kernels/cuda, one by one, and runs the op
matrix, which must find each. Usage: mutants.py BUILD [NAME...]; BUILD is a folder of its own.

A fault is one piece of text for another, in a copy of kernels/cuda. What finds it is the first order of lanes,
warps and streams whose results are wrong, or that ends with a line."""
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SECONDS = 300  # a fault may make a kernel go on for ever

# name, file of kernels/cuda, text, what stands there instead, the op matrix's cases that find it
MUTANTS = []


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def build(folder, copy):
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        configured = run(["cmake", "-S", HERE, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                          f"-DBIFRONS_CUDA_COPY={copy}"])
        if configured.returncode != 0:
            sys.exit(configured.stdout)
    built = run(["cmake", "--build", folder, "--target", "check_ops"])
    if built.returncode != 0:
        sys.exit(built.stdout)


def found_by(folder, cases):
    """The first run that fails and its last words; none when all are right."""
    for order in range(4):
        try:
            checked = run([os.path.join(folder, "check_ops"), cases, str(order), str(order)], timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return order, f"no end in {SECONDS} s"
        if checked.returncode != 0:
            lines = checked.stdout.splitlines()
            words = [line for line in lines if line.startswith(("WRONG", "cuda emulator"))]
            return order, (words or [f"exit code {checked.returncode}"])[0]
    return None


def main():
    folder = os.path.abspath(sys.argv[1])
    names = sys.argv[2:]
    copy = os.path.join(folder, "copy")
    kernels = os.path.join(copy, "kernels", "cuda")
    shutil.rmtree(kernels, ignore_errors=True)
    shutil.copytree(os.path.join(ROOT, "kernels", "cuda"), kernels)
    build(folder, copy)
    missed = []
    for name, file, text, instead, cases in MUTANTS:
        if names and name not in names:
            continue
        path = os.path.join(kernels, file)
        original = open(path).read()
        if original.count(text) != 1:
            sys.exit(f"{name}: {file} has this text {original.count(text)} times: {text}")
        right = found_by(folder, cases) if not names else None
        if right is not None:
            sys.exit(f"{name}: {cases} fails without the fault: {right[1]}")
        open(path, "w").write(original.replace(text, instead))
        build(folder, copy)
        found = found_by(folder, cases)
        open(path, "w").write(original)
        build(folder, copy)
        print(f"{name}: " + ("NOT found" if found is None else f"found in order {found[0]}: {found[1]}"), flush=True)
        if found is None:
            missed.append(name)
    sys.exit(len(missed) > 0)


main()
