"""Writes the trained parts as a model directory in the converted layout that transformers and the engine
read.
"""

import json

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast

import encode
import joint
import model
import scenes
import see
import tokenizer as words

GUIDANCE = 3.0  # of the sixteen gallery prompts twelve come out right with 3, ten with 5
# The published models' single-turn template, as a transformers chat template.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|User|>: ' if message['role'] == 'user' else "
    "'<|Assistant|>: ' if message['role'] == 'assistant' else '' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image_placeholder>\n' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'] | trim }}{% endif %}{% endfor %}"
    "{{ '<｜end▁of▁sentence｜>' if message['role'] == 'assistant' else '\n\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|Assistant|>:' }}{% endif %}"
)


def _parts(world, janus):
    """Gives the whole model the weights of every stage there is; the last has the last word. Returns
    their names."""
    tower = see.Tower(janus)
    parts = dict(
        paint=model.Painter(janus),
        draw=model.Drawer(janus),
        see=tower,
        encode=encode.Encoder(janus),
        joint=joint.Joint(janus, tower),
        finetune=joint.Joint(janus, tower),
        polish=joint.Joint(janus, tower),
    )
    return [name for name, part in parts.items() if world.load(part, name)]


def _write(path, content):
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')


def export(world, out):
    vocabulary, janus = world.vocabulary, world.build()
    trained = _parts(world, janus)
    names = dict(bos_token_id=words.BOS, eos_token_id=words.EOS, pad_token_id=words.PAD)
    ids = {k: vocabulary.token_to_id(t) for k, t in names.items()}
    janus.generation_config = GenerationConfig(**ids, guidance_scale=GUIDANCE)
    janus.generation_config.generation_kwargs = {'boi_token_id': vocabulary.token_to_id(words.BOI)}
    out.mkdir(parents=True, exist_ok=True)
    janus.to(torch.bfloat16).save_pretrained(out)
    PreTrainedTokenizerFast(
        tokenizer_object=vocabulary,
        bos_token=words.BOS,
        eos_token=words.EOS,
        pad_token=words.PAD,
        model_max_length=1024,
        additional_special_tokens=[words.PLACEHOLDER, words.BOI, words.EOI, words.USER, words.ASSISTANT],
        extra_special_tokens=dict(image_token=words.PLACEHOLDER, boi_token=words.BOI, eoi_token=words.EOI),
    ).save_pretrained(out)
    (out / 'model.safetensors').chmod(0o644)
    _write(
        out / 'preprocessor_config.json',
        dict(
            image_processor_type='JanusImageProcessor',
            processor_class='JanusProcessor',
            size=dict(height=scenes.SIDE, width=scenes.SIDE),
            min_size=14,
            do_resize=True,
            resample=3,
            do_rescale=True,
            rescale_factor=1 / 255,
            do_normalize=True,
            image_mean=[0.5] * 3,
            image_std=[0.5] * 3,
            do_convert_rgb=True,
            do_pad=True,
            background_color=[127, 127, 127],
        ),
    )
    _write(
        out / 'processor_config.json',
        dict(
            processor_class='JanusProcessor', num_image_tokens=scenes.GRID**2, use_default_system_prompt=True
        ),
    )
    (out / 'chat_template.jinja').write_text(CHAT_TEMPLATE, encoding='utf-8')
    print(f'from the stages {", ".join(trained)}:', {f.name: f.stat().st_size for f in sorted(out.iterdir())})
