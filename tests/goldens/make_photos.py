#!/usr/bin/env python3
"""Pictures as phones, scanners and editing programs write them, and what Pillow 13.0.0 and pillow-heif 1.8.1 make of
them.

    python tests/goldens/make_photos.py        # tests/goldens/requirements.txt; heif-enc of Debian 12's libheif-examples

Writes tests/goldens/photos/*: TIFF files of every kind that is read and files whose orientation is in XMP, with the
SHA-256 of their RGB bytes (files.tsv); and HEIC and AVIF files, each with the RGB bytes as a PNG beside it
(X.drop.png; with alpha also X.white.png and X.black.png).
"""
import hashlib
import io
import pathlib
import shutil
import struct
import subprocess
import tempfile
import zlib

import numpy as np
import PIL
import pillow_heif
from PIL import Image, ImageOps

assert PIL.__version__ == "13.0.0", PIL.__version__
assert pillow_heif.__version__ == "1.8.1", pillow_heif.__version__
pillow_heif.register_heif_opener()
folder = pathlib.Path(__file__).parent / "photos"
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir()
W, H = 37, 23


def formula(width, height, channels=3):
    y, x, c = np.ogrid[0:height, 0:width, 0:channels]
    return (x * x * 3 + y * 7 * (c + 1) + x * y // 5 + (x // 9 + y // 7) % 2 * 90 + c * 40).astype(np.uint8)


def deep(channels, width=W, height=H):
    high = formula(width, height, channels).astype(np.uint16)
    return high * 256 + high[::-1]


rgb = Image.fromarray(formula(W, H))
rgba = Image.fromarray(formula(W, H, 4), "RGBA")
grey = rgb.convert("L")


# ---- TIFF as Pillow writes it ------------------------------------------------------------------------------
def save(name, image, **options):
    image.save(folder / name, **options)


for compression in "raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate":
    save(f"rgb_{compression}.tif", rgb, compression=compression)
    save(f"grey_{compression}.tif", grey, compression=compression)
bilevel = rgb.convert("1")
for compression in "raw", "tiff_ccitt", "group3", "group4", "packbits", "tiff_lzw":
    save(f"bilevel_{compression}.tif", bilevel, compression=compression)
save("group4_white_is_zero.tif", bilevel, compression="group4", tiffinfo={262: 0})
save("group4_fill_order.tif", bilevel, compression="group4", tiffinfo={266: 2})
save("rgb_jpeg.tif", rgb, compression="jpeg", quality=90)
save("grey_jpeg.tif", grey, compression="jpeg", quality=90)
save("cmyk_jpeg.tif", Image.fromarray(formula(W, H, 4), "CMYK"), compression="jpeg", quality=90)
save("ycbcr_raw.tif", rgb.convert("YCbCr"))
save("palette.tif", rgb.quantize(60))
save("palette_lzw.tif", rgb.quantize(60), compression="tiff_lzw")
save("rgba.tif", rgba, compression="tiff_lzw")
save("grey_alpha.tif", Image.fromarray(formula(W, H, 2), "LA"))
save("palette_alpha.tif", rgb.quantize(60).convert("PA"))
save("cmyk.tif", Image.fromarray(formula(W, H, 4), "CMYK"))
save("cmyk_lzw.tif", Image.fromarray(formula(W, H, 4), "CMYK"), compression="tiff_lzw")
save("grey16.tif", Image.fromarray(deep(1)[:, :, 0]))
save("grey16_deflate.tif", Image.fromarray(deep(1)[:, :, 0]), compression="tiff_adobe_deflate")
save("predictor.tif", rgb, compression="tiff_lzw", tiffinfo={317: 2})
save("predictor_rgba.tif", rgba, compression="tiff_adobe_deflate", tiffinfo={317: 2})
save("predictor16.tif", Image.fromarray(deep(1)[:, :, 0]), compression="tiff_lzw", tiffinfo={317: 2})
save("big.tif", rgb, big_tiff=True)
save("big_lzw.tif", rgba, big_tiff=True, compression="tiff_lzw")
save("pages.tif", rgb, compression="tiff_lzw", save_all=True, append_images=[grey, bilevel])
tall = Image.fromarray(formula(300, 90))
save("strips_lzw.tif", tall, compression="tiff_lzw", strip_size=4096)
save("strips_jpeg.tif", Image.fromarray(formula(64, 64)), compression="jpeg", strip_size=3072)
small = Image.fromarray(formula(19, 11))
for orientation in range(1, 9):
    save(f"turned{orientation}.tif", small, compression="tiff_lzw" if orientation % 2 else "raw", tiffinfo={274: orientation})


# ---- TIFF as others do -------------------------------------------------------------------------------------
def tiff(name, samples, photometric, *, order="<", bits=8, big=False, compress=False, predictor=False, tile=None,
         separate=False, rows=None, extra=None, palette=None, fill=1, pack=None, tags=()):
    """Samples [height, width, channels] to a file; pack(part) makes the bytes of a strip or tile."""
    height, width, channels = samples.shape
    block_width, block_height = tile or (width, rows or height)

    def encode(part):
        part = part.astype(np.int64)
        if tile and part.shape[:2] != (block_height, block_width):
            part = np.pad(part, ((0, block_height - part.shape[0]), (0, block_width - part.shape[1]), (0, 0)), "edge")
        if predictor:
            part = np.concatenate([part[:, :1], np.diff(part, axis=1)], axis=1) % (1 << bits)
        if pack:
            data = pack(part)
        elif bits >= 8:
            data = part.astype({8: "u1", 16: order + "u2", 32: order + "u4"}[bits]).tobytes()
        else:
            wide = np.unpackbits(part.astype(np.uint8)[..., None], axis=3)[..., 8 - bits:]
            data = np.packbits(wide.reshape(part.shape[0], -1), axis=1).tobytes()
        if fill == 2:
            data = np.packbits(np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, 8)[:, ::-1]).tobytes()
        return zlib.compress(data, 9) if compress else data

    planes = [samples[:, :, c:c + 1] for c in range(channels)] if separate else [samples]
    parts = [encode(plane[y:y + block_height, x:x + block_width]) for plane in planes
             for y in range(0, height, block_height) for x in range(0, width, block_width)]
    entries = {256: ("I", [width]), 257: ("I", [height]), 258: ("H", [bits] * channels),
               259: ("H", [8 if compress else 1]), 262: ("H", [photometric]), 277: ("H", [channels]),
               284: ("H", [2 if separate else 1])}
    if fill != 1:
        entries[266] = ("H", [fill])
    if predictor:
        entries[317] = ("H", [2])
    if palette is not None:
        entries[320] = ("H", palette)
    if extra:
        entries[338] = ("H", extra)
    if tile:
        entries[322], entries[323] = ("H", [block_width]), ("H", [block_height])
    else:
        entries[278] = ("I", [block_height])
    for tag, kind, values in tags:
        entries[tag] = (kind, values)
    places, sizes = (324, 325) if tile else (273, 279)
    offset, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    out = bytearray(b"II" if order == "<" else b"MM")
    out += struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, 0) if big else (42, 0)))
    starts = []
    for part in parts:
        starts.append(len(out))
        out += part + b"\0" * (len(part) % 2)
    entries[places], entries[sizes] = ("I", starts), ("I", [len(part) for part in parts])
    inline, directory = struct.calcsize(offset), b""
    kinds = {"B": 1, "H": 3, "I": 4, "f": 11}
    for tag, (kind, values) in sorted(entries.items()):
        if tag in (529, 532):  # rationals
            data = b"".join(struct.pack(order + "II", *v) for v in values)
            number = 5
        else:
            data, number = struct.pack(order + kind * len(values), *values), kinds[kind]
        if len(data) > inline:
            place = struct.pack(order + offset, len(out))
            out += data + b"\0" * (len(data) % 2)
            data = place
        directory += struct.pack(order + "HH" + offset, tag, number, len(values)) + data.ljust(inline, b"\0")
    out[8 if big else 4:16 if big else 8] = struct.pack(order + offset, len(out))
    out += struct.pack(order + count, len(entries)) + directory + bytes(inline)
    (folder / name).write_bytes(out)


