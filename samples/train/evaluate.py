"""Scores a model of janus-mini's world through the bifrons program: what it draws, judged by detect.py, and
what it says about pictures.

Prompts and scenes are such that the combination of things, colours, places and background was never trained
on, in whichever words. Drawing follows GenEval's categories; as a control every picture is also judged by
another picture's prompt.
"""

import argparse
import collections
import csv
import dataclasses
import itertools
import json
import pathlib
import random
import subprocess
import tempfile

import numpy as np
from PIL import Image

import claims
import detect
import german
import questions
import scenes
import wording

HERE = pathlib.Path(__file__).parent
_ONE, _SEVERAL, _TWO = (
    scenes.Mix(one=1, several=0),
    scenes.Mix(one=0, several=1),
    scenes.Mix(one=0, several=0),
)


def _coloured(scene):
    return [thing.colour for thing, *_ in scene.sprites]


def _bound(scene, claim):
    """Two shapes, of different form and colour."""
    colours, forms = set(_coloured(scene)), {thing.name.split()[-1] for thing, *_ in scene.sprites}
    return None not in colours and len(colours) == len(forms) == 2


CATEGORIES = {  # name: (mix, which of its scenes)
    'single': (_ONE, lambda s, c: not c.place and not any(_coloured(s))),
    'colour': (_ONE, lambda s, c: not c.place and all(_coloured(s))),
    'counting': (_SEVERAL, lambda s, c: True),
    'position': (scenes.Mix(one=0.4, several=0, plain=0, small=0, big=0), lambda s, c: c.place or c.relation),
    'two things': (_TWO, lambda s, c: not c.relation and not all(_coloured(s))),
    'attribute binding': (_TWO, _bound),
}
OF_EMOJI, OF_SHAPES = ('single', 'counting', 'position', 'two things'), ('colour', 'attribute binding')

TRIES = 2000


def _scene(r, category, thing=None):
    """An unseen scene of a category, in which a thing is to be; None if there seems to be none: alone on a
    background a thing has three dozen captions, of which a tenth is held out."""
    mix, fits = CATEGORIES[category]
    if thing:  # half of the things drawn are it, so that it need not be waited for
        share = [
            [len(things) - 1 if t == thing else 1 for t in things]
            for things in (scenes.EMOJI, scenes.SHAPE_THINGS)
        ]
        weights = tuple(list(itertools.accumulate(weights)) for weights in share)
        mix = dataclasses.replace(
            mix, weights=weights, shapes=0.8 if thing.colour else 0.1, shapes_together=0.8
        )
    for _ in range(TRIES):
        scene = scenes.scene(r, mix)
        shown = not thing or any(t == thing for t, *_ in scene.sprites)
        if shown and scene.unseen and fits(scene, claims.parse(scene.caption)):
            return scene


def _some(r, categories, count, thing=None):
    """So many (category, Scene) of these categories in turn, less those for which there seems to be none."""
    made = ((name, _scene(r, name, thing)) for name in itertools.cycle(categories))
    return itertools.islice(((name, scene) for name, scene in made if scene), count)


