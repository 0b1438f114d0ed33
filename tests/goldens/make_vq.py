#!/usr/bin/env python3
"""What the reference's VQ decoder and encoder make of random networks, for tests/vq_{decoder,encoder}_test.cpp.

    python3 tests/goldens/make_vq.py PATH_OF_A_CHECKOUT_OF_deepseek-ai/Janus

torch 2.15, numpy 2. Weights, codes and pixels to encode come from a formula that the tests repeat, so only results are
stored: tests/goldens/vq_{name}_{f32,bf16}.npy, pixels float32 [H, W, 3]; vq_encoded_{name}_{f32,bf16}.npy, latents before
they are quantised, float32 [grid, grid, dim]; vq_encoded_{name}_codes.npy, int32 [grid²], of the f32 latents.
"""
import importlib.util
import pathlib
import sys

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
CASES = {  # name: (base channels, multipliers, residual blocks, latent channels, codebook size, dim, grid)
    "deep": (32, (1, 2, 2), 1, 16, 50, 5, 5),
    "flat": (96, (1,), 0, 7, 33, 8, 3),
}
ENCODED = {
    "deep": (32, (1, 2, 2), 1, 16, 50, 5, 5),
    "flat": (96, (1,), 1, 7, 33, 8, 3),
    "wide": (64, (2, 1), 2, 8, 300, 4, 6),
}


def noise(name, count):
    """Uniform in [-1, 1), multiples of 2^-7 (bf16 and f32 hold them): FNV-1a of the name, then a mixing hash."""
    state = 2166136261
    for byte in name.encode():
        state = ((state ^ byte) * 16777619) & 0xFFFFFFFF
    x = (np.arange(count, dtype=np.uint64) * 2654435769 + state) & 0xFFFFFFFF
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    return ((x >> 24).astype(np.float32) - 128) / 128


def bf16(values):
    return torch.from_numpy(np.asarray(values, np.float32)).bfloat16().float()


def fill(parameter, name):
    values = noise(name, parameter.numel())
    if ".norm" in name:
        values = 1 + values / 4 if name.endswith("weight") else values / 4
    elif name.endswith(".bias"):
        values = values / 8
    elif name != "vq.codebook":
        fan_in = parameter[0].numel()
        values = values * np.float32(2.0 / np.sqrt(np.float32(fan_in)))
    parameter.data.copy_(bf16(values).reshape(parameter.shape))


def our_name(theirs, network="decoder"):
    parts = theirs.split(".")
    if parts[0] == "mid":
        parts[1] = {"0": "res0", "1": "attn", "2": "res1"}[parts[1]]
    if parts[0] == "conv_blocks":
        parts[0] = "levels"
        if parts[2] in ("upsample", "downsample"):
            parts.remove("conv")
    rename = {"nin_shortcut": "shortcut", "proj_out": "out"}
    return f"vq.{network}." + ".".join(rename.get(p, p) for p in parts)


def encode(vq):
    for name, (base, multipliers, blocks, latent, size, dim, grid) in ENCODED.items():
        quantizer = vq.VectorQuantizer(size, dim, 0.25, 0.0, True, False).eval()
        quant = torch.nn.Conv2d(latent, dim, 1)
        encoder = vq.Encoder(3, base, multipliers, blocks, z_channels=latent)
        fill(quantizer.embedding.weight, "vq.codebook")
        for key, parameter in quant.named_parameters():
            fill(parameter, "vq.quant_conv." + key)
        for key, parameter in encoder.named_parameters():
            fill(parameter, our_name(key, "encoder"))
        side = grid << (len(multipliers) - 1)
        pixels = torch.from_numpy(noise("pixels", side * side * 3).reshape(1, side, side, 3)).permute(0, 3, 1, 2)
        for dtype in (torch.float32, torch.bfloat16):
            for module in (quantizer, quant, encoder):
                module.to(dtype)
            with torch.no_grad():
                z = quant(encoder(pixels.to(dtype)))
                codes = quantizer(z)[2][2]
            short = "f32" if dtype == torch.float32 else "bf16"
            latents = np.ascontiguousarray(z[0].permute(1, 2, 0).float().numpy())
            np.save(HERE / f"vq_encoded_{name}_{short}.npy", latents)
            if dtype == torch.float32:
                np.save(HERE / f"vq_encoded_{name}_codes.npy", codes.numpy().astype(np.int32))
            print("encoded", name, short, latents.shape, "std", latents.std(), "codes", len(set(codes.tolist())))


def main(checkout):
    path = pathlib.Path(checkout) / "janus/models/vq_model.py"
    spec = importlib.util.spec_from_file_location("vq_model", path)
    vq = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(vq)
    for name, (base, multipliers, blocks, latent, size, dim, grid) in CASES.items():
        quantizer = vq.VectorQuantizer(size, dim, 0.25, 0.0, True, False)
        post_quant = torch.nn.Conv2d(dim, latent, 1)
        decoder = vq.Decoder(latent, base, multipliers, blocks)
        fill(quantizer.embedding.weight, "vq.codebook")
        for key, parameter in post_quant.named_parameters():
            fill(parameter, "vq.post_quant_conv." + key)
        for key, parameter in decoder.named_parameters():
            fill(parameter, our_name(key))
        codes = torch.from_numpy(((noise("codes", grid * grid) + 1) * 128).astype(np.int64) % size)
        for dtype in (torch.float32, torch.bfloat16):
            for module in (quantizer, post_quant, decoder):
                module.to(dtype)
            with torch.no_grad():
                z = quantizer.get_codebook_entry(codes, (1, dim, grid, grid))
                pixels = decoder(post_quant(z))[0].permute(1, 2, 0).float().numpy()
            short = "f32" if dtype == torch.float32 else "bf16"
            np.save(HERE / f"vq_{name}_{short}.npy", np.ascontiguousarray(pixels))
            print(name, short, pixels.shape, "std", pixels.std())
    encode(vq)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
