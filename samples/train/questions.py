"""Questions about a scene, with the answers the model is to give.

"Does this picture show X?" asks whether a picture is what X describes: all of it and nothing else, on any
background if X names none. "Is there X?" only asks for something among what there is. Both are answered Yes
or No, each a single token after <|Assistant|>: because of its leading space and capital.
"""

import dataclasses

import claims
import scenes
import wording

# What the program asks unless told otherwise, and what --best-of has answered with the prompt.
DESCRIBE = 'Describe this image.'
_DESCRIBE_OTHERWISE = (
    'Describe the image.',
    'Describe this picture.',
    'What is in this picture?',
    'What is in the image?',
    'Caption this image.',
    'What does this picture show?',
    'What do you see?',
    'What is this?',
    'What can be seen in this image?',
)
_PLACES = {
    'left': 'on the left',
    'right': 'on the right',
    'top': 'at the top',
    'bottom': 'at the bottom',
    None: 'in the middle',
}
REWORDED = 0.35  # of what "Does this picture show" asks for: prompts come in people's own words
UNNAMED = 0.12  # without a background, though it is not white
UNTAUGHT = 0.04  # of the wrong ones name what the model does not know


def describe(scene, r):
    return DESCRIBE if r.random() < 0.5 else r.choice(_DESCRIBE_OTHERWISE), scene.description


def show(text):
    return f'Does this picture show {text}?'


def _say(scene, claim, r, reworded):
    """A prompt for the claim. The background goes unsaid where it does not matter to the answer."""
    background = claim.background
    unnamed = background == scene.background and r.random() < (0.6 if background == 'white' else UNNAMED)
    said = dataclasses.replace(
        scene, subject=claims.subject(claim, r), background=background, names_background=not unnamed
    )
    return wording.reword(said, r) if r.random() < reworded else said.caption


def judge(scene, r, answer=None, reworded=REWORDED, kind=None):
    """Does this picture show ...? Half of the answers are No, nearly all of them for one wrong attribute;
    `kind` (of claims.ALTERATIONS) says which, and the result is None if the scene has nothing of it."""
    made = judge_beside(scene, r, answer, reworded, kind)
    return made and made[:2]


def judge_beside(scene, r, answer=None, reworded=REWORDED, kind=None):
    """The same, and the question in the same words as it would be right, or None where they share none."""
    answer, truth = r.random() < 0.5 if answer is None else answer, claims.of(scene)
    claim = claims.weaken(truth, r) if answer and r.random() < 0.3 else truth
    if not answer and not kind and r.random() < UNTAUGHT:
        return show(scenes.scene(r, scenes.Mix(unknown=1)).caption), 'No', None
    while not answer and claim.holds(scene.background, scene.sprites):
        claim = (
            claims.altered(truth, r, kind)
            if kind or r.random() < 0.95
            else claims.of(scenes.training_scene(r))
        )
        if not claim:
            return None
    before = r.getstate()
    question = show(_say(scene, claim, r, reworded))
    if answer:
        return question, 'Yes', question
    after = r.getstate()
    r.setstate(before)
    right = show(_say(scene, truth, r, reworded))
    r.setstate(after)
    return question, 'No', right


def judge_drawn(found, scene, r):
    """The same about a picture that was to show the scene, but in which detect.py found what it found."""
    claim = claims.of(scene)
    form = r.random()
    claim = claims.weaken(claim, r) if form < 0.15 else claims.altered(claim, r) if form < 0.3 else claim
    return show(_say(scene, claim, r, REWORDED)), 'Yes' if found.shows(claim) else 'No'


