#!/usr/bin/env python3
"""Writes the goldens beside this file: tiny random Janus models and what the PyTorch reference says about them.

  python make.py CHECKOUT          the tiny models; CHECKOUT is a checkout of github.com/deepseek-ai/Janus
  python make.py --mini FOLDER     the numbers of the bundled model (assets/janus-mini), through transformers

make_understanding.py then adds what they say about pictures. requirements.txt pins the versions. The tests read the
results and need no Python. Per model:
  original/, converted/     the same weights as published checkpoints of both layouts store them
  golden/golden.json        prompts and PyTorch's own bf16 error
  golden/K_*.npy            of prompt K: ids, uncond_ids, codes (teacher forcing), logits_cond, logits_uncond, pixels (of
                            `codes`), greedy (guidance 5), gaps (between the two best guided logits); all by f32 on a CPU
"""
import argparse
import json
import math
import pathlib
import shutil

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import reference

HERE = pathlib.Path(__file__).parent
LAYOUTS = ("original", "converted")

# The sequence of DeepSeek-LLM's tokenizer.json.
LETTERS = (
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-"
    r"ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ"
    r"-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+")
PUNCTUATION = r"\s?[!-/:-~！-／：-～‘-‟　-。]+"
CJK = "[一-龥ࠀ-一가-퟿]+"

PROMPTS = {
    "short": "a dog",
    "long": "A close-up high-contrast photo of Sydney Opera House sitting next to Eiffel tower, under a blue night sky of "
            "roiling energy, exploding yellow stars, and radiating swirls of blue. " * 2,
    "unicode": "  ein grüner Bär 🐻‍❄️ und 2 Äpfel,\tüber dem Øresund\r\n一只猫 안녕 naïve… \u3000",
    "empty": "",
}

# Everything that the original layout leaves to the tensors' shapes stands in the left part.
TINY = {
    # Grouped queries, a channel change (nin_shortcut), bf16.
    "tiny-a": dict(seed=1, dtype=torch.bfloat16, template="deepseek", layouts=LAYOUTS, base_channels=32, channel_multiplier=[1, 2],
                   res_blocks=1, latent_channels=24, codebook=96, codebook_dim=8, patch=2, image=12, vision_width=32,
                   vision_layers=2, head_hidden=64, full_precision=False,
                   llama=dict(hidden_size=64, intermediate_size=112, num_hidden_layers=3, num_attention_heads=4,
                              num_key_value_heads=2, max_position_embeddings=512)),
    # One key/value head, gen_head wider inside than out (which only the original layout can say), three levels, two
    # residual blocks, four values per code, another rotary base and epsilon, the 1.3B template, f16 in shards.
    "tiny-b": dict(seed=2, dtype=torch.float16, template="deepseek_old", layouts=("original",), base_channels=32,
                   channel_multiplier=[2, 1, 1], res_blocks=2, latent_channels=20, codebook=130, codebook_dim=4, patch=4,
                   image=20, vision_width=32, vision_layers=1, head_hidden=72, full_precision=False, shards=3,
                   llama=dict(hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=3,
                              num_key_value_heads=1, max_position_embeddings=512, rope_theta=500000.0, rms_norm_eps=1e-5)),
    # As many key/value heads as heads, a head wider than hidden / heads, one level, f32 with all its bits, shards.
    "tiny-c": dict(seed=3, dtype=torch.float32, template="deepseek", layouts=LAYOUTS, base_channels=32, channel_multiplier=[1],
                   res_blocks=1, latent_channels=16, codebook=70, codebook_dim=8, patch=1, image=7, vision_width=16,
                   vision_layers=1, head_hidden=40, full_precision=True, shards=2,
                   llama=dict(hidden_size=40, intermediate_size=72, num_hidden_layers=2, num_attention_heads=2,
                              num_key_value_heads=2, head_dim=24, max_position_embeddings=512)),
}