shades = formula(W, H, 1)
for order, end in ("<", "little"), (">", "big"):
    tiff(f"rgb16_{end}.tif", deep(3), 2, order=order, bits=16)
    tiff(f"rgb16_deflate_{end}.tif", deep(3), 2, order=order, bits=16, compress=True)
    tiff(f"rgba16_{end}.tif", deep(4), 2, order=order, bits=16, extra=[2], compress=True)
    tiff(f"rgb_{end}.tif", formula(W, H), 2, order=order, rows=5)
    tiff(f"grey16_{end}.tif", deep(1), 1, order=order, bits=16)
    tiff(f"cmyk16_{end}.tif", deep(4), 5, order=order, bits=16)
    for bits in 1, 2, 4, 8:
        level = shades >> (8 - bits)
        for photometric in 0, 1:
            tiff(f"level{bits}_{photometric}_{end}.tif", level, photometric, order=order, bits=bits)
        colours = [int(v) for v in np.concatenate([formula(1 << bits, 1)[0, :, c].astype(np.int64) * 256 + 77 * c for c in range(3)])]
        tiff(f"palette{bits}_{end}.tif", level, 3, order=order, bits=bits, palette=colours)
tiff("big_strips.tif", formula(W, H), 2, rows=5, big=True)
tiff("predictor16_rgb.tif", deep(3), 2, order=">", bits=16, compress=True, predictor=True)
tiff("associated.tif", formula(W, H, 4), 2, extra=[1])
tiff("associated16.tif", deep(4), 2, bits=16, extra=[1], compress=True)
tiff("unassociated.tif", formula(W, H, 4), 2, extra=[2])
tiff("unspecified.tif", formula(W, H, 4), 2, extra=[0])
tiff("untold.tif", formula(W, H, 4), 2)
tiff("alpha_and_more.tif", formula(W, H, 5), 2, extra=[2, 0])
tiff("grey_unspecified.tif", formula(W, H, 2), 1, extra=[0])
tiff("fill_order.tif", formula(W, H), 2, fill=2)
tiff("fill_order_level1.tif", shades >> 7, 1, bits=1, fill=2)
tiff("separate.tif", formula(W, H), 2, separate=True)
tiff("separate_strips.tif", formula(W, H), 2, separate=True, rows=4, compress=True)
tiff("separate_rgba.tif", formula(W, H, 4), 2, separate=True, extra=[2], compress=True)
tiff("separate_cmyk.tif", formula(W, H, 4), 5, separate=True, compress=True)
for compress, tail in (False, ""), (True, "_deflate"):
    tiff(f"tiles{tail}.tif", formula(W, H), 2, tile=(16, 16), compress=compress)
    tiff(f"tiles_grey{tail}.tif", shades, 1, tile=(16, 32), compress=compress)
