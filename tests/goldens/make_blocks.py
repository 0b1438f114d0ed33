#!/usr/bin/env python3
"""What PyPI's gguf makes of numbers and of blocks, for tests/blocks_test.cpp.

    python3 tests/goldens/make_blocks.py

gguf 0.17.1, numpy 2. Writes tests/goldens/blocks/: x.npy float32 [blocks of 256, 256]; {q8_0,q4_0}.npy, the bytes that
gguf.quantize makes of it; q4_k.npy, bytes that stand for numbers of every scale, as gguf cannot quantise to them;
{q8_0,q4_0,q4_k}_values.npy, what gguf.dequantize reads in those bytes; half_{in,out}.npy, numbers and the bits of
their float16. Bytes and bits are int32, one each.
"""
import pathlib

import gguf
import numpy as np

FOLDER = pathlib.Path(__file__).parent / "blocks"
TYPE = gguf.GGMLQuantizationType


def numbers():
    """Rows of 256: usual ones of several sizes, and what is at an edge."""
    rng = np.random.default_rng(1)
    rows = [rng.standard_normal(256) * scale for scale in (1, 0.02, 1e-4, 300)]
    rows.append(np.zeros(256))
    rows.append(-np.zeros(256))
    rows.append(np.repeat([1.0, -1.0], 128))  # the largest magnitude on both sides
    rows.append(np.tile([1.0, -1.0, 0.5, -0.5], 64))  # and both at once
    rows.append(np.arange(256) / 127 * 0.5)  # halves of steps
    rows.append((np.arange(256) % 16 - 8) / 4)  # steps of q4_0
    rows.append(np.where(np.arange(256) % 32 == 5, 1.0, 1e-3))  # one that is much larger
    rows.append(rng.standard_normal(256) * 3e-7)  # scales that are subnormal in float16
    rows.append(rng.standard_normal(256) * 1e-9)  # and zero there
    rows.append(np.full(256, -0.75))
    rows.append(np.abs(rng.standard_normal(256)))
    rows.append(-np.abs(rng.standard_normal(256)) * 10)
    return np.array(rows, np.float32)


def k_blocks(count):
    """Any bytes, but for the two scales, which are finite."""
    rng = np.random.default_rng(2)
    blocks = rng.integers(0, 256, (count, 144), np.uint8)
    scales = (rng.standard_normal((count, 2)) * 10.0 ** rng.integers(-5, 2, (count, 2))).astype(np.float16)
    blocks[:, :4] = scales.view(np.uint8)
    return blocks


def halves():
    """Numbers beside those that float16 has, and halfway between; the largest, the smallest, and none."""
    bits = np.concatenate([np.arange(0, 0x7C00, 97), [0, 1, 2, 0x3FF, 0x400, 0x401, 0x7BFE, 0x7BFF]]).astype(np.uint16)
    exact = bits.view(np.float16).astype(np.float32)
    above = (bits + 1).view(np.float16).astype(np.float32)
    above[~np.isfinite(above)] = 65536
    middle = (exact + above) / 2
    all_of = [exact, middle, np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(1e9))]
    x = np.concatenate(all_of + [[65504, 65519, 65520, 65536, 1e10, np.inf, 1e-8, 1e-45]]).astype(np.float32)
    return np.concatenate([x, -x, [np.nan]]).astype(np.float32)


def save(name, array):
    np.save(FOLDER / f"{name}.npy", array if array.dtype == np.float32 else array.astype(np.int32))


FOLDER.mkdir(exist_ok=True)
x = numbers()
save("x", x)
for name, blocks in (("q8_0", gguf.quantize(x, TYPE.Q8_0)), ("q4_0", gguf.quantize(x, TYPE.Q4_0)),
                     ("q4_k", k_blocks(len(x)))):
    save(name, blocks)
    save(f"{name}_values", gguf.dequantize(blocks, TYPE[name.upper()]).astype(np.float32))
half = halves()
save("half_in", half)
with np.errstate(over="ignore"):
    save("half_out", half.astype(np.float16).view(np.uint16))
