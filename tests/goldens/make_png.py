#!/usr/bin/env python3
"""Pictures with texts for tests/png_test.cpp, written by Pillow 13.0.0.

    python3 tests/goldens/make_png.py

Writes tests/goldens/pillow.png (texts before the pixels) and pillow_compressed.png (zTXt, compressed iTXt).
"""
import pathlib

from PIL import Image, PngImagePlugin

here = pathlib.Path(__file__).parent
image = Image.new("RGB", (5, 3))
image.putdata([(17 * i % 256, 31 * i % 256, 47 * i % 256) for i in range(15)])
latin = "a café at night\nSteps: 576, Seed: 7"
unicode = "雪の中の猫 🐈, très joli"

info = PngImagePlugin.PngInfo()
info.add_text("parameters", latin)
info.add_text("prompt", unicode)
info.add_text("empty", "")
image.save(here / "pillow.png", pnginfo=info)

info = PngImagePlugin.PngInfo()
info.add_text("parameters", latin, zip=True)
info.add_itxt("prompt", unicode, lang="ja", tkey="prompt", zip=True)
image.save(here / "pillow_compressed.png", pnginfo=info)
