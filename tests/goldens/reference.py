"""The reference's own modules, imported from a checkout of deepseek-ai/Janus at any geometry.

The checkout is not changed. Its packages are imported without their __init__ files (which need torchvision and
processors that current transformers cannot load), and four small stand-ins serve the imports of attrdict, einops, timm
and torchvision: plain containers, layers whose parameters have timm's names, and Pillow's resize. Two base classes of
transformers whose constructors have changed since are stood in for as well.
"""
import functools
import importlib
import sys
import types
from unittest import mock

import torch
from PIL import Image
from torch import nn


class AttrDict(dict):
    __getattr__ = dict.__getitem__


class PatchEmbed(nn.Module):
    """timm.layers.PatchEmbed: a convolution whose stride is its size, then [n, patches, width]."""

    def __init__(self, img_size, patch_size, in_chans, embed_dim, bias=True, dynamic_img_pad=False, **_):
        super().__init__()
        self.num_patches = (img_size // patch_size) ** 2
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size, bias=bias)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Mlp(nn.Module):
    def __init__(self, in_features, hidden_features=None, out_features=None, act_layer=nn.GELU, drop=0.0):
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden_features or in_features)
        self.act = act_layer()
        self.fc2 = nn.Linear(hidden_features or in_features, out_features or in_features)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


def rearrange(x, pattern, **sizes):
    """einops for the three patterns of prepare_inputs_embeds."""
    if pattern == "(b n) t d -> b (n t) d":
        return x.reshape(sizes["b"], -1, x.shape[-1])
    return {"b n c h w -> (b n) c h w": lambda: x.flatten(0, 1), "b n t -> b (n t)": lambda: x.flatten(1)}[pattern]()


def resize(image, size, interpolation, antialias):
    """torchvision.transforms.functional.resize of a Pillow image."""
    assert interpolation == Image.Resampling.BICUBIC and antialias
    return image.resize(size[::-1], interpolation)


class ImageProcessorBase:
    """What VLMImageProcessor takes from transformers' BaseImageProcessor."""

    def __init__(self, **_):
        pass

    def rescale(self, image, scale, input_data_format):
        from transformers.image_transforms import rescale

        return rescale(image, scale, input_data_format=input_data_format)

    def normalize(self, image, mean, std, input_data_format):
        from transformers.image_transforms import normalize

        return normalize(image, mean, std, input_data_format=input_data_format)

    def __call__(self, images, **options):
        return self.preprocess(images, **options)


class AttentionPoolLatent(nn.Module):
    """timm.layers.AttentionPoolLatent's parameters. Janus stores them and never runs them."""

    def __init__(self, in_features, num_heads=8, mlp_ratio=4.0, norm_layer=nn.LayerNorm, **_):
        super().__init__()
        self.latent = nn.Parameter(torch.zeros(1, 1, in_features))
        self.q = nn.Linear(in_features, in_features)
        self.kv = nn.Linear(in_features, 2 * in_features)
        self.proj = nn.Linear(in_features, in_features)
        self.norm = norm_layer(in_features)
        self.mlp = Mlp(in_features, int(in_features * mlp_ratio))


def _module(name, **members):
    module = sys.modules[name] = types.ModuleType(name)
    module.__dict__.update(members)
    return module


