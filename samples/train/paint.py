"""Trains the VQ decoder, codes to pixels: there is nothing to encode, the codes are known from how the
scene was composed.
"""

import math
import random

import numpy as np
import torch
import torch.nn.functional as F

import codebook
import model
import scenes
import training

CROP = 6  # patches along the side of a crop
WHOLE_FROM = 0.6  # then whole scenes: GroupNorm's statistics depend on how much background there is


def batch(r, count, side, mix):
    """Codes [count, side, side] and pixels in -1..1; crops are taken around sprites, background alone
    teaches nothing."""
    codes, pixels = [], []
    for _ in range(count):
        scene = scenes.training_scene(r, mix)
        grid, picture = codebook.tokens(scene).reshape(scenes.GRID, scenes.GRID), scenes.render(scene)
        if side < scenes.GRID:
            _, x, y, size = r.choice(scene.sprites)
            spare, offset = scenes.GRID - side, size // 2 // scenes.PATCH - side // 2
            column, row = (
                min(max(at // scenes.PATCH + offset + r.randrange(-2, 3), 0), spare) for at in (x, y)
            )
            grid = grid[row : row + side, column : column + side]
            top, left, length = row * scenes.PATCH, column * scenes.PATCH, side * scenes.PATCH
            picture = picture[top : top + length, left : left + length]
        codes.append(grid)
        pixels.append(picture)
    pixels = torch.from_numpy(np.stack(pixels).astype(np.float32) / 127.5 - 1)
    return torch.from_numpy(np.stack(codes)), pixels.permute(0, 3, 1, 2).contiguous()


def difference(drawn, wanted):
    """L1 and L2, four times as much near edges (most of a scene is flat), and L1 of the gradients, which
    keeps outlines sharp."""
    steep = F.pad(wanted.diff(dim=-1).abs().amax(1, keepdim=True), (0, 1))
    steep = steep + F.pad(wanted.diff(dim=-2).abs().amax(1, keepdim=True), (0, 0, 0, 1))
    weight = 1 + 3 * F.max_pool2d((steep > 0.05).float(), 9, 1, 4)
    weight, error = weight / weight.mean(), drawn - wanted
    slopes = sum((drawn.diff(dim=d) - wanted.diff(dim=d)).abs().mean() for d in (-1, -2))
    return (error.abs() * weight).mean() + (error**2 * weight).mean() + 0.5 * slopes


def _decibels(square):
    return 10 * math.log10(4 / square)


class Stage(training.Stage):
    columns, checks = ('psnr',), ('psnr', 'sprite_psnr')

    def __init__(self, settings, world):
        super().__init__(settings, world.device)
        self.module = model.Painter(world.build(), codebook.vectors()).to(self.device)
        self.mix = scenes.Mix(**settings['mix'])

    def loss(self, progress):
        whole = progress >= WHOLE_FROM
        # A crop has a quarter of a scene's pixels: both kinds of step cost about the same.
        count = self.settings['batch'] // 4 if whole else self.settings['batch']
        codes, pixels = batch(self.random, count, scenes.GRID if whole else CROP, self.mix)
        codes, pixels = codes.to(self.device), pixels.to(self.device)
        with self.autocast():
            drawn = self.module(codes)
        drawn = drawn.float()
        error = (drawn.detach() - pixels).pow(2).mean()
        return difference(drawn, pixels), len(codes), (_decibels(float(error)),)

    def validate(self):
        """PSNR of whole scenes, and of their patches that show more than background."""
        r, total, inside = random.Random(8), [], []
        for _ in range(self.settings['validate']):
            scene = scenes.unseen_scene(r, self.mix)
            codes = torch.from_numpy(codebook.tokens(scene).reshape(1, scenes.GRID, scenes.GRID)).to(
                self.device
            )
            wanted = torch.from_numpy(scenes.render(scene).astype(np.float32) / 127.5 - 1).permute(2, 0, 1)
            with self.autocast():
                drawn = self.module(codes)[0].float().cpu().clamp(-1, 1)
            square = F.avg_pool2d((drawn - wanted).pow(2).mean(0)[None], scenes.PATCH)[0]
            total.append(square.mean())
            inside.append(square[codes[0].cpu() >= len(codebook.BACKGROUNDS)].mean())
        return tuple(_decibels(float(torch.stack(squares).mean())) for squares in (total, inside))
