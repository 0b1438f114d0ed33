"""The world janus-mini draws: one to four things from Noto Color Emoji, or coloured shapes, on a flat
background.

Everything snaps to the 8 px grid of the image tokens and comes in few sizes. A sprite therefore always
cuts into the same 8x8 patches wherever it stands, which is what lets codebook.py turn a scene into image
tokens by looking them up.

What it was never taught it draws as one plain tile with a question mark, whatever else is asked for.
"""

import csv
import functools
import hashlib
import pathlib
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE, PATCH = 96, 8
GRID = SIDE // PATCH
SIZES = (24, 40, 56, 72)  # all that have codes
# What is asked for. Nothing has the largest size any more: its 16,000 tokens were half of all there was to learn,
# and after 33,000 pictures every eighth was still wrong.
SMALL, MIDDLE, BIG = SIZES[:3]
COLOURS = {
    'red': (214, 48, 49),
    'blue': (40, 90, 220),
    'green': (46, 160, 67),
    'yellow': (245, 205, 60),
    'orange': (245, 140, 35),
    'purple': (130, 70, 190),
    'pink': (250, 150, 190),
    'black': (25, 25, 28),
    'white': (250, 250, 250),
    'gray': (140, 143, 150),
    'brown': (125, 80, 45),
    'cyan': (70, 205, 225),
}
SHAPES = ('circle', 'square', 'triangle', 'ring', 'cross')
NUMBERS = {2: 'two', 3: 'three', 4: 'four'}
FONT = '/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf'
FONT_SIZE = 109  # the only size the bitmap font has
HERE = pathlib.Path(__file__).parent


def table(name):
    """The rows of a .tsv file beside this one, as dictionaries."""
    with open(HERE / name, encoding='utf-8') as file:
        return list(csv.DictReader(file, delimiter='\t'))


def nouns(name):
    """The lines of a list of nouns beside this file."""
    return (HERE / name).read_text(encoding='utf-8').split('\n')[:-1]


ROWS = table('objects.tsv')
UNTAUGHT = nouns('unknown.txt')  # what it learns not to know; unknown_test.txt lists fifty it never hears of


@dataclass(frozen=True)
class Thing:
    """What can be put on a background: `colour` is None for all but shapes."""

    name: str
    plural: str
    colour: str | None = None

    @property
    def single(self):
        return article(self.name)


@dataclass(frozen=True)
class Scene:
    background: str
    sprites: tuple  # of (Thing, x, y, size) in pixels; they never overlap
    subject: str  # the caption without its background
    names_background: bool

    @property
    def caption(self):
        return (
            f'{self.subject} on {article(self.background)} background'
            if self.names_background
            else self.subject
        )

    @property
    def description(self):
        """The canonical caption of the picture: of several that fit, always the same one, and always with
        the background."""
        (thing, x, y, size), *others = self.sprites
        subject = thing.single if thing == UNKNOWN else self.subject
        if len(self.sprites) == 2 and others[0][0] != thing:
            _, x2, y2, _ = others[0]
            relation = 'to the left of' if abs(x2 - x) > abs(y2 - y) else 'above'
            first, second = sorted(self.sprites, key=lambda s: s[1] if relation != 'above' else s[2])
            subject = f'{first[0].single} {relation} {second[0].single}'
        return f'{subject} on {article(self.background)} background'

    @property
    def held_out(self):
        """About a tenth of all captions is never trained on; the gallery draws those."""
        return _held_out(self.caption)

    @property
    def unseen(self):
        """Held out in whichever words: what the evaluation asks for."""
        return self.held_out and _held_out(self.description)


def _held_out(caption):
    return hashlib.sha256(caption.encode()).digest()[0] < 26


def article(name):
    return ('an ' if name[0] in 'aeiou' else 'a ') + name


EMOJI = [Thing(row['singular'], row['plural']) for row in ROWS]
SHAPE_THINGS = [
    Thing(f'{c} {s}', f'{c} {s}es' if s.endswith('ss') else f'{c} {s}s', c) for c in COLOURS for s in SHAPES
]
THINGS = EMOJI + SHAPE_THINGS
UNKNOWN = Thing('question mark', 'question marks')  # the tile
MADE_UP = 0.4  # of the nouns it does not know
_WORDS = [name for name in [t.name for t in EMOJI] + UNTAUGHT if ' ' not in name]
# What made-up words must not be: anything that means something to it, or is asked for in the test.
_TAKEN = (
    {name for t in THINGS for name in (t.name, t.plural)}
    | set(nouns('unknown_test.txt'))
    | {row[form] for row in table('synonyms.tsv') for form in ('singular', 'plural')}
)
_GLYPHS = {row['singular']: row['emoji'] for row in ROWS}


