"""Scenes as the VQ decoder draws them: what is trained to see has to recognise the model's own softer
pictures too.
"""

import random

import numpy as np
import torch

import codebook
import model
import scenes


@torch.no_grad()
def paint(janus, tokens):
    """Pictures, uint8 [b, 96, 96, 3], of image tokens [b, 144]."""
    with torch.autocast(janus.device.type, torch.bfloat16):
        decoded = janus.decode_image_tokens(torch.as_tensor(tokens).to(janus.device))
    return ((decoded.float() + 1) / 2 * 255).clamp(0, 255).cpu().numpy().astype(np.uint8)


def painter(world):
    """The model with a trained VQ decoder."""
    janus = world.build().to(world.device).eval()
    if not world.load(model.Painter(janus), 'paint'):
        raise SystemExit('there is no trained VQ decoder: train.py paint')
    return janus


def paintings(world, count, mix):
    """A list of (Scene, picture), painted when they are first asked for."""
    path = world.work / 'paintings.pt'
    if not path.exists():
        janus, r, made = painter(world), random.Random(5), []
        while len(made) < count:
            some = [scenes.training_scene(r, mix) for _ in range(20)]
            made += zip(some, paint(janus, np.stack([codebook.tokens(scene) for scene in some])))
        torch.save(made, path)
    return torch.load(path, weights_only=False)
