#!/usr/bin/env python3
"""A decode step of bifrons beside that of other engines: the same geometry, threads and position, one run.

  python3 -m venv .venv && .venv/bin/pip install numpy==2.4.6 gguf==0.17.1
  .venv/bin/python samples/compare_peers.py
  .venv/bin/python samples/compare_peers.py --engine "mine=./my-engine --bench" --ms "step: ([0-9.]+) ms"

bifrons draws two rows a step (a picture and its guidance), 12 and 32; llama.cpp's llama-bench one row, of a llama with the
transformer's geometry and a head of as many rows as the picture's codebook, in the same types. It is built from the
sources in PyPI's llama-cpp-python, once (minutes; needs cmake, ninja and a C++ compiler), or named by --llama-bench. --pytorch
adds samples/compare_pytorch.py's steps (needs samples/requirements.txt). The programs take turns, medians are compared,
and bandwidth is that which bifrons measures beside its steps. Run it while nothing else runs.
"""
import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tarfile

import gguf
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEER = "llama-cpp-python==0.3.36"
TYPES = {"bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0}
ROWS = (2, 12, 32)
RANDOM_ROWS = 64  # of random numbers, over and over: what they are takes no time


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/release/bifrons"))
    parser.add_argument("--model", default="random:janus-pro-1b")
    parser.add_argument("--types", nargs="+", choices=TYPES, default=list(TYPES))
    parser.add_argument("--kv", choices=("8", "16"), default="16", help="bits of bifrons' keys and values")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--position", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each program")
    parser.add_argument("--llama-bench", help="a built llama-bench")
    parser.add_argument("--engine", action="append", default=[], metavar="NAME=COMMAND", help="one more engine; may be repeated")
    parser.add_argument("--ms", default=r"([0-9.]+) *ms", help="finds an engine's milliseconds a step in what it prints")
    parser.add_argument("--pytorch", action="store_true", help="also PyTorch, bf16")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path.home() / ".cache/bifrons/peers")
    parser.add_argument("--json", help="also write all figures to this file")
    return parser.parse_args()


