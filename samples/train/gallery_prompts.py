"""Prints the gallery's sixteen prompts, one a line: captions the training never saw, of every kind the
world knows.
"""

import random

import claims
import scenes


def _plain(scene):
    return scene.subject == scene.sprites[0][0].single


KINDS = (  # how many, and what the scene is
    (5, lambda s: _plain(s) and not s.sprites[0][0].colour),
    (2, lambda s: _plain(s) and s.sprites[0][0].colour),
    (1, lambda s: s.subject.startswith('a big ')),
    (2, lambda s: len(s.sprites) == 1 and claims.place(s.sprites[0])),
    (3, lambda s: len(s.sprites) > 1 and s.sprites[0][0] is s.sprites[1][0]),
    (3, lambda s: len(s.sprites) == 2 and s.sprites[0][0] is not s.sprites[1][0]),
)


def prompts():
    r, chosen, things = random.Random(2026), [], set()
    for count, fits in KINDS:
        wanted = len(chosen) + count
        while len(chosen) < wanted:
            scene = scenes.scene(r)
            names = {thing.name for thing, *_ in scene.sprites}
            # An orange on orange could not be seen.
            if scene.held_out and fits(scene) and not names & things and scene.background not in names:
                chosen.append(scene.caption)
                things |= names
    return chosen


if __name__ == '__main__':
    print('\n'.join(prompts()))
