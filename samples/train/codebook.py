"""Image tokens without a learned encoder: a token is one 8x8 patch of a sprite, known from how the scene
was composed.

All patches of all sprites are clustered once; a code is a cluster, so a scene's tokens are table look-ups.
A code says what a sprite contributes (premultiplied colour and alpha), not what is behind it: the decoder's
attention sees the flat background's code elsewhere in the picture and composites it. That keeps one code
for a patch on all twelve backgrounds.
"""

import collections
import functools

import numpy as np
import torch

import scenes

DIMENSIONS = 8  # of a code's vector
BACKGROUNDS = {name: i for i, name in enumerate(scenes.COLOURS)}  # codes 0..11
TRANSPARENT = -1
# The codes of all patches. Kept, because weights know no others and clustering depends on a machine's
# rounding: making it anew is for a new world or a model trained from nothing.
CODES_FILE = scenes.HERE / 'codes.npz'
ITERATIONS = 20
SIZE_WEIGHTS = {24: 0.5, 40: 3.0, 56: 1.5, 72: 0.5}  # about how often scenes.py uses a size


def _patches(thing, size):
    """[n, n, 256]: premultiplied RGBA of every patch of a sprite, all in 0..1."""
    pixels = scenes.sprite(thing, size).copy()
    pixels[..., :3] *= pixels[..., 3:] / 255
    n = size // scenes.PATCH
    return pixels.reshape(n, scenes.PATCH, n, scenes.PATCH, 4).transpose(0, 2, 1, 3, 4).reshape(n, n, -1)


def _nearest(points, centres):
    """The nearest centre of every point: |p - c|^2 less what is the same for all c."""
    half = (centres**2).sum(1) / 2
    return torch.cat([(half - some @ centres.T).argmin(1) for some in points.split(2048)])


def _kmeans(points, weights, count, seed):
    """Weighted k-means, started as k-means++ does: each centre drawn by its squared distance from those
    before it."""
    generator = torch.Generator().manual_seed(seed)
    norms = (points**2).sum(1)

    def distance(centre):
        return (norms - 2 * points @ centre + centre @ centre).clamp(min=0)

    chosen = [int(weights.argmax())]
    nearest = distance(points[chosen[0]])
    while len(chosen) < count:
        chosen.append(int(torch.multinomial(nearest * weights, 1, generator=generator)))
        nearest = torch.minimum(nearest, distance(points[chosen[-1]]))
    centres = points[chosen].clone()
    for _ in range(ITERATIONS):
        label = _nearest(points, centres)
        total = torch.zeros_like(centres).index_add_(0, label, points * weights[:, None])
        size = torch.zeros(count).index_add_(0, label, weights)
        centres = torch.where(size[:, None] > 0, total / size.clamp(min=1e-9)[:, None], centres)
    return _nearest(points, centres)


def _things():
    """Every (thing, size), in the order of CODES_FILE."""
    return [(t, s) for t in [*scenes.THINGS, scenes.UNKNOWN] for s in scenes.SIZES]


def _all_patches():
    return torch.from_numpy(
        np.concatenate([_patches(t, s).reshape(-1, 4 * scenes.PATCH**2) for t, s in _things()])
    )


