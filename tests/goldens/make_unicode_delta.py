#!/usr/bin/env python3
"""Writes src/model/text/unicode_delta.h: what `tokenizers` knows beyond Unicode 14.

Debian 12's PCRE2 (10.42) classifies characters by Unicode 14; the Oniguruma inside the `tokenizers` library is newer.
New emoji and ideographs would be split differently, so the regex translation adds these ranges.

Pinned: tokenizers==0.23.3, run with Python 3.11 (its unicodedata is 14.0.0).
usage: python3 tests/goldens/make_unicode_delta.py > src/model/text/unicode_delta.h
"""

import unicodedata

import tokenizers
from tokenizers import Regex, pre_tokenizers

assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
assert unicodedata.unidata_version == "14.0.0", unicodedata.unidata_version

ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def library_set(category):
    """Code points of a class: what the library removes (or, for numerics, cuts out one by one)."""
    if category == "Numeric":
        pre = pre_tokenizers.Digits(individual_digits=True)
        return {c for c in ALL if len(pre.pre_tokenize_str("aa" + chr(c))) == 2}
    pre = pre_tokenizers.Split(Regex(rf"\p{{{category}}}"), "removed")
    found = set()
    for base in range(0, len(ALL), 4096):
        block = ALL[base : base + 4096]
        kept = set("".join(text for text, _ in pre.pre_tokenize_str("".join(map(chr, block)))))
        found.update(c for c in block if chr(c) not in kept)
    return found


def ranges(points):
    result = []
    for c in sorted(points):
        if result and c == result[-1][1] + 1:
            result[-1][1] = c
        else:
            result.append([c, c])
    return result


print("// Written by tests/goldens/make_unicode_delta.py: characters that the `tokenizers` library's regex engine knows")
print("// and Unicode 14 (Debian's PCRE2) does not, as the inside of a PCRE2 class. kNumericDelta is Rust's")
print("// char::is_numeric, which the Digits pre-tokenizer uses.")
print("#pragma once\n\nnamespace bifrons {\n\n// clang-format off")
for category, name in [("L", "Letter"), ("M", "Mark"), ("N", "Number"), ("P", "Punctuation"), ("S", "Symbol"), ("Numeric", "Numeric")]:
    known = {c for c in ALL if unicodedata.category(chr(c))[0] == category[0]}
    print(f"inline constexpr char k{name}Delta[] =")
    line = "   "
    for first, last in ranges(library_set(category) - known):
        item = rf"\\x{{{first:x}}}" + (rf"-\\x{{{last:x}}}" if last > first else "")
        if len(line) + len(item) > 104:
            print(line + '"')
            line = "   "
        line += ' "' + item if line == "   " else item
    print(line + '";')
print("// clang-format on\n\n}  // namespace bifrons")
