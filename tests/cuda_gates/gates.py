#!/usr/bin/env python3
"""What nvcc makes of kernels/cuda, without a GPU: gates.py [--all] [--write] [--build FOLDER]

Compiles every source for sm_80 (--all: for all that the product is built for) and fails on a warning, a
spill, a stack (numbers that were to stand in registers), a kernel whose registers, shared memory or occupancy are not
those of kernels.txt beside this file (--write makes it anew, for all), or one that lost its 16-byte loads, its products
of tiles or its copies beside the work: kernels.txt says how many of these are in a kernel's PTX. Exit code 77 where there is no nvcc, unless
$BIFRONS_NEED_NVCC is set."""
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
CUDA = os.path.join(ROOT, "kernels", "cuda")
USUALLY = ["80"]
COUNTED = [r"\b(?:ld|st)\.global\S*\.v[24]\.", r"\bmma\.sync\.", r"\bldmatrix\.sync\.", r"\bcp\.async\.c[ag]\."]

# Of a multiprocessor: warps, blocks and bytes of shared memory (docs.nvidia.com/cuda/cuda-c-programming-guide, "Technical
# Specifications per Compute Capability"). All have 65,536 registers, given to a warp in units of 256.
LIMITS = {"75": (32, 16, 64), "80": (64, 32, 164), "86": (48, 16, 100), "89": (48, 24, 100), "90": (64, 32, 228),
          "100": (64, 32, 228), "120": (48, 24, 100)}


def product():
    """The options that the product is compiled with, and its architectures: {of the GPU: of the PTX}."""
    cmake = open(os.path.join(CUDA, "cuda.cmake")).read()
    options = re.search(r'COMPILE_OPTIONS\s+"\$\{CUDA_CODE\};([^"]+)"', cmake).group(1).split(";")
    ptx = {gpu: virtual for virtual, code in re.findall(r"arch=compute_(\d+),code=\[([^]]+)\]", cmake)
           for gpu in re.findall(r"sm_(\d+)", code)}
    return ["-std=c++20", "-O3", "-I" + ROOT, *options], ptx


def occupancy(architecture, threads, registers, shared):
    """Percent of a multiprocessor's warps that run at once, in blocks of the most threads that a kernel allows; the shared
    memory that a launch asks for apart."""
    most_warps, most_blocks, kilobytes = LIMITS[architecture]
    warps = -(-threads // 32)
    by_registers = 65536 // (-(-registers * 32 // 256) * 256) // 4 * 4 // warps  # four schedulers share them evenly
    reserved = 0 if architecture == "75" else 1024
    by_shared = kilobytes * 1024 // max(shared + reserved, 1)
    return 100 * warps * min(most_blocks, most_warps // warps, by_registers, by_shared) // most_warps


def compile_for(nvcc, options, source, architecture, ptx, folder):
    """(what went wrong, {kernel: (registers, shared bytes, occupancy, *COUNTED)}) of one source."""
    stem = os.path.join(folder, f"{os.path.basename(source)}_{architecture}")
    made = subprocess.run([nvcc, *options, f"-arch=compute_{ptx}", f"-code=sm_{architecture}", "-Xptxas=-v", "--keep", "--keep-dir", folder, "-cubin", source, "-o", stem + ".cubin"],
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
        kernels[name] = [registers, int(shared.group(1)) if shared else 0]
    ptx = os.path.join(folder, os.path.basename(source)[:-3] + ".ptx")
    if os.path.exists(ptx):
        for entry in open(ptx).read().split(".entry ")[1:]:
            name = re.match(r"\w+", entry).group(0)
            threads = re.search(r"\.maxntid (\d+)", entry)
            if threads is None:
                wrong.append(f"{name}: without __launch_bounds__")
            elif name in kernels:
                registers, shared = kernels[name][:2]
                kernels[name].append(occupancy(architecture, int(threads.group(1)), registers, shared))
                kernels[name] += [len(re.findall(pattern, entry)) for pattern in COUNTED]
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
        architecture, *numbers, name = line.split(None, 4 + len(COUNTED))
        table.setdefault((architecture, name.strip()), []).append(tuple(int(number) for number in numbers))
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
    sources = sorted(os.path.join(CUDA, f) for f in os.listdir(CUDA) if f.endswith(".cu"))
    compiler_options, ptx = product()
    architectures = list(ptx) if options.all or options.write else USUALLY
    jobs = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for architecture in architectures:
            for source in sources:
                folder = os.path.join(options.build, architecture, os.path.basename(source))
                os.makedirs(folder, exist_ok=True)
                jobs.append((architecture, pool.submit(compile_for, nvcc, compiler_options, source, architecture, ptx[architecture], folder)))
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
            table.write("# Made by gates.py --write with CUDA 13.0: of each architecture and kernel the registers of a thread, the\n"
                        "# bytes of static shared memory, the occupancy in percent with them, and of its PTX the vector loads and\n"
                        "# stores of global memory, mma.sync, ldmatrix and cp.async.\n")
            for (architecture, name), all_numbers in sorted(found.items(), key=lambda item: (int(item[0][0]), item[0][1])):
                for numbers in all_numbers:
                    table.write(f"{architecture} {' '.join(map(str, numbers))} {name}\n")
    else:
        expected = {key: sorted(numbers) for key, numbers in read_table().items() if key[0] in architectures}
        for key in sorted(set(found) | set(expected)):
            if found.get(key) != expected.get(key):
                wrong.append(f"sm_{key[0]} {key[1]}: (registers, shared bytes, occupancy, PTX counts) are {found.get(key)}, "
                             f"kernels.txt has {expected.get(key)}")
    print("\n".join(wrong), end="\n" if wrong else "")
    print(f"{sum(map(len, found.values()))} kernels for {len(architectures)} architectures, "
          f"{max((n[0] for all_numbers in found.values() for n in all_numbers), default=0)} registers at most, "
          f"{len(wrong)} mistakes")
    sys.exit(len(wrong) > 0 or not found)


main()
