"""Trains the VQ decoder, codes to pixels: there is nothing to encode, the codes are known from how the scene was composed."""
import math

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import codebook
import model
import scenes
import training

CROP = 6  # patches along the side of a crop
WHOLE_FROM = 0.6  # then whole scenes: GroupNorm's statistics depend on how much background there is


def batch(r, count, side):
    """Codes [count, side, side] and pixels in -1..1; crops are taken around sprites, background alone teaches nothing."""
    codes, pixels = [], []
    for _ in range(count):
        scene = scenes.training_scene(r)
        grid, picture = codebook.tokens(scene).reshape(scenes.GRID, scenes.GRID), scenes.render(scene)
        if side < scenes.GRID:
            _, x, y, size = r.choice(scene.sprites)
            spare = scenes.GRID - side
            column, row = (min(max((at + size // 2) // scenes.PATCH - side // 2 + r.randrange(-2, 3), 0), spare) for at in (x, y))
            grid = grid[row:row + side, column:column + side]
            picture = picture[row * scenes.PATCH:(row + side) * scenes.PATCH, column * scenes.PATCH:(column + side) * scenes.PATCH]
        codes.append(grid)
        pixels.append(picture)
    return torch.from_numpy(np.stack(codes)), torch.from_numpy(np.stack(pixels).astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2).contiguous()


def difference(drawn, wanted):
    """L1 and L2, four times as much near edges (most of a scene is flat), and L1 of the gradients, which keeps outlines sharp."""
    steep = F.pad(wanted.diff(dim=-1).abs().amax(1, keepdim=True), (0, 1)) + F.pad(wanted.diff(dim=-2).abs().amax(1, keepdim=True), (0, 0, 0, 1))
    weight = 1 + 3 * F.max_pool2d((steep > 0.05).float(), 9, 1, 4)
    weight, error = weight / weight.mean(), drawn - wanted
    slopes = sum((drawn.diff(dim=d) - wanted.diff(dim=d)).abs().mean() for d in (-1, -2))
    return (error.abs() * weight).mean() + (error ** 2 * weight).mean() + 0.5 * slopes


def main():
    options = training.arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    vocabulary = Tokenizer.from_file(str(options.work / 'tokenizer.json'))
    painter = model.Painter(model.build(vocabulary), codebook.vectors())
    run = training.Run(options, 'painter', painter, painter.matrices(), ('psnr',))
    while run.going():
        whole = run.progress >= WHOLE_FROM
        # A crop has a quarter of a scene's pixels: both kinds of step cost about the same.
        codes, pixels = batch(run.random, options.batch // 4 if whole else options.batch, scenes.GRID if whole else CROP)
        with torch.autocast('cpu', torch.bfloat16):
            drawn = painter(codes)
        drawn = drawn.float()
        run.update(difference(drawn, pixels), len(codes), 10 * math.log10(4 / (drawn.detach() - pixels).pow(2).mean()))


if __name__ == '__main__':
    main()