def load(checkout):
    """The modules vq, siglip, modeling, conversation, processing and image_processing of the checkout."""
    # Before the stand-ins: transformers asks which packages there are.
    import transformers
    import transformers.image_processing_utils  # noqa: F401
    import transformers.processing_utils  # noqa: F401
    from transformers import JanusForConditionalGeneration, LlamaForCausalLM  # noqa: F401

    before = set(sys.modules)
    _module("attrdict", AttrDict=AttrDict)
    _module("einops", rearrange=rearrange)
    _module("timm")
    _module("timm.layers", PatchEmbed=PatchEmbed, Mlp=Mlp, AttentionPoolLatent=AttentionPoolLatent, DropPath=nn.Identity,
            PatchDropout=nn.Identity, LayerType=object, resample_abs_pos_embed=None)
    _module("timm.models")
    _module("timm.models._manipulate", checkpoint_seq=None, named_apply=None)
    functional = _module("torchvision.transforms.functional", resize=resize, InterpolationMode=Image.Resampling)
    _module("torchvision", transforms=_module("torchvision.transforms", functional=functional))
    for package in ("janus", "janus.models", "janus.utils"):
        _module(package).__path__ = [f"{checkout}/{package.replace('.', '/')}"]
    names = {"vq": "models.vq_model", "siglip": "models.siglip_vit", "modeling": "models.modeling_vlm",
             "conversation": "utils.conversation", "image_processing": "models.image_processing_vlm",
             "processing": "models.processing_vlm"}
    plain = type("Plain", (), {})
    # Its config classes are not the dataclasses that transformers 5 makes of them; only its modules are used here.
    with mock.patch("transformers.configuration_utils.PretrainedConfig", plain), \
            mock.patch.object(transformers, "PretrainedConfig", plain), \
            mock.patch.object(transformers, "AutoConfig"), mock.patch.object(transformers, "AutoModelForCausalLM"), \
            mock.patch.object(transformers, "AutoImageProcessor"), mock.patch.object(transformers, "LlamaTokenizerFast"), \
            mock.patch("transformers.image_processing_utils.BaseImageProcessor", ImageProcessorBase), \
            mock.patch("transformers.processing_utils.ProcessorMixin", plain):
        modules = {key: importlib.import_module(f"janus.{name}") for key, name in names.items()}
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("attrdict", "einops", "timm", "torchvision"):
            del sys.modules[name]
    return types.SimpleNamespace(**modules)


def processor(reference, tokenizer, template, tokens, preprocessing):
    """processing_vlm.py: VLChatProcessor without its constructor, which wants a transformers tokenizer. `tokenizer` puts
    the BOS itself; `preprocessing` is what preprocessor_config.json says."""
    names = ("image_size", "min_size", "image_mean", "image_std", "rescale_factor", "do_normalize")
    chat = object.__new__(reference.processing.VLChatProcessor)
    chat.image_processor = reference.image_processing.VLMImageProcessor(**{name: preprocessing[name] for name in names})
    chat.tokenizer = types.SimpleNamespace(vocab=tokenizer.get_vocab(), encode=lambda text: tokenizer.encode(text).ids)
    chat.image_tag, chat.image_start_tag, chat.image_end_tag = "<image_placeholder>", "<begin_of_image>", "<end_of_image>"
    chat.pad_tag, chat.add_special_token = "<｜▁pad▁｜>", False
    chat.num_image_tokens, chat.sft_format = tokens, template
    return chat


class Janus(nn.Module):
    """janus/models/modeling_vlm.py: MultiModalityCausalLM, its parts by its names. That class itself derives from a
    transformers class whose constructor contract has changed since."""

    def __init__(self, reference, config, geometry):
        from transformers import LlamaConfig, LlamaForCausalLM

        super().__init__()
        # The reference writes these numbers into its code: VQ_16, Encoder/Decoder's defaults, SigLIP_MODEL_CONFIG.
        encoder, decoder = reference.vq.Encoder, reference.vq.Decoder
        shape = {"ch": geometry["base_channels"], "num_res_blocks": geometry["res_blocks"]}
        reference.vq.Encoder = functools.partial(encoder, **shape)
        reference.vq.Decoder = functools.partial(decoder, **shape)
        levels = geometry["channel_multiplier"]
        self.gen_vision_model = reference.vq.VQModel(reference.vq.ModelArgs(
            codebook_size=geometry["codebook"], codebook_embed_dim=geometry["codebook_dim"], encoder_ch_mult=levels,
            decoder_ch_mult=levels, z_channels=geometry["latent_channels"]))
        reference.vq.Encoder, reference.vq.Decoder = encoder, decoder
        vision = config["vision_config"]["params"]
        reference.siglip.SigLIP_MODEL_CONFIG[vision["model_name"]] = {
            "image_size": vision["image_size"], "patch_size": geometry["patch"], "width": geometry["vision_width"],
            "layers": geometry["vision_layers"], "heads": 16, "mlp_ratio": 4, "global_pool": "map"}
        parts = reference.modeling
        self.vision_model = parts.CLIPVisionTower(**vision)
        self.aligner = parts.MlpProjector(AttrDict(config["aligner_config"]["params"]))
        self.gen_aligner = parts.MlpProjector(AttrDict(config["gen_aligner_config"]["params"]))
        self.gen_head = parts.vision_head(AttrDict(config["gen_head_config"]["params"]))
        self.gen_embed = nn.Embedding(geometry["codebook"], geometry["codebook_dim"])
        # What transformers stores in generation checkpoints trained with an untied head.
        self.language_model = LlamaForCausalLM(LlamaConfig(**config["language_config"], tie_word_embeddings=False))

    def prepare_gen_img_embeds(self, image_ids):
        return self.gen_aligner(self.gen_embed(image_ids))

    def prepare_inputs_embeds(self, modeling, inputs):
        return modeling.MultiModalityCausalLM.prepare_inputs_embeds(self, **inputs)


