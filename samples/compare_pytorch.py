#!/usr/bin/env python3
"""bifrons and PyTorch side by side: the same exported random weights, bf16, the same threads, one run.

  python3 -m venv .venv && .venv/bin/pip install -r samples/requirements.txt && .venv/bin/python samples/compare_pytorch.py

Measures, at position 300 of the cache: a decode step of one guidance pair (2 rows), a step of 16 pictures (32 rows),
the VQ decoding of one picture, and the seeing of one (vision tower and aligner). The two programs take turns, so that a
machine that slows down slows both; medians are compared. With --pictures N: whole pictures instead, N at once, decoding
included. PyTorch runs transformers' modules in every setting below that works here, and its best one counts.
Run it while nothing else runs.
"""
import argparse
import copy
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/release/bifrons"))
    parser.add_argument("--model", default="random:janus-pro-1b")
    parser.add_argument("--export", help="folder for the exported weights, 4 GB for the 1B model (default: in ~/.cache)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--position", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each program")
    parser.add_argument("--compile", action="store_true", help="also try torch.compile (minutes of compiling)")
    parser.add_argument("--pictures", type=int, help="instead of stages: whole pictures, so many at once, decoding included")
    parser.add_argument("--json", help="also write all figures to this file")
    return parser.parse_args()


arguments = parse()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # before PyTorch starts its threads

import torch  # noqa: E402
from torch.utils import mkldnn  # noqa: E402
from transformers import DynamicCache, JanusForConditionalGeneration  # noqa: E402

DECODE_ROWS = (2, 32)
GUIDANCE = 5


def export():
    """The folder with the weights; written once."""
    name = arguments.model.replace(":", "-")
    folder = pathlib.Path(arguments.export or pathlib.Path.home() / ".cache/bifrons" / name)
    if not (folder / "config.json").exists():
        unfinished = folder.with_name(folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([arguments.program, "export", "--model", arguments.model, "--out", str(unfinished)], check=True)
        unfinished.rename(folder)
    return folder


def bench_ours(folder):
    command = [arguments.program, "bench", "--model", str(folder), "--dtype", "bf16", "--threads", str(arguments.threads),
               "--position", str(arguments.position), "--rows", ",".join(map(str, DECODE_ROWS)), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


class PyTorch:
    """transformers' modules in the loop of generation_inference.py, timed step by step."""

    def __init__(self, folder):
        torch.set_num_threads(arguments.threads)
        self.janus = JanusForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16).eval()
        self.config = self.janus.config
        self.caches = {}
        self.vq = self.janus.model.vqmodel
        self.prepacked = None
        self.compiled = None
        self.towers = {}

    def step_settings(self):
        yield "sdpa", "sdpa", None
        yield "eager attention", "eager", None
        yield "sdpa, oneDNN-packed weights", "sdpa", "prepacked"
        if arguments.compile:
            yield "torch.compile", "sdpa", "compiled"

    def cache(self, rows):
        """A cache that is `position` long, of random keys and values."""
        text = self.config.text_config
        if rows not in self.caches:
            cache = DynamicCache(config=text)
            shape = (rows, text.num_key_value_heads, arguments.position, text.head_dim)
            for layer in range(text.num_hidden_layers):
                cache.update(torch.randn(shape, dtype=torch.bfloat16), torch.randn(shape, dtype=torch.bfloat16), layer)
            self.caches[rows] = cache
        cache = self.caches[rows]
        if cache.get_seq_length() > arguments.position:
            cache.crop(arguments.position - cache.get_seq_length())
        return cache

    def language_model(self, how):
        if how == "compiled":
            if self.compiled is None:
                self.compiled = torch.compile(self.janus.model.language_model, dynamic=True)
            return self.compiled
        if how == "prepacked":
            if self.prepacked is None:
                self.prepacked = mkldnn.to_mkldnn(copy.deepcopy(self.janus.model.language_model), torch.bfloat16)
            return self.prepacked
        return self.janus.model.language_model

    def step(self, rows, attention, how, repeats):
        """Seconds of decode steps: hidden states → logits → guidance → sampling → embedding → transformer."""
        model = self.janus
        model.set_attn_implementation(attention)
        language_model = self.language_model(how)
        hidden = torch.randn(rows, 1, self.config.text_config.hidden_size, dtype=torch.bfloat16)
        times = []
        for _ in range(repeats + 1):
            cache = self.cache(rows)
            start = time.perf_counter()
            logits = model.model.generation_head(hidden[:, -1]).float()
            conditional, unconditional = logits[0::2], logits[1::2]
            guided = unconditional + GUIDANCE * (conditional - unconditional)
            token = torch.multinomial(torch.softmax(guided, -1), 1)
            token = torch.cat([token, token], 1).view(-1)
            embeds = model.prepare_embeddings_for_image_generation(token).unsqueeze(1)
            hidden = language_model(inputs_embeds=embeds, use_cache=True, past_key_values=cache).last_hidden_state
            times.append(time.perf_counter() - start)
        return times[1:]

    def vq_settings(self):
        yield "contiguous", torch.contiguous_format
        yield "channels last", torch.channels_last

    def decode(self, memory_format, repeats):
        """Seconds of VQ decodings of one picture."""
        self.vq.to(memory_format=memory_format)
        tokens = self.config.vq_config.num_patches ** 2
        codes = torch.randint(0, self.config.vq_config.num_embeddings, (1, tokens))
        times = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            self.vq.decode(codes)
            times.append(time.perf_counter() - start)
        return times[1:]

    def image_settings(self):
        for dtype in ("bf16", "f32"):
            for attention in ("sdpa", "eager"):
                yield f"{dtype}, {attention}", dtype, attention

    def image(self, dtype, attention, repeats):
        """Seconds of vision tower and aligner for one picture."""
        model, vision = self.janus.model, self.config.vision_config
        if dtype not in self.towers:
            type_ = torch.bfloat16 if dtype == "bf16" else torch.float32
            self.towers[dtype] = [copy.deepcopy(part).to(type_) for part in (model.vision_model, model.aligner)]
        tower, aligner = self.towers[dtype]
        tower.config._attn_implementation = attention
        pixels = torch.rand(1, 3, vision.image_size, vision.image_size, dtype=next(tower.parameters()).dtype) * 2 - 1
        times = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            aligner(tower(pixels).last_hidden_state)
            times.append(time.perf_counter() - start)
        return times[1:]


def draw_theirs(peer, setting, pictures):
    """Seconds of a batch of pictures: the loop of generation_inference.py over prompts of one length, then decoding."""
    attention, how = setting
    janus, text = peer.janus, peer.config.text_config
    janus.set_attn_implementation(attention)
    language_model = peer.language_model(how)
    tokens = peer.config.vq_config.num_patches ** 2
    start = time.perf_counter()
    cache = DynamicCache(config=text)
    ids = torch.randint(0, text.vocab_size, (2 * pictures, 16))
    embeds, codes = janus.get_input_embeddings()(ids), []
    for position in range(tokens):
        hidden = language_model(inputs_embeds=embeds, use_cache=True, past_key_values=cache).last_hidden_state
        logits = janus.model.generation_head(hidden[:, -1]).float()
        conditional, unconditional = logits[0::2], logits[1::2]
        guided = unconditional + GUIDANCE * (conditional - unconditional)
        token = torch.multinomial(torch.softmax(guided, -1), 1)
        codes.append(token)
        token = torch.cat([token, token], 1).view(-1)
        embeds = janus.prepare_embeddings_for_image_generation(token).unsqueeze(1)
    decoding = time.perf_counter()
    codes = torch.cat(codes, 1)
    for picture in codes:
        peer.vq.decode(picture[None])
    return decoding - start, time.perf_counter() - decoding


def compare_pictures(folder, peer):
    """Whole pictures side by side, once each: minutes that average over the machine's moods."""
    pictures = arguments.pictures
    steps = {}
    for name, *setting in peer.step_settings():  # its best setting, by a few steps in the middle of a picture
        try:
            steps[name] = (statistics.median(peer.step(2 * pictures, *setting, 3)), setting)
        except Exception as error:
            print(f"PyTorch, {name}: not measured ({str(error).splitlines()[0][:120]})")
    peer.caches.clear()
    name = min(steps, key=lambda n: steps[n][0])
    formats = {memory_format: min(peer.decode(memory_format, 2)) for _, memory_format in peer.vq_settings()}
    peer.vq.to(memory_format=min(formats, key=formats.get))
    command = [arguments.program, "bench", "--model", str(folder), "--dtype", "bf16", "--threads", str(arguments.threads),
               "--pictures", str(pictures), "--json"]
    run = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    ours = run["drawing"][0]
    loop, decoding = draw_theirs(peer, steps[name][1], pictures)
    theirs = pictures / (loop + decoding)
    print(f"\n{run['processor']}; {arguments.model}, bf16, {arguments.threads} threads, {pictures} pictures at once; "
          f"PyTorch {torch.__version__}, {name}\n")
    print(f"{'':10} {'pictures/s':>11} {'s/picture':>10} {'steps s':>9} {'decoding s':>11}")
    print(f"{'bifrons':10} {ours['pictures_per_second']:11.4f} {1 / ours['pictures_per_second']:10.2f} "
          f"{ours['decode_seconds']:9.1f} {ours['vq_seconds']:11.1f}")
    print(f"{'PyTorch':10} {theirs:11.4f} {1 / theirs:10.2f} {loop:9.1f} {decoding:11.1f}")
    print(f"{'ratio':10} {ours['pictures_per_second'] / theirs:10.2f}x")
    if arguments.json:
        figures = {"ours": run, "pytorch": {"setting": name, "loop_seconds": loop, "decoding_seconds": decoding}}
        pathlib.Path(arguments.json).write_text(json.dumps(figures, indent=1) + "\n")


def main():
    folder = export()
    peer = PyTorch(folder)
    if arguments.pictures:
        with torch.inference_mode():
            return compare_pictures(folder, peer)
    ours, theirs, dropped = [], {}, set()

    def measure(kind, name, function):
        if (kind, name) in dropped:
            return
        try:
            theirs.setdefault((kind, name), []).extend(function())
        except Exception as error:  # a setting that this PyTorch or processor cannot do
            dropped.add((kind, name))
            print(f"PyTorch, {name}: not measured ({str(error).splitlines()[0][:120]})")

    with torch.inference_mode():
        for turn in range(arguments.rounds):
            print(f"turn {turn + 1} of {arguments.rounds}", flush=True)
            ours.append(bench_ours(folder))
            for rows in DECODE_ROWS:
                for name, attention, how in peer.step_settings():
                    measure(rows, name, lambda: peer.step(rows, attention, how, 10 if rows == 2 else 4))
            for name, memory_format in peer.vq_settings():
                measure("vq", name, lambda: peer.decode(memory_format, 2))
            for name, dtype, attention in peer.image_settings():
                measure("image", name, lambda: peer.image(dtype, attention, 3))

    def best(kind):
        medians = {name: 1e3 * statistics.median(times) for (k, name), times in theirs.items()
                   if k == kind and (k, name) not in dropped}
        name = min(medians, key=medians.get)
        return medians[name], name, medians

    def our_decode(rows, field):
        return statistics.median(next(d for d in run["decode"] if d["rows"] == rows)[field] for run in ours)

    bandwidth = statistics.median(run["bandwidth_gbs"] for run in ours)
    lines = [(f"decode step, {rows} rows", our_decode(rows, "ms"), *best(rows),
              f"{our_decode(rows, 'gbs'):.1f} GB/s, {our_decode(rows, 'percent'):.0f} % of the bandwidth")
             for rows in DECODE_ROWS]
    lines.append(("VQ decode, one picture", statistics.median(run["vq_decode_ms"] for run in ours), *best("vq"), ""))
    lines.append(("seeing one picture", statistics.median(run["image"]["ms"] for run in ours), *best("image"),
                  f"{statistics.median(run['image']['gmacs'] for run in ours):.0f} GMAC/s"))

    print(f"\n{ours[0]['processor']}; {arguments.model}, bf16, {arguments.threads} threads, position {arguments.position}; "
          f"PyTorch {torch.__version__}\nmemory bandwidth measured in this run: {bandwidth:.1f} GB/s\n")
    print(f"{'':24} {'bifrons ms':>11} {'PyTorch ms':>11} {'ratio':>6}")
    for stage, mine, peers, setting, _, note in lines:
        print(f"{stage:24} {mine:11.1f} {peers:11.1f} {peers / mine:5.2f}x  PyTorch: {setting}" + (f"; ours: {note}" if note else ""))
    print("\nall of PyTorch's settings, ms:")
    for stage, _, _, _, medians, _ in lines:
        print(f"  {stage}: " + ", ".join(f"{name} {ms:.1f}" for name, ms in sorted(medians.items(), key=lambda m: m[1])))
    if arguments.json:
        figures = {"bandwidth_gbs": bandwidth, "ours": ours,
                   "pytorch_ms": {f"{kind} {name}": [1e3 * t for t in times] for (kind, name), times in theirs.items()}}
        pathlib.Path(arguments.json).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