def make_tokenizer(template):
    """A byte-level BPE of about 300 entries with the published special tokens; Janus-1.3B's has no role tokens."""
    tokenizer = Tokenizer(models.BPE())
    isolated = [("[\r\n]", True), (LETTERS, True), (PUNCTUATION, True), (r"\s+$", True), (CJK, True)]
    from tokenizers import Regex
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern, _ in isolated]
        + [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    corpus = [p for p in PROMPTS.values()] + ["User: a cat and a dog on the blue table\n\nAssistant: under the tree there"] * 3
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=300, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    special = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>", "<image_placeholder>", "<begin_of_image>",
               "<end_of_image>"] + (["<|User|>", "<|Assistant|>"] if template == "deepseek" else [])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in ("ø", "ü")])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    bos = special[0]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))])
    return tokenizer


def save_tokenizer(tokenizer, folder):
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>", "pad_token": "<｜▁pad▁｜>",
              "tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True, "add_eos_token": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n")


def encode(conversation, tokenizer, template, prompt):
    """processing_vlm.py: apply_sft_template_for_multi_turn_prompts, then image_start_tag."""
    conv = conversation.get_conv_template(template)
    conv.set_system_message("")
    conv.append_message(conv.roles[0], prompt.strip())
    conv.append_message(conv.roles[1], "")
    return tokenizer.encode(conv.get_prompt().strip() + "<begin_of_image>").ids


def original_config(spec, vocabulary):
    """config.json as deepseek-ai writes it: names where the reference's code has the numbers, and no defaults."""
    hidden, codebook, dim = spec["llama"]["hidden_size"], spec["codebook"], spec["codebook_dim"]
    part = lambda kind, cls, **params: {"cls": cls, "model_type": kind, "params": params}
    dtype = str(spec["dtype"]).removeprefix("torch.")
    return {
        "aligner_config": part("aligner", "MlpProjector", depth=2, input_dim=spec["vision_width"], n_embed=hidden,
                               projector_type="mlp_gelu"),
        "architectures": ["MultiModalityCausalLM"],
        "gen_aligner_config": part("gen_aligner", "MlpProjector", depth=2, input_dim=dim, n_embed=hidden,
                                   projector_type="mlp_gelu"),
        "gen_head_config": part("gen_head", "vision_head", image_token_embed=spec["head_hidden"], image_token_size=codebook,
                                n_embed=hidden),
        "gen_vision_config": part("gen_vision", "VQ-16", image_token_size=codebook, n_embed=dim),
        "language_config": {**spec["llama"], "model_type": "llama", "torch_dtype": dtype, "vocab_size": vocabulary},
        "model_type": "multi_modality",
        "torch_dtype": dtype,
        "transformers_version": "4.33.1",
        "vision_config": part("vision", "CLIPVisionTower", image_size=spec["image"], model_name="siglip_large_patch16_384",
                              select_feature="same", select_layer=-1),
    }


@torch.no_grad()
def randomise(model, seed, full_precision):
    """Weights at which every part matters to the logits. Multiples of a power of two, few enough that git compresses them;
    the language model's have all of f32's bits where full_precision asks, so that rounding at load would show."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        deviation = 0.1
        if "embed" in name and p.ndim == 2:
            deviation = 1.0
        elif p.ndim > 1:
            deviation = 1.2 / math.sqrt(p[0].numel())
        if full_precision and name.startswith(("language_model.", "gen_aligner", "gen_head")):
            p.copy_(noise * deviation)
        else:
            step = 2.0 ** round(math.log2(deviation / 2.5))
            p.copy_((noise * 2.5).round().clamp(-7, 7) * step)
        if p.ndim == 1 and name.endswith("weight"):
            p.add_(1)


def round_parameters(model, through, to):
    """Module.to would round the rotary embedding's frequencies as well, which no loader of a checkpoint does."""
    for p in model.parameters():
        p.data = p.data.to(through).to(to)


def power_of_two(x):
    return 2.0 ** round(math.log2(x))


