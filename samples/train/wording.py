"""Other ways of saying a caption, so that the model does not only understand scenes.py's canonical
sentences.
"""

import re

import scenes

OPENINGS = (
    'a picture of ',
    'an image of ',
    'a drawing of ',
    'a photo of ',
    'draw ',
    'show me ',
    'please draw ',
    'paint ',
    'an illustration of ',
    'i want ',
    'a photograph of ',
    'create an image of ',
    'make a picture of ',
    'generate ',
)
REPLACEMENTS = (
    (' above ', (' over ', ' on top of ')),
    (' below ', (' under ', ' underneath ', ' beneath ')),
    (' to the left of ', (' left of ', ' on the left of ', ' on the left side of ')),
    (' to the right of ', (' right of ', ' on the right of ', ' on the right side of ')),
    ('a small ', ('a tiny ', 'a little ')),
    ('a big ', ('a large ', 'a huge ')),
    ('gray', ('grey',)),
    ('two ', ('2 ',)),
    ('three ', ('3 ',)),
    ('four ', ('4 ',)),
    (' and ', (' next to ', ' beside ', ' & ')),
    (' on the left', (' at the left', ' on the left side', ' to the left')),
    (' on the right', (' at the right', ' on the right side', ' to the right')),
    (' at the top', (' on top', ' at the upper edge', ' on the top')),
    (' at the bottom', (' on the bottom', ' at the lower edge')),
)
SYNONYM = 0.35  # chance of another word for a thing that has one
UPPER = 0.06  # chance that all is in capitals
_FOLLOWING = {  # "a dog above a cat" -> "a cat with a dog above it"
    'to the left of': ('to its left', 'on its left', 'to the left of it'),
    'to the right of': ('to its right', 'on its right', 'to the right of it'),
    'above': ('above it', 'over it'),
    'below': ('below it', 'under it'),
}
_PAIR = re.compile(f"(.+) ({'|'.join(_FOLLOWING)}) (.+)")
_PLACED = re.compile('(.+) ((?:on|at) the (?:left|right|top|bottom))')
_SYNONYMS = {}  # name or plural -> other words for it
for _row in scenes.table('synonyms.tsv'):
    _thing = next(t for t in scenes.EMOJI if t.name == _row['name'])
    _SYNONYMS.setdefault(_thing.name, []).append(_row['singular'])
    _SYNONYMS.setdefault(_thing.plural, []).append(_row['plural'])
_SAID = re.compile(r'\b(?:' + '|'.join(sorted(map(re.escape, _SYNONYMS), key=len, reverse=True)) + r')\b')


def words_for(thing):
    """Everything it is called, in the singular and the plural."""
    names = thing.name, thing.plural
    return [*names, *(other for name in names for other in _SYNONYMS.get(name, ()))]


def _renamed(text, r):
    """With other words for things, and the articles that these ask for."""
    text = _SAID.sub(lambda m: r.choice(_SYNONYMS[m[0]]) if r.random() < SYNONYM else m[0], text)
    return re.sub(r'\b(an?) (?=(\w+))', lambda m: _article(m[2]), text)


def _article(word):
    return 'a ' if word[0].lower() not in 'aeiou' or word == 'unicorn' else 'an '


def _turned(text, r):
    """With its parts in another order."""
    if match := _PAIR.fullmatch(text):
        return f'{match[3]} with {match[1]} {r.choice(_FOLLOWING[match[2]])}'
    if match := _PLACED.fullmatch(text):
        return f'{match[2]}{r.choice((",", ""))} {match[1]}'
    return text


def _with_background(text, background, r):
    if background == 'gray' and r.random() < 0.5:
        background = 'grey'
    named, form = (
        f'{scenes.article(background)} {"backdrop" if r.random() < 0.1 else "background"}',
        r.random(),
    )
    if form < 0.4:
        return f'{text} {r.choice(("on", "with", "in front of", "against"))} {named}'
    if form < 0.6:
        return f'{text} on {background}'
    if form < 0.75:
        return f'{text}, {background} background'
    return r.choice(
        (
            f'on {named}, {text}',
            f'on {named}, {text}',
            f'on {named} {text}',
            f'on {background}, {text}',
            f'{background} background, {text}',
            f'on {named} there is {text}',
        )
    )


def reword(scene, r):
    """A caption of the scene in other words; about half of the possible changes happen."""
    text = scene.subject
    if r.random() < 0.2:
        text = _turned(text, r)
    text = _renamed(text, r)
    for old, new in REPLACEMENTS:
        if old in text and r.random() < 0.5:
            text = text.replace(old, r.choice(new))
    if r.random() < 0.3:
        text = re.sub(r'\ban? ', '', text) if r.random() < 0.5 else re.sub(r'^an? ', '', text)
    if r.random() < 0.4:
        text = r.choice(OPENINGS) + text
    if scene.names_background:
        text = _with_background(text, scene.background, r)
    form = r.random()
    if form < UPPER:
        return text.upper()
    if form < 0.4:
        text = text[0].upper() + text[1:]
    if r.random() < 0.3:
        text += r.choice('...!')
    return text
