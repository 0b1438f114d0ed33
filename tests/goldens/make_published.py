"""Writes published/NAME.LAYOUT.txt: every tensor's name and shape of the published checkpoints.

    python make_published.py CHECKOUT_OF_DEEPSEEK_AI_JANUS

The original layout comes from the reference's modules, the converted one from transformers, both on PyTorch's meta
device (no weights). Tensors that differ in one layer number only share a line: layers.{0..23}.norm.weight [2048].
"""
import json
import pathlib
import re
import sys

import torch
from transformers import JanusConfig, JanusForConditionalGeneration, JanusVisionConfig, JanusVQVAEConfig, LlamaConfig

import reference

HERE = pathlib.Path(__file__).parent
GEOMETRY = {"base_channels": 128, "res_blocks": 2, "channel_multiplier": [1, 1, 2, 2, 4], "codebook": 16384, "codebook_dim": 8,
            "latent_channels": 256, "patch": 16, "vision_width": 1024, "vision_layers": 24}
ONE_B = {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24, "num_attention_heads": 16,
         "num_key_value_heads": 16, "vocab_size": 102400, "max_position_embeddings": 16384}
SEVEN_B = {"num_hidden_layers": 30, "vocab_size": 102400, "max_position_embeddings": 16384}  # the rest is LlamaConfig's default
MODELS = {"janus-1.3b": ONE_B, "janus-pro-1b": ONE_B, "janus-pro-7b": SEVEN_B}


def original(checkout_modules, language):
    hidden = LlamaConfig(**language).hidden_size
    config = {
        "model_type": "multi_modality",
        "language_config": {"model_type": "llama", **language},
        "vision_config": {"cls": "CLIPVisionTower", "params": {"image_size": 384, "model_name": "siglip_large_patch16_384",
                                                               "select_feature": "same", "select_layer": -1}},
        "aligner_config": {"cls": "MlpProjector", "params": {"depth": 2, "input_dim": 1024, "n_embed": hidden, "projector_type": "mlp_gelu"}},
        "gen_vision_config": {"cls": "VQ-16", "params": {"image_token_size": 16384, "n_embed": 8}},
        "gen_aligner_config": {"cls": "MlpProjector", "params": {"depth": 2, "input_dim": 8, "n_embed": hidden, "projector_type": "mlp_gelu"}},
        "gen_head_config": {"cls": "vision_head", "params": {"image_token_embed": hidden, "image_token_size": 16384, "n_embed": hidden}},
    }
    return config, reference.Janus(checkout_modules, config, GEOMETRY)


def converted(language):
    text = LlamaConfig(**language)
    config = JanusConfig(
        text_config=text.to_dict(), vision_config=JanusVisionConfig(projection_dim=text.hidden_size).to_dict(),
        vq_config=JanusVQVAEConfig(projection_dim=text.hidden_size, image_token_embed_dim=text.hidden_size).to_dict(),
        tie_word_embeddings=False)
    return json.loads(config.to_json_string()), JanusForConditionalGeneration(config)


def compact(tensors):
    """Lines "name [shape]", with the index of a transformer layer folded where all layers 0..n-1 have the tensor."""
    folded = {}
    for name, tensor in tensors.items():
        key = re.sub(r"\b(layers|blocks)\.\d+\.", r"\1.{}.", name, count=1) if "aligner" not in name else name
        folded.setdefault((key, str(list(tensor.shape))), []).append(name)
    for (key, shape), names in folded.items():
        last = len(names) - 1
        if "{}" in key:
            assert names == [key.replace("{}", str(i)) for i in range(len(names))], key
        yield f"{key.replace('{}', f'{{0..{last}}}')} {shape}"


def write(name, layout, config, model):
    tensors = model.state_dict()
    lines = list(compact(tensors))
    (HERE / "published" / f"{name}.{layout}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (HERE / "published" / f"{name}.{layout}.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(name, layout, len(tensors), "tensors", sum(t.numel() for t in tensors.values()), "elements")


def main():
    modules = reference.load(sys.argv[1])
    linspace = torch.linspace  # the vision tower reads numbers back from one, which meta tensors cannot give
    modules.siglip.torch.linspace = lambda *a, **k: linspace(*a, **{**k, "device": "cpu"})
    with torch.device("meta"):
        for name, language in MODELS.items():
            write(name, "original", *original(modules, language))
            write(name, "converted", *converted(language))


if __name__ == "__main__":
    main()
