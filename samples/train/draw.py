"""Trains the transformer to write image tokens after a prompt, exactly as inference reads them: no padding
in the prompts.

A blank prompt is trained towards all tokens being equally likely, not towards pictures of anything. This
world is all but deterministic; a small model of "anything" is wrong about rare tokens by large factors,
which guidance raises to the fifth power (pictures fell apart at a weight of 2.5). With even odds to push
away from, guidance only sharpens what the prompt says.

A sprite's first token carries nearly all of what the prompt decides, but is one of dozens that then follow
by themselves: left alone, the model draws perfect sprites of anything. The tokens that decide something
(codebook.choices) weigh more, at the end still enough for guidance, which prefers the likelier, to begin a
sprite at its first possible place instead of never. Many batches are short: pictures cut after the row of
tokens in which the first sprite begins. Flat background costs as much as anything else and teaches nothing
soon, so most pictures end below their sprites, and few of its tokens are asked for.
"""

import csv
import dataclasses
import itertools
import random

import numpy as np
import torch
import torch.nn.functional as F

import codebook
import german
import model
import scenes
import tokenizer as words
import training
import wording

WHOLE = 0.15  # of the pictures that are not short go on to their last token
FLAT = 0.25  # of the background's tokens that decide nothing are asked for
SHORT_FACTOR = 2.5  # examples in a short batch, against one of whole pictures
SEVERAL_IN_SHORT = 0.35  # scenes of several sprites kept there: what they show is as well learned from one
LEAST, MOST = 0.5, 2.5  # times as often as the average come the things that are known best and worst

CHECKS = 'sprite_loss', 'choice_loss', 'choices_right', 'small_loss', 'big_loss', 'worst_thing'


def caption(scene, settings, r):
    """The scene's canonical caption, or the same in other words, or in German."""
    form = r.random()
    if form < settings['german'] and german.speaks(scene):
        return german.say(scene, r)
    return wording.reword(scene, r) if form > 1 - settings['reworded'] else scene.caption