tiff("tiles_separate.tif", formula(W, H), 2, tile=(16, 16), separate=True, compress=True)
tiff("tiles_level1.tif", shades >> 7, 0, tile=(16, 16), bits=1, compress=True)
tiff("tiles_rgb16.tif", deep(3), 2, tile=(32, 16), bits=16, compress=True, predictor=True)
tiff("tile_larger.tif", formula(W, H), 2, tile=(64, 64), compress=True)


def shared(across, down):
    def pack(part):  # units of brightnesses and their two colours
        height, width = -(-part.shape[0] // down) * down, -(-part.shape[1] // across) * across
        part = np.pad(part, ((0, height - part.shape[0]), (0, width - part.shape[1]), (0, 0)), "edge")
        units = []
        for y in range(0, height, down):
            for x in range(0, width, across):
                unit = part[y:y + down, x:x + across]
                units += [*unit[:, :, 0].ravel(), unit[0, 0, 1], unit[0, 0, 2]]
        return np.array(units, np.uint8).tobytes()
    return pack


ycbcr = np.asarray(rgb.convert("YCbCr"))
for across, down in (1, 1), (2, 1), (2, 2), (4, 2), (4, 4):
    tiff(f"ycbcr_{across}{down}.tif", ycbcr, 6, compress=True, pack=shared(across, down), rows=8, tags=[(530, "H", [across, down])])
tiff("ycbcr_tiles.tif", ycbcr, 6, compress=True, pack=shared(2, 2), tile=(16, 16), tags=[(530, "H", [2, 2])])
tiff("ycbcr_range.tif", ycbcr, 6, compress=True, pack=shared(2, 2),
     tags=[(530, "H", [2, 2]), (532, "H", [(16, 1), (235, 1), (128, 1), (240, 1), (128, 1), (240, 1)]),
           (529, "H", [(2126, 10000), (7152, 10000), (722, 10000)])])



def jpeg(**options):
    def pack(part):
        out = io.BytesIO()
        Image.fromarray(part.astype(np.uint8)).save(out, "JPEG", quality=90, **options)
        return out.getvalue()
    return pack


JPEG = (259, "H", [7])
tiff("jpeg_420.tif", formula(W, H), 6, pack=jpeg(subsampling="4:2:0"), tags=[JPEG, (530, "H", [2, 2])])
tiff("jpeg_422.tif", formula(W, H), 6, pack=jpeg(subsampling="4:2:2"), rows=8, tags=[JPEG, (530, "H", [2, 1])])
tiff("jpeg_rgb.tif", formula(W, H), 2, pack=jpeg(keep_rgb=True), tags=[JPEG])
tiff("jpeg_tiles.tif", formula(W, H), 6, pack=jpeg(subsampling="4:2:0"), tile=(16, 16), tags=[JPEG, (530, "H", [2, 2])])

# ---- orientation in XMP, and in ImageMagick's EXIF ---------------------------------------------------------
attribute = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'
element = "<x:xmpmeta><tiff:Orientation>%d</tiff:Orientation></x:xmpmeta>"
for orientation, text in (6, attribute), (3, element), (5, attribute), (8, element):
    packet = (text % orientation).encode()
    save(f"xmp{orientation}.jpg", small, quality=90, xmp=packet)
    save(f"xmp{orientation}.webp", small, lossless=True, xmp=packet)
    save(f"xmp{orientation}.tif", small, compression="tiff_lzw", tiffinfo={700: packet})
    for packed in False, True:
        info = PIL.PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=packed)
        save(f"xmp{orientation}{'_packed' if packed else ''}.png", small, pnginfo=info)
