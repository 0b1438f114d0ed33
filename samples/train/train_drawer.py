"""Trains the transformer to write image tokens after a prompt, exactly as inference reads them: no padding in the prompts.

A blank prompt is trained towards all tokens being equally likely, not towards pictures of anything. This world is all but
deterministic; a small model of "anything" is wrong about rare tokens by large factors, which guidance raises to the fifth power
(pictures fell apart at a weight of 2.5). With even odds to push away from, guidance only sharpens what the prompt says."""
import numpy as np
import torch
from tokenizers import Tokenizer

import codebook
import model
import scenes
import tokenizer as words
import training
import wording

POOL = 16  # batches drawn at once, then sorted by prompt length
REWORDED, UNCONDITIONAL = 0.25, 0.1
# A sprite's first token carries nearly all of what the prompt decides, but is one of dozens that then follow by themselves: left
# alone, the model draws perfect sprites of anything. Those tokens weigh more, at the end still enough for guidance, which prefers the
# likelier, to begin a sprite at its first possible place instead of never. And many batches are short: pictures cut after the row of
# tokens in which the first sprite begins.
START_WEIGHT, LAST_START_WEIGHT = 20.0, 4.0
SHORT_UNTIL = 0.93  # of the training
SHORT_SHARE, SHORT_FACTOR = 0.5, 2.5  # of the batches; examples in one, against a batch of whole pictures
SEVERAL_IN_SHORT = 0.35  # scenes of several sprites kept there: what they show is as well learned from one


def examples(r, vocabulary, count, short, mix):
    """(prompt ids, image tokens, marks of sprites' first tokens). Some prompts are blanked as guidance does it: all but BOS and
    <begin_of_image> becomes the pad token."""
    pad = vocabulary.token_to_id(words.PAD)
    for _ in range(count):
        scene = scenes.training_scene(r, mix)
        if short and len(scene.sprites) > 1 and r.random() >= SEVERAL_IN_SHORT:
            continue
        caption = wording.reword(scene, r) if r.random() < REWORDED else scene.caption
        prompt = vocabulary.encode(words.prompt(caption)).ids
        if r.random() < UNCONDITIONAL:
            prompt = [prompt[0]] + [pad] * (len(prompt) - 2) + [prompt[-1]]
        tokens, starts = codebook.tokens(scene), codebook.choices(scene)
        end = (starts.argmax() // scenes.GRID + 1) * scenes.GRID if short else len(tokens)
        yield prompt, tokens[:end], starts[:end]


def batches(r, vocabulary, size, short, mix=scenes.MIX):
    """Endless (prompts [b, p], tokens [b, n], marks [b, n]): rows of one length wait for each other, so nothing is padded."""
    waiting = {}
    while True:
        for example in examples(r, vocabulary, size * POOL, short, mix):
            key = len(example[0]), len(example[1])
            rows = waiting.setdefault(key, [])
            rows.append(example)
            if len(rows) == size:
                del waiting[key]
                yield tuple(torch.from_numpy(np.stack(column)) for column in zip(*rows))


class Batches:
    """Whole and short batches in their order, and the loss of the next one."""

    def __init__(self, r, vocabulary, size, hard):
        mix, self.short_share, self.start_weight = (scenes.HARD, SHORT_SHARE / 2, LAST_START_WEIGHT) if hard else (scenes.MIX, SHORT_SHARE, START_WEIGHT)
        self.pad = vocabulary.token_to_id(words.PAD)
        self.whole = batches(r, vocabulary, size, False, mix)
        self.short = batches(r, vocabulary, int(size * SHORT_FACTOR), True, mix)

    def loss(self, drawer, run):
        """With it, for the log: the mean loss of sprites' tokens, of their first ones and of blank prompts, and the batch's pictures and tokens."""
        # By the step's number, so that processes side by side take batches of the same kind and cost.
        short = run.progress < SHORT_UNTIL and run.step % 4 < 4 * self.short_share
        prompts, tokens, starts = next(self.short if short else self.whole)
        with torch.autocast('cpu', torch.bfloat16):
            logits = drawer(prompts, tokens[:, :-1])
        chances = logits.float().log_softmax(-1)
        losses = -chances.gather(-1, tokens[..., None]).squeeze(-1)
        blank = (prompts[:, 1] == self.pad)[:, None]
        weights = torch.where(starts, max(LAST_START_WEIGHT, self.start_weight * (1 - run.progress)), 1.0)
        total = torch.where(blank, -chances.mean(-1), losses * weights).mean()
        sprites, starts, blank = tokens >= len(codebook.BACKGROUNDS), starts & ~blank, blank.expand_as(tokens)
        return total, *(losses[mask].mean() for mask in (sprites & ~blank, starts)), -chances[blank].mean(), tokens.shape


def main():
    parser = training.arguments(__doc__)
    parser.add_argument('--hard', action='store_true', help='more of the scenes that a trained model still gets wrong, and fewer short batches')
    options = parser.parse_args()
    torch.set_num_threads(1)
    vocabulary = Tokenizer.from_file(str(options.work / 'tokenizer.json'))
    drawer = model.Drawer(model.load(options.start), trained=True) if options.start else model.Drawer(model.build(vocabulary))
    model.fuse(drawer)
    run = training.Run(options, 'drawer', drawer, drawer.matrices(), ('tokens', 'sprite_loss', 'start_loss', 'blank_loss'))
    drawing = Batches(run.random, vocabulary, options.batch, options.hard)
    while run.going():
        total, *figures, (pictures, tokens) = drawing.loss(drawer, run)
        run.update(total, pictures, tokens, *figures)


if __name__ == '__main__':
    main()
