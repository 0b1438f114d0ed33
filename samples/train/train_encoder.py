"""Trains the VQ encoder, pixels to codes, against the finished codebook: which code a patch has is known from how the scene was composed, so
encoding is a classification by the angle between a patch's vector and the codes."""
import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import codebook
import model
import painted
import pictures
import scenes
import train_painter
import training

TEMPERATURE = 0.03  # neighbouring ones of 4096 codes in 8 dimensions are about 0.05 apart in cosine
FLAT_WEIGHT = 0.3  # of a background patch against a sprite's
PAINTED = 0.3  # share of whole scenes as the decoder draws them: encoding those gives their codes back


class Encoder(torch.nn.Module):
    """The part that turns pixels into image tokens."""

    def __init__(self, janus):
        super().__init__()
        vq = janus.model.vqmodel
        self.encoder, self.quant_conv = vq.encoder, vq.quant_conv
        self.register_buffer('codes', F.normalize(vq.quantize.embedding.weight.detach(), dim=-1), persistent=False)

    def forward(self, pixels):
        """Cosines with all codes [b, h, w, codes] of pixels in -1..1 [b, 3, 8h, 8w]."""
        vectors = self.quant_conv(self.encoder(pixels)).float().permute(0, 2, 3, 1)
        return F.normalize(vectors, dim=-1) @ self.codes.T

    def matrices(self):
        """What Muon trains: all but the convolutions at either end."""
        return [p for n, p in self.encoder.named_parameters() if p.ndim == 4 and not n.startswith(('conv_in', 'conv_out'))]


def batch(r, paintings, count, side):
    codes, pixels = train_painter.batch(r, count, side)
    if side == scenes.GRID:
        for i in range(count):
            if r.random() < PAINTED:
                scene, picture = r.choice(paintings)
                codes[i] = torch.from_numpy(codebook.tokens(scene).reshape(side, side))
                pixels[i] = torch.from_numpy(pictures.normalised([picture])[0])
    return codes, pixels


@torch.no_grad()
def check(encoder, whole, count=100):
    """Prints how held-out scenes come back: which codes, and decoded again."""
    r = random.Random(8)
    shown = [scenes.unseen_scene(r) for _ in range(count)]
    rendered = np.stack([scenes.render(scene) for scene in shown])
    codes = torch.from_numpy(np.stack([codebook.tokens(scene) for scene in shown]))
    found = torch.cat([encoder(some).argmax(-1).flatten(1) for some in torch.from_numpy(pictures.normalised(rendered)).split(20)])
    sprite = codes >= len(codebook.BACKGROUNDS)
    print(f'{count} held-out scenes: {(found == codes).float().mean():.1%} of the codes are the scene\'s own, {(found == codes)[sprite].float().mean():.1%} '
          f'of the sprites\'; decoded again {psnr(whole, found, rendered):.2f} dB, the scene\'s own codes {psnr(whole, codes, rendered):.2f} dB')


def psnr(whole, codes, rendered):
    drawn = np.concatenate([painted.paint(whole, some) for some in codes.split(20)])
    return -10 * math.log10((((drawn.astype(np.float32) - rendered) / 255) ** 2).mean())


def main():
    options = training.arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    vocabulary = Tokenizer.from_file(str(options.work / 'tokenizer.json'))
    paintings = painted.load(options.work / 'paintings.pt')
    # The codebook is the trained one, the encoder new.
    janus = model.build(vocabulary)
    started = model.load(options.start)
    janus.model.vqmodel.quantize.load_state_dict(started.model.vqmodel.quantize.state_dict())
    encoder = Encoder(janus)
    run = training.Run(options, 'encoder', encoder, encoder.matrices(), ('agreement', 'similarity'))
    while run.going():
        whole = run.progress >= train_painter.WHOLE_FROM
        codes, pixels = batch(run.random, paintings, options.batch // 4 if whole else options.batch, scenes.GRID if whole else train_painter.CROP)
        with torch.autocast('cpu', torch.bfloat16):
            cosines = encoder(pixels)
        cosines = cosines.float()
        sprite = codes >= len(codebook.BACKGROUNDS)
        weight = torch.where(sprite, 1.0, FLAT_WEIGHT)
        loss = F.cross_entropy(cosines.flatten(0, 2) / TEMPERATURE, codes.flatten(), reduction='none')
        nearest = cosines.argmax(-1)
        similarity = (encoder.codes[nearest] * encoder.codes[codes]).sum(-1)
        run.update((loss * weight.flatten()).sum() / weight.sum(), len(codes), (nearest == codes)[sprite].float().mean(), similarity[sprite].mean())
    encoder.load_state_dict(run.averaged)
    check(encoder, started)


if __name__ == '__main__':
    main()
