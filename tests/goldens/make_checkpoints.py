#!/usr/bin/env python3
"""Writes tests/goldens/checkpoints/: small files as torch.save and safetensors write them, and what they hold.

Needs torch 2.15.0, safetensors 0.8.0, numpy; the tests do not. Usage: make_checkpoints.py [FOLDER]
"""
import collections
import importlib.metadata
import json
import os
import pickle
import shutil
import sys
import zipfile

import torch
from safetensors.torch import save_file

for package, version in {"torch": "2.15.0", "safetensors": "0.8.0"}.items():
    found = importlib.metadata.version(package).split("+")[0]
    assert found == version, f"{package} {version} wanted, {found} found"

out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "checkpoints")
shutil.rmtree(out, ignore_errors=True)


def path(*parts):
    os.makedirs(os.path.join(out, *parts[:-1]), exist_ok=True)
    return os.path.join(out, *parts)


def write_json(value, *parts):
    with open(path(*parts), "w") as f:
        json.dump(value, f, indent=1, sort_keys=True)
        f.write("\n")


def describe(tensors):
    return {name: {"dims": list(t.shape), "dtype": str(t.dtype).removeprefix("torch."),
                   "values": t.detach().to(torch.float64).flatten().tolist()} for name, t in tensors.items()}


torch.manual_seed(3)
plain = {
    "model.embed.weight": torch.randn(5, 3),
    "model.norm.weight": torch.randn(7).to(torch.bfloat16),
    "model.proj.weight": torch.randn(2, 3, 2).to(torch.float16),
    "model.position_ids": torch.arange(4)[None],
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 4),
    "mask": torch.tensor([True, False, True]),
}

# ---- safetensors -------------------------------------------------------------------------------------------
save_file(plain, path("safetensors", "model.safetensors"), metadata={"format": "pt"})
write_json(describe(plain), "safetensors", "expected.json")
names = sorted(plain)
shards = {"model-00001-of-00002.safetensors": names[:3], "model-00002-of-00002.safetensors": names[3:]}
for file, part in shards.items():
    save_file({n: plain[n] for n in part}, path("safetensors_sharded", file))
write_json({"metadata": {"total_size": 1}, "weight_map": {n: f for f, part in shards.items() for n in part}},
           "safetensors_sharded", "model.safetensors.index.json")
write_json(describe(plain), "safetensors_sharded", "expected.json")

# ---- torch.save --------------------------------------------------------------------------------------------
base = torch.arange(24, dtype=torch.float32) / 8
state = collections.OrderedDict(plain)
state["transposed"] = torch.randn(4, 3).t()
state["permuted"] = torch.randn(2, 3, 4, 5).to(torch.bfloat16).permute(3, 0, 2, 1)
state["view.a"] = base[2:8].view(2, 3)         # shared storage and offsets
state["view.b"] = base[::5]
state["view.c"] = base.view(4, 6)[1:3, 2:5]
state["parameter"] = torch.nn.Parameter(torch.randn(3))
state["expanded"] = torch.tensor([[1.0], [2.0]]).expand(2, 1000)
state["uint16"] = torch.tensor([1, 65535], dtype=torch.uint16)
state["float8"] = torch.tensor([1.0, 2.0]).to(torch.float8_e4m3fn)
state._metadata = collections.OrderedDict({"": {"version": 1}, "model": {"version": 2}})
expected = describe({n: t for n, t in state.items() if n != "expanded"})
torch.save(state, path("pytorch", "pytorch_model.bin"))
write_json(expected, "pytorch", "expected.json")
for protocol in (3, 4, 5):
    torch.save(state, path(f"pytorch_protocol{protocol}", "pytorch_model.bin"), pickle_protocol=protocol)
    write_json(expected, f"pytorch_protocol{protocol}", "expected.json")

names = sorted(plain)
shards = {"pytorch_model-00001-of-00002.bin": names[:3], "pytorch_model-00002-of-00002.bin": names[3:]}
for file, part in shards.items():
    torch.save({n: plain[n] for n in part}, path("pytorch_sharded", file))
write_json({"metadata": {}, "weight_map": {n: f for f, part in shards.items() for n in part}},
           "pytorch_sharded", "pytorch_model.bin.index.json")
write_json(describe(plain), "pytorch_sharded", "expected.json")

small = {"weight": torch.randn(2, 2), "bias": torch.randn(2)}
for wrapper in ("state_dict", "model", "module"):
    wrapped = {"epoch": 3, "lr": 1e-4, "big": 2**80, "note": b"bytes", "seen": [1, 2, (3, None)], wrapper: small,
               "device": torch.device("cpu"), "size": torch.Size([2, 2])}
    torch.save(wrapped, path(f"pytorch_{wrapper}", "pytorch_model.bin"), pickle_protocol=4)
    write_json(describe(small), f"pytorch_{wrapper}", "expected.json")

# ---- what must be refused ----------------------------------------------------------------------------------
torch.save(small, path("refused", "legacy.bin"), _use_new_zipfile_serialization=False)


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/bifrons-was-here",)


for protocol in (2, 4):
    torch.save({"weight": small["weight"], "x": Evil()}, path("refused", f"evil{protocol}.bin"),
               pickle_protocol=protocol)


def rezip(source, target, change, method=zipfile.ZIP_STORED):
    """Copies an archive; change(name, data) returns the new data, or None to drop the entry."""
    with zipfile.ZipFile(source) as a, zipfile.ZipFile(target, "w", method) as b:
        for info in a.infolist():
            data = change(info.filename, a.read(info))
            if data is not None:
                b.writestr(zipfile.ZipInfo(info.filename), data, method)


torch.save(small, path("refused", "small.bin"))
source = path("refused", "small.bin")
rezip(source, path("refused", "big_endian.bin"), lambda n, d: b"big" if n.endswith("byteorder") else d)
rezip(source, path("refused", "missing_storage.bin"), lambda n, d: None if n.endswith("data/1") else d)
rezip(source, path("refused", "short_storage.bin"), lambda n, d: d[:-1] if n.endswith("data/1") else d)
rezip(source, path("refused", "no_pickle.bin"), lambda n, d: None if n.endswith("data.pkl") else d)
rezip(source, path("refused", "compressed.bin"), lambda n, d: d, zipfile.ZIP_DEFLATED)
rezip(source, path("refused", "bomb.bin"), lambda n, d: bytes(1 << 26) if n.endswith("data.pkl") else d,
      zipfile.ZIP_DEFLATED)
with zipfile.ZipFile(path("refused", "traversal.bin"), "w") as z:
    z.writestr("archive/data.pkl", pickle.dumps({}))
    z.writestr("archive/../../etc/passwd", b"x")
os.remove(source)
