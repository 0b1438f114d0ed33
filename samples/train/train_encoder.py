"""Trains the VQ encoder, pixels to codes, after the decoder: the codes are known, so it learns to name them (no straight-through
gradients, no dead codes). As in the reference the nearest code by cosine counts, so the loss is a classification by cosine."""
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import codebook
import model
import scenes
import train_painter
import training

SHARPNESS = 30.0  # logits are cosines times this
WHOLE_FROM = 0.4


def main():
    options = training.arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    vocabulary = Tokenizer.from_file(str(options.work / 'tokenizer.json'))
    tables = torch.load(options.work / 'codebook.pt', weights_only=False)['tables']
    codes = F.normalize(torch.load(options.work / 'painter.pt', weights_only=False)['averaged']['codes.weight'], dim=-1)
    encoder = model.Encoder(model.build(vocabulary))
    run = training.Run(options, 'encoder', encoder, encoder.matrices(), ('sprite_accuracy',))
    while run.going():
        whole = run.progress >= WHOLE_FROM
        wanted, pixels = train_painter.batch(run.random, tables, options.batch // 4 if whole else options.batch, scenes.GRID if whole else train_painter.CROP)
        with torch.autocast('cpu', torch.bfloat16):
            vectors = encoder(pixels)
        logits = SHARPNESS * F.normalize(vectors.float(), dim=1).permute(0, 2, 3, 1).flatten(0, 2) @ codes.T
        wanted = wanted.flatten()
        sprites = wanted >= len(codebook.BACKGROUNDS)
        right = (logits.detach().argmax(-1) == wanted)[sprites].float().mean()
        run.update(F.cross_entropy(logits, wanted), len(pixels), right)


if __name__ == '__main__':
    main()
