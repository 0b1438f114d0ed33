"""Gives the vision tower eyes before the transformer looks through them: every patch is to say what it
shows, which part of the sprite it is and what the background is. That is 432 answers a picture where a
caption is one; the heads that give them are not part of the model.
"""

import random

import numpy as np
import torch
import torch.nn.functional as F

import model
import painted
import pictures
import scenes
import training

LOOSE, VARIED, PAINTED = (
    0.15,
    0.2,
    0.25,
)  # shares: off the grid; changed as other programs do; drawn by the VQ decoder
FLAT_WEIGHT = 0.2  # of a background patch against a sprite's: most of a scene is flat


def look(r, paintings, mix):
    """A scene and a picture of it."""
    form = r.random()
    if form < PAINTED:
        scene, picture = r.choice(paintings)
    else:
        scene = scenes.training_scene(r, mix)
        scene = pictures.loosen(scene, r) if form < PAINTED + LOOSE else scene
        picture = scenes.render(scene)
    return scene, pictures.vary(picture, r) if r.random() < VARIED else picture


def targets(shown):
    """Thing and place classes [b, 144] and backgrounds [b] of scenes."""
    things, places = zip(*map(pictures.labels, shown))
    return (
        *(torch.from_numpy(np.stack(column)) for column in (things, places)),
        torch.tensor([list(scenes.COLOURS).index(scene.background) for scene in shown]),
    )


def weights(things):
    """Of patches with these classes."""
    return torch.where(things > 0, 1.0, FLAT_WEIGHT)


def loss(logits, things, places, backgrounds):
    """Of all three heads, and the shares of sprite patches on which each is right."""
    sprite, total, right = things > 0, 0.0, []
    weight = weights(things)
    for scale, head, wanted in zip(
        (1.0, 0.3, 0.2), logits, (things, places, backgrounds[:, None].expand_as(things))
    ):
        losses = F.cross_entropy(head.float().flatten(0, 1), wanted.flatten(), reduction='none')
        total = total + scale * (losses * weight.flatten()).sum() / weight.sum()
        right.append((head.argmax(-1) == wanted)[sprite & (wanted >= 0)].float().mean())
    return total, right


class Tower(torch.nn.Module):
    def __init__(self, janus):
        super().__init__()
        self.vision = janus.model.vision_model  # up to and with its last layer norm: what the aligner takes
        width = janus.config.vision_config.hidden_size
        classes = pictures.THING_CLASSES, pictures.PLACE_CLASSES, len(scenes.COLOURS)
        self.heads = torch.nn.ModuleList(torch.nn.Linear(width, n) for n in classes)

    def forward(self, pixels):
        return self.answer(self.vision(pixels).last_hidden_state)

    def answer(self, features):
        return [head(features) for head in self.heads]

    def matrices(self):
        """What Muon trains."""
        return [p for p in self.vision.encoder.parameters() if p.ndim == 2]


class Stage(training.Stage):
    columns, checks = ('thing', 'place', 'background'), ('loss', 'thing', 'place', 'background')

    def __init__(self, settings, world):
        super().__init__(settings, world.device)
        self.mix = scenes.Mix(**settings['mix'])
        joint = world.settings['joint']
        self.paintings = painted.paintings(world, joint['paintings'], scenes.Mix(**joint['talk_mix']))
        self.module = Tower(world.build()).to(self.device)
        if settings['fuse']:
            model.fuse(self.module)

    def _answers(self, shown, looks):
        pixels = torch.from_numpy(pictures.normalised(looks)).to(self.device)
        with self.autocast():
            logits = self.module(pixels)
        return loss(logits, *(wanted.to(self.device) for wanted in targets(shown)))

    def loss(self, progress):
        shown, looks = zip(
            *(look(self.random, self.paintings, self.mix) for _ in range(self.settings['batch']))
        )
        total, right = self._answers(shown, looks)
        return total, len(shown), right

    def validate(self):
        r = random.Random(8)
        shown = [scenes.unseen_scene(r, self.mix) for _ in range(self.settings['validate'])]
        total, right = self._answers(shown, [scenes.render(scene) for scene in shown])
        return total, *right
