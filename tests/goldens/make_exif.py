#!/usr/bin/env python3
"""Pictures with EXIF comments for tests/exif_comment_test.cpp, as A1111 writes them: by Pillow 13.0.0 and piexif 1.1.3.

    python tests/goldens/make_exif.py        # tests/goldens/requirements.txt

Writes tests/goldens/comment.jpg and comment.webp (UNICODE, as A1111), comment_ascii.jpg, and comment_orientation.jpg
(among other entries).
"""
import pathlib

import piexif
import piexif.helper
from PIL import Image

here = pathlib.Path(__file__).parent
image = Image.new("RGB", (5, 3))
image.putdata([(17 * i % 256, 31 * i % 256, 47 * i % 256) for i in range(15)])
text = "雪の中の猫 🐈, très joli\nSteps: 576, Seed: 7"


def exif(comment, encoding, first=None):
    user_comment = piexif.helper.UserComment.dump(comment, encoding=encoding)
    return piexif.dump({"0th": first or {}, "Exif": {piexif.ExifIFD.UserComment: user_comment}})


image.save(here / "comment.jpg", exif=exif(text, "unicode"))
image.save(here / "comment.webp", lossless=True, exif=exif(text, "unicode"))
image.save(here / "comment_ascii.jpg", exif=exif("a cat\nSteps: 576", "ascii"))
first = {piexif.ImageIFD.Orientation: 6, piexif.ImageIFD.Software: "bifrons"}
image.save(here / "comment_orientation.jpg", exif=exif(text, "unicode", first))
