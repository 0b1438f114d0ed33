"""Says what a picture of janus-mini's world shows, by comparing it with every sprite at every place: no
part of the model judges itself.

Run as a program it prints how often it is right on rendered scenes, how often it rejects scenes in which
one thing is not as the caption says, and, given a model directory, how often it accepts true scenes as that
model's VQ decoder draws them.
"""

import argparse
import functools
import random
from dataclasses import dataclass, replace

import numpy as np

import claims
import scenes

THINGS = [*scenes.THINGS, scenes.UNKNOWN]
_PALETTE = np.array(list(scenes.COLOURS.values()), np.float32)
# A sprite is found where the picture differs from it by less than this share of what it differs from the
# background by. The decoder's softness is a twentieth of that as a rule, a third for thin or pale things,
# more for the smallest size.
TOLERANCE = {24: 0.45, 40: 0.32, 56: 0.32, 72: 0.32}
# Squared error of a pixel's colour value that is never held against a sprite: pale things on pale backgrounds.
SOFTNESS = 60.0
VISIBLE = 40  # a pixel this far from the background, in some colour, belongs to something
LEFT_OVER = 40  # so many such pixels outside all sprites: there is something else in the picture


@dataclass(frozen=True)
class Found:
    background: str
    sprites: tuple  # of (Thing, x, y, size), from left to right
    clean: bool  # nothing else is in the picture

    def shows(self, claim):
        return self.clean and claim.holds(self.background, self.sprites)


@functools.cache
def _sprites(background, size):
    """All things of one size on a background, less the background: [things, size * size * 3], and their
    squared sums."""
    base = np.array(scenes.COLOURS[background], np.float32)
    pixels = np.stack([scenes.sprite(t, size) for t in THINGS])
    difference = ((pixels[..., :3] - base) * pixels[..., 3:]).reshape(len(THINGS), -1)
    return difference, (difference**2).sum(1)


def _placements(difference, background):
    """The best sprite for every size and place: (error, Thing, x, y, size), of those within tolerance."""
    for size in scenes.SIZES:
        windows = np.lib.stride_tricks.sliding_window_view(difference, (size, size), (0, 1))
        windows = windows[:: scenes.PATCH, :: scenes.PATCH]
        rows, columns = windows.shape[:2]
        windows = windows.transpose(0, 1, 3, 4, 2).reshape(rows * columns, -1)
        sprites, mass = _sprites(background, size)
        error = (windows**2).sum(1)[:, None] + mass - 2 * windows @ sprites.T
        unseen = np.array([t.colour == background for t in THINGS])
        error = np.maximum(error, 0) / (mass + SOFTNESS * size * size * 3) + unseen
        for at, best in enumerate(error.argmin(1)):
            if error[at, best] < TOLERANCE[size]:
                yield error[at, best], THINGS[
                    best
                ], at % columns * scenes.PATCH, at // columns * scenes.PATCH, size


def _explain(picture, background):
    """The sprites found on this background, and how many pixels they leave unexplained."""
    difference = picture - np.array(scenes.COLOURS[background], np.float32)
    sprites = []
    while (np.abs(difference).max(-1) > VISIBLE).sum() > LEFT_OVER and len(sprites) < 16:
        found = min(_placements(difference, background), key=lambda p: p[0], default=None)
        if found is None:
            break
        _, thing, x, y, size = found
        sprites.append((thing, x, y, size))
        difference[y : y + size, x : x + size] = 0
    return sprites, int((np.abs(difference).max(-1) > VISIBLE).sum())


def detect(picture):
    """What is in a picture, uint8 [96, 96, 3]."""
    picture = picture.astype(np.float32)
    nearest = ((picture[:, :, None] - _PALETTE) ** 2).sum(-1).argmin(-1)
    shares = np.bincount(nearest.reshape(-1), minlength=len(_PALETTE)) / nearest.size
    # Four squares cover more than is left of their background, so the commonest colour alone does not tell.
    candidates = [list(scenes.COLOURS)[i] for i in np.argsort(-shares)[:3] if shares[i] > 0.15]
    explained = [(*_explain(picture, background), background) for background in candidates]
    sprites, left_over, background = min(explained, key=lambda e: e[1])
    return Found(background, tuple(sorted(sprites, key=lambda s: s[1:])), left_over <= LEFT_OVER)


