"""Fast tests of the world and of the training: python -m unittest, in this directory."""

import copy
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import numpy as np
import torch

import claims
import codebook
import detect
import export
import german
import joint
import pictures
import questions
import scenes
import tokenizer
import train
import training
import wording
from world import World, configuration

TINY = dict(
    model=dict(
        hidden=64,
        intermediate=64,
        layers=1,
        vision_hidden=64,
        vision_intermediate=64,
        vision_layers=1,
        vq_base=32,
    ),
    paint=dict(batch=4),
    draw=dict(batch=4, fuse=False),
    see=dict(batch=2, fuse=False),
    encode=dict(batch=4),
    joint=dict(batch=2, talks=6, finder=[0, 0], fuse=False, paintings=20, judged=4),
    finetune=dict(batch=2, talks=6, finder=[0, 0], fuse=False, paintings=20, judged=4),
    polish=dict(batch=2, talks=6, finder=[0, 0], fuse=False, paintings=20, judged=4),
)
STEPS = 6


def tiny():
    """The configuration at a size that trains in a second."""
    settings = configuration(scenes.HERE / 'mini.toml')
    for section, changes in TINY.items():
        settings[section].update(changes)
        if section != 'model':
            settings[section].update(steps=STEPS, validate_every=4, validate=2, save_seconds=0)
    return settings


