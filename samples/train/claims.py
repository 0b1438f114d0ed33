"""What a caption claims about a picture, so that captions, pictures and answers can be compared by meaning instead of by wording."""
import re
from dataclasses import dataclass, replace

import scenes

_SINGLE = {thing.single: thing for thing in scenes.EMOJI + scenes.SHAPE_THINGS}
_NAME = {thing.name: thing for thing in scenes.EMOJI + scenes.SHAPE_THINGS}
_PLURAL = {thing.plural: thing for thing in scenes.EMOJI + scenes.SHAPE_THINGS}
_COUNT = {word: count for count, word in scenes.NUMBERS.items()}
_RELATIONS = {'to the left of': ('beside', False), 'to the right of': ('beside', True), 'above': ('stacked', False), 'below': ('stacked', True),
              'and': (None, False)}  # the second value: the things change places
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
        """Whether a picture of these sprites, (Thing, x, y, size) as in scenes.Scene, is what the claim says and shows nothing else."""
        shown = [thing for thing, *_ in sprites]
        if background != self.background or len(shown) != sum(n for _, n in self.things) or any(shown.count(t) != n for t, n in self.things):
            return False
        if self.relation:
            (x, y), (x2, y2) = (centre(next(s for s in sprites if s[0] == thing)) for thing, _ in self.things)
            along, across = (x2 - x, y2 - y) if self.relation == 'beside' else (y2 - y, x2 - x)
            return along >= SIDES_APART and along > abs(across)
        thing, *_, size = sprites[0]
        if self.place and self.place != place(sprites[0]):
            return False
        return {'small': size == scenes.SIZES[0], 'big': size == scenes.SIZES[-1], None: True}[self.size]


def centre(sprite):
    _, x, y, size = sprite
    return x + size / 2, y + size / 2


def place(sprite):
    """left, right, top or bottom of the picture, or None: in the middle or in a corner."""
    x, y = centre(sprite)
    sides = [side for side, true in dict(left=x < NEAR, right=x > FAR, top=y < NEAR, bottom=y > FAR).items() if true]
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
        if caption.startswith(f'a {size} ') and (name := caption[len(f'a {size} '):]) in _NAME:
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
        forward, backward = {'beside': ('to the left of', 'to the right of'), 'stacked': ('above', 'below'), None: ('and', 'and')}[claim.relation]
        return f'{first} {forward} {second}' if r.random() < 0.5 else f'{second} {backward} {first}'
    if count > 1:
        return f'{scenes.NUMBERS[count]} {thing.plural}'
    if claim.size:
        return f'a {claim.size} {thing.name}'
    return thing.single + (f" {'on' if claim.place in ('left', 'right') else 'at'} the {claim.place}" if claim.place else '')


def weaken(claim, r):
    """A claim that says less and holds as well."""
    return replace(claim, relation=None) if claim.relation and r.random() < 0.5 else replace(claim, size=None, place=None)


def other(thing, taken, background, r):
    """A thing to confuse this one with. For a shape mostly one of which only the form or only the colour differs."""
    form = thing.colour and thing.name.split()[1]
    while True:
        kind = r.random()
        if form and kind < 0.5:
            pool = [t for t in scenes.SHAPE_THINGS if t.colour == thing.colour]
        elif form and kind < 0.8:
            pool = [t for t in scenes.SHAPE_THINGS if t.name.split()[1] == form]
        else:
            pool = scenes.EMOJI if r.random() < 0.8 else scenes.SHAPE_THINGS
        chosen = r.choice(pool)
        if chosen not in taken and chosen != thing and chosen.colour != background:
            return chosen


def _alterations(claim):
    """What can be said wrongly: functions of (claim, r)."""
    things = [thing for thing, _ in claim.things]

    def thing(c, r):
        at = r.randrange(len(things))
        changed = list(c.things)
        changed[at] = (other(things[at], things, c.background, r), changed[at][1])
        return replace(c, things=tuple(changed))

    def background(c, r):
        return replace(c, background=r.choice([name for name in scenes.COLOURS if name != c.background and all(t.colour != name for t in things)]))

    def count(c, r):
        number = r.choice([n for n in (1, 2, 3, 4) if n != c.things[0][1]])
        return Claim(((things[0], number),), c.background)

    def another(c, r):
        return Claim((*c.things, (other(things[0], things, c.background, r), 1)), c.background, r.choice(('beside', 'stacked', None)))

    def fewer(c, r):
        return Claim((r.choice(c.things),), c.background)

    def order(c, r):
        return replace(c, things=c.things[::-1])

    def relation(c, r):
        return replace(c, things=r.choice((c.things, c.things[::-1])), relation='stacked' if c.relation == 'beside' else 'beside')

    def colours(c, r):
        (first, _), (second, _) = c.things
        names = [f'{a.colour} {b.name.split()[1]}' for a, b in ((second, first), (first, second))]
        return replace(c, things=tuple((_NAME[name], 1) for name in names))

    def place(c, r):
        return replace(c, place=r.choice([p for p in ('left', 'right', 'top', 'bottom') if p != c.place]), size=None)

    def size(c, r):
        return replace(c, size=r.choice([s for s in ('small', 'big') if s != c.size]), place=None)

    if len(things) == 2:
        bound = [colours] * 2 if all(t.colour for t in things) and len({t.name.split()[1] for t in things}) == 2 else []
        return [thing, thing, thing, background, fewer] + ([order, order, relation] if claim.relation else []) + bound
    return [thing, thing, thing, background, count] + ([thing, another, place, size] if claim.things[0][1] == 1 else [])


def altered(claim, r):
    """Another claim, wrong in one attribute wherever this one, being complete, is right."""
    return r.choice(_alterations(claim))(claim, r)