def run(*command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with exit code {done.returncode}")
    return done.stdout


def build_llama_bench(cache):
    """llama.cpp's llama-bench for this processor; built once."""
    folder = cache / PEER.replace("==", "-")
    program = folder / "build/bin/llama-bench"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python", PEER, "-d", folder)
        with tarfile.open(next(folder.glob("*.tar.gz"))) as sources:
            sources.extractall(folder, filter="data")
        sources = next(folder.glob("*/vendor/llama.cpp"))
        run("cmake", "-S", sources, "-B", folder / "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DLLAMA_CURL=OFF",
            "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_SERVER=OFF")
        run("cmake", "--build", folder / "build", "--target", "llama-bench")
    return program


class Geometry:
    """Of a model's transformer, as `bifrons info` tells it, with the head that draws."""

    def __init__(self, info):
        self.name = info["model"].replace(":", "-").replace("/", "-")
        self.llama, self.codebook = info["llama"], info["vq"]["codebook_size"]

    def matrices(self):
        """(llama.cpp's name, rows, columns), with the text embedding, which a step does not read as a whole."""
        t = self.llama
        hidden, wide, q, kv = t["hidden"], t["intermediate"], t["heads"] * t["head_dim"], t["kv_heads"] * t["head_dim"]
        yield "token_embd.weight", self.codebook, hidden
        yield "output.weight", self.codebook, hidden
        for i in range(t["layers"]):
            for name, rows, columns in (("attn_q", q, hidden), ("attn_k", kv, hidden), ("attn_v", kv, hidden), ("attn_output", hidden, q),
                                        ("ffn_gate", wide, hidden), ("ffn_up", wide, hidden), ("ffn_down", hidden, wide)):
                yield f"blk.{i}.{name}.weight", rows, columns

    def read(self, type_, position):
        """Bytes of a step of one row: matrices, and keys and values of f16, llama-bench's own."""
        block, size = gguf.GGML_QUANT_SIZES[type_]
        weights = sum(rows * columns for name, rows, columns in self.matrices() if name != "token_embd.weight")
        t = self.llama
        return weights * size // block + 2 * 2 * position * t["layers"] * t["kv_heads"] * t["head_dim"]


def write_llama(geometry, type_name, cache):
    """A llama of that geometry with random weights, without a vocabulary; written once."""
    path = cache / f"{geometry.name}-{type_name}.gguf"
    if path.exists():
        return path
    t, type_ = geometry.llama, TYPES[type_name]
    unfinished = path.with_suffix(".unfinished")
    writer = gguf.GGUFWriter(unfinished, "llama")
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(geometry.codebook)
    writer.add_context_length(t["max_positions"])
    writer.add_embedding_length(t["hidden"])
    writer.add_block_count(t["layers"])
    writer.add_feed_forward_length(t["intermediate"])
    writer.add_head_count(t["heads"])
    writer.add_head_count_kv(t["kv_heads"])
    writer.add_rope_dimension_count(t["head_dim"])
    writer.add_layer_norm_rms_eps(t["norm_eps"])
    random = np.random.default_rng(0)

    def add(name, rows, columns):
        some = random.standard_normal((min(rows, RANDOM_ROWS), columns), np.float32) * columns**-0.5
        blocks = gguf.quantize(some, type_)
        writer.add_tensor(name, np.resize(blocks, (rows, *blocks.shape[1:])), raw_dtype=type_)

    norm = np.ones(t["hidden"], np.float32)
    for name, rows, columns in geometry.matrices():
        add(name, rows, columns)
    writer.add_tensor("output_norm.weight", norm)
    for i in range(t["layers"]):
        writer.add_tensor(f"blk.{i}.attn_norm.weight", norm)
        writer.add_tensor(f"blk.{i}.ffn_norm.weight", norm)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.rename(path)
    return path


def bench_ours(options, type_name):
    out = run(options.program, "bench", "-m", options.model, "--type", type_name, "--kv", options.kv, "--threads", options.threads,
              "--position", options.position, "--rows", ",".join(map(str, ROWS)), "--json")
    return json.loads(out)


def bench_llama(program, model, options):
    """Milliseconds of a step of one row."""
    out = run(program, "-m", model, "-t", options.threads, "-p", 0, "-n", 16, "-d", options.position, "-r", 2, "-o", "json")
    return 1e3 / json.loads(out)[0]["avg_ts"]


def bench_engine(command, pattern):
    out = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    found = re.findall(pattern, out)
    if not found:
        sys.exit(f"{command}: printed nothing that --ms {pattern!r} finds")
    return float(found[-1])


def bench_pytorch(options):
    """{rows: milliseconds} of PyTorch's best setting, bf16."""
    path = options.cache / "pytorch.json"
    run(sys.executable, ROOT / "samples/compare_pytorch.py", "--program", options.program, "--model", options.model, "--threads",
        options.threads, "--position", options.position, "--rounds", 1, "--json", path)
    measured = json.loads(path.read_text())["pytorch_ms"]
    best = {}
    for setting, times in measured.items():
        rows = setting.split()[0]
        if rows.isdigit():
            best[int(rows)] = min(best.get(int(rows), np.inf), statistics.median(times))
    return best


def main():
    options = parse()
    options.cache.mkdir(parents=True, exist_ok=True)
    engines = [engine.partition("=")[::2] for engine in options.engine]
    llama_bench = options.llama_bench or build_llama_bench(options.cache)
    geometry = Geometry(json.loads(run(options.program, "info", "-m", options.model, "--json")))
    models = {name: write_llama(geometry, name, options.cache) for name in options.types}

    times, gigabytes, bandwidth, heading = {}, {}, [], ""

    def add(engine, type_name, rows, ms, size=None):
        times.setdefault((engine, type_name, rows), []).append(ms)
        gigabytes[engine, type_name, rows] = size

    for turn in range(options.rounds):
        print(f"turn {turn + 1} of {options.rounds}", file=sys.stderr, flush=True)
        for name in options.types:
            ours = bench_ours(options, name)
            heading = f"{ours['processor']}, {ours['isa']}"
            bandwidth.append(ours["bandwidth_gbs"])
            for step in ours["decode"]:
                add("bifrons", name, step["rows"], step["ms"], step["gbs"] * step["ms"] / 1e3)
            add("llama.cpp", name, 1, bench_llama(llama_bench, models[name], options),
                geometry.read(TYPES[name], options.position) / 1e9)
        for name, command in engines:
            add(name, "", 0, bench_engine(command, options.ms))
        if options.pytorch:
            for rows, ms in bench_pytorch(options).items():
                add("PyTorch", "bf16", rows, ms)

    limit = statistics.median(bandwidth)
    print(f"{heading}; {options.model}, {options.threads} threads, position {options.position}, bifrons' keys and values in "
          f"{options.kv} bits; reading memory: {limit:.1f} GB/s in this run\n")
    print(f"{'engine':12} {'weights':8} {'rows':>4} {'ms a step':>10} {'GB':>6} {'GB/s':>6} {'of limit':>8}")
    for (engine, type_name, rows), all_ms in sorted(times.items(), key=lambda item: (item[0][1], item[0][2], item[0][0])):
        ms, size = statistics.median(all_ms), gigabytes[engine, type_name, rows]
        line = f"{engine:12} {type_name or '?':8} {rows or '?':>4} {ms:10.1f}"
        print(line + (f" {size:6.2f} {1e3 * size / ms:6.1f} {1e5 * size / ms / limit:6.0f} %" if size else ""))
    if options.json:
        rows = [{"engine": e, "weights": w, "rows": r, "ms": ms, "gigabytes": gigabytes[e, w, r]} for (e, w, r), ms in times.items()]
        pathlib.Path(options.json).write_text(json.dumps({"bandwidth_gbs": bandwidth, "steps": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