class WorldTest(unittest.TestCase):
    def test_unknown_nouns_are_unknown(self):
        known = {name for thing in scenes.THINGS for name in (thing.name, thing.plural)}
        known |= {row[form] for row in scenes.table('synonyms.tsv') for form in ('singular', 'plural')}
        never = scenes.nouns('unknown_test.txt')
        self.assertEqual(len(set(never)), 50)
        self.assertFalse(
            known & set(scenes.UNTAUGHT) or known & set(never) or set(scenes.UNTAUGHT) & set(never)
        )
        r = random.Random(1)
        for _ in range(300):
            scene = scenes.scene(r, scenes.Mix(unknown=1))
            self.assertEqual([thing for thing, *_ in scene.sprites], [scenes.UNKNOWN])
            self.assertFalse(any(noun in scene.caption.split() for noun in never))

    def test_captions_say_what_is_shown(self):
        r = random.Random(2)
        for _ in range(500):
            scene = scenes.scene(r)
            for text in (scene.caption, scene.description):
                self.assertTrue(claims.parse(text).holds(scene.background, scene.sprites), text)

    def test_altered_claims_are_wrong(self):
        r, said = random.Random(3), set()
        for _ in range(300):
            scene = scenes.scene(r, scenes.Mix(shapes=0.5))
            for kind in claims.ALTERATIONS:
                question = questions.judge(scene, r, answer=False, reworded=0, kind=kind)
                if question:
                    said.add(kind)
                    self.assertEqual(question[1], 'No')
        self.assertEqual(said, set(claims.ALTERATIONS))

    def test_verdicts_so_far(self):
        vocabulary = tokenizer.load()
        letters = {vocabulary.token_to_id('\u0120Yes'): 'y', vocabulary.token_to_id('\u0120No'): 'n'}

        def said(asked, right):
            asked, right = (vocabulary.encode(f' {text}').ids[1:] for text in (asked, right))
            return ''.join(letters.get(i, '.') for i in joint.verdicts(vocabulary, asked, right))

        right = 'a dog above a cat on a red background'
        self.assertEqual(said(right, right), 'yyyyyyyyy')
        self.assertEqual(said('a dog above a cat on a blue background', right), 'yyyyyyynn')
        self.assertEqual(said('a cat above a dog on a red background', right), 'y...nnnnn')
        self.assertEqual(said('a dog on a red background', right), 'yynnnn')
        self.assertEqual(said('two dogs above a cat on a red background', right), '.nnnnnnnn')
        r = random.Random(5)
        for i in range(200):
            question, answer, right = questions.judge_beside(scenes.scene(r), r, answer=i % 2 == 0)
            if right:
                self.assertEqual(question == right, answer == 'Yes')

    def test_words_for_what_is_shown(self):
        vocabulary = tokenizer.load()
        named = joint.naming(vocabulary)
        dog = next(t for t in scenes.EMOJI if t.name == 'dog')
        for text, wanted in (('dog', True), ('dogs', True), ('cat', False), ('Does', False)):
            ids = vocabulary.encode(f' {text}', add_special_tokens=False).ids
            self.assertEqual(named[pictures.THINGS[dog], ids].any().item(), wanted, text)
        blue = pictures.THING_CLASSES + list(scenes.COLOURS).index('blue')
        self.assertEqual(named[blue].sum().item(), 1)
        self.assertTrue(named[:, vocabulary.token_to_id('\u0120blue')].sum() > 5)  # and blue shapes

    def test_sprites_stay_inside(self):
        r = random.Random(4)
        for _ in range(500):
            for _, x, y, size in scenes.scene(r).sprites:
                self.assertTrue(x >= 0 and y >= 0 and max(x, y) + size <= scenes.SIDE)

    def test_german_has_its_articles_and_cases(self):
        dog, circle = next(t for t in scenes.EMOJI if t.name == 'dog'), next(
            t for t in scenes.SHAPE_THINGS if t.name == 'red circle'
        )
        scene = scenes.Scene(
            'blue', ((dog, 0, 24, 40), (circle, 48, 24, 40)), 'a dog to the left of a red circle', True
        )
        r = random.Random(5)
        self.assertIn(
            'ein Hund links von einem roten Kreis auf blauem Hintergrund',
            {german.say(scene, r) for _ in range(60)},
        )
        self.assertEqual(
            {row['name'] for row in scenes.table('german.tsv')},
            {thing.name for thing in scenes.EMOJI[:60]} | set(scenes.SHAPES),
        )

    def test_wordings_keep_their_things(self):
        r = random.Random(6)
        for _ in range(300):
            scene = scenes.scene(r)
            said = wording.reword(scene, r).lower()
            if scene.names_background:
                self.assertIn(scene.background.replace('gray', 'gr'), said)

    def test_detector_finds_the_scene_and_the_tile(self):
        r = random.Random(7)
        for mix in [scenes.MIX] * 6 + [scenes.Mix(unknown=1)] * 2:
            scene = scenes.scene(r, mix)
            found = detect.detect(scenes.render(scene))
            self.assertEqual(
                found, detect.Found(scene.background, tuple(sorted(scene.sprites, key=lambda s: s[1:])), True)
            )

    def test_tokens_are_the_same_wherever_a_sprite_stands(self):
        thing = scenes.EMOJI[0]
        at = [
            codebook.tokens(scenes.Scene('blue', ((thing, x, 8, 40),), thing.single, True)).reshape(12, 12)
            for x in (0, 16)
        ]
        self.assertTrue((at[0][:, :10] == at[1][:, 2:]).all())
        self.assertLess(at[0].max(), codebook.size())


class TrainingTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_num_threads(1)
        cls.folder = tempfile.TemporaryDirectory()
        cls.work = pathlib.Path(cls.folder.name)
        cls.settings = tiny()
        # Every stage as if nothing had happened, each on what the ones before it have made.
        for name in ('paint', 'draw', 'see', 'encode', 'joint', 'finetune', 'polish'):
            cls.run_stage(name, cls.work)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def run_stage(cls, name, work, stop=None, start=None):
        """Trains a stage, or only up to a step."""
        stage = train.STAGES[name](cls.settings[name], World(cls.settings, work, 'cpu'))
        run = training.Run(stage, name, work, start)
        update = run._step

        def step():
            update()
            run.stopped = run.step == stop

        run._step = step
        run.train()
        return run

    def weights(self, work, name):
        return torch.load(work / f'{name}.pt', weights_only=False)

    def assert_same(self, first, second):
        for part in ('module', 'averaged'):
            for key, value in first[part].items():
                self.assertTrue(torch.equal(value, second[part][key]), key)
        for one, other in zip(first['optimisers'], second['optimisers']):
            for key, state in one['state'].items():
                for name, value in state.items():
                    self.assertTrue(
                        torch.equal(torch.as_tensor(value), torch.as_tensor(other['state'][key][name]))
                    )
        self.assertEqual(first['stage'], second['stage']) if 'drawing' not in first['stage'] else None

    def copy(self, *names):
        work = pathlib.Path(tempfile.mkdtemp(dir=self.work))
        for name in names:
            (work / name).write_bytes((self.work / name).read_bytes())
        return work

    def test_a_stopped_stage_continues_bit_for_bit(self):
        made = 'paintings.pt', 'judged.pt'
        for name, needed in dict(
            paint=(),
            draw=(),
            see=made[:1],
            encode=('paint.pt', *made[:1]),
            joint=('paint.pt', 'draw.pt', 'see.pt', *made),
            finetune=('joint.pt', *made),
            polish=('joint.pt', 'finetune.pt', *made),
        ).items():
            work = self.copy(*needed)
            self.run_stage(name, work, stop=3)
            self.run_stage(name, work)
            self.assert_same(self.weights(self.work, name), self.weights(work, name))
            for log in (f'{name}.csv', f'{name}-validation.csv'):
                if (self.work / log).exists():
                    rows = [
                        [
                            line.split(',')[:2] + line.split(',')[3:]
                            for line in (at / log).read_text().splitlines()
                        ]
                        for at in (self.work, work)
                    ]
                    self.assertEqual(*rows)

    def test_a_killed_process_continues_bit_for_bit(self):
        work = self.copy()
        config = work / 'tiny.toml'
        config.write_text(toml(self.settings))
        command = [
            sys.executable,
            str(scenes.HERE / 'train.py'),
            'draw',
            '--config',
            str(config),
            '--work',
            str(work),
        ]
        process = subprocess.Popen(command)
        while not (work / 'draw.pt').exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        (work / 'draw.new').write_bytes(b'half a checkpoint')
        subprocess.run(command, check=True)
        self.assert_same(self.weights(self.work, 'draw'), self.weights(work, 'draw'))

    def test_kept_weights_are_a_start(self):
        work, kept = self.copy('paint.pt'), training.STAGES
        training.STAGES = work / 'stages'
        try:
            training.keep(work, 'paint')
            self.settings = copy.deepcopy(self.settings)
            self.settings['paint']['steps'] = STEPS + 2
            (work / 'paint.pt').unlink()
            stage = train.STAGES['paint'](self.settings['paint'], World(self.settings, work, 'cpu'))
            run = training.Run(stage, 'paint', work, training.kept('paint'))
            self.assertEqual((run.step, run.first), (STEPS, STEPS))
            run.train()
            self.assertEqual(run.step, STEPS + 2)
        finally:
            training.STAGES = kept

    def test_transformers_reads_the_export(self):
        from transformers import JanusForConditionalGeneration

        out = self.work / 'export'
        world = World(self.settings, self.work, 'cpu')
        export.export(world, out)
        janus = JanusForConditionalGeneration.from_pretrained(out, dtype=torch.float32)
        weights = self.weights(self.work, 'polish')['averaged']['drawer.generation_embeddings.weight']
        self.assertTrue(torch.equal(janus.model.generation_embeddings.weight, weights.bfloat16().float()))
        tokens = np.stack([codebook.tokens(scenes.scene(random.Random(1)))])
        self.assertEqual(janus.decode_image_tokens(torch.from_numpy(tokens)).shape, (1, 96, 96, 3))


def toml(settings):
    """Settings as a file: JSON's scalars are TOML's."""

    def value(v):
        return (
            '{' + ', '.join(f'{k} = {value(x)}' for k, x in v.items()) + '}'
            if isinstance(v, dict)
            else json.dumps(v)
        )

    return '\n'.join(
        f'[{section}]\n' + '\n'.join(f'{k} = {value(v)}' for k, v in values.items())
        for section, values in settings.items()
    )


if __name__ == '__main__':
    unittest.main()