def _colour(scene, r):
    thing, *_ = r.choice(scene.sprites)
    kind = thing.name.split()[-1]
    alike = {t for t, *_ in scene.sprites if t.colour and t.name.split()[1] == kind}
    if len(alike) == 1 and r.random() < 0.8:
        several = len(scene.sprites) > 1 and all(t == thing for t, *_ in scene.sprites)
        kinds = thing.plural.split()[1]
        return (
            r.choice(
                (f'What colour are the {kinds}?', f'Which colour do the {kinds} have?')
                if several
                else (
                    f'What colour is the {kind}?',
                    f'What color is the {kind}?',
                    f'Which colour does the {kind} have?',
                )
            ),
            thing.colour,
        )
    return (
        r.choice(
            (
                'What colour is the background?',
                'What color is the background?',
                'Which colour does the background have?',
            )
        ),
        scene.background,
    )


def _count(scene, r):
    words = {1: 'one', **scenes.NUMBERS}
    if r.random() < 0.35:
        return (
            r.choice(
                (
                    'How many things are there?',
                    'How many objects are there?',
                    'How many things are in this picture?',
                )
            ),
            words[len(scene.sprites)],
        )
    shown = [t for t, *_ in scene.sprites]
    thing = r.choice(shown) if r.random() < 0.85 else r.choice(scenes.THINGS)
    number = shown.count(thing)
    return r.choice(
        (
            f'How many {thing.plural} are there?',
            f'How many {thing.plural} are in this picture?',
            f'How many {thing.plural} do you see?',
        )
    ), words.get(number, 'none')


def _sides(scene):
    """The side each sprite is on: its own of a single one, towards each other of two things, [] of several
    of a thing."""
    if len(scene.sprites) == 1:
        return [claims.place(scene.sprites[0])]
    claim = claims.of(scene)
    if not claim.relation:
        return []
    first, second = ('left', 'right') if claim.relation == 'beside' else ('top', 'bottom')
    return [first if thing == claim.things[0][0] else second for thing, *_ in scene.sprites]


def _where(scene, r):
    sides = _sides(scene)
    if not sides:
        return _count(scene, r)
    at = r.randrange(len(sides))
    name = scene.sprites[at][0].name
    return r.choice((f'Where is the {name}?', f'Where do you see the {name}?')), _PLACES[sides[at]]


def _what(scene, r):
    sides = _sides(scene)
    if not sides:
        return _count(scene, r)
    at, form = r.randrange(len(sides)), r.random()
    thing = scene.sprites[at][0]
    if len(sides) == 2 and form < 0.5:
        other = scene.sprites[1 - at][0].name
        relation = {'left': 'to the left of', 'right': 'to the right of', 'top': 'above', 'bottom': 'below'}[
            sides[at]
        ]
        return f'What is {relation} the {other}?', thing.single
    side, answer = sides[at], thing.single
    if form > 0.9:
        side = r.choice([s for s in _PLACES if s not in sides])
        answer = 'nothing'
    return r.choice(('What is {}?', 'What do you see {}?')).format(_PLACES[side]), answer


def _is_there(scene, r):
    shown, yes = [t for t, *_ in scene.sprites], r.random() < 0.5
    form = r.random()
    if form < 0.15:
        background = (
            scene.background if yes else r.choice([c for c in scenes.COLOURS if c != scene.background])
        )
        return f'Is the background {background}?', 'Yes' if yes else 'No'
    thing = r.choice(shown)
    if form < 0.3 and len(set(shown)) == 1:
        number = len(shown) if yes else r.choice([n for n in (1, 2, 3, 4) if n != len(shown)])
        return (
            f'Is there one {thing.name}?'
            if number == 1
            else f'Are there {scenes.NUMBERS[number]} {thing.plural}?'
        ), ('Yes' if yes else 'No')
    if not yes:
        thing = claims.other(thing, shown, scene.background, r)
    return r.choice(
        (
            f'Is there {thing.single}?',
            f'Is there {thing.single} in this picture?',
            f'Can you see {thing.single}?',
            f'Are there any {thing.plural}?',
        )
    ), ('Yes' if yes else 'No')


KINDS = dict(what=_what, colour=_colour, count=_count, where=_where, there=_is_there)


def ask(scene, r):
    """One of the short questions."""
    return KINDS[r.choice(list(KINDS))](scene, r)