def to_converted(state, config):
    """Names of the converted layout (trap: see modeling_janus.py); what that layout drops is dropped."""
    out = {}
    for name, tensor in state.items():
        if ".attn_pool." in name or name.endswith("codebook_used"):
            continue
        if name.startswith("vision_model.vision_tower."):
            name = name.removeprefix("vision_model.vision_tower.")
            if name == "pos_embed":
                out["model.vision_model.embeddings.position_embedding.weight"] = tensor[0]
                continue
            for a, b in (("patch_embed.proj", "embeddings.patch_embedding"), ("blocks.", "encoder.layers."),
                         ("norm1", "layer_norm1"), ("norm2", "layer_norm2"), ("attn.proj", "self_attn.projection_layer")):
                name = name.replace(a, b)
            if name.startswith("norm."):
                name = "post_layernorm." + name.removeprefix("norm.")
            name = "model.vision_model." + name
            if ".attn.qkv." in name:
                for letter, piece in zip("qkv", tensor.chunk(3)):
                    out[name.replace("attn.qkv", f"self_attn.{letter}_proj")] = piece.clone()
                continue
        elif name.startswith("gen_vision_model."):
            name = name.replace("gen_vision_model.", "model.vqmodel.")
            for a, b in (("encoder.conv_blocks", "encoder.down"), ("decoder.conv_blocks", "decoder.up"), (".res.", ".block."),
                         ("mid.0", "mid.block_1"), ("mid.1", "mid.attn_1"), ("mid.2", "mid.block_2")):
                name = name.replace(a, b)
        elif name.startswith("language_model.model."):
            name = "model.language_model." + name.removeprefix("language_model.model.")
        elif name == "language_model.lm_head.weight":
            name = "lm_head.weight"
        else:
            for a, b in (("gen_aligner", "generation_aligner"), ("gen_head", "generation_head"),
                         ("gen_embed", "generation_embeddings"), ("layers.0", "fc1"), ("layers.2", "hidden_layers.0"),
                         ("output_mlp_projector", "proj_out")):
                name = name.replace(a, b)
            name = "model." + name
        out[name] = tensor
    return out


def save_original(model, config, spec, folder):
    state = {name: tensor.to(spec["dtype"]) for name, tensor in model.state_dict().items()}
    if spec["full_precision"]:  # 256 kB of zeros once is enough
        del state["gen_vision_model.quantize.codebook_used"]
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    shards = spec.get("shards", 1)
    if shards == 1:
        torch.save(state, folder / "pytorch_model.bin")
        return
    files = {f"pytorch_model-{i + 1:05}-of-{shards:05}.bin": list(state)[i::shards] for i in range(shards)}
    for file, names in files.items():
        torch.save({name: state[name] for name in names}, folder / file)
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in state.values())},
             "weight_map": {name: file for file, names in files.items() for name in names}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1) + "\n")


