#!/usr/bin/env python3
"""Rows of SigLIP towers with random weights for tests/siglip_test.cpp.

    python3 tests/goldens/make_siglip.py

torch 2.15, transformers 5.23. Through transformers' JanusVisionModel, whose modules are the reference's
(janus/models/siglip_vit.py) bit for bit and need no timm. Weights and pixels come from make_vq.py's formula, so only the
rows are stored: tests/goldens/siglip_{name}_{f32,bf16}.npy, float32 [patches, hidden].
"""
import pathlib

import numpy as np
import torch
from transformers import JanusVisionConfig, JanusVisionModel

from make_vq import fill, noise

CASES = {  # name: (hidden, layers, heads, mlp, patch, image size)
    "odd": (24, 2, 3, 60, 8, 40),
    "rest": (40, 1, 5, 160, 14, 45),  # three pixels beyond the last patch
    "wide": (128, 3, 2, 256, 16, 96),
}


def our_name(theirs):
    theirs = theirs.replace("embeddings.patch_embedding", "patch_embed").replace("post_layernorm", "norm")
    theirs = theirs.replace("embeddings.position_embedding.weight", "position").replace("encoder.layers", "layers")
    theirs = theirs.replace("self_attn.", "").replace("mlp.", "").replace("_proj.", ".")
    return "siglip." + theirs.replace("projection_layer", "out").replace("layer_norm", "norm")


def main():
    here = pathlib.Path(__file__).parent
    for name, (hidden, layers, heads, mlp, patch, size) in CASES.items():
        config = JanusVisionConfig(hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
                                   mlp_ratio=mlp / hidden, patch_size=patch, image_size=size)
        model = JanusVisionModel(config).eval()
        for key, parameter in model.named_parameters():
            fill(parameter, our_name(key))
        pixels = torch.from_numpy(noise("pixel_values", 3 * size * size).reshape(1, 3, size, size))
        for dtype in (torch.float32, torch.bfloat16):
            model.to(dtype)
            with torch.no_grad():
                rows = model(pixels.to(dtype)).last_hidden_state[0].float().numpy()
            short = "f32" if dtype == torch.float32 else "bf16"
            np.save(here / f"siglip_{name}_{short}.npy", np.ascontiguousarray(rows))
            print(name, short, rows.shape, "std", rows.std())


if __name__ == "__main__":
    main()
