"""What a caption claims about a picture, so that captions, pictures and answers can be compared by meaning
instead of by wording.
"""

import re
from dataclasses import dataclass, replace

import scenes

_ALL = [*scenes.THINGS, scenes.UNKNOWN]
_SINGLE = {thing.single: thing for thing in _ALL}
_NAME = {thing.name: thing for thing in _ALL}
_PLURAL = {thing.plural: thing for thing in _ALL}
_COUNT = {word: count for count, word in scenes.NUMBERS.items()}
_RELATIONS = {
    'to the left of': ('beside', False),
    'to the right of': ('beside', True),
    'above': ('stacked', False),
    'below': ('stacked', True),
    'and': (None, False),
}  # the second value: the things change places
_PLACE = re.compile('(.+) (?:on the (left|right)|at the (top|bottom))')
_BACKGROUND = re.compile(f'(.+) on an? ({"|".join(scenes.COLOURS)}) background')
SIDES_APART = 24  # pixels between the centres of two things beside or above each other, at least
NEAR, FAR = scenes.SIDE * 3 // 8, scenes.SIDE * 5 // 8  # a centre before or after these is at a side


@dataclass(frozen=True)
class Claim:
    things: tuple  # of (Thing, count); the left or upper one of two first
    background: str = 'white'
    relation: str | None = None  # of two things: beside, stacked or None
    place: str | None = None  # of one thing: left, right, top, bottom or None
    size: str | None = None  # of one thing: small, big or None

    def holds(self, background, sprites):
        """Whether a picture of these sprites, (Thing, x, y, size) as in scenes.Scene, is what the claim
        says and shows nothing else."""
        shown = [thing for thing, *_ in sprites]
        if (
            background != self.background
            or len(shown) != sum(n for _, n in self.things)
            or any(shown.count(t) != n for t, n in self.things)
        ):
            return False
        if self.relation:
            (x, y), (x2, y2) = (centre(next(s for s in sprites if s[0] == thing)) for thing, _ in self.things)
            along, across = (x2 - x, y2 - y) if self.relation == 'beside' else (y2 - y, x2 - x)
            return along >= SIDES_APART and along > abs(across)
        thing, *_, size = sprites[0]
        if self.place and self.place != place(sprites[0]):
            return False
        return {'small': size <= scenes.SMALL, 'big': size >= scenes.BIG, None: True}[self.size]


def centre(sprite):
    _, x, y, size = sprite
    return x + size / 2, y + size / 2


def place(sprite):
    """left, right, top or bottom of the picture, or None: in the middle or in a corner."""
    x, y = centre(sprite)
    sides = [
        side
        for side, true in dict(left=x < NEAR, right=x > FAR, top=y < NEAR, bottom=y > FAR).items()
        if true
    ]
    return sides[0] if len(sides) == 1 else None


def parse(caption):
    """The claim of one of scenes.py's canonical sentences; None for anything else."""
    background = 'white'
    if match := _BACKGROUND.fullmatch(caption):
        caption, background = match.groups()
    for words, (relation, swap) in _RELATIONS.items():
        first, found, second = caption.partition(f' {words} ')
        if found and first in _SINGLE and second in _SINGLE and first != second:
            things = [(_SINGLE[first], 1), (_SINGLE[second], 1)]
            if relation is None:  # "a dog and a cat" says as much as "a cat and a dog"
                things.sort(key=lambda t: t[0].name)
            return Claim(tuple(things[::-1] if swap else things), background, relation)
    if caption in _SINGLE:
        return Claim(((_SINGLE[caption], 1),), background)
    if (match := _PLACE.fullmatch(caption)) and match[1] in _SINGLE:
        return Claim(((_SINGLE[match[1]], 1),), background, place=match[2] or match[3])
    for size in ('small', 'big'):
        if caption.startswith(f'a {size} ') and (name := caption[len(f'a {size} ') :]) in _NAME:
            return Claim(((_NAME[name], 1),), background, size=size)
    number, _, name = caption.partition(' ')
    if number in _COUNT and name in _PLURAL:
        return Claim(((_PLURAL[name], _COUNT[number]),), background)
    return None


def of(scene):
    return parse(scene.description)


def subject(claim, r):
    """The claim in canonical words, without its background; of two equal ways to say it either."""
    (thing, count), *others = claim.things
    if others:
        first, second = thing.single, others[0][0].single
        forward, backward = {
            'beside': ('to the left of', 'to the right of'),
            'stacked': ('above', 'below'),
            None: ('and', 'and'),
        }[claim.relation]
        return f'{first} {forward} {second}' if r.random() < 0.5 else f'{second} {backward} {first}'
    if count > 1:
        return f'{scenes.NUMBERS[count]} {thing.plural}'
    if claim.size:
        return f'a {claim.size} {thing.name}'
    return thing.single + (
        f" {'on' if claim.place in ('left', 'right') else 'at'} the {claim.place}" if claim.place else ''
    )


