"""Writes the trained parts as a model directory in the converted layout that transformers and the engine read."""
import argparse
import json
import pathlib

import torch
from tokenizers import Tokenizer
from transformers import GenerationConfig, PreTrainedTokenizerFast

import model
import scenes
import tokenizer as words
import train_encoder
import train_joint
import train_tower

GUIDANCE = 3.0  # of the sixteen gallery prompts twelve come out right with 3, ten with 5
# The published models' single-turn template, as a transformers chat template.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|User|>: ' if message['role'] == 'user' else '<|Assistant|>: ' if message['role'] == 'assistant' else '' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image_placeholder>\n' }}{% elif part['type'] == 'text' %}"
    "{{ part['text'] | trim }}{% endif %}{% endfor %}"
    "{{ '<｜end▁of▁sentence｜>' if message['role'] == 'assistant' else '\n\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|Assistant|>:' }}{% endif %}")


def _parts(janus, work):
    """Loads the averaged weights of every training there is in the work directory into the whole model; the joint one has the last word."""
    tower = train_tower.Tower(janus)
    parts = dict(painter=lambda: model.Painter(janus), drawer=lambda: model.Drawer(janus, trained=True), tower=lambda: tower,
                 joint=lambda: train_joint.Joint(janus, tower), encoder=lambda: train_encoder.Encoder(janus))
    figures = {}
    for name, part in parts.items():
        if (work / f'{name}.pt').exists():
            state = torch.load(work / f'{name}.pt', weights_only=False)
            part().load_state_dict(state['averaged'])
            figures[name] = {key: round(state[key]) for key in ('step', 'seen', 'seconds')}
    return figures


def _write(path, content):
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work', type=pathlib.Path)
    parser.add_argument('out', type=pathlib.Path)
    parser.add_argument('--start', type=pathlib.Path, help='model directory to take from what the work directory has not trained')
    options = parser.parse_args()
    vocabulary = Tokenizer.from_file(str(options.work / 'tokenizer.json'))
    janus = model.build(vocabulary)
    if options.start:
        janus.load_state_dict(model.load(options.start).state_dict())
    figures = _parts(janus, options.work)
    ids = {k: vocabulary.token_to_id(t) for k, t in dict(bos_token_id=words.BOS, eos_token_id=words.EOS, pad_token_id=words.PAD).items()}
    janus.generation_config = GenerationConfig(**ids, guidance_scale=GUIDANCE)
    janus.generation_config.generation_kwargs = {'boi_token_id': vocabulary.token_to_id(words.BOI)}
    options.out.mkdir(parents=True, exist_ok=True)
    janus.to(torch.bfloat16).save_pretrained(options.out)
    PreTrainedTokenizerFast(
        tokenizer_object=vocabulary, bos_token=words.BOS, eos_token=words.EOS, pad_token=words.PAD, model_max_length=1024,
        additional_special_tokens=[words.PLACEHOLDER, words.BOI, words.EOI, words.USER, words.ASSISTANT],
        extra_special_tokens=dict(image_token=words.PLACEHOLDER, boi_token=words.BOI, eoi_token=words.EOI)).save_pretrained(options.out)
    (options.out / 'model.safetensors').chmod(0o644)
    _write(options.out / 'preprocessor_config.json', dict(
        image_processor_type='JanusImageProcessor', processor_class='JanusProcessor', size=dict(height=scenes.SIDE, width=scenes.SIDE), min_size=14,
        do_resize=True, resample=3, do_rescale=True, rescale_factor=1 / 255, do_normalize=True, image_mean=[0.5] * 3, image_std=[0.5] * 3,
        do_convert_rgb=True, do_pad=True, background_color=[127, 127, 127]))
    _write(options.out / 'processor_config.json', dict(processor_class='JanusProcessor', num_image_tokens=scenes.GRID ** 2, use_default_system_prompt=True))
    (options.out / 'chat_template.jinja').write_text(CHAT_TEMPLATE, encoding='utf-8')
    print(figures, {f.name: f.stat().st_size for f in sorted(options.out.iterdir())})


if __name__ == '__main__':
    main()
