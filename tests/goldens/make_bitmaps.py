#!/usr/bin/env python3
"""Small pictures in the forms of BMP, TGA, PNM and PSD, and what Pillow 13.0.0 makes of them.

    python tests/goldens/make_bitmaps.py        # tests/goldens/requirements.txt: pillow and numpy

Writes tests/goldens/bitmaps.tsv: name, whose the pixels are, width, height, SHA-256 of the RGB bytes with transparency
dropped, over white and over black ("=": the same as the one before), and the file in base64. The pixels are known here before the file is made. Where
Pillow reads a file it has to see these; where it does not, or misreads it, the row says "format".
"""
import base64
import hashlib
import io
import pathlib
import random
import struct

import numpy as np
import PIL
from PIL import Image

assert PIL.__version__ == "13.0.0", PIL.__version__
rows = []
rng = random.Random(10)


def shown(image, colour):
    if colour is None or not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    layer = image.convert("RGBA")
    under = Image.new("RGB", image.size, colour)
    under.paste(layer.convert("RGB"), mask=layer.getchannel("A"))
    return np.asarray(under)


def add(name, data, pixels, pillow=True):
    """One file and its pixels [height, width, 3 or 4]."""
    pixels = np.ascontiguousarray(pixels, np.uint8)
    truth = Image.fromarray(pixels)
    if pillow:
        image = Image.open(io.BytesIO(data))
        image.load()
        if image.mode.startswith("I"):  # 16-bit grey: the high byte, where Pillow's convert clips to 255
            image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8))
    else:
        image = truth
        try:
            misread = Image.open(io.BytesIO(data))
            assert misread.size != truth.size or (shown(misread, None) != shown(truth, None)).any(), name
        except (OSError, ValueError):
            pass  # refused
    shas = []
    for colour in None, (255, 255, 255), (0, 0, 0):
        assert (shown(image, colour) == shown(truth, colour)).all(), (name, colour)
        shas.append(hashlib.sha256(shown(truth, colour).tobytes()).hexdigest())
    height, width = pixels.shape[:2]
    shas = [shas[0]] + ["=" if after == before else after for before, after in zip(shas, shas[1:])]
    rows.append((name, "pillow" if pillow else "format", width, height, *shas, base64.b64encode(data).decode()))


def noise(height, width, channels, levels=256):
    values = np.array([rng.randrange(levels) for _ in range(height * width * channels)], np.uint8)
    return values.reshape(height, width, channels)


def blotches(height, width, levels):
    """Indices with runs in them."""
    values = []
    while len(values) < height * width:
        values += [rng.randrange(levels)] * rng.choice((1, 1, 1, 2, 3, 9, 40))
    return np.array(values[:height * width], np.uint8).reshape(height, width)


def packed(indices, bits, align=1):
    """Rows of small numbers, the first in the highest bits."""
    lines = []
    for row in indices:
        bit = np.unpackbits(row.reshape(-1, 1), axis=1)[:, 8 - bits:].reshape(-1)
        line = np.packbits(bit).tobytes()
        lines.append(line + bytes(-len(line) % align))
    return lines


def colours(count):
    return noise(1, count, 3)[0]


# ---- BMP ---------------------------------------------------------------------------------------------------
def bmp(width, height, bits, data, header=40, compression=0, masks=(), palette=None, used=0, down=False, offset=None,
        gap=b""):
    """`down`: rows from the top; `offset`: what the file claims, if not the truth."""
    if header == 12:
        fields = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        fields = struct.pack("<IiiHHIIiiII", header, width, -height if down else height, 1, bits, compression,
                             len(data), 2835, 2835, used, 0)
        if header >= 52:
            fields += struct.pack("<4I", *(tuple(masks) + (0,) * 4)[:4])
            if header >= 108:
                fields += b"BGRs" + bytes(48)
        fields = (fields + bytes(header))[:header]
        if header == 40 and masks:
            fields += struct.pack(f"<{len(masks)}I", *masks)
    if palette is not None:
        pad = b"" if header == 12 else b"\0"
        fields += b"".join(bytes(colour[::-1]) + pad for colour in palette)
    at = 14 + len(fields) + len(gap)
    return b"BM" + struct.pack("<IHHI", at + len(data), 0, 0, at if offset is None else offset) + fields + gap + data