exif = Image.Exif()
exif[0x0112] = 8
save("xmp_and_exif.jpg", small, quality=90, xmp=(attribute % 6).encode(), exif=exif)  # EXIF has the last word
exif[0x0112] = 1
save("xmp_and_upright_exif.webp", small, lossless=True, xmp=(attribute % 6).encode(), exif=exif)
exif = Image.Exif()
exif[0x010F] = "a maker's name"
save("xmp_and_other_exif.jpg", small, quality=90, xmp=(element % 6).encode(), exif=exif)
exif[0x0112] = 6
for packed in False, True:
    info = PIL.PngImagePlugin.PngInfo()
    data = exif.tobytes()
    lines = "\n".join(data.hex()[i:i + 72] for i in range(0, 2 * len(data), 72))
    info.add_text("Raw profile type exif", f"\nexif\n{len(data):8}\n{lines}\n", zip=packed)
    save(f"raw_profile{'_packed' if packed else ''}.png", small, pnginfo=info)

MODES = ("drop", None), ("white", (255, 255, 255)), ("black", (0, 0, 0))


def shown(image, colour):
    if image.mode.startswith("I"):  # 16-bit grey: the high byte, where Pillow's convert clips to 255
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8)).convert("RGB")
    if colour is None or not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    out = Image.new("RGB", image.size, colour)
    out.paste(layer.convert("RGB"), mask=layer.getchannel("A"))
    return out


