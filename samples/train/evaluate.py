"""Scores a model of janus-mini's world through the bifrons program: what it draws, judged by detect.py, and what it says about pictures.

Prompts and scenes are such that the combination of things, colours, places and background was never trained on, in whichever words.
Drawing follows GenEval's categories; as a control every picture is also judged by another picture's prompt."""
import argparse
import collections
import json
import pathlib
import random
import subprocess
import tempfile

import numpy as np
from PIL import Image

import claims
import detect
import questions
import scenes

HERE = pathlib.Path(__file__).parent
_ONE, _SEVERAL, _TWO = scenes.Mix(one=1, several=0), scenes.Mix(one=0, several=1), scenes.Mix(one=0, several=0)


def _coloured(scene):
    return [thing.colour for thing, *_ in scene.sprites]


CATEGORIES = {  # name: (mix, which of its scenes)
    'single': (_ONE, lambda s, c: not c.place and not any(_coloured(s))),
    'colour': (_ONE, lambda s, c: not c.place and all(_coloured(s))),
    'counting': (_SEVERAL, lambda s, c: True),
    'position': (scenes.Mix(one=0.4, several=0, plain=0, small=0, big=0), lambda s, c: c.place or c.relation),
    'two things': (_TWO, lambda s, c: not c.relation and not all(_coloured(s))),
    'attribute binding': (_TWO, lambda s, c: all(_coloured(s)) and len(set(_coloured(s))) == 2 and len({t.name.split()[1] for t, *_ in s.sprites}) == 2),
}


def prompts(r, count):
    """(category, Scene), the same number of each category."""
    chosen = []
    for name, (mix, fits) in CATEGORIES.items():
        wanted = len(chosen) + count // len(CATEGORIES)
        while len(chosen) < wanted:
            scene = scenes.scene(r, mix)
            if fits(scene, claims.parse(scene.caption)) and scene.unseen:
                chosen.append((name, scene))
    return chosen