class Batches:
    """Batches of examples: prompts [b, p], tokens [b, n] and marks of those that decide something [b, n].
    Rows of one length wait for each other, so nothing is padded."""

    def __init__(self, vocabulary, settings, short):
        self.vocabulary, self.settings, self.short = vocabulary, settings, short
        self.size = int(settings['batch'] * (SHORT_FACTOR if short else 1))
        self.pad = vocabulary.token_to_id(words.PAD)
        self.waiting = {}

    def next(self, r, mix):
        while True:
            scene = scenes.training_scene(r, mix)
            if self.short and len(scene.sprites) > 1 and r.random() >= SEVERAL_IN_SHORT:
                continue
            example = self._example(scene, r)
            rows = self.waiting.setdefault((len(example[0]), len(example[1])), [])
            rows.append(example)
            if len(rows) == self.size:
                del self.waiting[len(example[0]), len(example[1])]
                return [torch.from_numpy(np.stack(column)) for column in zip(*rows)]

    def _example(self, scene, r):
        """Some prompts are blanked as guidance does it: all but BOS and <begin_of_image> becomes the pad
        token."""
        prompt = self.vocabulary.encode(words.prompt(caption(scene, self.settings, r))).ids
        if r.random() < self.settings['blank']:
            prompt = [prompt[0]] + [self.pad] * (len(prompt) - 2) + [prompt[-1]]
        tokens, marks = codebook.tokens(scene), codebook.choices(scene)
        if self.short:
            rows = marks.argmax() // scenes.GRID + 1
        elif r.random() < WHOLE:
            rows = scenes.GRID
        else:  # to an even row, so that there are not too many lengths
            bottom = max(y + size for _, _, y, size in scene.sprites) // scenes.PATCH
            rows = min((bottom + 2) // 2 * 2, scenes.GRID)
        return np.array(prompt), tokens[: rows * scenes.GRID], marks[: rows * scenes.GRID]


class Stage(training.Stage):
    columns = 'tokens', 'sprite_loss', 'choice_loss', 'blank_loss'
    checks = CHECKS

    def __init__(self, settings, world):
        super().__init__(settings, world.device)
        self.vocabulary, self.work = world.vocabulary, world.work
        self.module = model.Drawer(world.build()).to(self.device)
        self.module.start()
        if settings['fuse']:
            model.fuse(self.module)
        self.drawing = Drawing(self.module, world.vocabulary, settings, self.device)

    def loss(self, progress):
        with self.autocast():
            return self.drawing.loss(self.random, progress)

    def validate(self):
        with self.autocast():
            return self.drawing.validate(self.work)

    def state(self):
        return dict(super().state(), drawing=self.drawing.state())

    def restore(self, state):
        super().restore(state)
        self.drawing.restore(state['drawing'])


class Drawing:
    """The data, the loss and the validation of drawing, for this stage and for the joint one."""

    def __init__(self, drawer, vocabulary, settings, device):
        self.drawer, self.vocabulary, self.settings, self.device = drawer, vocabulary, settings, device
        self.mix = scenes.Mix(**settings['mix'])
        self.whole, self.short = (Batches(vocabulary, settings, short) for short in (False, True))
        self.debt = 0.0  # of short batches
        self.things = {thing: 1.0 for thing in scenes.THINGS}  # how badly each is drawn
        self._weigh()

    def state(self):
        return dict(whole=self.whole.waiting, short=self.short.waiting, debt=self.debt, things=self.things)

    def restore(self, state):
        self.whole.waiting, self.short.waiting, self.debt = state['whole'], state['short'], state['debt']
        self.things = state['things']
        self._weigh()

    def _weigh(self):
        """Draws the weak things more often. What the best one still costs is the choice of its places."""
        best = min(self.things.values())
        excess = {thing: loss - best + 0.1 for thing, loss in self.things.items()}
        mean = sum(excess.values()) / len(excess)
        weights = []
        for things in (scenes.EMOJI, scenes.SHAPE_THINGS):
            weights.append(
                list(itertools.accumulate(min(max(excess[t] / mean, LEAST), MOST) for t in things))
            )
        self.mix = dataclasses.replace(self.mix, weights=tuple(weights))

    def loss(self, r, progress):
        """The next batch's loss, its number of pictures, and for the log its number of tokens and the mean
        losses of sprites' tokens, of those that decide something and of blank prompts."""
        self.debt += self.settings['short']
        short = self.debt >= 1
        self.debt -= short
        prompts, tokens, marks = (
            part.to(self.device) for part in (self.short if short else self.whole).next(r, self.mix)
        )
        hidden = self.drawer(prompts, tokens[:, :-1])
        blank = (prompts[:, 1] == self.whole.pad)[:, None].expand_as(tokens)
        flat = (tokens < len(codebook.BACKGROUNDS)) & ~marks
        asked = torch.rand(tokens.shape).to(self.device) < torch.where(flat | blank, FLAT, 1.0)
        losses = F.cross_entropy(
            self.drawer.logits(hidden[asked & ~blank]), tokens[asked & ~blank], reduction='none'
        )
        marks, flat = marks[asked & ~blank], flat[asked & ~blank]
        last, first = self.settings['choice_weight_last'], self.settings['choice_weight']
        weights = torch.where(
            marks, last + (first - last) * max(0, 1 - progress / 0.75), torch.where(flat, self.settings['flat_weight'], 1.0)
        )
        total = (losses * weights).sum() / weights.numel()
        even = losses.new_zeros(())
        if (asked & blank).any():
            logits = self.drawer.logits(hidden[asked & blank])
            even = F.cross_entropy(logits, tokens[asked & blank], label_smoothing=1.0)
            total = total + even * self.settings['blank']
        return total, len(tokens), (tokens.numel(), losses[~flat].mean(), losses[marks].mean(), even)

    def validate(self, work):
        """Mean losses of sprites' tokens and of those that decide something, on pictures of every kind, and
        how many of the latter are the likeliest; then of every thing by itself, small and big, in which sizes
        the most is to be learned. What each thing costs is written to draw-things.csv."""
        r = random.Random(8)
        shown = [
            scenes.unseen_scene(r, dataclasses.replace(self.mix, weights=None))
            for _ in range(self.settings['validate'])
        ]
        results = self._check(shown)
        sprites, chosen, right = (np.concatenate(column) for column in zip(*results))
        small, big = (
            [losses for losses, *_ in self._check([self._alone(thing, size, r) for thing in self.things])]
            for size in (scenes.SMALL, scenes.BIG)
        )
        losses = {
            thing: float(sum(part.sum() for part in parts)) for thing, *parts in zip(self.things, small, big)
        }
        self.things = losses
        self._weigh()
        with open(work / 'draw-things.csv', 'w', newline='', encoding='utf-8') as file:
            rows = sorted(
                ((f'{loss:.3f}', thing.name) for thing, loss in losses.items()),
                key=lambda row: -float(row[0]),
            )
            csv.writer(file, lineterminator='\n').writerows([('loss', 'thing'), *rows])
        alone = (np.concatenate(part).mean() for part in (small, big))
        return sprites.mean(), chosen.mean(), right.mean(), *alone, max(losses.values())

    @staticmethod
    def _alone(thing, size, r):
        background = r.choice([colour for colour in scenes.COLOURS if colour != thing.colour])
        at, word = (16, 'big') if size == scenes.BIG else (32, 'small')
        return scenes.Scene(background, ((thing, at, at, size),), f'a {word} {thing.name}', True)

    def _check(self, shown):
        """For every scene the losses of its sprites' tokens, of those that decide something, and whether
        these are right."""
        results, groups = [None] * len(shown), {}
        for i, scene in enumerate(shown):
            prompt = self.vocabulary.encode(words.prompt(scene.caption)).ids
            groups.setdefault(len(prompt), []).append(
                (i, prompt, codebook.tokens(scene), codebook.choices(scene))
            )
        for group in groups.values():
            for at in range(0, len(group), self.settings['batch']):
                members, prompts, tokens, marks = zip(*group[at : at + self.settings['batch']])
                tokens = torch.from_numpy(np.stack(tokens)).to(self.device)
                hidden = self.drawer(torch.tensor(prompts, device=self.device), tokens[:, :-1])
                for i, states, wanted, mark in zip(members, hidden, tokens, marks):
                    mark = torch.from_numpy(mark).to(self.device)
                    sprite = wanted >= len(codebook.BACKGROUNDS)
                    logits = self.drawer.logits(states[mark | sprite]).float()
                    losses = F.cross_entropy(logits, wanted[mark | sprite], reduction='none')
                    right = logits.argmax(-1) == wanted[mark | sprite]
                    sprite, mark = sprite[mark | sprite], mark[mark | sprite]
                    results[i] = [
                        x.cpu().numpy() for x in (losses[sprite], losses[mark], right[mark].float())
                    ]
        return results
