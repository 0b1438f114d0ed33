"""Draws prompts with an exported model through transformers, as a contact sheet: one row of pictures per
guidance weight.
"""

import argparse
import pathlib

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import JanusForConditionalGeneration

import gallery_prompts
import scenes
import tokenizer as words

AT_ONCE = 20  # pictures the VQ decoder draws together: whole groups take gigabytes


@torch.no_grad()
def draw(janus, vocabulary, prompts, guidance, temperature=1.0):
    """The reference's loop: u + w (c - u) on raw logits. Rows of one prompt length run together, so that
    nothing is padded."""
    model, pictures = janus.model, {}
    encoded = {p: vocabulary.encode(words.prompt(p)).ids for p in prompts}
    for length in {len(ids) for ids in encoded.values()}:
        group = [p for p in prompts if len(encoded[p]) == length]
        conditional = torch.tensor([encoded[p] for p in group], device=janus.device)
        blank = conditional.clone()
        blank[:, 1:-1] = vocabulary.token_to_id(words.PAD)
        inputs, cache, tokens = model.get_input_embeddings()(torch.cat([conditional, blank])), None, []
        for _ in range(scenes.GRID**2):
            out = model.language_model(inputs_embeds=inputs, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            with_prompt, without = model.generation_head(out.last_hidden_state[:, -1]).float().chunk(2)
            logits = without + guidance * (with_prompt - without)
            chances = (logits / temperature).softmax(-1)
            token = torch.multinomial(chances, 1)
            tokens.append(token)
            inputs = model.generation_aligner(model.generation_embeddings(token)).repeat(2, 1, 1)
        decoded = torch.cat([janus.decode_image_tokens(some) for some in torch.cat(tokens, 1).split(AT_ONCE)])
        pixels = ((decoded.float() + 1) / 2 * 255).clamp(0, 255).cpu().numpy().astype(np.uint8)
        pictures.update(zip(group, pixels))
    return [pictures[p] for p in prompts]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', type=pathlib.Path)
    parser.add_argument('out', type=pathlib.Path)
    parser.add_argument('--guidance', type=float, nargs='+', default=[1, 2, 3, 5])
    parser.add_argument('--temperature', type=float, default=1.0)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--prompts', nargs='+', default=None, help="the gallery's unless given")
    options = parser.parse_args()
    janus = JanusForConditionalGeneration.from_pretrained(options.model, dtype=torch.float32).eval()
    vocabulary = Tokenizer.from_file(str(options.model / 'tokenizer.json'))
    prompts, rows = options.prompts or gallery_prompts.prompts(), []
    for guidance in options.guidance:
        torch.manual_seed(options.seed)
        rows.append(np.concatenate(draw(janus, vocabulary, prompts, guidance, options.temperature), 1))
    Image.fromarray(np.concatenate(rows)).save(options.out)


if __name__ == '__main__':
    main()
