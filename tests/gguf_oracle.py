"""PyPI's gguf as the oracle: it reads every file that bifrons convert writes, finds the model's tensors, and takes their
blocks for the numbers that the quantised model has; of q8_0 and q4_0 it makes the same bytes.

  gguf_oracle.py BIFRONS FOLDER…

Each FOLDER is a model in the converted layout, in one safetensors file.

requirements: gguf==0.17.1
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np

TYPES = (None, "bf16", "q8_0", "q4_0", "q4_k")
QUANT = gguf.GGMLQuantizationType


def f32(array: np.ndarray, dtype: str) -> np.ndarray:
    return {"F32": lambda: array.view(np.float32), "F16": lambda: array.view(np.float16).astype(np.float32),
            "BF16": lambda: (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)}[dtype]()


def read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    found = {}
    for name, t in header.items():
        begin, end = (8 + size + offset for offset in t["data_offsets"])
        found[name] = f32(np.frombuffer(data[begin:end], np.uint8), t["dtype"]).reshape(t["shape"])
    return found


def described(bifrons: str, model: pathlib.Path) -> dict[str, dict]:
    """Shape and type of every tensor, by our names."""
    out = subprocess.run([bifrons, "info", "-m", model, "--json", "--tensors"], check=True, capture_output=True).stdout
    return {t["name"]: t for t in json.loads(out)["tensors"]}


def check(bifrons: str, folder: pathlib.Path, type_name: str | None, scratch: pathlib.Path) -> None:
    file = scratch / "m.gguf"
    subprocess.run([bifrons, "convert", "-m", folder, "-o", file] + (["--type", type_name] if type_name else []), check=True,
                   stdout=subprocess.DEVNULL)
    plain = scratch / "plain.gguf"  # as stored: the numbers that the blocks are made of
    subprocess.run([bifrons, "convert", "-m", folder, "-o", plain], check=True, stdout=subprocess.DEVNULL)
    reader, stored = gguf.GGUFReader(file), {t.name: t for t in gguf.GGUFReader(plain).tensors}
    known = described(bifrons, file)
    published = {x.tobytes() for x in read_safetensors(folder / "model.safetensors").values()}
    assert sorted(known) == sorted(t.name for t in reader.tensors)

    text = lambda key: bytes(reader.fields[key].parts[-1]).decode()
    assert text("general.architecture") == "janus"
    assert text("tokenizer.huggingface.json") == (folder / "tokenizer.json").read_text()
    assert json.loads(text("janus.config_json"))["model_type"] == "janus"
    assert reader.fields["general.quantization_version"].parts[-1][0] == gguf.GGML_QUANT_VERSION
    wanted_type = {None: None, "bf16": 32, "q8_0": 7, "q4_0": 2, "q4_k": 14}[type_name]
    if wanted_type is not None and known["llama.layers.0.q"]["dtype"] == type_name:
        assert reader.fields["general.file_type"].parts[-1][0] == wanted_type
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokens = reader.fields["tokenizer.ggml.tokens"]
    entries = [bytes(tokens.parts[i]).decode() for i in tokens.data]
    vocabulary = json.loads((folder / "config.json").read_text())["text_config"]["vocab_size"]
    assert len(entries) == vocabulary == len(reader.fields["tokenizer.ggml.token_type"].data)
    for entry, i in tokenizer["model"]["vocab"].items():
        assert entries[i] == entry
    for token in tokenizer["added_tokens"]:
        assert entries[token["id"]] == token["content"]
    merges = reader.fields["tokenizer.ggml.merges"]
    assert [bytes(merges.parts[i]).decode() for i in merges.data] == [
        m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    bos = tokenizer["model"]["vocab"] | {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
    assert reader.fields["tokenizer.ggml.bos_token_id"].parts[-1][0] == bos["<｜begin▁of▁sentence｜>"]

    kinds = {}
    for tensor in reader.tensors:
        ours = known[tensor.name]
        assert list(reversed(tensor.shape.tolist())) == ours["shape"], tensor.name
        assert tensor.tensor_type.name.lower() == ours["dtype"], tensor.name
        kinds[tensor.tensor_type.name] = kinds.get(tensor.tensor_type.name, 0) + 1
        original = stored[tensor.name]
        x = gguf.dequantize(original.data, original.tensor_type).reshape(ours["shape"]).astype(np.float32)
        if type_name is None:
            assert x.tobytes() in published, tensor.name  # under another name
        y = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(ours["shape"])
        if tensor.tensor_type in (QUANT.Q8_0, QUANT.Q4_0):
            blocks = gguf.quantize(x, tensor.tensor_type)
            assert blocks.tobytes() == tensor.data.tobytes(), tensor.name
        if tensor.tensor_type == QUANT.Q4_K:
            # A quarter of a group's extent would be bad luck for every number.
            group = x.reshape(-1, 32)
            extent = np.maximum(group.max(1), 0) - np.minimum(group.min(1), 0)
            assert (np.abs(y - x).reshape(-1, 32) <= extent[:, None] / 4 + 1e-6).all(), tensor.name
        elif tensor.tensor_type in (QUANT.F32, QUANT.F16, QUANT.BF16) and type_name != "bf16":
            assert (x == y).all(), tensor.name
    print(folder.name, type_name or "as stored", kinds)


def main() -> None:
    bifrons = sys.argv[1]
    for folder in map(pathlib.Path, sys.argv[2:]):
        for type_name in TYPES:
            with tempfile.TemporaryDirectory() as scratch:
                check(bifrons, folder, type_name, pathlib.Path(scratch))


main()
