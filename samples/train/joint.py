"""Trains drawing and understanding together, in the same transformer: every step is a batch of pictures to
draw and one to talk about.

Talking about a picture costs a prefix of two hundred tokens (system prompt and image) for an answer of one
to fifteen. So several conversations share a prefix: each sees the prefix and itself, at the positions it
would have alone, which makes the gradients those of separate sequences at a third of the cost.
"""

import random

import torch
import torch.nn.functional as F
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

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
import wording

SHORT_ANSWERS = 2  # conversations about a picture, besides its captions and judgements
SEVERAL_TURNS = 0.12  # of the conversations go on with a second question
SHORT_WEIGHT = 2.0  # of the tokens of a short answer against a caption's
JUDGED = 0.3  # of the pictures are failed drawings then, about which only "Does this picture show ...?" is asked
TOWER_WEIGHT = 0.1  # of the tower's own task, which it keeps
WORD_SCALE = 20.0  # of cosines with the vocabulary
HIDE = -30000.0  # what the mask adds to a logit


def _tokens(vocabulary, words_for):
    """Of everything that a patch can show, of a thing (pictures.THINGS) or behind them of a background's
    colour, a list of each of its words' tokens."""
    said = [()] * pictures.THING_CLASSES + [(colour,) for colour in scenes.COLOURS]
    for thing, number in pictures.THINGS.items():
        said[number] = words_for(thing)
    return [[vocabulary.encode(f' {w}', add_special_tokens=False).ids for w in texts] for texts in said]


def names(vocabulary):
    """The tokens of the name of what a patch shows, as shares [things and backgrounds, vocabulary]."""
    said = _tokens(vocabulary, lambda thing: (thing.name,))
    shares = torch.zeros(len(said), vocabulary.get_vocab_size())
    for share, texts in zip(shares, said):
        for ids in texts:
            for i in ids:
                share[i] += 1 / len(ids)
    return shares


def naming(vocabulary):
    """Whether a token is of any word for what a patch shows, [things and backgrounds, vocabulary]."""
    said = _tokens(vocabulary, wording.words_for)
    result = torch.zeros(len(said), vocabulary.get_vocab_size(), dtype=torch.bool)
    for row, texts in zip(result, said):
        for ids in texts:
            row[ids] = True
    # "es" ends "dishes", and "Does": half of what nothing in a picture matched was this.
    result[:, vocabulary.encode(f'\n{questions.show("")}', add_special_tokens=False).ids] = False
    return result


class Joint(torch.nn.Module):
    def __init__(self, janus, tower, finder=(0, 0)):
        """`finder` is the layer and the head that learn to look from a word to the patches that it names."""
        super().__init__()
        self.drawer, self.tower, self.finder = model.Drawer(janus), tower, finder
        self.aligner, self.lm_head = janus.model.aligner, janus.lm_head

    def start(self):
        """Gives the head weights to be trained from: what is read is the easiest to say."""
        with torch.no_grad():
            self.lm_head.weight.copy_(0.1 * self.drawer.language_model.embed_tokens.weight)

    def forward(self, pixels, before, after, rows, segments, positions):
        """Hidden states [b, n] of rows of conversations [b, n] about pictures, the tower's answers, what the
        transformer is given of the patches, and how the finder looks at patches and the first token of all
        [b, n, patches], [b, n], as logarithms. Segments number a row's conversations."""
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
        out = transformer(
            inputs_embeds=inputs,
            attention_mask=mask,
            position_ids=positions,
            use_cache=False,
            output_hidden_states=True,
        )
        looks = self._looks(out.hidden_states[self.finder[0]], mask, positions)[:, prefix:]
        first = before.shape[-1]
        return (
            out.last_hidden_state[:, prefix:],
            self.tower.answer(seen),
            patches,
            (looks[..., first : first + patches.shape[1]], looks[..., 0]),
        )

    def _looks(self, hidden, mask, positions):
        """The finder's attention [b, n, n] as logarithms, from its layer's input [b, n, hidden]."""
        transformer, (layer, head) = self.drawer.language_model, self.finder
        block = transformer.layers[layer]
        normed = block.input_layernorm(hidden)
        columns = slice(head * model.HEAD, (head + 1) * model.HEAD)
        q, k = (
            F.linear(normed, projection.weight[columns])[:, None]
            for projection in (block.self_attn.q_proj, block.self_attn.k_proj)
        )
        q, k = apply_rotary_pos_emb(q, k, *transformer.rotary_emb(hidden, positions))
        scores = (q @ k.transpose(2, 3)).float() * model.HEAD**-0.5
        return (scores + mask).log_softmax(-1)[:, 0]

    def find_loss(self, looks, ids, naming, shown):
        """Words [b, n] are to look at the patches [b, 144] that they name, or where nothing is what they name
        at the first token. What a verdict needs is then in reach: before it had to be found from Yes and No
        alone which of 144 patches to compare, and was only for backgrounds and places."""
        patches, first = looks
        named = naming.T[ids].gather(2, shown[:, None].expand_as(patches))
        found = torch.where(named.any(-1), torch.where(named, patches, HIDE).logsumexp(-1), first)
        return -found[naming.any(0)[ids]].mean()

    def word_loss(self, patches, names, things, shown):
        """Of patches [b, 144, hidden] as words: each is to look like the name of what it shows [b, 144]. Then
        the transformer reads pictures as it reads prompts."""
        vectors = F.normalize(self.drawer.language_model.embed_tokens.weight.detach(), dim=-1)
        said = (WORD_SCALE * F.normalize(patches.float(), dim=-1) @ vectors.T).log_softmax(-1)
        weights = see.weights(things)
        return -((names[shown] * said).sum(-1) * weights).sum() / weights.sum()

    def matrices(self):
        """What Muon trains."""
        aligner = [p for p in self.aligner.parameters() if p.ndim == 2]
        return [*self.drawer.matrices(), *self.tower.matrices(), *aligner]


