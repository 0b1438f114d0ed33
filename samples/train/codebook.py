"""Image tokens without a learned encoder: a token is one 8x8 patch of a sprite, known from how the scene was composed.

All patches of all sprites are clustered once; a code is a cluster, so a scene's tokens are table look-ups. A code says what a
sprite contributes (premultiplied colour and alpha), not what is behind it: the decoder's attention sees the flat background's
code elsewhere in the picture and composites it. That keeps one code for a patch on all twelve backgrounds."""
import pathlib
import sys

import numpy as np
import torch

import scenes

CODES, DIMENSIONS = 4096, 8
BACKGROUNDS = {name: i for i, name in enumerate(scenes.COLOURS)}  # codes 0..11
TRANSPARENT = -1
ITERATIONS = 20
SIZE_WEIGHTS = {24: 0.5, 40: 3.0, 56: 1.5, 72: 0.5}  # about how often scenes.py uses a size


def _patches(thing, size):
    """[n, n, 256]: premultiplied RGBA of every patch of a sprite, all in 0..1."""
    pixels = scenes.sprite(thing, size).copy()
    pixels[..., :3] *= pixels[..., 3:] / 255
    n = size // scenes.PATCH
    return pixels.reshape(n, scenes.PATCH, n, scenes.PATCH, 4).transpose(0, 2, 1, 3, 4).reshape(n, n, -1)


def _kmeans(points, weights, count):
    """Weighted k-means, started as k-means++ does: each centre drawn by its squared distance from those before it."""
    generator = torch.Generator().manual_seed(0)
    chosen = [int(weights.argmax())]
    nearest = ((points - points[chosen[0]]) ** 2).sum(1)
    while len(chosen) < count:
        chosen.append(int(torch.multinomial(nearest * weights, 1, generator=generator)))
        nearest = torch.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(1))
    centres = points[chosen].clone()
    for _ in range(ITERATIONS):
        label = torch.cdist(points, centres).argmin(1)
        total = torch.zeros_like(centres).index_add_(0, label, points * weights[:, None])
        size = torch.zeros(count).index_add_(0, label, weights)
        centres = torch.where(size[:, None] > 0, total / size.clamp(min=1e-9)[:, None], centres)
    return centres, torch.cdist(points, centres).argmin(1)


def build():
    """Returns tables {(thing name, size): int codes [n, n]}, the initial code vectors [CODES, 8] and the centroids [CODES, 256]."""
    things = scenes.EMOJI + scenes.SHAPE_THINGS
    keys = [(t, s) for t in things for s in scenes.SIZES]
    blocks = [_patches(t, s) for t, s in keys]
    flat = torch.from_numpy(np.concatenate([b.reshape(-1, b.shape[-1]) for b in blocks]))
    visible = flat[:, 3::4].amax(1) > 0.02
    points, inverse = flat[visible].unique(dim=0, return_inverse=True)
    backgrounds = torch.tensor(list(scenes.COLOURS.values()), dtype=torch.float32) / 255
    backgrounds = torch.cat([backgrounds, torch.ones(len(backgrounds), 1)], 1).repeat(1, scenes.PATCH ** 2)
    weights = torch.zeros(len(points)).index_add_(0, inverse, torch.cat([torch.full((len(b) ** 2,), SIZE_WEIGHTS[s]) for (_, s), b in zip(keys, blocks)])[visible])
    centres, label = _kmeans(points, weights.sqrt(), CODES - len(BACKGROUNDS))
    centroids = torch.cat([backgrounds, centres])
    codes = torch.full((len(flat),), TRANSPARENT)
    codes[visible] = label[inverse] + len(BACKGROUNDS)
    tables, at = {}, 0
    for (thing, size), block in zip(keys, blocks):
        n = len(block)
        tables[thing.name, size] = codes[at:at + n * n].view(n, n).numpy()
        at += n * n
    error = (flat[visible] - centroids[codes[visible]]).pow(2).mean()
    print(f'{len(points)} different patches, {CODES} codes, psnr of the centroids {-10 * torch.log10(error):.2f} dB')
    return dict(tables=tables, vectors=_vectors(centroids), centroids=centroids)


def _vectors(centroids):
    """Whitened principal components: patches that look alike start close together."""
    centred = centroids - centroids.mean(0)
    _, _, basis = torch.linalg.svd(centred, full_matrices=False)
    projected = centred @ basis[:DIMENSIONS].T
    return projected / projected.std(0)


def tokens(scene, tables):
    """The 144 image tokens of a scene, in raster order."""
    grid = np.full((scenes.GRID, scenes.GRID), BACKGROUNDS[scene.background])
    for thing, x, y, size in scene.sprites:
        codes, n = tables[thing.name, size], size // scenes.PATCH
        area = grid[y // scenes.PATCH:, x // scenes.PATCH:][:n, :n]
        area[...] = np.where(codes == TRANSPARENT, area, codes)
    return grid.reshape(-1)


def starts(scene, tables):
    """Marks each sprite's first token in raster order, [144]: the one that says which thing it is."""
    marks = np.zeros(scenes.GRID ** 2, bool)
    for thing, x, y, size in scene.sprites:
        row, column = np.argwhere(tables[thing.name, size] != TRANSPARENT)[0]
        marks[(y // scenes.PATCH + row) * scenes.GRID + x // scenes.PATCH + column] = True
    return marks


if __name__ == '__main__':
    torch.set_num_threads(1)
    torch.save(build(), pathlib.Path(sys.argv[1]))