def bottom_up(lines, down):
    return b"".join(lines if down else lines[::-1])


def fielded(samples, masks, largest_byte=255):
    """Pixels of random samples below the masks, and the bytes that they stand for."""
    values = np.zeros(samples.shape[:2], np.uint64)
    out = np.zeros(samples.shape, np.uint8)
    for c, mask in enumerate(masks):
        if mask == 0:
            out[..., c] = 255 if c == 3 else 0
            continue
        shift = (mask & -mask).bit_length() - 1
        largest = mask >> shift
        value = np.array([rng.randrange(largest + 1) for _ in range(values.size)], np.uint64).reshape(values.shape)
        values |= value << np.uint64(shift)
        out[..., c] = value * largest_byte // largest
    return values, out


def bmp_bits(name, width, height, bits, header=40, down=False, count=None, **more):
    """Uncompressed, without bit fields."""
    pillow = more.pop("pillow", True)
    if bits <= 8:
        palette = colours(count or 2**bits)
        # A few indices beyond the palette: black.
        indices = noise(height, width, 1, 2**bits)[..., 0]
        full = np.concatenate([palette, np.zeros((256, 3), np.uint8)])
        data = bottom_up(packed(indices, bits, 4), down)
        add(name, bmp(width, height, bits, data, header, palette=palette, used=count or 0, down=down, **more),
            full[indices], pillow)
    elif bits == 16:
        values, pixels = fielded(noise(height, width, 3), (0x7C00, 0x3E0, 0x1F))
        values |= noise(height, width, 1, 2)[..., 0].astype(np.uint64) << np.uint64(15)  # means nothing
        lines = [row.astype("<u2").tobytes() + bytes(2 * width % 4) for row in values]
        add(name, bmp(width, height, 16, bottom_up(lines, down), header, down=down, **more), pixels, pillow)
    else:
        pixels = noise(height, width, bits // 8)
        stored = pixels[..., [2, 1, 0, 3][:bits // 8]]
        lines = [row.tobytes() + bytes(-row.size % 4) for row in stored]
        add(name, bmp(width, height, bits, bottom_up(lines, down), header, down=down, **more), pixels[..., :3], pillow)


for bits in 1, 4, 8, 16, 24, 32:
    for width in 1, 3, 5, 7, 31, 33:
        bmp_bits(f"{bits}bits_{width}.bmp", width, 3, bits)
    bmp_bits(f"{bits}bits_down.bmp", 7, 5, bits, down=True)
    for header in 12, 16, 52, 56, 64, 108, 124:
        bmp_bits(f"{bits}bits_header{header}.bmp", 7, 4, bits, header, pillow=header != 16)
    bmp_bits(f"{bits}bits_gap.bmp", 5, 3, bits, gap=b"gap")
    bmp_bits(f"{bits}bits_no_offset.bmp", 5, 3, bits, offset=0)
for header in 12, 40, 64, 124:
    bmp_bits(f"8bits_offset_before_palette{header}.bmp", 5, 3, 8, header, offset=14 + header)
for width in 1, 3, 5, 33:
    bmp_bits(f"2bits_{width}.bmp", width, 3, 2, pillow=False)
bmp_bits("2bits_down.bmp", 7, 3, 2, down=True, pillow=False)
for bits, count in (1, 1), (4, 3), (4, 15), (8, 1), (8, 100), (8, 255):
    bmp_bits(f"{bits}bits_of_{count}.bmp", 33, 3, bits, count=count)
bmp_bits("8bits_of_300.bmp", 33, 3, 8, count=300, pillow=False)
# Palettes of grey: indices beyond them go on; black and white in more than one bit.
ramp = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 3)
indices = noise(3, 33, 1)[..., 0]
for count in 100, 256:
    add(f"grey_of_{count}.bmp", bmp(33, 3, 8, bottom_up(packed(indices, 8, 4), False), palette=ramp[:count], used=count),
        ramp[indices])
for first, second in (0, 255), (255, 0), (10, 200):
    two = np.array([[first] * 3, [second] * 3], np.uint8)
    for bits in 1, 4, 8:
        some = noise(3, 31, 1, 2)[..., 0]
        add(f"{bits}bits_{first}_{second}.bmp", bmp(31, 3, bits, bottom_up(packed(some, bits, 4), False), palette=two, used=2),
            two[some], pillow=bits == 1 or first > 0)

for bits, masks, known in (
        (16, (0xF800, 0x7E0, 0x1F), True), (16, (0x7C00, 0x3E0, 0x1F), True), (16, (0xF00, 0xF0, 0xF), False),
        (16, (0x1F, 0x7E0, 0xF800), False), (16, (0xE000, 0x1C00, 0x300), False), (16, (0xFF00, 0xFF, 0), False),
        (24, (0xFF0000, 0xFF00, 0xFF), True), (24, (0xFF, 0xFF00, 0xFF0000), False),
        (32, (0xFF0000, 0xFF00, 0xFF), True), (32, (0xFF000000, 0xFF0000, 0xFF00), True),
        (32, (0xFF000000, 0xFF00, 0xFF), True), (32, (0xFF, 0xFF00, 0xFF0000), False),
        (32, (0x3FF00000, 0xFFC00, 0x3FF), False)):
    for header, width, down in (40, 5, False), (52, 7, True), (56, 3, False), (124, 33, False):
        values, pixels = fielded(np.zeros((3, width, 3)), masks)
        lines = [b"".join(int(v).to_bytes(bits // 8, "little") for v in row) for row in values]
        lines = [line + bytes(-len(line) % 4) for line in lines]
        data = bmp(width, 3, bits, bottom_up(lines, down), header, 3, masks, down=down)
        add(f"{bits}bits_{'_'.join(f'{m:x}' for m in masks)}_header{header}.bmp", data, pixels, known)
for bits, masks, known in (
        (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000), True), (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000), True),
        (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF), True), (32, (0xFF000000, 0xFF00, 0xFF, 0xFF0000), True),
        (32, (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000), False), (16, (0xF00, 0xF0, 0xF, 0xF000), False)):
    for header, compression in (56, 3), (108, 3), (124, 3), (40, 6):
        values, pixels = fielded(np.zeros((3, 5, 4)), masks)
        lines = [b"".join(int(v).to_bytes(bits // 8, "little") for v in row) for row in values]
        lines = [line + bytes(-len(line) % 4) for line in lines]
        data = bmp(5, 3, bits, bottom_up(lines, False), header, compression, masks)
        add(f"{bits}bits_{'_'.join(f'{m:x}' for m in masks)}_header{header}.bmp", data, pixels, known and header != 40)
values, pixels = fielded(np.zeros((3, 6, 4)), (0x7C00, 0x3E0, 0x1F, 0x8000))
add("16bits_alpha_unseen.bmp", bmp(6, 3, 16, values[::-1].astype("<u2").tobytes(), 124, 3, (0x7C00, 0x3E0, 0x1F, 0x8000)),
    pixels[..., :3])
pixels = noise(3, 6, 4)
add("32bits_no_masks.bmp", bmp(6, 3, 32, pixels[::-1][..., [2, 1, 0, 3]].tobytes(), 124, 3, (0, 0, 0, 0)), pixels)


def runs(lines, bits, at, skips=True, end=True, ends_of_line=True):
    """Lines of indices as RLE8 or RLE4, with all that it has; `at`: where it starts in the file."""
    out = bytearray()
    width = len(lines[0])
    full = width * len(lines)
    flat = np.concatenate(lines)
    position = 0

    def absolute(values):
        nonlocal out
        out += bytes([0, len(values)]) + packed(np.array([values], np.uint8), bits)[0]
        out += bytes((at + len(out)) % 2)

    while position < full:
        x = position % width
        rest = flat[position:position - x + width]
        kind = rng.randrange(4)
        zeros = int((np.append(flat[position:], 1) != 0).argmax())
        if skips and zeros > 1 and kind == 0 and position + zeros < full:
            ahead = min(zeros, 255 * width)
            right, up = ahead % width, ahead // width
            if x + right < width and up < 256:
                out += bytes([0, 2, right, up])
                position += ahead
                continue
        if kind == 1 and len(rest) >= 3:
            count = rng.randrange(3, min(len(rest), 255) + 1)
            absolute(rest[:count].tolist())
        elif kind == 2 and skips and ends_of_line and x > 0 and not rest.any():
            out += b"\0\0"  # the rest of the line is as if it were 0
            position += len(rest)
            continue
        else:
            first, second = rest[0], rest[1] if bits == 4 and len(rest) > 1 else rest[0]
            count = 1
            while count < min(len(rest), 255) and rest[count] == (first, second)[count % 2]:
                count += 1
            out += bytes([count, first << 4 | second if bits == 4 else first])
        position += count
        if position % width == 0:
            out += b"\0\0"
    return bytes(out) + (b"\0\1" if end else b"")


for bits in 8, 4:
    for width in 1, 3, 5, 7, 31, 33, 300:
        for variant in "", "_down", "_odd_offset", "_os2":
            header, gap = (64, b"") if variant == "_os2" else (40, b"g" if variant == "_odd_offset" else b"")
            palette = colours(2**bits if bits == 4 else 60)
            lines = list(blotches(4, width, len(palette)) * (blotches(4, width, 3) > 0))
            at = 14 + header + 4 * len(palette) + len(gap)
            down = variant == "_down"
            data = runs(lines if down else lines[::-1], bits, at)
            add(f"rle{bits}_{width}{variant}.bmp", bmp(width, 4, bits, data, header, 3 - bits // 4 if bits == 4 else 1,
                                                        palette=palette, used=len(palette), down=down, gap=gap),
                palette[np.array(lines)])
    four = colours(4)
    def rle(name, data, indices, pillow, palette=four):
        indices = np.array(indices)
        height, width = indices.shape
        add(f"rle{bits}_{name}.bmp", bmp(width, height, bits, data, compression=1 if bits == 8 else 2, palette=palette,
                                         used=len(palette)), palette[indices], pillow)
    v = (lambda i: i) if bits == 8 else (lambda i: i * 17)
    rle("early_end", bytes([2, v(1), 0, 0, 1, v(2), 0, 1]), [[0, 0, 0], [2, 0, 0], [1, 1, 0]], False)
    rle("only_end", b"\0\1", [[0, 0], [0, 0]], False)
    rle("empty_line", bytes([3, v(1), 0, 0, 0, 0, 3, v(3), 0, 1]), [[3, 3, 3], [0, 0, 0], [1, 1, 1]], False)
    rle("no_end", bytes([3, v(1), 0, 0, 3, v(3)]), [[3, 3, 3], [1, 1, 1]], True)
    rle("long_run", bytes([9, v(1), 0, 0, 200, v(3), 0, 0, 0, 1]), [[3, 3, 3], [1, 1, 1]], True)
    rle("grey", bytes([3, v(1), 0, 0, 3, v(3), 0, 0, 0, 1]), [[3, 3, 3], [1, 1, 1]], True, ramp[:4])

# Without the file's header.
def dib(name, width, height, bits, data, pixels, pillow=True, **more):
    add(name, bmp(width, height, bits, data, **more)[14:], pixels, pillow)


for header in 12, 40, 124:
    for bits in 1, 4, 8:
        palette, some = colours(2**bits), noise(3, 7, 1, 2**bits)[..., 0]
        dib(f"{bits}bits_header{header}.dib", 7, 3, bits, bottom_up(packed(some, bits, 4), False), palette[some],
            header=header, palette=palette)
    pixels = noise(3, 4, 3)
    dib(f"24bits_header{header}.dib", 4, 3, 24, pixels[::-1][..., ::-1].tobytes(), pixels, header=header)
values, pixels = fielded(np.zeros((3, 6, 3)), (0xF800, 0x7E0, 0x1F))
dib("565.dib", 6, 3, 16, values.astype("<u2").tobytes(), pixels, compression=3, masks=(0xF800, 0x7E0, 0x1F), down=True)
palette, lines = colours(9), blotches(3, 33, 9)
dib("rle8.dib", 33, 3, 8, runs(list(lines), 8, 40 + 4 * 9), palette[lines], compression=1, palette=palette, used=9, down=True)

# ---- TGA ---------------------------------------------------------------------------------------------------
def tga_runs(lines, cross):
    """Pixels (bytes) in packets; `cross`: those that go on into the next row, runs too where it is "runs"."""
    out = b""
    parts = [[pixel for line in lines for pixel in line]] if cross else lines
    width = len(lines[0])
    for pixels in parts:
        at = 0
        while at < len(pixels):
            same = 1
            row_end = len(pixels) if cross == "runs" else at - at % width + width
            while at + same < min(row_end, at + 128, len(pixels)) and pixels[at + same] == pixels[at]:
                same += 1
            if same > 1:
                out += bytes([127 + same]) + pixels[at]
                at += same
            else:
                count = min(rng.randrange(1, 129), len(pixels) - at)
                out += bytes([count - 1]) + b"".join(pixels[at:at + count])
                at += count
    return out


def tga(kind, width, height, bits, lines, corner=0, ident=b"", first=0, map_bits=0, colour_map=(), attributes=0,
        compress=False, tail=b""):
    lines = [line[::-1] if corner & 1 else line for line in (lines if corner & 2 else lines[::-1])]
    data = tga_runs(lines, compress) if compress is not False else b"".join(b"".join(line) for line in lines)
    return (struct.pack("<BBBHHBHHHHBB", len(ident), len(colour_map) > 0, kind + 8 * (compress is not False), first,
                        len(colour_map), map_bits, 0, 0, width, height, bits, corner << 4 | attributes) + ident +
            b"".join(colour_map) + data + tail)


def five(pixels, top=None):
    """16-bit pixels and what they show; the highest bit means transparent to Pillow."""
    small = pixels[..., :3] >> 3
    values = small[..., 0].astype(np.uint16) << 10 | small[..., 1].astype(np.uint16) << 5 | small[..., 2]
    out = (small.astype(np.int64) * 255 // 31).astype(np.uint8)
    if top is not None:
        values |= top.astype(np.uint16) << 15
        out = np.concatenate([out, np.where(top, 0, 255).astype(np.uint8)[..., None]], axis=2)
    return values, out


def stored(array, dtype=np.uint8):
    return [[np.asarray(pixel, dtype).tobytes() for pixel in row] for row in array]


def true_colour(height, width, bits):
    """Lines as they are stored, and pixels; with runs."""
    source = colours(9)[blotches(height, width, 9)]
    if bits == 24:
        return stored(source[..., ::-1]), source
    if bits == 32:
        pixels = np.concatenate([source, blotches(height, width, 256)[..., None]], axis=2)
        return stored(pixels[..., [2, 1, 0, 3]]), pixels
    values, pixels = five(source, blotches(height, width, 2) if bits == 16 else None)
    return stored(values, "<u2"), pixels


footer = bytes(8) + b"TRUEVISION-XFILE.\0"
for bits in 15, 16, 24, 32:
    for compress in False, None, "rows", "runs":
        for width, corner in (1, 0), (3, 1), (5, 2), (7, 3), (31, 0), (33, 3), (150, 0):
            lines, pixels = true_colour(4, width, bits)
            form = {False: "", None: "_rle", "rows": "_rle_crossing", "runs": "_rle_runs_crossing"}[compress]
            crossing = compress == "runs" and width < 128
            data = tga(2, width, 4, bits, lines, corner, compress=compress, attributes={32: 8, 16: 1}.get(bits, 0), tail=footer)
            try:
                Image.open(io.BytesIO(data)).load()
                read = True
            except OSError:
                read = False
            assert read or bits == 15 or crossing or compress == "runs"
            add(f"{bits}bits{form}_{width}_corner{corner}.tga", data, pixels, read and bits != 15)
for bits in 16, 32:
    lines, pixels = true_colour(3, 5, bits)
    area = struct.pack("<H", 495) + bytes(493)
    for kind in 0, 3:
        raw = tga(2, 5, 3, bits, lines)
        data = raw + area[:494] + bytes([kind]) + struct.pack("<II", len(raw), 0) + b"TRUEVISION-XFILE.\0"
        add(f"{bits}bits_attributes{kind}.tga", data, pixels if kind else pixels[..., :3])
for width, corner in (1, 0), (5, 1), (33, 2), (7, 3):
    for compress in False, None, "rows":
        form = {False: "", None: "_rle", "rows": "_rle_crossing"}[compress]
        grey = blotches(3, width, 256)
        full = np.stack([grey] * 3, axis=2)
        add(f"grey{form}_{width}.tga", tga(3, width, 3, 8, stored(grey), corner, compress=compress, ident=b"a name", tail=footer), full)
        with_alpha = np.concatenate([full, blotches(3, width, 256)[..., None]], axis=2)
        add(f"grey_alpha{form}_{width}.tga", tga(3, width, 3, 16, stored(with_alpha[..., 2:]), corner, compress=compress,
                                                 attributes=8), with_alpha)
        for map_bits in 15, 16, 24, 32:
            for first, count in (0, 256), (20, 100):
                map_lines, map_pixels = true_colour(1, count, map_bits)
                table = np.zeros((256, map_pixels.shape[2]), np.uint8)
                if map_pixels.shape[2] == 4:
                    table[:, 3] = 255
                    table[:first, 3] = 0 if map_bits == 32 else 255
                table[first:first + count] = map_pixels[0]
                indices = blotches(3, width, 140)
                add(f"map{map_bits}_{first}{form}_{width}.tga",
                    tga(1, width, 3, 8, stored(indices), corner, b"" if first else b"id", first, map_bits, map_lines[0],
                        compress=compress, tail=footer), table[indices], map_bits != 15)
for width in 3, 16, 33:
    bits = noise(3, width, 1, 2)[..., 0]
    add(f"1bit_{width}.tga", tga(3, width, 3, 1, [[line] for line in packed(bits, 1)]), np.stack([bits * 255] * 3, axis=2))
lines, pixels = true_colour(3, 5, 24)
add("map_beside_colours.tga", tga(2, 5, 3, 24, lines, map_bits=24, colour_map=[b"abc"] * 7), pixels, False)

# ---- PNM ---------------------------------------------------------------------------------------------------
def scaled(values, largest, high_byte=False):
    if high_byte:
        return np.array([min(65535, round(v / largest * 65535)) >> 8 for v in values.reshape(-1).tolist()], np.uint8).reshape(values.shape)
    return np.array([min(255, round(v / largest * 255)) for v in values.reshape(-1).tolist()], np.uint8).reshape(values.shape)


def three(grey):
    return np.stack([grey] * 3, axis=2)


for width in 1, 3, 5, 7, 8, 31, 33:
    bits = noise(3, width, 1, 2)[..., 0]
    head = b"%d %d\n" % (width, 3)
    pixels = three((1 - bits) * 255)
    add(f"raw_{width}.pbm", b"P4\n" + head + b"".join(packed(bits, 1)), pixels)
    digits = [bytes(row + 48) for row in bits]
    add(f"plain_{width}.pbm", b"P1 " + head + b"\n".join(digits) + b"\n", pixels)
    add(f"spaced_{width}.pbm", b"P1\n# a comment\n" + head + b" ".join(b" ".join(bytes([d]) for d in row) for row in digits), pixels)
    for largest in 1, 2, 10, 100, 254, 255, 256, 1000, 32767, 65534, 65535:
        if largest not in (1, 255, 65535) and width not in (5, 33):
            continue
        size = ">u2" if largest > 255 else np.uint8
        grey = np.array([rng.randrange(largest + 1) for _ in range(3 * width)]).reshape(3, width)
        rgb = np.array([rng.randrange(largest + 1) for _ in range(9 * width)]).reshape(3, width, 3)
        head = b"%d\t%d # %d\r%d\n" % (width, 3, width, largest)
        add(f"raw_{largest}_{width}.pgm", b"P5\n" + head + grey.astype(size).tobytes(), three(scaled(grey, largest, largest > 255)))
        add(f"raw_{largest}_{width}.ppm", b"P6\n" + head + rgb.astype(size).tobytes(), scaled(rgb, largest))
        text = lambda values: b"".join(b"%d%s" % (v, rng.choice((b" ", b"\n", b"  ", b"\t\r\n", b" # 7 8\n"))) for v in values.reshape(-1).tolist())
        add(f"plain_{largest}_{width}.pgm", b"P2\n" + head + text(grey), three(scaled(grey, largest, largest > 255)))
        add(f"plain_{largest}_{width}.ppm", b"P3\n" + head + text(rgb).strip(), scaled(rgb, largest))
add("beyond.pgm", b"P5 3 1 100\n" + bytes([100, 101, 255]), three(np.array([[255, 255, 255]], np.uint8)))
add("comments.pgm", b"P2#one\n# two\n1#three\n2 #\n#\n1\n255 #four\n\n#five\n1#2\n7 1 1 1 1 1 1 1 1 1 1 1", three(np.array([[17] + [1] * 11], np.uint8)), False)
add("comment_in_number.pgm", b"P5 1#2\r2 1#\n 25#x\n5 " + bytes(range(12)), three(np.arange(12, dtype=np.uint8)[None]))
add("comment_in_bits.pbm", b"P1 4 2\n01#1111\n10\r#0\n1 0#\n0 1", three(np.array([[255, 0, 0, 255], [0, 255, 255, 0]], np.uint8)))

# ---- PSD ---------------------------------------------------------------------------------------------------
def packbits(line):
    """One row, with literals, runs and nothings."""
    out, at = b"", 0
    while at < len(line):
        same = 1
        while same < min(128, len(line) - at) and line[at + same] == line[at]:
            same += 1
        if same > 1:
            out += bytes([257 - same, line[at]])
            at += same
        else:
            count = min(rng.randrange(1, 129), len(line) - at)
            out += (b"\x80" if rng.randrange(4) == 0 else b"") + bytes([count - 1]) + line[at:at + count]
            at += count
    return out


def psd(mode, planes, bits=8, compress=False, palette=b""):
    channels, height, width = planes.shape
    lines = [row.astype(">u2" if bits == 16 else np.uint8).tobytes() for plane in planes for row in plane]
    if compress:
        lines = [packbits(line) for line in lines]
        data = b"\0\1" + b"".join(struct.pack(">H", len(line)) for line in lines) + b"".join(lines)
    else:
        data = b"\0\0" + b"".join(lines)
    resource = b"8BIM" + struct.pack(">HHI", 1005, 0, 4) + b"abcd"
    return (b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, height, width, bits, mode) + struct.pack(">I", len(palette)) + palette +
            struct.pack(">I", len(resource)) + resource + struct.pack(">I", 0) + data)


def inked(planes):
    image = Image.fromarray(255 - planes[:4].transpose(1, 2, 0), "CMYK")
    return np.asarray(image.convert("RGB"))


for width in 1, 5, 31, 150:
    for compress in False, True:
        form = "_packed" if compress else ""
        planes = np.stack([blotches(3, width, 256) for _ in range(6)])
        # Pillow takes the sizes of the rows of further channels for pixels.
        for mode, name in (1, "grey"), (7, "many"), (8, "duotone"):
            for channels in 1, 2:
                add(f"{name}_{channels}{form}_{width}.psd", psd(mode, planes[:channels], 8, compress), three(planes[0]),
                    channels == 1 or not compress)
        for channels in 3, 4, 5, 6:
            add(f"rgb_{channels}{form}_{width}.psd", psd(3, planes[:channels], 8, compress), planes[:4 if channels == 4 else 3].transpose(1, 2, 0),
                channels <= 4 or not compress)
        for channels in 4, 5:
            add(f"cmyk_{channels}{form}_{width}.psd", psd(4, planes[:channels], 8, compress), inked(planes),
                channels == 4 or not compress)
        table = colours(256)
        add(f"indexed{form}_{width}.psd", psd(2, planes[:1], 8, compress, table.T.tobytes()), table[planes[0]])
        deep = planes.astype(np.uint16) << 8 | planes[::-1]
        add(f"rgb16{form}_{width}.psd", psd(3, deep[:4], 16, compress), planes[:4].transpose(1, 2, 0), False)
        add(f"grey16{form}_{width}.psd", psd(1, deep[:1], 16, compress), three(planes[0]), False)

path = pathlib.Path(__file__).parent / "bitmaps.tsv"
with open(path, "w") as out:
    for row in rows:
        print(*row, sep="\t", file=out)
assert len({row[0] for row in rows}) == len(rows)
print(len(rows), "files,", sum(row[1] == "pillow" for row in rows), "read by Pillow,", path.stat().st_size, "bytes")
