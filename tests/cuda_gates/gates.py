#!/usr/bin/env python3
"""What nvcc makes of kernels/cuda, without a GPU: gates.py [--all] [--write] [--build FOLDER]

Compiles every source for sm_80 and sm_120 (--all: for all that the product is built for) and fails on a warning, a
spill, a stack (numbers that were to stand in registers), a kernel whose registers or shared memory are not those of kernels.txt beside this file (--write makes it anew,
for all), or one that lost its 16-byte loads: kernels.txt says how many of a kernel's global loads and stores are
vectors. Exit code 77 where there is no nvcc, unless $BIFRONS_NEED_NVCC is set."""
import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TABLE = os.path.join(HERE, "kernels.txt")
EVERYWHERE = ["75", "80", "86", "89", "90", "100", "120"]
USUALLY = ["80", "120"]
OPTIONS = ["-std=c++20", "-O3", "-fmad=false", "-prec-div=true", "-prec-sqrt=true", "-ftz=false", "-I" + ROOT,
           "-Xcompiler=-Wall,-Wextra"]


def compile_for(nvcc, source, architecture, folder):
    """(what went wrong, {kernel: (registers, shared bytes, vector accesses)}) of one source."""
    stem = os.path.join(folder, f"{os.path.basename(source)}_{architecture}")
    made = subprocess.run([nvcc, *OPTIONS, f"-arch=sm_{architecture}", "-Xptxas=-v,-warn-spills", "--keep", "--keep-dir",
                           folder, "-cubin", source, "-o", stem + ".cubin"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wrong = [f"sm_{architecture} {os.path.basename(source)}: {line}" for line in made.stdout.splitlines()
             if re.search(r"\b(warning|error)\b", line)]
    if made.returncode != 0 and not wrong:
        wrong = [made.stdout]
    kernels = {}
    for name, spills, used in re.findall(r"Compiling entry function '(\w+)'.*\n.*\n\s*(.*spill.*)\n.*: Used (.*)", made.stdout):
        if not re.search(r"\b0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads", spills):
            wrong.append(f"sm_{architecture} {name}: {spills.strip()}")
        registers = int(re.search(r"(\d+) registers", used).group(1))
        shared = re.search(r"(\d+) bytes smem", used)
        kernels[name] = [registers, int(shared.group(1)) if shared else 0, 0]
    ptx = os.path.join(folder, os.path.basename(source)[:-3] + ".ptx")
    if os.path.exists(ptx):
        for entry in open(ptx).read().split(".entry ")[1:]:
            name = re.match(r"\w+", entry).group(0)
            if name in kernels:
                kernels[name][2] = len(re.findall(r"\b(?:ld|st)\.global\S*\.v[24]\.", entry))
    return wrong, {name: tuple(numbers) for name, numbers in kernels.items()}


def plain(names):
    """C++'s names, without the namespace and the arguments."""
    shown = subprocess.run(["c++filt"], input="\n".join(names), stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(zip(names, (re.sub(r"^void |bifrons::(cuda::)?", "", re.sub(r"\(.*", "", re.sub(r"\((\w+)\)", r"\1", line)))
                            for line in shown.splitlines())))


def read_table():
    table = {}
    for line in open(TABLE):
        if line.startswith("#") or not line.strip():
            continue
        architecture, registers, shared, vectors, name = line.split(None, 4)
        table.setdefault((architecture, name.strip()), []).append((int(registers), int(shared), int(vectors)))
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "cuda_gates"))
    options = parser.parse_args()
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin:/opt/cuda/bin")
    if nvcc is None:
        print("no nvcc: the CUDA kernels are not looked at")
        sys.exit(1 if os.environ.get("BIFRONS_NEED_NVCC") else 77)
    cuda = os.path.join(ROOT, "kernels", "cuda")
    sources = sorted(os.path.join(cuda, f) for f in os.listdir(cuda) if f.endswith(".cu"))
    architectures = EVERYWHERE if options.all or options.write else USUALLY
    jobs = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for architecture in architectures:
            for source in sources:
                folder = os.path.join(options.build, architecture, os.path.basename(source))
                os.makedirs(folder, exist_ok=True)
                jobs.append((architecture, pool.submit(compile_for, nvcc, source, architecture, folder)))
    wrong, found = [], {}
    for architecture, job in jobs:
        words, kernels = job.result()
        wrong += words
        names = plain(list(kernels))
        for name, numbers in kernels.items():
            found.setdefault((architecture, names[name]), []).append(numbers)
    found = {key: sorted(numbers) for key, numbers in found.items()}
    if options.write:
        with open(TABLE, "w") as table:
            table.write("# Made by gates.py --write with CUDA 13.0: of each architecture and kernel the registers of a thread,\n"
                        "# the bytes of static shared memory, and the vector loads and stores of global memory in its PTX.\n")
            for (architecture, name), all_numbers in sorted(found.items(), key=lambda item: (int(item[0][0]), item[0][1])):
                for registers, shared, vectors in all_numbers:
                    table.write(f"{architecture} {registers} {shared} {vectors} {name}\n")
    else:
        expected = {key: sorted(numbers) for key, numbers in read_table().items() if key[0] in architectures}
        for key in sorted(set(found) | set(expected)):
            if found.get(key) != expected.get(key):
                wrong.append(f"sm_{key[0]} {key[1]}: (registers, shared bytes, vector accesses) are {found.get(key)}, "
                             f"kernels.txt has {expected.get(key)}")
    print("\n".join(wrong), end="\n" if wrong else "")
    print(f"{sum(map(len, found.values()))} kernels for {len(architectures)} architectures, "
          f"{max((n[0] for all_numbers in found.values() for n in all_numbers), default=0)} registers at most, "
          f"{len(wrong)} mistakes")
    sys.exit(len(wrong) > 0 or not found)


main()
