"""Pictures that should have shown a scene, with what detect.py finds in them: the model learns to tell its
good drawings from its bad ones.

Two kinds: scenes painted from spoilt tokens, and pictures that the trained drawer has drawn from training
prompts.
"""

import random

import numpy as np
import torch

import codebook
import detect
import model
import painted
import scenes
import sheet


def spoil(scene, r):
    """The scene's tokens with something wrong in them, as a model draws that loses its way."""
    tokens = codebook.tokens(scene).reshape(scenes.GRID, scenes.GRID)
    thing, x, y, size = r.choice(scene.sprites)
    n = size // scenes.PATCH
    area = tokens[y // scenes.PATCH :, x // scenes.PATCH :][:n, :n]
    other = codebook.tables()[r.choice(scenes.THINGS).name, size]
    background = codebook.BACKGROUNDS[scene.background]
    form, cut = r.random(), r.randint(1, n - 1)
    if form < 0.3:  # goes on as something else
        area[cut:] = np.where(other == codebook.TRANSPARENT, background, other)[cut:]
    elif form < 0.5:  # ... to the right
        area[:, cut:] = np.where(other == codebook.TRANSPARENT, background, other)[:, cut:]
    elif form < 0.7:  # stops
        (area if r.random() < 0.5 else area.T)[cut:] = background
    elif form < 0.85:  # patches of anything
        wrong = np.array([[r.random() < 0.35 for _ in range(n)] for _ in range(n)])
        area[wrong] = [r.randrange(len(codebook.BACKGROUNDS), codebook.size()) for _ in range(wrong.sum())]
    else:  # a piece of something where there should be nothing
        row, column = r.randint(0, scenes.GRID - n), r.randint(0, scenes.GRID - n)
        piece = tokens[row : row + n, column : column + n]
        piece[cut:] = np.where(other == codebook.TRANSPARENT, piece, other)[cut:]
    return tokens.reshape(-1)


def pictures(world, count, mix):
    """A list of (Scene, picture, detect.Found), made when they are first asked for: half spoilt, half
    drawn."""
    path = world.work / 'judged.pt'
    if not path.exists():
        janus, r = painted.painter(world), random.Random(7)
        wanted = [scenes.training_scene(r, mix) for _ in range(count // 2)]
        drawn = [painted.paint(janus, spoil(scene, r)[None])[0] for scene in wanted]
        if world.load(model.Drawer(janus), 'draw'):
            captions = {s.caption: s for s in (scenes.training_scene(r, mix) for _ in range(count // 2))}
            torch.manual_seed(7)
            with torch.autocast(janus.device.type, torch.bfloat16):
                drawn += sheet.draw(janus, world.vocabulary, list(captions), guidance=3.0)
            wanted += captions.values()
        torch.save([(s, picture, detect.detect(picture)) for s, picture in zip(wanted, drawn)], path)
    return torch.load(path, weights_only=False)
