"""The world janus-mini draws: one to four things from Noto Color Emoji, or coloured shapes, on a flat background.

Everything snaps to the 8 px grid of the image tokens and comes in four sizes. A sprite therefore always cuts into the same
8x8 patches wherever it stands, which is what lets codebook.py turn a scene into image tokens by looking them up."""
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
SIZES = (24, 40, 56, 72)
COLOURS = {
    'red': (214, 48, 49), 'blue': (40, 90, 220), 'green': (46, 160, 67), 'yellow': (245, 205, 60), 'orange': (245, 140, 35), 'purple': (130, 70, 190),
    'pink': (250, 150, 190), 'black': (25, 25, 28), 'white': (250, 250, 250), 'gray': (140, 143, 150), 'brown': (125, 80, 45), 'cyan': (70, 205, 225),
}
SHAPES = ('circle', 'square', 'triangle', 'ring', 'cross')
NUMBERS = {2: 'two', 3: 'three', 4: 'four'}
FONT = '/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf'
FONT_SIZE = 109  # the only size the bitmap font has
THING_COUNT = 60  # how many rows of objects.tsv this version of the model knows

with open(pathlib.Path(__file__).parent / 'objects.tsv', encoding='utf-8') as _file:
    ROWS = list(csv.DictReader(_file, delimiter='\t'))[:THING_COUNT]


@dataclass(frozen=True)
class Thing:
    """What can be put on a background: `colour` is None for an emoji, whose name is a row of objects.tsv."""
    name: str
    plural: str
    colour: str | None = None

    @property
    def single(self):
        return ('an ' if self.name[0] in 'aeiou' else 'a ') + self.name


@dataclass(frozen=True)
class Scene:
    background: str
    sprites: tuple  # of (Thing, x, y, size) in pixels; they never overlap
    subject: str  # the caption without its background
    names_background: bool

    @property
    def caption(self):
        return f'{self.subject} on {article(self.background)} background' if self.names_background else self.subject

    @property
    def description(self):
        """The canonical caption of the picture: of several that fit, always the same one, and always with the background."""
        (thing, x, y, size), *others = self.sprites
        subject = self.subject
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
SHAPE_THINGS = [Thing(f'{c} {s}', f'{c} {s}es' if s.endswith('ss') else f'{c} {s}s', c) for c in COLOURS for s in SHAPES]
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
        draw.rectangle((m * .06, m * .06, m * .94, m * .94), fill=fill)
    elif kind == 'triangle':
        draw.polygon([(m / 2, 0), (0, m * .92), (m, m * .92)], fill=fill)
    elif kind == 'ring':
        draw.ellipse((0, 0, m, m), fill=fill)
        draw.ellipse((m * .27, m * .27, m * .73, m * .73), fill=(0, 0, 0, 0))
    else:
        draw.rectangle((m * .34, 0, m * .66, m), fill=fill)
        draw.rectangle((0, m * .34, m, m * .66), fill=fill)
    return square


@functools.cache
def sprite(thing, size):
    """Float RGBA [size, size, 4]: straight colours 0..255 and alpha 0..1."""
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
        area = picture[y:y + size, x:x + size]
        area[...] = area * (1 - alpha) + colour * alpha
    return picture.astype(np.uint8)


def _thing(r, background, shapes, other_than=None):
    while True:
        thing = r.choice(SHAPE_THINGS) if r.random() < shapes else r.choice(EMOJI)
        if thing.colour != background and thing is not other_than:
            return thing


@dataclass(frozen=True)
class Mix:
    """How often what is drawn: `one` thing, `several` of a thing, else two things; one thing `plain`, `small`, `big`, else at a side;
    how many of the things are `shapes`, of which there are as many as emoji."""
    one: float = 0.45
    several: float = 0.25
    plain: float = 0.5
    small: float = 0.125
    big: float = 0.125
    shapes: float = 0.2


MIX = Mix()
HARD = Mix(one=0.35, several=0.2, plain=0.35, small=0.1, big=0.35, shapes=0.45)  # more of what a model trained on MIX gets wrong


def scene(r: random.Random, mix=MIX):
    """A random scene."""
    background = r.choice(list(COLOURS))
    low, high, middle = (lambda: r.choice((0, 8))), (lambda: r.choice((48, 56))), (lambda: r.choice((24, 32)))
    kind, thing = r.random(), _thing(r, background, mix.shapes)
    if kind < mix.one:
        form = r.random()
        if form < mix.plain:
            places, size, subject = [(r.choice((16, 24)), r.choice((16, 24)))], 56, thing.single
        elif form < mix.plain + mix.small:
            places, size, subject = [(r.choice((32, 40)), r.choice((32, 40)))], 24, f'a small {thing.name}'
        elif form < mix.plain + mix.small + mix.big:
            places, size, subject = [(r.choice((8, 16)), r.choice((8, 16)))], 72, f'a big {thing.name}'
        else:
            side = r.choice(('left', 'right', 'top', 'bottom'))
            x = {'left': low, 'right': high}.get(side, middle)()
            y = {'top': low, 'bottom': high}.get(side, middle)()
            places, size, subject = [(x, y)], 40, f"{thing.single} {'on' if side in ('left', 'right') else 'at'} the {side}"
        sprites = [(thing, x, y, size) for x, y in places]
    elif kind < mix.one + mix.several:
        count = r.choice((2, 2, 3, 4))
        layout = {2: ((low, middle), (high, middle)), 3: ((middle, low), (low, high), (high, high)),
                  4: ((low, low), (high, low), (low, high), (high, high))}[count]
        sprites = [(thing, x(), y(), 40) for x, y in layout]
        subject = f'{NUMBERS[count]} {thing.plural}'
    else:
        second, form = _thing(r, background, mix.shapes, thing), r.randrange(5)
        first_place, second_place = ((low, middle), (high, middle)) if form in (0, 1, 4) else ((middle, low), (middle, high))
        subject = (f'{thing.single} to the left of {second.single}', f'{second.single} to the right of {thing.single}',
                   f'{thing.single} above {second.single}', f'{second.single} below {thing.single}', f'{thing.single} and {second.single}')[form]
        sprites = [(t, x(), y(), 40) for t, (x, y) in ((thing, first_place), (second, second_place))]
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