def cluster(count, seed):
    """Codes of all patches [n], of which there are `count`."""
    flat = _all_patches()
    visible = flat[:, 3::4].amax(1) > 0.02
    points, inverse = flat[visible].unique(dim=0, return_inverse=True)
    use = torch.cat([torch.full(((size // scenes.PATCH) ** 2,), SIZE_WEIGHTS[size]) for _, size in _things()])
    weights = torch.zeros(len(points)).index_add_(0, inverse, use[visible])
    label = _kmeans(points, weights.sqrt(), count - len(BACKGROUNDS), seed)
    codes = torch.full((len(flat),), TRANSPARENT)
    codes[visible] = label[inverse] + len(BACKGROUNDS)
    return codes


def make(settings):
    """Writes CODES_FILE."""
    codes = cluster(settings['codes'], settings['seed'])
    np.savez_compressed(CODES_FILE, codes=codes.numpy().astype(np.int16), count=settings['codes'])
    print(f'{settings["codes"]} codes, psnr of the centroids {psnr(codes, _all_patches()):.2f} dB')


@functools.cache
def _stored():
    file = np.load(CODES_FILE)
    return torch.from_numpy(file['codes'].astype(np.int64)), int(file['count'])


def size():
    """How many codes there are."""
    return _stored()[1]


def _centroids(codes, flat):
    """The means of the patches of every code, and which patches have one."""
    visible, count = codes != TRANSPARENT, int(codes.max()) + 1
    total = torch.zeros(count, flat.shape[1]).index_add_(0, codes[visible], flat[visible])
    number = torch.zeros(count).index_add_(0, codes[visible], torch.ones(int(visible.sum())))
    return total / number.clamp(min=1)[:, None], visible


def psnr(codes, flat):
    """How well patches are told by their codes' means, in dB."""
    centroids, visible = _centroids(codes, flat)
    return -10 * float(torch.log10((flat[visible] - centroids[codes[visible]]).pow(2).mean()))


@functools.cache
def tables():
    """{(thing name, size): int codes [n, n]}"""
    (codes, _), at, result = _stored(), 0, {}
    for thing, size in _things():
        n = size // scenes.PATCH
        result[thing.name, size] = codes[at : at + n * n].view(n, n).numpy()
        at += n * n
    return result


def vectors():
    """Code vectors to start from, [codes, 8]: whitened principal components, so that patches that look
    alike start close together."""
    codes, count = _stored()
    centroids = torch.zeros(count, 4 * scenes.PATCH**2)
    means, _ = _centroids(codes, _all_patches())
    centroids[: len(means)] = means
    backgrounds = torch.tensor(list(scenes.COLOURS.values()), dtype=torch.float32) / 255
    flat = torch.cat([backgrounds, torch.ones(len(backgrounds), 1)], 1).repeat(1, scenes.PATCH**2)
    centroids[: len(BACKGROUNDS)] = flat
    centred = centroids - centroids.mean(0)
    _, _, basis = torch.linalg.svd(centred, full_matrices=False)
    projected = centred @ basis[:DIMENSIONS].T
    return projected / projected.std(0)


def tokens(scene):
    """The 144 image tokens of a scene, in raster order."""
    grid = np.full((scenes.GRID, scenes.GRID), BACKGROUNDS[scene.background])
    for thing, x, y, size in scene.sprites:
        codes, n = tables()[thing.name, size], size // scenes.PATCH
        area = grid[y // scenes.PATCH :, x // scenes.PATCH :][:n, :n]
        area[...] = np.where(codes == TRANSPARENT, area, codes)
    return grid.reshape(-1)


@functools.cache
def _choices():
    """{(thing name, size): [row, column] of the tokens that something is decided with}: which thing it is,
    at the first token and wherever things that began alike part (a ring is a circle until its hole); and
    how wide and how high, at the ends of the first and the last row."""
    following = collections.defaultdict(set)
    for (_, size), codes in tables().items():
        flat = codes.reshape(-1).tolist()
        for i, code in enumerate(flat):
            following[size, *flat[:i]].add(code)
    result = {}
    for (name, size), codes in tables().items():
        flat, visible = codes.reshape(-1).tolist(), np.argwhere(codes != TRANSPARENT)
        (top, left), (bottom, _) = visible[0], visible[-1]
        places = {divmod(i, len(codes)) for i in range(len(flat)) if len(following[size, *flat[:i]]) > 1}
        places = {place for place in places if place > (top, left)} | {(top, left)}
        places.add((top, visible[visible[:, 0] == top][-1][1] + 1))
        first = visible[visible[:, 0] == bottom][0][1]
        places |= {(bottom, first), (bottom + 1, first)}
        result[name, size] = np.array(sorted(places))
    return result


def choices(scene):
    """Marks the tokens with which something about a sprite is decided, [144]; the first mark is the first
    sprite's first token."""
    marks = np.zeros((scenes.GRID, scenes.GRID), bool)
    for thing, x, y, size in scene.sprites:
        places = _choices()[thing.name, size] + (y // scenes.PATCH, x // scenes.PATCH)
        row, column = places[(places < scenes.GRID).all(1)].T
        marks[row, column] = True
    return marks.reshape(-1)