def verdicts(vocabulary, asked, right):
    """The verdict so far after every token of "Does this picture show ...?", given what would be right: Yes up
    to where the two part, No from where they meet again, and UNKNOWN in between, as "a cat above" may go on
    rightly or not. The verdict at the end alone is one bit for twenty tokens, from which little was learned.
    """
    yes, no = (vocabulary.token_to_id(f'\u0120{word}') for word in ('Yes', 'No'))
    same, tail = _alike(asked, right), _alike(asked[::-1], right[::-1])
    met = max(same, len(asked) - tail - 1)
    return [yes if i < same else no if i >= met else pictures.UNKNOWN for i in range(len(asked))]


def _alike(a, b):
    """How many of the first are the same in both."""
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def conversation(vocabulary, turns):
    """Ids, for every id the one to predict after it, and whether that is an answer's: in questions it is the
    verdict so far where a right question is known, and else UNKNOWN."""
    ids, wanted, answers = [], [], []
    for i, (question, answer, *right) in enumerate(turns):
        asked = vocabulary.encode(words.turn(question, first=i == 0), add_special_tokens=False).ids
        answered = vocabulary.encode(f' {answer}', add_special_tokens=False).ids + [
            vocabulary.token_to_id(words.EOS)
        ]
        known = [pictures.UNKNOWN] * len(asked)
        if any(right):
            meant = vocabulary.encode(words.turn(right[0], first=i == 0), add_special_tokens=False).ids
            known = verdicts(vocabulary, asked, meant)
        ids += asked + answered
        wanted += known[:-1] + answered + [pictures.UNKNOWN]
        answers += [False] * (len(asked) - 1) + [True] * (len(answered) + 1)
    return ids, wanted, answers


def talks(scene, r, form):
    """Conversations about a scene: lists of (question, answer), judgements with the right question
    behind them (questions.judge_beside). Half of the judgements are Yes."""
    asked = [questions.describe(scene, r) for _ in range(form['captions'])]
    asked += [questions.judge_beside(scene, r, answer=r.random() < 0.5) for _ in range(form['judgements'])]
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
            ids, wanted, answers = conversation(vocabulary, turns)
            long = sum(w >= 0 for w, answer in zip(wanted, answers) if answer) > 6
            verdict = all(answer in ('Yes', 'No') for _, answer, *_ in turns)
            weight = form['verdict_weight'] if verdict else 1.0 if long else SHORT_WEIGHT
            weights = [weight if answer else form['running_weight'] for answer in answers]
            row += [(i, number, at, w, of) for at, (i, w, of) in enumerate(zip(ids, wanted, weights))]
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
        self.module = Joint(janus, see.Tower(janus), settings['finder']).to(self.device)
        self.load(world)
        self.names, self.naming = (of(world.vocabulary).to(self.device) for of in (names, naming))
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
            hidden, answers, patches, looks = self.module(
                pixels.to(self.device), before, after, ids, segments, positions
            )
            logits = self.module.lm_head(hidden[chosen])
        losses, weights = F.cross_entropy(logits.float(), wanted[chosen], reduction='none'), weights[chosen]
        known = [i for i, scene in enumerate(shown) if scene]
        targets = [part.to(self.device) for part in see.targets([shown[i] for i in known])]
        tower_loss, (hits, *_) = see.loss([head[known] for head in answers], *targets)
        things, _, backgrounds = targets
        classes = torch.where(things > 0, things, pictures.THING_CLASSES + backgrounds[:, None])
        word_loss = self.module.word_loss(patches[known], self.names, things, classes)
        find_loss = self.module.find_loss([look[known] for look in looks], ids[known], self.naming, classes)
        long, total = weights == 1, (losses * weights).sum() / weights.sum()
        total = total + self.settings['word_weight'] * word_loss + TOWER_WEIGHT * tower_loss
        total = total + self.settings['find_weight'] * find_loss
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
