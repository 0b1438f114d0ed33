#!/usr/bin/env python3
"""Pictures in every format and mode, and what Pillow 13.0.0 and the reference's steps make of them.

    python tests/goldens/make_images.py        # tests/goldens/requirements.txt

Writes tests/goldens/images/*, the SHA-256 of each one's RGB bytes and of what the vision tower would see
(images/files.tsv), and the same for pictures that the test makes itself (images/sizes.tsv, images/floats.tsv), also
enlarged (images/upscaled.tsv).
"""
import hashlib
import io
import pathlib
import shutil
import struct
import zlib

import numpy as np
import PIL
from PIL import Image, ImageOps
from transformers.image_transforms import normalize, rescale

assert PIL.__version__ == "13.0.0", PIL.__version__
folder = pathlib.Path(__file__).parent / "images"
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir()


def sha(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def formula(width, height, channels=3):
    """The picture that the test can make by itself: tests/image_test.cpp, Formula."""
    y, x, c = np.ogrid[0:height, 0:width, 0:channels]
    return (x * x * 3 + y * 7 * (c + 1) + x * y // 5 + (x // 9 + y // 7) % 2 * 90 + c * 40).astype(np.uint8)


# ---- janus/models/image_processing_vlm.py: VLMImageProcessor, without torch --------------------------------
def resize_and_pad(image, size, min_size=14, background=(127, 127, 127)):
    width, height = image.size
    longest = max(width, height)
    new_height = max(int(height / longest * size), min_size)
    new_width = max(int(width / longest * size), min_size)
    image = image.resize((new_width, new_height), Image.BICUBIC)
    side = max(image.size)
    square = Image.new("RGB", (side, side), background)
    square.paste(image, ((side - new_width) // 2, (side - new_height) // 2))
    return np.asarray(square)


def preprocess(image, size, mean, std, factor=1 / 255, do_normalize=True):
    x = resize_and_pad(image, size, background=tuple(int(m * 255) for m in mean)).transpose(2, 0, 1)
    x = rescale(x, factor, input_data_format="channels_first")
    return normalize(x, mean, std, input_data_format="channels_first") if do_normalize else x


# ---- sizes -------------------------------------------------------------------------------------------------
sizes = [(1, 1), (1, 500), (500, 1), (1, 20000), (20000, 1), (4000, 30), (30, 4000), (97, 89), (101, 13), (13, 101),
         (2, 3), (384, 384), (383, 384), (384, 383), (385, 384), (768, 768), (640, 480), (1009, 757), (1920, 1080),
         (33, 2000), (600, 1000), (399, 401), (27, 14), (5, 384)]
with open(folder / "sizes.tsv", "w") as out:
    for width, height in sizes:
        image = Image.fromarray(formula(width, height))
        for size, background in ((384, (127, 127, 127)), (96, (122, 0, 255))):
            square = resize_and_pad(image, size, background=background)
            assert square.shape == (size, size, 3)
            print(width, height, size, *background, sha(square), sep="\t", file=out)

with open(folder / "upscaled.tsv", "w") as out:
    for width, height in ((1, 1), (1, 7), (5, 3), (13, 101), (97, 89), (384, 384)):
        for factor in (2, 4):
            large = Image.fromarray(formula(width, height)).resize((width * factor, height * factor), Image.LANCZOS)
            print(width, height, factor, sha(np.asarray(large)), sep="\t", file=out)

with open(folder / "floats.tsv", "w") as out:
    image = Image.fromarray(formula(131, 64))
    clip = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    for mean, std in (((0.5,) * 3, (0.5,) * 3), clip):
        for do_normalize in (True, False):
            x = preprocess(image, 96, mean, std, do_normalize=do_normalize)
            assert x.dtype == np.float32 and x.shape == (3, 96, 96)
            print(*mean, *std, int(do_normalize), sha(x), sep="\t", file=out)

# ---- files -------------------------------------------------------------------------------------------------
W, H = 37, 23
rgb = Image.fromarray(formula(W, H))
rgba = Image.fromarray(formula(W, H, 4), "RGBA")
cmyk = Image.fromarray(formula(W, H, 4), "CMYK")
palette = rgb.quantize(60)


def save(name, image, **options):
    image.save(folder / name, **options)


save("444.jpg", rgb, quality=90, subsampling="4:4:4")
save("422.jpg", rgb, quality=90, subsampling="4:2:2")
save("420.jpg", rgb, quality=90, subsampling="4:2:0")
save("420_progressive.jpg", rgb, quality=90, subsampling="4:2:0", progressive=True)
save("411_progressive.jpg", rgb, quality=90, subsampling="4:1:1", progressive=True)
save("restarts.jpg", rgb, quality=90, restart_marker_blocks=2)
save("rgb.jpg", rgb, quality=90, keep_rgb=True)
save("grey.jpg", rgb.convert("L"), quality=90)
save("cmyk.jpg", cmyk, quality=90)
save("cmyk_420.jpg", cmyk, quality=90, subsampling="4:2:0")
# The Adobe marker's last byte says whether the inks are stored as YCCK.
ycck = (folder / "cmyk.jpg").read_bytes()
adobe = ycck.index(b"Adobe")
assert ycck[adobe + 11] == 0
(folder / "ycck.jpg").write_bytes(ycck[:adobe + 11] + b"\2" + ycck[adobe + 12:])
# Without the marker Pillow still takes the inks to be inverted.
(folder / "cmyk_no_adobe.jpg").write_bytes(ycck[:adobe - 4] + ycck[adobe + 12:])

save("lossy.webp", rgb, quality=80)
save("lossless.webp", rgb, lossless=True)
save("alpha.webp", rgba, quality=80)
save("alpha_lossless.webp", rgba, lossless=True, exact=True)
frames = [Image.fromarray(np.roll(formula(W, H, 4), 5 * i, axis=1), "RGBA") for i in range(3)]
save("animated.webp", frames[0], save_all=True, append_images=frames[1:])

save("palette.gif", palette)
save("transparent.gif", palette, transparency=3)
save("interlaced.gif", palette, interlace=True)
save("grey.gif", rgb.convert("L"))
save("animated.gif", frames[0], save_all=True, append_images=frames[1:])
# A frame of its own palette in the middle of a larger screen, whose fourth colour is transparent.
gif = io.BytesIO()
rgb.quantize(4).save(gif, "GIF", interlace=False)
gif = gif.getvalue()
colours = 3 << ((gif[10] & 7) + 1)
frame = gif.index(b",\0\0\0\0")
screen = gif[:6] + struct.pack("<HHBBB", W + 9, H + 6, 0, 0, 0)
local = b",\5\0\4\0" + gif[frame + 5:frame + 9] + bytes([0x80 | (gif[10] & 7)]) + gif[13:13 + colours]
for name, control in (("inset.gif", b""), ("inset_transparent.gif", b"!\xf9\4\1\0\0\3\0")):
    (folder / name).write_bytes(screen + control + local + gif[frame + 10:])

save("rgb.bmp", rgb)
save("palette.bmp", palette)
save("bilevel.bmp", rgb.convert("1"))
save("fourth.bmp", rgba)
save("rgb.tga", rgb)
save("rle.tga", rgb, compression="tga_rle")
save("palette.tga", palette)
save("grey.tga", rgb.convert("L"))
save("alpha.tga", rgba)
(folder / "rgb.psd").write_bytes(b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, H, W, 8, 3) + bytes(12) + b"\0\0" +
                                 formula(W, H).transpose(2, 0, 1).tobytes())
save("rgb.ppm", rgb)
save("grey.pgm", rgb.convert("L"))
(folder / "max10.ppm").write_bytes(b"P6 # a comment\n%d\n%d\n10\n" % (W, H) + (formula(W, H) % 11).tobytes())
(folder / "max1000.ppm").write_bytes(b"P6\n%d %d\n1000\n" % (W, H) +
                                     (formula(W, H).astype(np.int64) * 1000 // 255).astype(">u2").tobytes())
(folder / "grey16.pgm").write_bytes(b"P5 %d %d 65535\n" % (W, H) + (formula(W, H, 1) * 257.0).astype(">u2").tobytes())


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(samples, depth, colour, interlace=0, extra=b""):
    """Samples [height, width, channels] in any of PNG's forms; Pillow writes few of them."""
    def pack(part):
        if depth == 16:
            rows = [row.astype(">u2").tobytes() for row in part]
        elif depth == 8:
            rows = [row.astype(np.uint8).tobytes() for row in part]
        else:
            bits = [np.unpackbits(row.astype(np.uint8).reshape(-1, 1), axis=1)[:, 8 - depth:].reshape(-1) for row in part]
            rows = [np.packbits(row).tobytes() for row in bits]
        return b"".join(b"\0" + row for row in rows)

    passes = [(0, 0, 1, 1)]
    if interlace:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    parts = [samples[y::dy, x::dx] for x, y, dx, dy in passes]
    raw = b"".join(pack(part) for part in parts if part.size)
    height, width = samples.shape[:2]
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)) +
            extra + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def deep(channels):
    high = formula(W, H, channels).astype(np.int64)
    return high * 256 + high[::-1]


def level(depth):
    return formula(W, H, 1).astype(np.int64) >> (8 - depth)


for interlace, tail in ((0, ""), (1, "_interlaced")):
    for depth in (1, 2, 4, 8):
        (folder / f"grey{depth}{tail}.png").write_bytes(png(level(depth), depth, 0, interlace))
        # Two colours fewer than indices, the first ones with alpha.
        count = max(1, 2**depth - 2)
        colours = chunk(b"PLTE", formula(count, 1).tobytes())
        alpha = chunk(b"tRNS", bytes((i * 37 + 9) % 256 for i in range(min(count, 100))))
        (folder / f"palette{depth}{tail}.png").write_bytes(png(level(depth), depth, 3, interlace, colours + alpha))
    (folder / f"grey16{tail}.png").write_bytes(png(deep(1), 16, 0, interlace))
    (folder / f"rgb16{tail}.png").write_bytes(png(deep(3), 16, 2, interlace))
    (folder / f"grey_alpha{tail}.png").write_bytes(png(formula(W, H, 2), 8, 4, interlace))
    (folder / f"grey_alpha16{tail}.png").write_bytes(png(deep(2), 16, 4, interlace))
    (folder / f"rgba{tail}.png").write_bytes(png(formula(W, H, 4), 8, 6, interlace))
    (folder / f"rgba16{tail}.png").write_bytes(png(deep(4), 16, 6, interlace))
save("rgb.png", rgb)
save("bilevel.png", rgb.convert("1"))
key = [int(v) for v in formula(W, H)[3, 4]]
(folder / "key_rgb.png").write_bytes(png(formula(W, H), 8, 2, 0, chunk(b"tRNS", struct.pack(">HHH", *key))))
(folder / "key_grey.png").write_bytes(png(level(8), 8, 0, 0, chunk(b"tRNS", struct.pack(">H", int(level(8)[3, 4, 0])))))
save("animated.png", frames[0], save_all=True, append_images=frames[1:])

small = Image.fromarray(formula(19, 11))
for orientation in range(1, 9):
    for order in "<", ">":
        exif = Image.Exif()
        exif.endian = order
        exif[0x010F] = "a maker's name"
        exif[0x0112] = orientation
        if order == "<":
            save(f"turned{orientation}.jpg", small, quality=90, exif=exif)
        else:
            save(f"turned{orientation}.png", small, exif=exif)
    save(f"turned{orientation}.webp", small, lossless=True, exif=exif)

# ---- what they hold ----------------------------------------------------------------------------------------
with open(folder / "files.tsv", "w") as out:
    for path in sorted(folder.glob("*.*")):
        if path.suffix == ".tsv":
            continue
        image = ImageOps.exif_transpose(Image.open(path))
        for mode, colour in ("drop", None), ("white", (255, 255, 255)), ("black", (0, 0, 0)):
            if image.mode.startswith("I"):  # 16-bit grey: the high byte, where Pillow's convert clips to 255
                shown = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8)).convert("RGB")
            elif mode == "drop" or not image.has_transparency_data:
                shown = image.convert("RGB")
            else:
                layer = image.convert("RGBA")
                shown = Image.new("RGB", image.size, colour)
                shown.paste(layer.convert("RGB"), mask=layer.getchannel("A"))
            print(path.name, mode, *shown.size, sha(np.asarray(shown)), sha(resize_and_pad(shown, 384)), sep="\t", file=out)

print(sum(path.stat().st_size for path in folder.iterdir()), "bytes in", len(list(folder.iterdir())), "files")
