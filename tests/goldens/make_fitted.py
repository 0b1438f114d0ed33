#!/usr/bin/env python3
"""What Pillow 13.0.0 makes of pictures that are cropped and resampled to other sizes.

    python tests/goldens/make_fitted.py        # numpy and pillow of tests/goldens/requirements.txt

Writes fitted.tsv: the picture's size, the asked one, the SHA-256 of the RGB bytes. Pictures are the test's own
(tests/image_golden.h, Formula).
"""
import hashlib
import pathlib

import numpy as np
import PIL
from PIL import Image, ImageOps

assert PIL.__version__ == "13.0.0", PIL.__version__


def formula(width, height, channels=3):
    y, x, c = np.ogrid[0:height, 0:width, 0:channels]
    return (x * x * 3 + y * 7 * (c + 1) + x * y // 5 + (x // 9 + y // 7) % 2 * 90 + c * 40).astype(np.uint8)


pictures = [(384, 384), (96, 96), (97, 89), (32, 32), (1, 1), (5, 3)]
sizes = [(384, 384), (256, 256), (512, 512), (1024, 1024), (1792, 1024), (1024, 1792), (1536, 1024), (384, 512),
         (512, 384), (384, 96), (96, 384), (300, 200), (200, 300), (383, 384), (1, 1), (7, 16), (16, 1), (1, 16),
         (640, 40), (33, 47)]
with open(pathlib.Path(__file__).parent / "fitted.tsv", "w") as out:
    for width, height in pictures:
        image = Image.fromarray(formula(width, height))
        for size in sizes:
            fitted = ImageOps.fit(image, size, Image.LANCZOS, centering=(0.5, 0.5))
            print(width, height, *size, hashlib.sha256(np.asarray(fitted).tobytes()).hexdigest(), sep="\t", file=out)
