"""Trains drawing and understanding together, in the same transformer: every step is a batch of pictures to draw and one to talk about.

Talking about a picture costs a prefix of two hundred tokens (system prompt and image) for an answer of one to fifteen. So several
conversations share a prefix: each sees the prefix and itself, at the positions it would have alone, which makes the gradients those of
separate sequences at a third of the cost."""
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import judged
import model
import painted
import pictures
import questions
import scenes
import tokenizer as words
import train_drawer
import train_tower
import training

JUDGEMENTS, SHORT_ANSWERS = 4, 2  # conversations about a picture, besides its caption; half of the judgements are Yes
SEVERAL_TURNS = 0.12  # of the conversations go on with a second question
SHORT_WEIGHT, VERDICT_WEIGHT = 2.0, 4.0  # of the tokens of a short answer and of Yes or No against a caption's
JUDGED = 0.3  # of the pictures are failed drawings, about which only "Does this picture show ...?" is asked
TOWER_WEIGHT = 0.1  # of the tower's own task, which it keeps
MIX = scenes.Mix(one=0.4, several=0.35, plain=0.35, small=0.12, big=0.28, shapes=0.45)  # of the scenes to talk about
HIDE = -30000.0  # what the mask adds to a logit


class Joint(torch.nn.Module):
    def __init__(self, janus, tower):
        super().__init__()
        self.drawer, self.tower = model.Drawer(janus, trained=True), tower
        self.aligner, self.lm_head = janus.model.aligner, janus.lm_head

    def forward(self, pixels, before, after, rows, segments, positions):
        """Hidden states [b, n] of rows of conversations [b, n] about pictures, and the tower's answers. Segments number a row's conversations."""
        seen = self.tower.vision(pixels).last_hidden_state
        transformer = self.drawer.language_model
        embed = transformer.embed_tokens
        count = len(pixels)
        inputs = torch.cat([embed(before).expand(count, -1, -1), self.aligner(seen), embed(after).expand(count, -1, -1), embed(rows)], 1)
        prefix, total = inputs.shape[1] - rows.shape[1], inputs.shape[1]
        allowed = torch.ones(count, total, total, dtype=torch.bool).tril()
        allowed[:, prefix:, prefix:] &= segments[:, :, None] == segments[:, None]
        mask = torch.where(allowed, 0.0, HIDE)[:, None]
        positions = torch.cat([torch.arange(prefix).expand(count, -1), prefix + positions], 1)
        hidden = transformer(inputs_embeds=inputs, attention_mask=mask, position_ids=positions, use_cache=False).last_hidden_state
        return hidden[:, prefix:], self.tower.answer(seen)

    def matrices(self):
        """What Muon trains."""
        return [*self.drawer.matrices(), *self.tower.matrices(), *(p for p in self.aligner.parameters() if p.ndim == 2)]


def conversation(vocabulary, turns):
    """Ids, and for every id the one to predict after it (UNKNOWN outside answers)."""
    ids, wanted = [], []
    for i, (question, answer) in enumerate(turns):
        asked = vocabulary.encode(words.turn(question, first=i == 0), add_special_tokens=False).ids
        answered = vocabulary.encode(f' {answer}', add_special_tokens=False).ids + [vocabulary.token_to_id(words.EOS)]
        ids += asked + answered
        wanted += [pictures.UNKNOWN] * (len(asked) - 1) + answered + [pictures.UNKNOWN]
    return ids, wanted


def talks(scene, r):
    """Conversations about a scene: lists of (question, answer)."""
    asked = [questions.describe(scene, r)] + [questions.judge(scene, r, answer=i % 2 == 0) for i in range(JUDGEMENTS)] + [questions.ask(scene, r) for _ in range(SHORT_ANSWERS)]
    result = []
    while asked:
        turns = 2 if len(asked) > 1 and r.random() < SEVERAL_TURNS else 1
        result.append([asked.pop(r.randrange(len(asked))) for _ in range(turns)])
    return result


def example(r, paintings, drawings):
    """A picture, its scene or None where there is none, and conversations."""
    if drawings and r.random() < JUDGED:
        scene, picture, found = r.choice(drawings)
        return picture, None, [[questions.judge_drawn(found, scene, r)] for _ in range(JUDGEMENTS)]
    scene, picture = train_tower.look(r, paintings, MIX)
    snapped = all(size in scenes.SIZES for *_, size in scene.sprites)
    if len(scene.sprites) == 1 and not snapped:  # neither small nor big nor what lies between
        scene = scenes.training_scene(r, MIX)
        picture = scenes.render(scene)
    return picture, scene, talks(scene, r)


