"""Trains the transformer to write image tokens after a prompt, exactly as inference reads them: no padding in the prompts."""
import numpy as np
import torch
import torch.nn.functional as F
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
# alone, the model draws perfect sprites of anything. Until this part of the training those tokens weigh more (decreasing, or
# sprites would stand too early), and most batches are short: pictures cut after the row of tokens in which the first sprite begins.
START_WEIGHT, START_UNTIL = 20.0, 0.85
SHORT_SHARE, SHORT_FACTOR = 0.75, 2.5  # of the batches; examples in one, against a batch of whole pictures
SEVERAL_IN_SHORT = 0.35  # scenes of several sprites kept there: what they show is as well learned from one


def examples(r, vocabulary, tables, count, short):
    """(prompt ids, image tokens, marks of sprites' first tokens). Some prompts are blanked for guidance: all but BOS and
    <begin_of_image> becomes the pad token."""
    pad = vocabulary.token_to_id(words.PAD)
    for _ in range(count):
        scene = scenes.training_scene(r)
        if short and len(scene.sprites) > 1 and r.random() >= SEVERAL_IN_SHORT:
            continue
        caption = wording.reword(scene, r) if r.random() < REWORDED else scene.caption
        prompt = vocabulary.encode(words.prompt(caption)).ids
        if r.random() < UNCONDITIONAL:
            prompt = [prompt[0]] + [pad] * (len(prompt) - 2) + [prompt[-1]]
        tokens, starts = codebook.tokens(scene, tables), codebook.starts(scene, tables)
        end = (starts.argmax() // scenes.GRID + 1) * scenes.GRID if short else len(tokens)
        yield prompt, tokens[:end], starts[:end]


def batches(r, vocabulary, tables, size, short):
    """Endless (prompts [b, p], tokens [b, n], marks [b, n]): rows of one length wait for each other, so nothing is padded."""
    waiting = {}
    while True:
        for example in examples(r, vocabulary, tables, size * POOL, short):
            key = len(example[0]), len(example[1])
            rows = waiting.setdefault(key, [])
            rows.append(example)
            if len(rows) == size:
                del waiting[key]
                yield tuple(torch.from_numpy(np.stack(column)) for column in zip(*rows))


def main():
    options = training.arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    vocabulary = Tokenizer.from_file(str(options.work / 'tokenizer.json'))
    tables = torch.load(options.work / 'codebook.pt', weights_only=False)['tables']
    drawer = model.Drawer(model.build(vocabulary))
    run = training.Run(options, 'drawer', drawer, drawer.matrices(), ('tokens', 'sprite_loss', 'start_loss'))
    whole = batches(run.random, vocabulary, tables, options.batch, short=False)
    short = batches(run.random, vocabulary, tables, int(options.batch * SHORT_FACTOR), short=True)
    while run.going():
        early = run.progress < START_UNTIL
        # By the step's number, so that processes side by side take batches of the same kind and cost.
        prompts, tokens, starts = next(short if early and run.step % 4 < 4 * SHORT_SHARE else whole)
        with torch.autocast('cpu', torch.bfloat16):
            logits = drawer(prompts, tokens[:, :-1])
        losses = F.cross_entropy(logits.float().flatten(0, 1), tokens.flatten(), reduction='none')
        sprites, starts = (tokens >= len(codebook.BACKGROUNDS)).flatten(), starts.flatten()
        weights = 1 + (START_WEIGHT - 1) * max(0, 1 - run.progress / START_UNTIL) * starts
        run.update((losses * weights).mean(), len(tokens), tokens.shape[1], losses[sprites].mean(), losses[starts].mean())


if __name__ == '__main__':
    main()
