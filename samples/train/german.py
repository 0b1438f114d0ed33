"""Says in German what a canonical caption says, with the articles and cases that go with it."""

import claims
import scenes

_NOUNS = {}  # English name -> rows of german.tsv; the first is the commonest word
for _row in scenes.table('german.tsv'):
    _NOUNS.setdefault(_row['name'], []).append(_row)
# Stems that take endings, and words that never change.
_COLOURS = {
    'red': ('rot',),
    'blue': ('blau',),
    'green': ('grün',),
    'yellow': ('gelb',),
    'orange': ('orangefarben', 'orange='),
    'purple': ('lila=', 'violett'),
    'pink': ('rosa=', 'rosafarben', 'pink='),
    'black': ('schwarz',),
    'white': ('weiß',),
    'gray': ('grau',),
    'brown': ('braun',),
    'cyan': ('türkis=', 'türkisfarben', 'cyan='),
}
_ARTICLES = {  # of masculine, feminine and neuter nouns
    'nominative': ('ein', 'eine', 'ein'),
    'accusative': ('einen', 'eine', 'ein'),
    'dative': ('einem', 'einer', 'einem'),
}
_ENDINGS = {  # of an adjective after that article
    'nominative': ('er', 'e', 'es'),
    'accusative': ('en', 'e', 'es'),
    'dative': ('en', 'en', 'en'),
}
_NUMBERS = {2: 'zwei', 3: 'drei', 4: 'vier'}
_PLACES = {
    'left': ('links', 'auf der linken Seite'),
    'right': ('rechts', 'auf der rechten Seite'),
    'top': ('oben', 'am oberen Rand'),
    'bottom': ('unten', 'am unteren Rand'),
}
_RELATIONS = {'beside': ('links von', 'rechts von'), 'stacked': ('über', 'unter')}
_SIZES = {'small': ('klein', 'winzig'), 'big': ('groß', 'riesig')}
_OPENINGS = (  # with the case that they ask for
    ('ein Bild von ', 'dative'),
    ('ein Foto von ', 'dative'),
    ('zeichne ', 'accusative'),
    ('male ', 'accusative'),
    ('bitte zeichne ', 'accusative'),
    ('zeig mir ', 'accusative'),
)


def _kind(thing):
    return thing.name.split()[1] if thing.colour else thing.name


def speaks(scene):
    """Whether there is German for everything in the caption."""
    return all(_kind(thing) in _NOUNS for thing, *_ in scene.sprites)


def _pick(words, r):
    """Mostly the first."""
    return words[0] if len(words) == 1 or r.random() < 0.6 else r.choice(words[1:])


def _colour(colour, ending, r):
    word = _pick(_COLOURS[colour], r)
    return word[:-1] if word.endswith('=') else word + ending


def _single(thing, case, r, size=None):
    """ "ein kleiner Hund", "einem roten Kreis"."""
    row = _pick(_NOUNS[_kind(thing)], r)
    gender = 'mfn'.index(row['gender'])
    ending = _ENDINGS[case][gender]
    words = [_ARTICLES[case][gender]]
    words += [_pick(_SIZES[size], r) + ending] if size else []
    words += [_colour(thing.colour, ending, r)] if thing.colour else []
    return ' '.join([*words, row['oblique'] if row['oblique'] and case != 'nominative' else row['german']])


def _several(thing, count, case, r):
    """ "drei rote Kreise"; after "von" "drei roten Kreisen"."""
    dative = case == 'dative'
    colour = f"{_colour(thing.colour, 'en' if dative else 'e', r)} " if thing.colour else ''
    noun, *rest = _pick(_NOUNS[_kind(thing)], r)['plural'].split()
    if dative and not noun.endswith(('n', 's')):
        noun += 'n'
    return ' '.join([_NUMBERS[count] if r.random() < 0.8 else str(count), colour + noun, *rest])


def _subject(claim, case, r):
    (thing, count), *others = claim.things
    if others:
        other = others[0][0]
        if not claim.relation:
            first, second = (thing, other) if r.random() < 0.5 else (other, thing)
            return f'{_single(first, case, r)} und {_single(second, case, r)}'
        forward, backward = _RELATIONS[claim.relation]
        first, words, second = (thing, forward, other) if r.random() < 0.5 else (other, backward, thing)
        return f'{_single(first, case, r)} {words} {_single(second, "dative", r)}'
    if count > 1:
        return _several(thing, count, case, r)
    place = f' {_pick(_PLACES[claim.place], r)}' if claim.place else ''
    return _single(thing, case, r, claim.size) + place


def say(scene, r):
    """A German caption: half of the time plainly "ein Hund links von einem roten Kreis auf blauem
    Hintergrund"."""
    claim, plain = claims.parse(scene.caption), r.random() < 0.5
    opening, case = ('', 'nominative') if plain or r.random() < 0.5 else r.choice(_OPENINGS)
    text = _subject(claim, case, r)
    if scene.names_background:
        form = 0.0 if plain else r.random()
        strong = _colour(scene.background, 'em', r)
        if form < 0.6:
            text = f'{opening}{text} auf {strong} Hintergrund'
        elif form < 0.8:
            weak = _colour(scene.background, 'en', r)
            text = f'{opening}{text} {r.choice(("auf", "vor"))} einem {weak} Hintergrund'
        elif form < 0.9:
            text = f'{opening}{text} vor {strong} Hintergrund'
        else:
            text = f'auf {strong} Hintergrund {_subject(claim, "nominative", r)}'
    else:
        text = opening + text
    return text if plain or r.random() < 0.5 else text[0].upper() + text[1:]