with open(folder / "files.tsv", "w") as out:
    for path in sorted(folder.glob("*.*")):
        if path.suffix == ".tsv":
            continue
        image = ImageOps.exif_transpose(Image.open(path))
        for mode, colour in MODES:
            pixels = shown(image, colour)
            print(path.name, mode, *pixels.size, hashlib.sha256(pixels.tobytes()).hexdigest(), sep="\t", file=out)

# ---- HEIC and AVIF -----------------------------------------------------------------------------------------
# libavif interpolates the colours that pixels share, libheif repeats them: a picture without edges for those.
y, x = np.mgrid[0:32, 0:48]
smooth = np.stack([x * 5, y * 7, 255 - x * 2 - y * 3, np.minimum(x * 8, 255)], axis=2).astype(np.uint8)
even = Image.fromarray(formula(48, 32))
with_alpha = Image.fromarray(smooth, "RGBA")
without_edges = with_alpha.convert("RGB")
save("420.heic", rgb, quality=60)
save("444.heic", even, quality=60, chroma=444)
save("grey.heic", grey, quality=50)
save("alpha.heic", with_alpha, quality=50)
save("grid.heic", Image.fromarray(formula(130, 70)), quality=30, tile_size=64)
save("420.avif", without_edges.crop((0, 0, 37, 23)), quality=50, subsampling="4:2:0")
save("422.avif", without_edges, quality=50, subsampling="4:2:2")
save("444.avif", even, quality=60, subsampling="4:4:4")
save("limited.avif", without_edges, quality=50, subsampling="4:2:0", range="limited")
save("grey.avif", grey, quality=50, subsampling="4:0:0")
save("grey_limited.avif", grey, quality=90, subsampling="4:0:0", range="limited")
limited = (folder / "grey_limited.avif").read_bytes()  # without a colour profile, the stream says it
(folder / "grey_limited_stream.avif").write_bytes(limited.replace(b"colrnclx", b"freenclx"))
save("alpha.avif", with_alpha, quality=50)
save("animated.avif", without_edges, quality=30, save_all=True, append_images=[ImageOps.mirror(without_edges)])
shade = np.add.outer(np.arange(2000), np.arange(2000)) // 16
Image.fromarray(shade.astype(np.uint8)).convert("RGB").save(folder.parent / "large.heic", quality=10)
multiplied = with_alpha.copy()
multiplied.putalpha(Image.fromarray((128 + x * 2).astype(np.uint8)))
pillow_heif.encode("RGBa", (48, 32), multiplied.convert("RGBa").tobytes(), folder / "multiplied.heic", quality=60)
for orientation in range(2, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(f"turned{orientation}.heic", Image.fromarray(formula(20, 12)), quality=60, exif=exif)
    save(f"turned{orientation}.avif", Image.fromarray(formula(20, 12)), quality=60, subsampling="4:4:4", exif=exif)
pillow_heif.encode("RGB;16", (48, 32), deep(3, 48, 32).tobytes(), folder / "10.heic", quality=50)
with tempfile.TemporaryDirectory() as scratch:
    source = pathlib.Path(scratch) / "deep.png"
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in smooth[:, :, :3].astype(np.uint16) * 257)
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    source.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 48, 32, 16, 2, 0, 0, 0)) +
                       chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    for bits, chroma in (10, 422), (12, 420):
        subprocess.run(["heif-enc", "-q", "50", "-b", str(bits), "-p", f"chroma={chroma}", "-A", "-o", folder / f"{bits}.avif", source],
                       check=True, stdout=subprocess.DEVNULL)

for path in sorted([*folder.glob("*.heic"), *folder.glob("*.avif")]):
    image = ImageOps.exif_transpose(Image.open(path))
    for mode, colour in MODES:
        if colour is None or image.has_transparency_data:
            shown(image, colour).save(folder / f"{path.name}.{mode}.png", optimize=True)

print(sum(path.stat().st_size for path in folder.iterdir()), "bytes in", len(list(folder.iterdir())), "files")