def save_converted(model, config, spec, tokenizer, folder):
    from transformers import JanusConfig, JanusForConditionalGeneration

    id_of = tokenizer.token_to_id
    hidden = spec["llama"]["hidden_size"]
    tokens = (spec["image"] // spec["patch"]) ** 2
    text = {**spec["llama"], "model_type": "llama", "vocab_size": config["language_config"]["vocab_size"],
            "bos_token_id": id_of("<｜begin▁of▁sentence｜>"), "eos_token_id": id_of("<｜end▁of▁sentence｜>"),
            "pad_token_id": id_of("<｜▁pad▁｜>"), "tie_word_embeddings": False}
    janus = JanusForConditionalGeneration(JanusConfig(
        text_config=text,
        vision_config=dict(hidden_size=spec["vision_width"], num_hidden_layers=spec["vision_layers"], num_attention_heads=16,
                           patch_size=spec["patch"], image_size=spec["image"], projection_dim=hidden, num_image_tokens=tokens),
        vq_config=dict(embed_dim=spec["codebook_dim"], num_embeddings=spec["codebook"], latent_channels=spec["latent_channels"],
                       num_patches=spec["image"] // spec["patch"], base_channels=spec["base_channels"],
                       channel_multiplier=spec["channel_multiplier"], num_res_blocks=spec["res_blocks"], projection_dim=hidden,
                       image_token_embed_dim=hidden),
        image_token_id=id_of("<image_placeholder>"), tie_word_embeddings=False)).eval()
    janus.load_state_dict(to_converted(model.state_dict(), config), strict=True)
    size = sum(p.numel() for p in janus.parameters()) * spec["dtype"].itemsize
    janus.to(spec["dtype"]).save_pretrained(folder, max_shard_size=size // spec.get("shards", 1) + 60000)
    return JanusForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


class Converted:
    """A transformers Janus behind the names that reference.run and reference.pixels use."""

    def __init__(self, janus):
        self.janus = janus
        self.language_model = self
        self.model = janus.model.language_model
        self.gen_head = janus.model.generation_head

    def get_input_embeddings(self):
        return self.janus.get_input_embeddings()

    def prepare_gen_img_embeds(self, ids):
        return self.janus.prepare_embeddings_for_image_generation(ids)

    def pixels(self, codes):
        """[height, width, 3]; the decoder's output is channels first."""
        decoded = self.janus.model.vqmodel.decode(torch.tensor([codes]))
        return decoded[0].float().permute(1, 2, 0) if decoded.shape[1] == 3 else decoded[0].float()


def save(folder, name, array):
    array = np.asarray(array)
    np.save(folder / f"{name}.npy", array.astype(np.int32 if array.dtype.kind == "i" else np.float32))


def rms(x):
    return float(x.double().pow(2).mean().sqrt())


def make_tiny(name, spec, modules):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    golden = folder / "golden"
    golden.mkdir(parents=True)
    tokenizer = make_tokenizer(spec["template"])
    # Published vocabularies are padded beyond the tokenizer's entries.
    config = original_config(spec, -(-(tokenizer.get_vocab_size() + 1) // 8) * 8)
    model = reference.Janus(modules, config, spec).eval()
    randomise(model, spec["seed"], spec["full_precision"])
    grid = spec["image"] // spec["patch"]
    tokens = grid * grid
    pad = tokenizer.token_to_id("<｜▁pad▁｜>")
    generator = np.random.default_rng(spec["seed"])
    forced = {key: generator.integers(0, spec["codebook"], tokens).tolist() for key in PROMPTS}
    ids = {key: encode(modules.conversation, tokenizer, spec["template"], prompt) for key, prompt in PROMPTS.items()}

    with torch.inference_mode():
        logits = reference.run(model, ids["long"], pad, forced["long"], tokens)[0]
        model.gen_head.vision_head.weight.data *= power_of_two(1 / logits.std().item())
        image = reference.pixels(model, forced["long"], grid)
        model.gen_vision_model.decoder.conv_out.weight.data *= power_of_two(0.5 / image.std().item())
        image = reference.pixels(model, forced["long"], grid)
        model.gen_vision_model.decoder.conv_out.bias.data -= (image.mean((0, 1)) * 16).round() / 16

    for layout in spec["layouts"]:
        (folder / layout).mkdir()
        save_tokenizer(tokenizer, folder / layout)
    save_original(model, config, spec, folder / "original")
    # What the files hold is what the goldens are about.
    round_parameters(model, spec["dtype"], torch.float32)
    converted = None
    if "converted" in spec["layouts"]:
        converted = Converted(save_converted(model, config, spec, tokenizer, folder / "converted"))

    summary = {"template": spec["template"], "grid": grid, "codebook": spec["codebook"], "layouts": spec["layouts"], "prompts": []}
    half = reference.Janus(modules, config, spec).eval()
    half.load_state_dict(model.state_dict())
    round_parameters(half, torch.bfloat16, torch.bfloat16)
    squared_error, pixel_error, count = 0.0, 0.0, 0
    with torch.inference_mode():
        for k, (key, prompt) in enumerate(PROMPTS.items()):
            logits, _, _ = reference.run(model, ids[key], pad, forced[key], tokens)
            image = reference.pixels(model, forced[key], grid)
            _, greedy, gaps = reference.run(model, ids[key], pad, None, tokens)
            if converted:
                twin = reference.run(converted, ids[key], pad, forced[key], tokens)[0]
                difference = max(rms(twin - logits), rms(converted.pixels(forced[key]) - image))
                assert difference < 1e-5, f"{name}: the layouts disagree by {difference}"
            unconditional = [ids[key][0]] + [pad] * (len(ids[key]) - 2) + [ids[key][-1]]
            for what, array in (("ids", ids[key]), ("uncond_ids", unconditional), ("codes", forced[key]),
                                ("logits_cond", logits[:, 0]), ("logits_uncond", logits[:, 1]), ("pixels", image),
                                ("greedy", greedy), ("gaps", gaps)):
                save(golden, f"{k}_{what}", array)
            bf16 = reference.run(half, ids[key], pad, forced[key], tokens)[0]
            squared_error += rms(bf16 - logits) ** 2
            pixel_error += rms(reference.pixels(half, forced[key], grid) - image) ** 2
            count += 1
            summary["prompts"].append({"name": key, "text": prompt})
            print(f"{name} {key}: {len(ids[key])} ids, logits std {logits.std():.2f}, conditional against unconditional "
                  f"{rms(logits[:, 0] - logits[:, 1]):.2f}, pixels std {image.std():.2f}, smallest gap {min(gaps):.4f}, "
                  f"{len(set(greedy))} codes of {tokens}")
    # RMS over prompts, positions and codes of (PyTorch in bf16 − PyTorch in f32).
    summary["bf16_logits_rms"] = math.sqrt(squared_error / count)
    summary["bf16_pixels_rms"] = math.sqrt(pixel_error / count)
    (golden / "golden.json").write_text(json.dumps(summary, ensure_ascii=False, indent=1) + "\n")
    print(f"{name}: bf16 RMS error of logits {summary['bf16_logits_rms']:.4f}, of pixels {summary['bf16_pixels_rms']:.4f}")


MINI_PROMPTS = ["a dog on a blue background", "two red apples on a white background", "a small green star"]
MINI_POSITIONS = 8  # logits of so many positions are kept
MINI_STRIDE = 8     # of the pixels every so many rows and columns are kept


def make_mini(folder):
    from transformers import JanusForConditionalGeneration

    golden = HERE / "janus-mini"
    shutil.rmtree(golden, ignore_errors=True)
    golden.mkdir()
    janus = JanusForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    model = Converted(janus)
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    id_of = tokenizer.token_to_id
    bos, pad, begin = map(id_of, ("<｜begin▁of▁sentence｜>", "<｜▁pad▁｜>", "<begin_of_image>"))
    tokens = janus.config.vq_config.num_patches ** 2
    generator = np.random.default_rng(7)
    positions = np.linspace(0, tokens - 1, MINI_POSITIONS).astype(np.int32)
    summary = {"tokens": tokens, "stride": MINI_STRIDE, "prompts": []}
    with torch.inference_mode():
        for k, prompt in enumerate(MINI_PROMPTS):
            text = f"<|User|>: {prompt}\n\n<|Assistant|>:<begin_of_image>"
            ids = [bos] + tokenizer.encode(text, add_special_tokens=False).ids
            assert ids[-1] == begin
            codes = generator.integers(0, janus.config.vq_config.num_embeddings, tokens).tolist()
            logits = reference.run(model, ids, pad, codes, tokens)[0]
            _, greedy, gaps = reference.run(model, ids, pad, None, tokens)
            image = model.pixels(codes)[::MINI_STRIDE, ::MINI_STRIDE]
            for what, array in (("ids", ids), ("codes", codes), ("positions", positions),
                                ("logits_cond", logits[positions, 0]), ("logits_uncond", logits[positions, 1]),
                                ("pixels", image), ("greedy", greedy), ("gaps", gaps)):
                save(golden, f"{k}_{what}", array)
            summary["prompts"].append({"name": f"mini-{k}", "text": prompt})
            print(f"{prompt}: logits std {logits.std():.2f}, smallest gap {min(gaps):.5f}")
    (golden / "golden.json").write_text(json.dumps(summary, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", nargs="?", help="a checkout of deepseek-ai/Janus")
    parser.add_argument("--mini", metavar="FOLDER", help="the bundled model's folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.checkout:
        modules = reference.load(arguments.checkout)
        for name, spec in TINY.items():
            make_tiny(name, spec, modules)
    if arguments.mini:
        make_mini(arguments.mini)
    if not (arguments.checkout or arguments.mini):
        parser.error("name a checkout, or a folder with --mini")


if __name__ == "__main__":
    main()
