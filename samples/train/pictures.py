"""Pictures to look at, for whatever is trained to see: rendered ones, and ones that do not look exactly
like this program's rendering.
"""

import dataclasses
import io

import numpy as np
from PIL import Image

import scenes

THINGS = {thing: i + 1 for i, thing in enumerate([*scenes.THINGS, scenes.UNKNOWN])}  # 0 is the background
VISIBLE = 0.08  # mean opacity from which a patch belongs to a sprite
_PLACES = {}  # (size, row, column) of a patch within its sprite -> class; 0 is the background
for _size in scenes.SIZES:
    for _row in range(_size // scenes.PATCH):
        for _column in range(_size // scenes.PATCH):
            _PLACES[_size, _row, _column] = len(_PLACES) + 1
THING_CLASSES, PLACE_CLASSES = len(THINGS) + 1, len(_PLACES) + 1
UNKNOWN = -100  # what cross_entropy ignores


def loosen(scene, r):
    """The scene with its sprites a little smaller and off the grid, still apart."""
    sprites = []
    for thing, x, y, size in scene.sprites:
        smaller = max(20, round(size * r.uniform(0.7, 1) / 4) * 4)
        spare = size - smaller
        x, y = (min(max(at + r.randint(-3, spare + 3), 0), scenes.SIDE - smaller) for at in (x, y))
        sprites.append((thing, x, y, smaller))
    return dataclasses.replace(scene, sprites=tuple(sprites))


def labels(scene):
    """For every patch: the class of the thing it shows, and of its place within the sprite, [144] each."""
    things = np.zeros((scenes.GRID, scenes.GRID), np.int64)
    places = np.zeros((scenes.GRID, scenes.GRID), np.int64)
    for thing, x, y, size in scene.sprites:
        canvas = np.zeros((scenes.SIDE, scenes.SIDE), np.float32)
        canvas[y : y + size, x : x + size] = scenes.sprite(thing, size)[..., 3]
        shown = canvas.reshape(scenes.GRID, scenes.PATCH, scenes.GRID, scenes.PATCH).mean((1, 3)) > VISIBLE
        things[shown] = THINGS[thing]
        snapped = size in scenes.SIZES and x % scenes.PATCH == 0 and y % scenes.PATCH == 0
        for row, column in np.argwhere(shown):
            places[row, column] = (
                _PLACES[size, row - y // scenes.PATCH, column - x // scenes.PATCH] if snapped else UNKNOWN
            )
    return things.reshape(-1), places.reshape(-1)


def vary(picture, r):
    """The picture, uint8, as it might look after other programs: a little noise, another brightness, saved
    as JPEG."""
    kind = r.randrange(4)
    if kind in (0, 3):
        noise = np.random.default_rng(r.randrange(1 << 30)).normal(0, r.uniform(1, 10), picture.shape)
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    if kind in (1, 3):
        picture = np.clip(picture * r.uniform(0.92, 1.08) + r.uniform(-8, 8), 0, 255).astype(np.uint8)
    if kind in (2, 3):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, 'JPEG', quality=r.randint(50, 95))
        picture = np.asarray(Image.open(file))
    return picture


def normalised(pictures):
    """What the vision tower and the VQ encoder take: -1..1, [b, 3, 96, 96] (numpy, float32)."""
    return (np.stack(pictures).astype(np.float32) / 127.5 - 1).transpose(0, 3, 1, 2)
