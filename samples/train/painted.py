"""Scenes as the VQ decoder draws them: what is trained to see has to recognise the model's own softer pictures too."""
import argparse
import pathlib
import random

import numpy as np
import torch
from transformers import JanusForConditionalGeneration

import codebook
import scenes


def painter(model):
    """A function Scene -> picture, uint8 [96, 96, 3], by the VQ decoder of a model directory."""
    janus = JanusForConditionalGeneration.from_pretrained(model, dtype=torch.float32).eval()
    return lambda scene: paint(janus, codebook.tokens(scene)[None])[0]


@torch.no_grad()
def paint(janus, tokens):
    """Pictures, uint8 [b, 96, 96, 3], of image tokens [b, 144]."""
    with torch.autocast('cpu', torch.bfloat16):
        decoded = janus.decode_image_tokens(torch.as_tensor(tokens))
    return ((decoded.float() + 1) / 2 * 255).clamp(0, 255).numpy().astype(np.uint8)


def load(path):
    """What main() wrote: a list of (Scene, picture)."""
    return torch.load(path, weights_only=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', type=pathlib.Path)
    parser.add_argument('work', type=pathlib.Path, help='directory to which paintings.pt is added')
    parser.add_argument('--count', type=int, default=4000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    janus = JanusForConditionalGeneration.from_pretrained(options.model, dtype=torch.float32).eval()
    r, paintings = random.Random(5), []
    while len(paintings) < options.count:
        batch = [scenes.training_scene(r) for _ in range(20)]
        paintings += zip(batch, paint(janus, np.stack([codebook.tokens(scene) for scene in batch])))
    torch.save(paintings, options.work / 'paintings.pt')


if __name__ == '__main__':
    main()