@functools.cache
def _glyph(name):
    """The emoji at the font's own size, centred in a square."""
    canvas = Image.new('RGBA', (150, 150), (0, 0, 0, 0))
    font = ImageFont.truetype(FONT, FONT_SIZE)
    ImageDraw.Draw(canvas).text((7, 7), _GLYPHS[name], font=font, embedded_color=True)
    canvas = canvas.crop(canvas.getbbox())
    side = max(canvas.size)
    square = Image.new('RGBA', (side, side), (0, 0, 0, 0))
    square.paste(canvas, ((side - canvas.width) // 2, (side - canvas.height) // 2))
    return square


def _shape(kind, colour, size):
    """A shape at four times its size, so that the reduction gives it smooth edges."""
    square = Image.new('RGBA', (size * 4, size * 4), (0, 0, 0, 0))
    draw, fill, m = ImageDraw.Draw(square), COLOURS[colour] + (255,), 4 * size - 1
    if kind == 'circle':
        draw.ellipse((0, 0, m, m), fill=fill)
    elif kind == 'square':
        draw.rectangle((m * 0.06, m * 0.06, m * 0.94, m * 0.94), fill=fill)
    elif kind == 'triangle':
        draw.polygon([(m / 2, 0), (0, m * 0.92), (m, m * 0.92)], fill=fill)
    elif kind == 'ring':
        draw.ellipse((0, 0, m, m), fill=fill)
        draw.ellipse((m * 0.27, m * 0.27, m * 0.73, m * 0.73), fill=(0, 0, 0, 0))
    else:
        draw.rectangle((m * 0.34, 0, m * 0.66, m), fill=fill)
        draw.rectangle((0, m * 0.34, m, m * 0.66), fill=fill)
    return square


def _tile(size):
    """A question mark on a light tile with a dark edge, so that it shows on every background."""
    square = Image.new('RGBA', (size * 4, size * 4), (0, 0, 0, 0))
    draw, dark, m = ImageDraw.Draw(square), (60, 64, 72, 255), 4 * size - 1
    draw.rounded_rectangle(
        (0, 0, m, m), m * 0.14, fill=(226, 229, 234, 255), outline=dark, width=round(m * 0.05)
    )
    thick = round(m * 0.11)
    draw.arc((m * 0.3, m * 0.17, m * 0.7, m * 0.57), 170, 450, fill=dark, width=thick)
    draw.rectangle((m * 0.445, m * 0.47, m * 0.555, m * 0.66), fill=dark)
    draw.ellipse((m * 0.435, m * 0.72, m * 0.565, m * 0.85), fill=dark)
    return square


@functools.cache
def sprite(thing, size):
    """Float RGBA [size, size, 4]: straight colours 0..255 and alpha 0..1."""
    if thing == UNKNOWN:
        source = _tile(size)
    else:
        source = _shape(thing.name.split()[1], thing.colour, size) if thing.colour else _glyph(thing.name)
    pixels = np.asarray(source.resize((size, size), Image.LANCZOS)).astype(np.float32)
    pixels[..., 3] /= 255
    return pixels


def render(scene):
    """The picture of a scene as uint8 [96, 96, 3]."""
    picture = np.ones((SIDE, SIDE, 3), np.float32) * np.array(COLOURS[scene.background], np.float32)
    for thing, x, y, size in scene.sprites:
        pixels = sprite(thing, size)
        colour, alpha = pixels[..., :3], pixels[..., 3:]
        area = picture[y : y + size, x : x + size]
        area[...] = area * (1 - alpha) + colour * alpha
    return picture.astype(np.uint8)


@dataclass(frozen=True)
class Mix:
    """How often what is drawn: `one` thing, `several` of a thing, else two things; one thing `plain`,
    `small`, `big`, else at a side; how many of the things are `shapes`, and of those beside a shape; how
    many scenes are `unknown`. `weights`, cumulative, of the emoji and of the shapes say how often each
    comes, all the same unless given."""

    one: float = 0.45
    several: float = 0.25
    plain: float = 0.5
    small: float = 0.125
    big: float = 0.125
    shapes: float = 0.2
    shapes_together: float = 0.2
    unknown: float = 0.0
    weights: tuple | None = None


MIX = Mix()


def _thing(r, mix, background, other_than=None):
    shapes = mix.shapes_together if other_than and other_than.colour else mix.shapes
    while True:
        is_shape = r.random() < shapes
        things = SHAPE_THINGS if is_shape else EMOJI
        thing = r.choices(things, cum_weights=mix.weights[is_shape])[0] if mix.weights else r.choice(things)
        if thing.colour != background and thing is not other_than:
            return thing


# Where along the picture's width or height a sprite begins: each place is one of two.
_LOW, _MIDDLE, _HIGH = (0, 8), (24, 32), (48, 56)
_LAYOUTS = {  # of several of a thing: each one's column and row
    2: ((_LOW, _MIDDLE), (_HIGH, _MIDDLE)),
    3: ((_MIDDLE, _LOW), (_LOW, _HIGH), (_HIGH, _HIGH)),
    4: ((_LOW, _LOW), (_HIGH, _LOW), (_LOW, _HIGH), (_HIGH, _HIGH)),
}
_BESIDE, _STACKED = _LAYOUTS[2], ((_MIDDLE, _LOW), (_MIDDLE, _HIGH))


def _one(r, mix, thing):
    """The sprites and the subject of a scene of one thing."""
    form = r.random()
    if form < mix.plain:
        places, size, subject = (_MIDDLE, _MIDDLE), MIDDLE, thing.single
    elif form < mix.plain + mix.small:
        places, size, subject = ((32, 40), (32, 40)), SMALL, f'a small {thing.name}'
    elif form < mix.plain + mix.small + mix.big:
        places, size, subject = ((16, 24), (16, 24)), BIG, f'a big {thing.name}'
    else:
        side = r.choice(('left', 'right', 'top', 'bottom'))
        column, row = dict(left=_LOW, right=_HIGH), dict(top=_LOW, bottom=_HIGH)
        places = column.get(side, _MIDDLE), row.get(side, _MIDDLE)
        size, subject = MIDDLE, f"{thing.single} {'on' if side in ('left', 'right') else 'at'} the {side}"
    return [(thing, *map(r.choice, places), size)], subject


def _several(r, thing):
    count = r.choice((2, 2, 3, 4))
    sprites = [(thing, *map(r.choice, places), MIDDLE) for places in _LAYOUTS[count]]
    return sprites, f'{NUMBERS[count]} {thing.plural}'


def _two(r, first, second):
    form, (a, b) = r.randrange(5), (first.single, second.single)
    subject = (
        f'{a} to the left of {b}',
        f'{b} to the right of {a}',
        f'{a} above {b}',
        f'{b} below {a}',
        f'{a} and {b}',
    )[form]
    layout = _STACKED if form in (2, 3) else _BESIDE
    return [(thing, *map(r.choice, places), MIDDLE) for thing, places in zip((first, second), layout)], subject


def _noun(r):
    """Something that it does not know, often a word that is none: the beginning of one and the end of
    another, since names are to be known as wholes only."""
    if r.random() >= MADE_UP:
        name = r.choice((UNKNOWN.name, *UNTAUGHT))
    else:
        name = next(iter(_TAKEN))
        while name in _TAKEN:
            start, end = (r.choice(_WORDS) for _ in range(2))
            name = start[: r.randint(2, 5)] + end[-r.randint(2, 5) :]
    if name.endswith(('s', 'x', 'sh', 'ch')):
        return Thing(name, name + 'es')
    return Thing(name, name[:-1] + 'ies' if name.endswith('y') and name[-2] not in 'aeiou' else name + 's')


def _unknown(r, mix, background):
    """One plain tile, however the noun came into the sentence."""
    noun, form = _noun(r), r.random()
    if form < 0.6:
        subject = _one(r, mix, noun)[1]
    elif form < 0.8:
        subject = _several(r, noun)[1]
    else:
        pair = [noun, _thing(r, mix, background)]
        subject = _two(r, *(pair if r.random() < 0.5 else pair[::-1]))[1]
    return [(UNKNOWN, r.choice((16, 24)), r.choice((16, 24)), BIG)], subject


def scene(r: random.Random, mix=MIX):
    """A random scene."""
    background, kind = r.choice(list(COLOURS)), r.random()
    if kind < mix.unknown:
        sprites, subject = _unknown(r, mix, background)
    else:
        thing, kind = _thing(r, mix, background), (kind - mix.unknown) / (1 - mix.unknown)
        if kind < mix.one:
            sprites, subject = _one(r, mix, thing)
        elif kind < mix.one + mix.several:
            sprites, subject = _several(r, thing)
        else:
            sprites, subject = _two(r, thing, _thing(r, mix, background, thing))
    names_background = not (background == 'white' and r.random() < 0.6)
    return Scene(background, tuple(sprites), subject, names_background)


def training_scene(r, mix=MIX):
    while (s := scene(r, mix)).held_out or _held_out(s.description):
        pass
    return s


def unseen_scene(r, mix=MIX):
    while not (s := scene(r, mix)).unseen:
        pass
    return s