class Program:
    """bifrons, asked for pictures and answers."""

    def __init__(self, path, model, seed, best_of, folder):
        self.path, self.folder, self.seed, self.best_of = path, pathlib.Path(folder), seed, best_of
        self.model = ['--model', str(model)] if model else []

    def _run(self, *arguments):
        return subprocess.run([str(self.path), *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout

    def draw(self, texts):
        best = ['--best-of', self.best_of] if self.best_of > 1 else []
        self._run('generate', *self.model, '--quiet', '--seed', self.seed, *best, '-o', self.folder / 'drawn.png', '--', *texts)
        names = ['drawn.png'] if len(texts) == 1 else [f'drawn_{i + 1}.png' for i in range(len(texts))]
        return [np.asarray(Image.open(self.folder / name).convert('RGB')) for name in names]

    def answer(self, pictures, asked):
        """One answer for each picture's question. Pictures with the same question go in one run."""
        answers, groups = [None] * len(pictures), collections.defaultdict(list)
        for i, (picture, question) in enumerate(zip(pictures, asked)):
            Image.fromarray(picture).save(self.folder / f'{i}.png')
            groups[question].append(i)
        for question, members in groups.items():
            lines = self._run('caption', *self.model, '--json', '--max-tokens', 40, '--question', question, *(self.folder / f'{i}.png' for i in members))
            for i, line in zip(members, lines.splitlines(), strict=True):
                answers[i] = json.loads(line)['text'].strip()
        return answers


def drawing(program, seed, count):
    """Prints the share of pictures that show what was asked for, by category, and returns it overall: the mean over prompts, which are as
    many in every category."""
    chosen = prompts(random.Random(seed), count)
    found = [detect.detect(picture) for picture in program.draw([scene.caption for _, scene in chosen])]
    wanted = [claims.parse(scene.caption) for _, scene in chosen]
    right = collections.defaultdict(list)
    for (category, _), claim, one in zip(chosen, wanted, found):
        right[category].append(one.shows(claim))
    others = wanted[:]
    random.Random(seed).shuffle(others)
    overall, control = (sum(map(detect.Found.shows, found, those)) / len(found) for those in (wanted, others))
    for category, results in right.items():
        print(f'{category:18} {sum(results) / len(results):.3f} of {len(results)}')
    print(f'{"drawing":18} {overall:.3f} of {len(found)}; with the prompts shuffled {control:.3f}', flush=True)
    return overall


def understanding(program, seed, count):
    """Prints the shares of right captions (every thing, colour, count and position) and of right answers, by kind of question."""
    r = random.Random(seed)
    shown = [scenes.unseen_scene(r) for _ in range(count)]
    pictures = [scenes.render(scene) for scene in shown]
    texts = program.answer(pictures, [questions.DESCRIBE] * count)
    captions = [claims.parse(text) == claims.of(scene) for text, scene in zip(texts, shown)]
    print(f'{"captions":18} {sum(captions) / count:.3f} of {count}', flush=True)
    kinds = [kind for kind in ('what', 'colour', 'count', 'where', 'show') for _ in range(count // 5)]
    asked = []
    for i, (kind, scene) in enumerate(zip(kinds, shown)):
        asked.append(questions.judge(scene, r, answer=i % 2 == 0, reworded=0) if kind == 'show' else questions.KINDS[kind](scene, r))
    right = collections.defaultdict(list)
    for kind, (_, wanted), text in zip(kinds, asked, program.answer(pictures[:len(asked)], [question for question, _ in asked])):
        right['yes or no' if kind == 'show' else kind].append(text == wanted)
    for kind, results in right.items():
        print(f'{kind:18} {sum(results) / len(results):.3f} of {len(results)}')
    total = [one for results in right.values() for one in results]
    print(f'{"answers":18} {sum(total) / len(total):.3f} of {len(total)}', flush=True)
    verdicts(program, r, shown, pictures)
    return sum(captions) / count, sum(total) / len(total)


def verdicts(program, r, shown, pictures):
    """Prints how often the model says No, by what is wrong: a mean over yes and no hides what it does not look at."""
    asked = [questions.judge(scene, r, answer=False, reworded=0)[0] for scene in shown]
    said = collections.defaultdict(list)
    for scene, question, text in zip(shown, asked, program.answer(pictures, asked)):
        claim, truth = claims.parse(question.removeprefix(questions.show('')[:-1]).removesuffix('?')), claims.of(scene)
        named = ' background' in question
        wrong = [name for name, differs in dict(
            background=named and claim.background != truth.background, number=sum(n for _, n in claim.things) != len(scene.sprites),
            thing={t for t, _ in claim.things} != {t for t, _ in truth.things}, size=claim.size != truth.size).items() if differs]
        said[wrong[0] if len(wrong) == 1 else 'several' if wrong else 'place'].append(text == 'No')
    print('No, if this is wrong: ' + ', '.join(f'{wrong} {sum(results) / len(results):.2f} of {len(results)}' for wrong, results in said.items()), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--program', type=pathlib.Path, default=HERE / '../../build/release/bifrons')
    parser.add_argument('--model', type=pathlib.Path, help="instead of the program's own")
    parser.add_argument('--only', choices=('drawing', 'understanding'))
    parser.add_argument('--prompts', type=int, default=300, help='to draw')
    parser.add_argument('--pictures', type=int, default=500, help='to talk about')
    parser.add_argument('--best-of', type=int, default=1, help='pictures drawn for a prompt, of which the model picks one itself')
    parser.add_argument('--seed', type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = Program(options.program, options.model, options.seed, options.best_of, folder)
        if options.only != 'understanding':
            drawing(program, options.seed, options.prompts)
        if options.only != 'drawing':
            understanding(program, options.seed, options.pictures)


if __name__ == '__main__':
    main()
