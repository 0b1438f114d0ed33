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


def examples(r, vocabulary, tables, count):
    """(prompt ids, image tokens). Some prompts are blanked for guidance: all but BOS and <begin_of_image> becomes the pad token."""
    pad = vocabulary.token_to_id(words.PAD)
    for _ in range(count):
        scene = scenes.training_scene(r)
        caption = wording.reword(scene, r) if r.random() < REWORDED else scene.caption
        prompt = vocabulary.encode(words.prompt(caption)).ids
        if r.random() < UNCONDITIONAL:
            prompt = [prompt[0]] + [pad] * (len(prompt) - 2) + [prompt[-1]]
        yield prompt, codebook.tokens(scene, tables)


def batches(r, vocabulary, tables, size):
    """Endless (prompts [b, p], tokens [b, 144]); a batch holds prompts of one length and close to `size` of them."""
    waiting = {}
    while True:
        for prompt, tokens in examples(r, vocabulary, tables, size * POOL):
            rows = waiting.setdefault(len(prompt), [])
            rows.append((prompt, tokens))
            if len(rows) == size:
                del waiting[len(prompt)]
                yield torch.tensor([p for p, _ in rows]), torch.from_numpy(np.stack([t for _, t in rows]))


def main():
    options = training.arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    vocabulary = Tokenizer.from_file(str(options.work / 'tokenizer.json'))
    tables = torch.load(options.work / 'codebook.pt', weights_only=False)['tables']
    drawer = model.Drawer(model.build(vocabulary))
    run = training.Run(options, 'drawer', drawer, drawer.matrices(), ('sprite_loss',))
    source = batches(run.random, vocabulary, tables, options.batch)
    while run.going():
        prompts, tokens = next(source)
        with torch.autocast('cpu', torch.bfloat16):
            logits = drawer(prompts, tokens[:, :-1])
        losses = F.cross_entropy(logits.float().flatten(0, 1), tokens.flatten(), reduction='none')
        sprites = (tokens >= len(codebook.BACKGROUNDS)).flatten()
        run.update(losses.mean(), len(tokens), losses[sprites].mean())


if __name__ == '__main__':
    main()
