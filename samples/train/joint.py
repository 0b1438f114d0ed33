"""Trains drawing and understanding together, in the same transformer: every step is a batch of pictures to
draw and one to talk about.

Talking about a picture costs a prefix of two hundred tokens (system prompt and image) for an answer of one
to fifteen. So several conversations share a prefix: each sees the prefix and itself, at the positions it
would have alone, which makes the gradients those of separate sequences at a third of the cost.
"""

import random

import torch
import torch.nn.functional as F

import draw
import judged
import model
import painted
import pictures
import questions
import scenes
import see
import tokenizer as words
import training

SHORT_ANSWERS = 2  # conversations about a picture, besides its captions and judgements
SEVERAL_TURNS = 0.12  # of the conversations go on with a second question
SHORT_WEIGHT = 2.0  # of the tokens of a short answer against a caption's
JUDGED = 0.3  # of the pictures are failed drawings then, about which only "Does this picture show ...?" is asked
TOWER_WEIGHT = 0.1  # of the tower's own task, which it keeps
WORD_SCALE = 20.0  # of cosines with the vocabulary
HIDE = -30000.0  # what the mask adds to a logit


def names(vocabulary):
    """The tokens of what a patch shows, as shares [things and backgrounds, vocabulary]: of the name of the
    thing (pictures.THINGS), or behind them of the background's colour."""
    said = [None] * pictures.THING_CLASSES + list(scenes.COLOURS)
    for thing, number in pictures.THINGS.items():
        said[number] = thing.name
    shares = torch.zeros(len(said), vocabulary.get_vocab_size())
    for share, name in zip(shares, said):
        ids = vocabulary.encode(f' {name}', add_special_tokens=False).ids if name else []
        for i in ids:
            share[i] += 1 / len(ids)
    return shares


