"""Trains the VQ encoder, pixels to codes, against the finished codebook: which code a patch has is known
from how the scene was composed, so encoding is a classification by the angle between a patch's vector and
the codes.
"""

import math
import random

import numpy as np
import torch
import torch.nn.functional as F

import codebook
import paint
import painted
import pictures
import scenes
import training

TEMPERATURE = 0.03  # neighbouring ones of 8192 codes in 8 dimensions are about 0.05 apart in cosine
FLAT_WEIGHT = 0.3  # of a background patch against a sprite's
PAINTED = 0.3  # share of whole scenes as the decoder draws them: encoding those gives their codes back


class Encoder(torch.nn.Module):
    """The part that turns pixels into image tokens."""

    def __init__(self, janus):
        super().__init__()
        vq = janus.model.vqmodel
        self.encoder, self.quant_conv = vq.encoder, vq.quant_conv
        self.register_buffer(
            'codes', F.normalize(vq.quantize.embedding.weight.detach(), dim=-1), persistent=False
        )

    def forward(self, pixels):
        """Cosines with all codes [b, h, w, codes] of pixels in -1..1 [b, 3, 8h, 8w]."""
        vectors = self.quant_conv(self.encoder(pixels)).float().permute(0, 2, 3, 1)
        return F.normalize(vectors, dim=-1) @ self.codes.T

    def matrices(self):
        """What Muon trains: all but the convolutions at either end."""
        ends = 'conv_in', 'conv_out'
        return [p for n, p in self.encoder.named_parameters() if p.ndim == 4 and not n.startswith(ends)]


class Stage(training.Stage):
    columns, checks = ('agreement', 'similarity'), (
        'agreement',
        'sprite_agreement',
        'round_trip_psnr',
        'own_codes_psnr',
    )

    def __init__(self, settings, world):
        super().__init__(settings, world.device)
        self.mix = scenes.Mix(**settings['mix'])
        joint = world.settings['joint']
        self.paintings = painted.paintings(world, joint['paintings'], scenes.Mix(**joint['talk_mix']))
        self.whole = painted.painter(world)
        self.module = Encoder(self.whole).to(self.device)

    def _batch(self, count, side):
        codes, pixels = paint.batch(self.random, count, side, self.mix)
        if side == scenes.GRID:
            for i in range(count):
                if self.random.random() < PAINTED:
                    scene, picture = self.random.choice(self.paintings)
                    codes[i] = torch.from_numpy(codebook.tokens(scene).reshape(side, side))
                    pixels[i] = torch.from_numpy(pictures.normalised([picture])[0])
        return codes.to(self.device), pixels.to(self.device)

    def loss(self, progress):
        whole = progress >= paint.WHOLE_FROM
        count = self.settings['batch'] // 4 if whole else self.settings['batch']
        codes, pixels = self._batch(count, scenes.GRID if whole else paint.CROP)
        with self.autocast():
            cosines = self.module(pixels)
        cosines = cosines.float()
        sprite = codes >= len(codebook.BACKGROUNDS)
        weight = torch.where(sprite, 1.0, FLAT_WEIGHT)
        losses = F.cross_entropy(cosines.flatten(0, 2) / TEMPERATURE, codes.flatten(), reduction='none')
        nearest = cosines.argmax(-1)
        similarity = (self.module.codes[nearest] * self.module.codes[codes]).sum(-1)
        total = (losses * weight.flatten()).sum() / weight.sum()
        return total, len(codes), ((nearest == codes)[sprite].float().mean(), similarity[sprite].mean())

    def validate(self):
        """How held-out scenes come back: which codes, and decoded again."""
        r = random.Random(8)
        shown = [scenes.unseen_scene(r, self.mix) for _ in range(self.settings['validate'])]
        rendered = np.stack([scenes.render(scene) for scene in shown])
        codes = torch.from_numpy(np.stack([codebook.tokens(scene) for scene in shown])).to(self.device)
        pixels = torch.from_numpy(pictures.normalised(rendered)).to(self.device)
        with self.autocast():
            found = torch.cat([self.module(some).argmax(-1).flatten(1) for some in pixels.split(20)])
        sprite = codes >= len(codebook.BACKGROUNDS)
        return (
            (found == codes).float().mean(),
            (found == codes)[sprite].float().mean(),
            self._psnr(found, rendered),
            self._psnr(codes, rendered),
        )

    def _psnr(self, codes, rendered):
        drawn = np.concatenate([painted.paint(self.whole, some) for some in codes.split(20)])
        return -10 * math.log10((((drawn.astype(np.float32) - rendered) / 255) ** 2).mean())
