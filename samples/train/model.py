"""The model's shape, in transformers' terms, and the two parts of it that are trained apart."""

import torch
from transformers import JanusConfig, JanusForConditionalGeneration
from transformers.models.janus.modeling_janus import JanusVisionEncoderLayer
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

import codebook
import scenes
import tokenizer as words

HEAD = 64  # width of an attention head


def config(vocabulary, sizes):
    """`vocabulary` is the tokenizer, sizes the [model] section of the configuration. Everything that a
    quantised file cuts into blocks is a multiple of 256 wide."""
    ids = {
        name: vocabulary.token_to_id(token)
        for name, token in dict(
            bos_token_id=words.BOS, eos_token_id=words.EOS, pad_token_id=words.PAD
        ).items()
    }
    tokens, hidden, seeing = scenes.GRID**2, sizes['hidden'], sizes['vision_hidden']
    text = dict(
        model_type='llama',
        hidden_size=hidden,
        intermediate_size=sizes['intermediate'],
        num_hidden_layers=sizes['layers'],
        num_attention_heads=hidden // HEAD,
        num_key_value_heads=hidden // HEAD,
        vocab_size=vocabulary.get_vocab_size(),
        max_position_embeddings=1024,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
        **ids
    )
    vision = dict(
        hidden_size=seeing,
        num_hidden_layers=sizes['vision_layers'],
        num_attention_heads=seeing // HEAD,
        mlp_ratio=sizes['vision_intermediate'] / seeing,
        image_size=scenes.SIDE,
        patch_size=scenes.PATCH,
        projection_dim=hidden,
        num_image_tokens=tokens,
        depth=2,
        use_qk_norm=False,
        hidden_dropout_rate=0.0,
        projection_dropout=0.0,
    )
    vq = dict(
        embed_dim=codebook.DIMENSIONS,
        num_embeddings=codebook.size(),
        double_latent=False,
        latent_channels=128,
        num_patches=scenes.GRID,
        base_channels=sizes['vq_base'],
        channel_multiplier=[1, 1, 2, 2],
        num_res_blocks=1,
        dropout=0.0,
        in_channels=3,
        out_channels=3,
        projection_dim=hidden,
        image_token_embed_dim=hidden,
        num_hidden_layers=2,
    )
    return JanusConfig(
        text_config=text,
        vision_config=vision,
        vq_config=vq,
        image_token_id=vocabulary.token_to_id(words.PLACEHOLDER),
        tie_word_embeddings=False,
        **ids
    )


def build(vocabulary, sizes):
    """The whole model as initialised. Convolutions start as PyTorch starts them: transformers' own start
    trains slowly."""
    torch.manual_seed(sizes['seed'])
    settings = config(vocabulary, sizes)
    janus = JanusForConditionalGeneration._from_config(settings, attn_implementation='eager').float()
    for module in janus.model.vqmodel.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.reset_parameters()
    return janus


def fuse(module):
    """Compiles the transformer layers within: most of a step on a CPU went into casts and elementwise work,
    which fuse to a third of it. The first steps take a minute longer, and a C++ compiler."""
    for layer in module.modules():
        if isinstance(layer, (LlamaDecoderLayer, JanusVisionEncoderLayer)):
            layer.compile(dynamic=True)


class Drawer(torch.nn.Module):
    """The part that turns a prompt into image tokens."""

    def __init__(self, janus):
        super().__init__()
        inner = janus.model
        self.language_model, self.generation_embeddings = inner.language_model, inner.generation_embeddings
        self.generation_aligner, self.generation_head = inner.generation_aligner, inner.generation_head

    def start(self):
        """Gives it weights to be trained from."""
        for module in self.modules():
            if isinstance(module, torch.nn.Linear):
                module.reset_parameters()
        torch.nn.init.normal_(self.language_model.embed_tokens.weight, std=0.5)
        torch.nn.init.normal_(self.generation_embeddings.weight)
        for layer in self.language_model.layers:
            # Each block starts by adding nothing.
            torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
            torch.nn.init.zeros_(layer.mlp.down_proj.weight)

    def forward(self, prompt, codes):
        """Hidden states from which each image token is read, given the prompt [b, p] and the tokens before
        it [b, n]."""
        drawn = self.generation_aligner(self.generation_embeddings(codes))
        inputs = torch.cat([self.language_model.embed_tokens(prompt), drawn], 1)
        hidden = self.language_model(inputs_embeds=inputs, use_cache=False).last_hidden_state
        return hidden[:, prompt.shape[1] - 1 :]

    def logits(self, hidden):
        """The head is a fifth of the work: only tokens that are asked for go through it."""
        return self.generation_head(hidden)

    def matrices(self):
        """What Muon trains."""
        parts = self.language_model.layers, self.generation_aligner
        linear = [m.weight for part in parts for m in part.modules() if isinstance(m, torch.nn.Linear)]
        return [w for w in linear if w.shape[1] > codebook.DIMENSIONS] + [
            self.generation_head.proj_out.weight
        ]


class Painter(torch.nn.Module):
    """The part that turns image tokens into pixels."""

    def __init__(self, janus, vectors=None):
        super().__init__()
        vq = janus.model.vqmodel
        self.codes, self.post_quant_conv, self.decoder = vq.quantize.embedding, vq.post_quant_conv, vq.decoder
        if vectors is not None:
            self.codes.weight.data.copy_(torch.nn.functional.normalize(vectors, dim=-1))

    def forward(self, codes):
        """Pixels in -1..1 [b, 3, 8h, 8w] from codes [b, h, w]."""
        vectors = torch.nn.functional.normalize(self.codes(codes), dim=-1)
        return self.decoder(self.post_quant_conv(vectors.permute(0, 3, 1, 2).contiguous()))

    def matrices(self):
        """What Muon trains: all but the convolutions at either end."""
        return [p for n, p in self.decoder.named_parameters() if p.ndim == 4 and not n.startswith('conv_out')]