class Joint(torch.nn.Module):
    def __init__(self, janus, tower):
        super().__init__()
        self.drawer, self.tower = model.Drawer(janus), tower
        self.aligner, self.lm_head = janus.model.aligner, janus.lm_head

    def start(self):
        """Gives the head weights to be trained from: what is read is the easiest to say."""
        with torch.no_grad():
            self.lm_head.weight.copy_(0.1 * self.drawer.language_model.embed_tokens.weight)

    def forward(self, pixels, before, after, rows, segments, positions):
        """Hidden states [b, n] of rows of conversations [b, n] about pictures, the tower's answers, and what
        the transformer is given of the patches. Segments number a row's conversations."""
        seen = self.tower.vision(pixels).last_hidden_state
        patches = self.aligner(seen)
        transformer = self.drawer.language_model
        embed = transformer.embed_tokens
        count = len(pixels)
        around = [embed(ids).expand(count, -1, -1) for ids in (before, after)]
        inputs = torch.cat([around[0], patches, around[1], embed(rows)], 1)
        prefix, total = inputs.shape[1] - rows.shape[1], inputs.shape[1]
        allowed = torch.ones(count, total, total, dtype=torch.bool, device=rows.device).tril()
        allowed[:, prefix:, prefix:] &= segments[:, :, None] == segments[:, None]
        mask = torch.where(allowed, 0.0, HIDE)[:, None]
        positions = torch.cat(
            [torch.arange(prefix, device=rows.device).expand(count, -1), prefix + positions], 1
        )
        hidden = transformer(
            inputs_embeds=inputs, attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state
        return hidden[:, prefix:], self.tower.answer(seen), patches

    def word_loss(self, patches, names, things, backgrounds):
        """Of patches [b, 144, hidden] as words: each is to look like the name of its thing [b, 144], or of its
        background [b]. Then the transformer reads pictures as it reads prompts."""
        vectors = F.normalize(self.drawer.language_model.embed_tokens.weight.detach(), dim=-1)
        said = (WORD_SCALE * F.normalize(patches.float(), dim=-1) @ vectors.T).log_softmax(-1)
        wanted = names[torch.where(things > 0, things, pictures.THING_CLASSES + backgrounds[:, None])]
        weights = see.weights(things)
        return -((wanted * said).sum(-1) * weights).sum() / weights.sum()

    def matrices(self):
        """What Muon trains."""
        aligner = [p for p in self.aligner.parameters() if p.ndim == 2]
        return [*self.drawer.matrices(), *self.tower.matrices(), *aligner]


def conversation(vocabulary, turns):
    """Ids, and for every id the one to predict after it (UNKNOWN outside answers)."""
    ids, wanted = [], []
    for i, (question, answer) in enumerate(turns):
        asked = vocabulary.encode(words.turn(question, first=i == 0), add_special_tokens=False).ids
        answered = vocabulary.encode(f' {answer}', add_special_tokens=False).ids + [
            vocabulary.token_to_id(words.EOS)
        ]
        ids += asked + answered
        wanted += [pictures.UNKNOWN] * (len(asked) - 1) + answered + [pictures.UNKNOWN]
    return ids, wanted


def talks(scene, r, form):
    """Conversations about a scene: lists of (question, answer). Half of the judgements are Yes."""
    asked = [questions.describe(scene, r) for _ in range(form['captions'])]
    asked += [questions.judge(scene, r, answer=r.random() < 0.5) for _ in range(form['judgements'])]
    asked += [questions.ask(scene, r) for _ in range(SHORT_ANSWERS)]
    result = []
    while asked:
        turns = 2 if len(asked) > 1 and r.random() < SEVERAL_TURNS else 1
        result.append([asked.pop(r.randrange(len(asked))) for _ in range(turns)])
    return result


def example(r, paintings, drawings, mix, form):
    """A picture, its scene or None where there is none, and conversations."""
    if form['failed'] and drawings and r.random() < JUDGED:
        scene, picture, found = r.choice(drawings)
        return picture, None, [[questions.judge_drawn(found, scene, r)] for _ in range(form['judgements'])]
    scene, picture = see.look(r, paintings, mix)
    snapped = all(size in scenes.SIZES for *_, size in scene.sprites)
    if len(scene.sprites) == 1 and not snapped:  # neither small nor big nor what lies between
        scene = scenes.training_scene(r, mix)
        picture = scenes.render(scene)
    return picture, scene, talks(scene, r, form)


def collate(examples, vocabulary, form):
    """Pictures, scenes and padded rows: ids, segments, positions, wanted ids and their weights [b, n]."""
    rows = []
    for _, _, conversations in examples:
        row = []
        for number, turns in enumerate(conversations):
            ids, wanted = conversation(vocabulary, turns)
            answers, long = {answer for _, answer in turns}, sum(w >= 0 for w in wanted) > 6
            verdict = answers <= {'Yes', 'No'}
            weight = form['verdict_weight'] if verdict else 1.0 if long else SHORT_WEIGHT
            row += [(i, number, at, w, weight) for at, (i, w) in enumerate(zip(ids, wanted))]
        rows.append(row)
    length, nothing = max(map(len, rows)), (vocabulary.token_to_id(words.PAD), -1, 0, pictures.UNKNOWN, 0.0)
    padded = [zip(*(row + [nothing] * (length - len(row)))) for row in rows]
    columns = [torch.tensor([list(column) for column in same]) for same in zip(*padded)]
    looks, shown, _ = zip(*examples)
    return torch.from_numpy(pictures.normalised(looks)), shown, *columns


class Stage(training.Stage):
    columns = 'draw_loss', 'choice_loss', 'caption_loss', 'answer_loss', 'tower'
    checks = (*draw.CHECKS, 'caption_loss', 'answer_loss', 'tower')

    def __init__(self, settings, world):
        super().__init__(settings, world.device)
        self.vocabulary, self.work = world.vocabulary, world.work
        self.mix = scenes.Mix(**settings['talk_mix'])
        janus = world.build()
        self.module = Joint(janus, see.Tower(janus)).to(self.device)
        self.load(world)
        self.names = names(world.vocabulary).to(self.device)
        if settings['fuse']:
            model.fuse(self.module)
        self.drawing = draw.Drawing(self.module.drawer, world.vocabulary, settings, self.device)
        self.paintings = painted.paintings(world, settings['paintings'], self.mix)
        self.drawings = judged.pictures(world, settings['judged'], scenes.Mix(**settings['mix']))

    def load(self, world):
        """The weights to go on from."""
        for name, part in (('draw', self.module.drawer), ('see', self.module.tower)):
            world.load(part, name)
        self.module.start()

    def slow(self):
        return self.module.tower.parameters()

    def form(self, progress):
        """How it is talked about a picture. At first pictures are described: until things are named no verdict
        can be right, and guesses drown what could be learned."""
        return self.settings['judging' if progress >= self.settings['judge_from'] else 'describing']

    def loss(self, progress):
        with self.autocast():
            draw_loss, drawn, (_, sprite_loss, choice_loss, _) = self.drawing.loss(self.random, progress)
        form = self.form(progress)
        examples = [
            example(self.random, self.paintings, self.drawings, self.mix, form)
            for _ in range(self.settings['talks'])
        ]
        talk_loss, figures = self._talk(collate(examples, self.vocabulary, form))
        return draw_loss + self.settings['talk_weight'] * talk_loss, drawn, (sprite_loss, choice_loss, *figures)

    def _talk(self, examples):
        """The loss of the answers, of the patches' words and of the tower's own task; and for the log the losses of long and short
        answers' tokens, and the tower's hits."""
        pixels, shown, *columns = examples
        ids, segments, positions, wanted, weights = (column.to(self.device) for column in columns)
        before, after = (
            torch.tensor(
                self.vocabulary.encode(text, add_special_tokens=text == words.BEFORE_IMAGE).ids,
                device=self.device,
            )
            for text in (words.BEFORE_IMAGE, words.AFTER_IMAGE)
        )
        chosen = wanted >= 0
        with self.autocast():
            hidden, answers, patches = self.module(
                pixels.to(self.device), before, after, ids, segments, positions
            )
            logits = self.module.lm_head(hidden[chosen])
        losses, weights = F.cross_entropy(logits.float(), wanted[chosen], reduction='none'), weights[chosen]
        known = [i for i, scene in enumerate(shown) if scene]
        targets = [part.to(self.device) for part in see.targets([shown[i] for i in known])]
        tower_loss, (hits, *_) = see.loss([head[known] for head in answers], *targets)
        word_loss = self.module.word_loss(patches[known], self.names, targets[0], targets[2])
        long, total = weights == 1, (losses * weights).sum() / weights.sum()
        total = total + self.settings['word_weight'] * word_loss + TOWER_WEIGHT * tower_loss
        return total, (losses[long].mean(), losses[~long].mean(), hits)

    def validate(self):
        r, shown = random.Random(8), []
        while len(shown) < self.settings['talks']:
            shown.append(scenes.unseen_scene(r, self.mix))
        form = self.form(1.0)
        rows = [(scenes.render(scene), scene, talks(scene, r, form)) for scene in shown]
        _, figures = self._talk(collate(rows, self.vocabulary, form))
        with self.autocast():
            return *self.drawing.validate(self.work), *figures

    def state(self):
        return dict(super().state(), drawing=self.drawing.state())

    def restore(self, state):
        super().restore(state)
        self.drawing.restore(state['drawing'])


class Finetune(Stage):
    """More of the joint training, from its weights."""

    def load(self, world):
        world.load(self.module, 'joint')


class Polish(Finetune):
    """A short end at low rates, from the mean of both: the joint training knows better what is asked for,
    the fine-tuned one what it looks like."""

    def load(self, world):
        ends = [training.averaged(world.work, name) for name in ('joint', 'finetune')]
        if all(ends):
            self.module.load_state_dict({k: (v + ends[1][k]) / 2 for k, v in ends[0].items()})
