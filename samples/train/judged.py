"""Pictures that should have shown a scene, with what detect.py finds in them: the model learns to tell its good drawings from its bad ones.

Two kinds: scenes painted from spoilt tokens, which need no trained transformer, and pictures the model has drawn from training prompts."""
import argparse
import pathlib
import random

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import JanusForConditionalGeneration

import codebook
import detect
import draw
import painted
import scenes

FILES = 'judged-*.pt'


def spoil(scene, r):
    """The scene's tokens with something wrong in them, as a model draws that loses its way."""
    tokens = codebook.tokens(scene).reshape(scenes.GRID, scenes.GRID)
    thing, x, y, size = r.choice(scene.sprites)
    n = size // scenes.PATCH
    area = tokens[y // scenes.PATCH:, x // scenes.PATCH:][:n, :n]
    other = codebook.tables()[r.choice(scenes.EMOJI + scenes.SHAPE_THINGS).name, size]
    background = codebook.BACKGROUNDS[scene.background]
    form, cut = r.random(), r.randint(1, n - 1)
    if form < 0.3:  # goes on as something else
        area[cut:] = np.where(other == codebook.TRANSPARENT, background, other)[cut:]
    elif form < 0.5:  # ... to the right
        area[:, cut:] = np.where(other == codebook.TRANSPARENT, background, other)[:, cut:]
    elif form < 0.7:  # stops
        (area if r.random() < 0.5 else area.T)[cut:] = background
    elif form < 0.85:  # patches of anything
        wrong = np.array([[r.random() < 0.35 for _ in range(n)] for _ in range(n)])
        area[wrong] = [r.randrange(len(codebook.BACKGROUNDS), codebook.CODES) for _ in range(wrong.sum())]
    else:  # a piece of something where there should be nothing
        row, column = r.randint(0, scenes.GRID - n), r.randint(0, scenes.GRID - n)
        piece = tokens[row:row + n, column:column + n]
        piece[cut:] = np.where(other == codebook.TRANSPARENT, piece, other)[cut:]
    return tokens.reshape(-1)


def load(work):
    """A list of (Scene, picture, detect.Found)."""
    return [one for path in sorted(work.glob(FILES)) for one in torch.load(path, weights_only=False)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', type=pathlib.Path)
    parser.add_argument('work', type=pathlib.Path, help='directory to which judged-NAME.pt is added')
    parser.add_argument('name')
    parser.add_argument('--count', type=int, default=1500)
    parser.add_argument('--drawn', action='store_true', help='by the model, instead of spoilt')
    options = parser.parse_args()
    torch.set_num_threads(1)
    janus = JanusForConditionalGeneration.from_pretrained(options.model, dtype=torch.float32).eval()
    vocabulary = Tokenizer.from_file(str(options.model / 'tokenizer.json'))
    r = random.Random(options.name)
    torch.manual_seed(r.randrange(1 << 30))
    wanted = [scenes.training_scene(r, scenes.HARD) for _ in range(options.count)]
    if options.drawn:
        wanted = list({scene.caption: scene for scene in wanted}.values())
        with torch.autocast('cpu', torch.bfloat16):
            drawn = draw.draw(janus, vocabulary, [scene.caption for scene in wanted], guidance=3.0)
    else:
        drawn = [painted.paint(janus, spoil(scene, r)[None])[0] for scene in wanted]
    result = [(scene, picture, detect.detect(picture)) for scene, picture in zip(wanted, drawn)]
    torch.save(result, options.work / f'judged-{options.name}.pt')
    print(f'{sum(found.shows(detect.claims.parse(scene.caption)) for scene, _, found in result)} of {len(result)} show what they should')


if __name__ == '__main__':
    main()