def _apart(x, y, size, x2, y2, size2):
    return x + size <= x2 or x2 + size2 <= x or y + size <= y2 or y2 + size2 <= y


def change(scene, attribute, r):
    """The scene with one attribute changed, or None where it has no such attribute."""
    sprites = list(scene.sprites)
    at, names = r.randrange(len(sprites)), list(scenes.COLOURS)
    thing, x, y, size = sprites[at]
    taken = {t.name for t, *_ in sprites}
    fits = [t for t in THINGS if t.colour != scene.background and t.name not in taken]
    if attribute == 'background':
        free = [c for c in names if c != scene.background and all(c != t.colour for t, *_ in sprites)]
        return replace(scene, background=r.choice(free))
    if attribute == 'thing':
        sprites[at] = (r.choice([t for t in fits if t.colour == thing.colour]), x, y, size)
    elif attribute == 'colour':
        if not thing.colour:
            return None
        shape = thing.name.split()[1]
        sprites[at] = (r.choice([t for t in fits if t.colour and t.name.split()[1] == shape]), x, y, size)
    elif attribute == 'count':
        free = [
            (x, y)
            for x in (0, 8, 48, 56)
            for y in (0, 8, 48, 56)
            if all(_apart(x, y, 40, *s[1:]) for s in sprites)
        ]
        if len(sprites) > 1 and (r.random() < 0.5 or not free):
            sprites.pop(at)
        elif free:
            sprites.append((thing, *r.choice(free), 40))
        else:
            return None
    elif attribute == 'position':
        claim = _claim(scene)
        if claim.relation:
            (a, *first), (b, *second) = sprites
            sprites = [(b, *first), (a, *second)]
        elif claim.place:
            sprites = [
                (thing, 56 - x, y, size) if claim.place in ('left', 'right') else (thing, x, 56 - y, size)
            ]
        else:
            return None
    return replace(scene, sprites=tuple(sprites))


def _claim(scene):
    """What the caption claims; where it names something unknown, what is shown instead."""
    return claims.parse(scene.caption) or claims.of(scene)


CHANGES = 'thing', 'colour', 'count', 'position', 'background'


def validate(count, seed, draw=scenes.render, changes=CHANGES):
    """Shares of `count` scenes found exactly as they are, accepted as their caption, and, by attribute, of
    changed ones rejected."""
    r, mix = random.Random(seed), scenes.Mix(unknown=0.05)
    exact = accepted = 0
    for _ in range(count):
        scene = scenes.scene(r, mix)
        found = detect(draw(scene))
        accepted += found.shows(_claim(scene))
        exact += found == Found(scene.background, tuple(sorted(scene.sprites, key=lambda s: s[1:])), True)
    rejected = {attribute: [] for attribute in changes}
    while any(len(results) < count // len(changes) for results in rejected.values()):
        scene = scenes.scene(r, mix)
        for attribute, results in rejected.items():
            if len(results) < count // len(changes) and (changed := change(scene, attribute, r)):
                results.append(not detect(draw(changed)).shows(_claim(scene)))
    shares = {attribute: sum(results) / len(results) for attribute, results in rejected.items()}
    return exact / count, accepted / count, shares


def _report(title, exact, accepted, rejected):
    every = ', '.join(f'{attribute} {share:.1%}' for attribute, share in rejected.items())
    print(
        f'{title}: found exactly {exact:.1%}, accepted {accepted:.1%}; one attribute changed, rejected: '
        f'{sum(rejected.values()) / len(rejected):.1%} ({every})',
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--count', type=int, default=500, help='scenes for each figure')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--model', help='model directory whose VQ decoder draws the scenes as well')
    options = parser.parse_args()
    _report('rendered', *validate(options.count, options.seed))
    if options.model:
        # These need PyTorch.
        import codebook
        import painted
        from transformers import JanusForConditionalGeneration

        janus = JanusForConditionalGeneration.from_pretrained(options.model).float().eval()
        _report(
            'painted by the VQ decoder',
            *validate(
                options.count,
                options.seed,
                lambda scene: painted.paint(janus, codebook.tokens(scene)[None])[0],
            ),
        )


if __name__ == '__main__':
    main()