def prompts(r, count):
    """(category, Scene), the same number of each category."""
    return [one for name in CATEGORIES for one in _some(r, [name], count // len(CATEGORIES))]


def prompts_of_each(r, each):
    """(category, Scene), the same number for every thing."""
    chosen = []
    for things, names in ((scenes.EMOJI, OF_EMOJI), (scenes.SHAPE_THINGS, OF_SHAPES)):
        for thing in things:
            chosen += _some(r, names, each, thing)
    return chosen


class Program:
    """bifrons, asked for pictures and answers."""

    def __init__(self, path, model, seed, best_of, folder):
        self.path, self.folder, self.seed, self.best_of = path, pathlib.Path(folder), seed, best_of
        self.model = ['--model', str(model)] if model else []

    def _run(self, *arguments):
        command = [str(self.path), *map(str, arguments)]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def draw(self, texts):
        best = ['--best-of', self.best_of] if self.best_of > 1 else []
        out = ['-o', self.folder / 'drawn.png']
        self._run('generate', *self.model, '--quiet', '--seed', self.seed, *best, *out, '--', *texts)
        names = ['drawn.png'] if len(texts) == 1 else [f'drawn_{i + 1}.png' for i in range(len(texts))]
        return [np.asarray(Image.open(self.folder / name).convert('RGB')) for name in names]

    def answer(self, pictures, asked):
        """One answer for each picture's question. Pictures with the same question go in one run."""
        answers, groups = [None] * len(pictures), collections.defaultdict(list)
        for i, (picture, question) in enumerate(zip(pictures, asked)):
            Image.fromarray(picture).save(self.folder / f'{i}.png')
            groups[question].append(i)
        for question, members in groups.items():
            files = [self.folder / f'{i}.png' for i in members]
            lines = self._run(
                'caption', *self.model, '--json', '--max-tokens', 40, '--question', question, *files
            )
            for i, line in zip(members, lines.splitlines(), strict=True):
                answers[i] = json.loads(line)['text'].strip()
        return answers


def _share(results):
    return f'{sum(results) / len(results):.3f} of {len(results)}'


def drawing(program, seed, chosen, things_file=None):
    """Prints the share of pictures that show what was asked for, by category, their mean, and the things
    drawn worst."""
    found = [detect.detect(picture) for picture in program.draw([scene.caption for _, scene in chosen])]
    wanted = [claims.parse(scene.caption) for _, scene in chosen]
    by_category, by_thing = collections.defaultdict(list), collections.defaultdict(list)
    for (category, scene), claim, one in zip(chosen, wanted, found):
        by_category[category].append(one.shows(claim))
        for thing in {thing.name for thing, *_ in scene.sprites}:
            by_thing[thing].append(one.shows(claim))
    for category, results in by_category.items():
        print(f'{category:18} {_share(results)}')
    others = wanted[:]
    random.Random(seed).shuffle(others)
    control = sum(map(detect.Found.shows, found, others)) / len(found)
    overall = sum(sum(results) / len(results) for results in by_category.values()) / len(by_category)
    print(f'{"drawing":18} {overall:.3f}, the mean of these; with the prompts shuffled {control:.3f}')
    scores = sorted((sum(results) / len(results), thing, len(results)) for thing, results in by_thing.items())
    print('worst: ' + ', '.join(f'{thing} {score:.2f}' for score, thing, _ in scores[:12]), flush=True)
    if things_file:
        with open(things_file, 'w', newline='', encoding='utf-8') as file:
            rows = [(thing, f'{score:.3f}', count) for score, thing, count in scores]
            csv.writer(file, lineterminator='\n').writerows([('thing', 'right', 'pictures'), *rows])


def unknown(program, seed):
    """Prints in how many pictures of nouns it was never taught there is no thing, and in how many just the
    tile."""
    r, backgrounds, texts = random.Random(seed), [], []
    for noun in scenes.nouns('unknown_test.txt'):
        for phrase in (
            scenes.article(noun),
            f'a small {noun}',
            f'a big {noun}',
            f'{scenes.article(noun)} on the left',
        ):
            backgrounds.append(r.choice(list(scenes.COLOURS)))
            texts.append(f'{phrase} on {scenes.article(backgrounds[-1])} background')
    found = [detect.detect(picture) for picture in program.draw(texts)]
    shown = [{thing for thing, *_ in one.sprites} for one in found]
    nothing = [not things - {scenes.UNKNOWN} for things in shown]
    tile = [t == {scenes.UNKNOWN} and f.background == b for t, f, b in zip(shown, found, backgrounds)]
    print(f'{"unknown nouns":18} no thing in {_share(nothing)}; the tile on its background in {_share(tile)}', flush=True)


def wordings(program, seed, count=30, ways=10):
    """Prints how much is lost by other words, and by German."""
    r = random.Random(seed)
    english = [scenes.unseen_scene(r) for _ in range(count)]
    spoken = []
    while len(spoken) < 4 * count:
        scene = scenes.unseen_scene(r)
        spoken += [scene] if german.speaks(scene) else []
    for title, shown, say in (('in other words', english, wording.reword), ('in German', spoken, german.say)):
        shown = [scene for scene in shown for _ in range(ways if say is wording.reword else 1)]
        right = []
        for texts in ([scene.caption for scene in shown], [say(scene, r) for scene in shown]):
            found = map(detect.detect, program.draw(texts))
            right.append([one.shows(claims.parse(scene.caption)) for one, scene in zip(found, shown)])
        print(f'{title:18} {_share(right[1])}, canonically {_share(right[0])}', flush=True)


def understanding(program, seed, count):
    """Prints the shares of right captions (every thing, colour, count and position) and of right answers,
    by kind of question."""
    r = random.Random(seed)
    shown = [scenes.unseen_scene(r) for _ in range(count)]
    pictures = [scenes.render(scene) for scene in shown]
    texts = program.answer(pictures, [questions.DESCRIBE] * count)
    captions = [claims.parse(text) == claims.of(scene) for text, scene in zip(texts, shown)]
    print(f'{"captions":18} {_share(captions)}', flush=True)
    kinds = [kind for kind in ('what', 'colour', 'count', 'where', 'show') for _ in range(count // 5)]
    asked = []
    for i, (kind, scene) in enumerate(zip(kinds, shown)):
        judged = kind == 'show'
        asked.append(
            questions.judge(scene, r, answer=i % 2 == 0, reworded=0)
            if judged
            else questions.KINDS[kind](scene, r)
        )
    right = collections.defaultdict(list)
    texts = program.answer(pictures[: len(asked)], [question for question, _ in asked])
    for kind, (_, wanted), text in zip(kinds, asked, texts):
        right['yes or no' if kind == 'show' else kind].append(text == wanted)
    for kind, results in right.items():
        print(f'{kind:18} {_share(results)}')
    print(f'{"answers":18} {_share([one for results in right.values() for one in results])}', flush=True)
    verdicts(program, r, shown, pictures)


def verdicts(program, r, shown, pictures):
    """Prints how often the model says Yes to what is right, and No by what is wrong: a mean over yes and no
    hides what it does not look at."""
    cases = [('yes', i, questions.judge(scene, r, answer=True, reworded=0)) for i, scene in enumerate(shown)]
    for kind in claims.ALTERATIONS:
        cases += [
            (kind, i, questions.judge(scene, r, answer=False, reworded=0, kind=kind))
            for i, scene in enumerate(shown)
        ]
    cases = [case for case in cases if case[2]]
    said = collections.defaultdict(list)
    texts = program.answer([pictures[i] for _, i, _ in cases], [question for _, _, (question, _) in cases])
    for (kind, _, (_, wanted)), text in zip(cases, texts):
        said[kind].append(text == wanted)
    print(
        f"Yes to what is right {_share(said.pop('yes'))}; No to another "
        + ', '.join(f'{kind} {_share(results)}' for kind, results in said.items()),
        flush=True,
    )


PARTS = 'drawing', 'unknown', 'wordings', 'understanding'


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--program', type=pathlib.Path, default=HERE / '../../build/release/bifrons')
    parser.add_argument('--model', type=pathlib.Path, help="instead of the program's own")
    parser.add_argument('--only', choices=PARTS, nargs='+', default=PARTS)
    parser.add_argument('--prompts', type=int, default=300, help='to draw')
    parser.add_argument('--each', type=int, help='draw so many prompts of every thing instead')
    parser.add_argument('--things', type=pathlib.Path, help='CSV file for the scores of things')
    parser.add_argument('--pictures', type=int, default=500, help='to talk about')
    parser.add_argument(
        '--best-of',
        type=int,
        default=1,
        help='pictures drawn for a prompt, of which the model picks one itself',
    )
    parser.add_argument('--seed', type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = Program(options.program, options.model, options.seed, options.best_of, folder)
        if 'drawing' in options.only:
            r = random.Random(options.seed)
            chosen = prompts_of_each(r, options.each) if options.each else prompts(r, options.prompts)
            drawing(program, options.seed, chosen, options.things)
        if 'unknown' in options.only:
            unknown(program, options.seed)
        if 'wordings' in options.only:
            wordings(program, options.seed)
        if 'understanding' in options.only:
            understanding(program, options.seed, options.pictures)


if __name__ == '__main__':
    main()