def answer(language_model, embeds, tokens, eos):
    """inference.py's generate(do_sample=False) of at most `tokens` tokens after embeds [1, length, hidden].
    Returns the logits [vocabulary] of the first, the tokens (EOS included) and the gap between the two best logits at each."""
    cache, chosen, gaps, first = None, [], [], None
    while len(chosen) < tokens and (not chosen or chosen[-1] != eos):
        outputs = language_model(inputs_embeds=embeds, use_cache=True, past_key_values=cache)
        cache, logits = outputs.past_key_values, outputs.logits[0, -1].float()
        first = logits if first is None else first
        best = torch.topk(logits, 2)
        gaps.append((best.values[0] - best.values[1]).item())
        chosen.append(best.indices[0].item())
        embeds = language_model.get_input_embeddings()(torch.tensor([chosen[-1:]]))
    return first, chosen, gaps


def nearest(vq, pixel_values):
    """The VQ encoder's codes of pictures [n, 3, size, size], and by how much the nearest entry is nearer than the second,
    both [n, grid²]; vq_model.py: VectorQuantizer.forward without its trick for the distances, which costs digits."""
    normalize = functools.partial(torch.nn.functional.normalize, dim=-1)
    z = vq.quant_conv(vq.encoder(pixel_values)).permute(0, 2, 3, 1).flatten(1, 2)
    distances = (normalize(z).unsqueeze(2) - normalize(vq.quantize.embedding.weight)).square().sum(-1)
    best = distances.topk(2, largest=False)
    return best.indices[..., 0], best.values[..., 1] - best.values[..., 0]


def run(model, ids, pad, codes, tokens, guidance=5.0):
    """generation_inference.py's loop for one picture. codes: teacher forcing; None: guided greedy.
    Returns logits [tokens, 2, codebook] (conditional, unconditional), the codes, and the gap between the two best guided
    logits at each position."""
    rows = torch.tensor([ids, ids])
    rows[1, 1:-1] = pad
    embeds = model.language_model.get_input_embeddings()(rows)
    cache, chosen, all_logits, gaps = None, [], [], []
    for i in range(tokens):
        outputs = model.language_model.model(inputs_embeds=embeds, use_cache=True, past_key_values=cache)
        cache = outputs.past_key_values
        logits = model.gen_head(outputs.last_hidden_state[:, -1, :]).float()
        guided = logits[1] + guidance * (logits[0] - logits[1])
        best = torch.topk(guided, 2)
        all_logits.append(logits)
        gaps.append((best.values[0] - best.values[1]).item())
        chosen.append(best.indices[0].item() if codes is None else int(codes[i]))
        embeds = model.prepare_gen_img_embeds(torch.tensor([chosen[-1]] * 2)).unsqueeze(1)
    return torch.stack(all_logits), chosen, gaps


def pixels(model, codes, grid):
    """The decoder's raw output, [height, width, 3]."""
    vq = model.gen_vision_model
    shape = [1, vq.quantize.e_dim, grid, grid]
    return vq.decode_code(torch.tensor([codes], dtype=torch.int), shape=shape)[0].float().permute(1, 2, 0)