def weaken(claim, r):
    """A claim that says less and holds as well."""
    return (
        replace(claim, relation=None)
        if claim.relation and r.random() < 0.5
        else replace(claim, size=None, place=None)
    )


def other(thing, taken, background, r):
    """A thing to confuse this one with: mostly another emoji."""
    while True:
        chosen = r.choice(scenes.EMOJI if r.random() < 0.8 else scenes.SHAPE_THINGS)
        if chosen not in taken and chosen != thing and chosen.colour != background:
            return chosen


# How to say something wrong about a picture: functions of (claim, r), or None where the claim has nothing
# of the kind.
def _thing(claim, r):
    """Another thing; for a coloured shape its form or its colour is another kind of wrong."""
    at = [i for i, (thing, _) in enumerate(claim.things) if not thing.colour]
    return at and _exchanged(
        claim, r.choice(at), lambda thing, taken: other(thing, taken, claim.background, r)
    )


def _colour(claim, r):
    return _recoloured(claim, r, lambda form, shape: shape.name.split()[1] == form.name.split()[1])


def _shape(claim, r):
    return _recoloured(claim, r, lambda form, shape: shape.colour == form.colour)


def _recoloured(claim, r, alike):
    at = [i for i, (thing, _) in enumerate(claim.things) if thing.colour]

    def choose(thing, taken):
        shapes = [t for t in scenes.SHAPE_THINGS if alike(thing, t) and t not in taken]
        return r.choice([t for t in shapes if t.colour != claim.background])

    return at and _exchanged(claim, r.choice(at), choose)


def _exchanged(claim, at, choose):
    changed = list(claim.things)
    thing, count = changed[at]
    changed[at] = (choose(thing, [t for t, _ in claim.things]), count)
    return replace(claim, things=tuple(changed))


def _order(claim, r):
    """The two change places, or stand above each other instead of side by side; shapes may exchange their
    colours."""
    if len(claim.things) < 2:
        return None
    ways = []
    if claim.relation:
        turned = 'stacked' if claim.relation == 'beside' else 'beside'
        ways = [replace(claim, things=claim.things[::-1])] * 2
        ways += [replace(claim, things=r.choice((claim.things, claim.things[::-1])), relation=turned)]
    (first, _), (second, _) = claim.things
    if first.colour and second.colour and not set(first.name.split()) & set(second.name.split()):
        names = [f'{a.colour} {b.name.split()[1]}' for a, b in ((second, first), (first, second))]
        ways += [replace(claim, things=tuple((_NAME[name], 1) for name in names))] * 2
    return ways and r.choice(ways)


def _number(claim, r):
    (thing, count), *others = claim.things
    if others:
        return Claim((r.choice(claim.things),), claim.background)
    if count == 1 and r.random() < 0.4:
        added = other(thing, [thing], claim.background, r)
        return Claim((*claim.things, (added, 1)), claim.background, r.choice(('beside', 'stacked', None)))
    return Claim(((thing, r.choice([n for n in (1, 2, 3, 4) if n != count])),), claim.background)


def _background(claim, r):
    taken = {claim.background, *(thing.colour for thing, _ in claim.things)}
    return replace(claim, background=r.choice([name for name in scenes.COLOURS if name not in taken]))


def _place(claim, r):
    if sum(count for _, count in claim.things) > 1:
        return None
    return replace(
        claim, place=r.choice([p for p in ('left', 'right', 'top', 'bottom') if p != claim.place]), size=None
    )


def _size(claim, r):
    if sum(count for _, count in claim.things) > 1:
        return None
    return replace(claim, size=r.choice([s for s in ('small', 'big') if s != claim.size]), place=None)


ALTERATIONS = dict(
    thing=_thing,
    colour=_colour,
    shape=_shape,
    order=_order,
    number=_number,
    background=_background,
    place=_place,
    size=_size,
)
# How often each is said where it can be: most for what is hardest to see.
FREQUENCIES = dict(thing=4, colour=2, shape=3, order=3, number=1, background=1, place=1, size=1)


def altered(claim, r, kind=None):
    """Another claim, wrong in one attribute wherever this one, being complete, is right; of one kind if
    that is given, or None if the claim has nothing of it."""
    if kind:
        return ALTERATIONS[kind](claim, r) or None
    while True:
        (kind,) = r.choices(list(FREQUENCIES), FREQUENCIES.values())
        if changed := ALTERATIONS[kind](claim, r):
            return changed