def batch(r, vocabulary, paintings, drawings, count):
    """Pictures, scenes and padded rows: ids, segments, positions, wanted ids and their weights [b, n]."""
    looks, shown, rows = [], [], []
    for _ in range(count):
        picture, scene, conversations = example(r, paintings, drawings)
        row = []
        for number, turns in enumerate(conversations):
            ids, wanted = conversation(vocabulary, turns)
            answers = {answer for _, answer in turns}
            weight = VERDICT_WEIGHT if answers <= {'Yes', 'No'} else 1.0 if sum(w >= 0 for w in wanted) > 6 else SHORT_WEIGHT
            row += [(i, number, at, w, weight) for at, (i, w) in enumerate(zip(ids, wanted))]
        looks.append(picture)
        shown.append(scene)
        rows.append(row)
    length = max(map(len, rows))
    padded = [row + [(vocabulary.token_to_id(words.PAD), -1, 0, pictures.UNKNOWN, 0.0)] * (length - len(row)) for row in rows]
    ids, segments, positions, wanted, weights = (torch.tensor([list(column) for column in columns]) for columns in zip(*(zip(*row) for row in padded)))
    return torch.from_numpy(pictures.normalised(looks)), shown, ids, segments, positions, wanted, weights


def talk_loss(joint, vocabulary, examples):
    """Of the answers and of the tower's own task; and for the log the losses of long and short answers' tokens, and the tower's hits."""
    pixels, shown, ids, segments, positions, wanted, weights = examples
    before, after = (torch.tensor(vocabulary.encode(text, add_special_tokens=text == words.BEFORE_IMAGE).ids) for text in (words.BEFORE_IMAGE, words.AFTER_IMAGE))
    with torch.autocast('cpu', torch.bfloat16):
        hidden, answers = joint(pixels, before, after, ids, segments, positions)
        chosen = wanted >= 0
        logits = joint.lm_head(hidden[chosen])
    losses, weights = F.cross_entropy(logits.float(), wanted[chosen], reduction='none'), weights[chosen]
    known = [i for i, scene in enumerate(shown) if scene]
    tower_loss, (hits, *_) = train_tower.loss([head[known] for head in answers], *train_tower.targets([shown[i] for i in known]))
    long = weights == 1
    return (losses * weights).sum() / weights.sum() + TOWER_WEIGHT * tower_loss, losses[long].mean(), losses[~long].mean(), hits


def main():
    parser = training.arguments(__doc__)
    parser.add_argument('--talks', type=int, default=12, help='pictures to talk about in a step, besides --batch to draw')
    options = parser.parse_args()
    torch.set_num_threads(1)
    vocabulary = Tokenizer.from_file(str(options.work / 'tokenizer.json'))
    janus = model.load(options.start) if options.start else model.build(vocabulary)
    tower = train_tower.Tower(janus)
    joint = Joint(janus, tower)
    # Every training there is in the work directory; of a model directory to start from only the tower's heads are missing, which are quick.
    for name, part in (('drawer', joint.drawer), ('tower', tower)):
        if (options.work / f'{name}.pt').exists():
            part.load_state_dict(torch.load(options.work / f'{name}.pt', weights_only=False)['averaged'])
    model.fuse(joint)
    run = training.Run(options, 'joint', joint, joint.matrices(), ('draw_loss', 'start_loss', 'caption_loss', 'answer_loss', 'tower'), slow=tower.parameters())
    paintings, drawings = painted.load(options.work / 'paintings.pt'), judged.load(options.work)
    drawing = train_drawer.Batches(run.random, vocabulary, options.batch, hard=True)
    while run.going():
        draw_loss, sprite_loss, start_loss, _, (drawn, _) = drawing.loss(joint.drawer, run)
        spoken_loss, *figures = talk_loss(joint, vocabulary, batch(run.random, vocabulary, paintings, drawings, options.talks))
        run.update(draw_loss + spoken_loss, drawn, sprite_loss, start_loss, *figures)


if __name__ == '__main__':
    main()
