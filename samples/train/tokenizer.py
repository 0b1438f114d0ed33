"""Trains the byte-level BPE: the DeepSeek-LLM pre-tokenizer and special tokens of the published models, a
small vocabulary.
"""

import json
import random

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import german
import scenes
import wording

FILE = scenes.HERE / 'tokenizer.json'  # kept, as codes.npz is
BOS, EOS, PAD = '<｜begin▁of▁sentence｜>', '<｜end▁of▁sentence｜>', '<｜▁pad▁｜>'
USER, ASSISTANT, BOI, EOI, PLACEHOLDER = (
    '<|User|>',
    '<|Assistant|>',
    '<begin_of_image>',
    '<end_of_image>',
    '<image_placeholder>',
)
SPECIAL = (BOS, EOS, PAD, USER, ASSISTANT, BOI, EOI, PLACEHOLDER)
ENGLISH = """You are a helpful language and vision assistant. You are able to understand the visual content
that the user provides, and assist the user with a variety of tasks using natural language. What is in this
picture? Describe the image, please. How many things are there? Which colour does the background have? Is
there something on the left side, on the right, at the top or at the bottom? There are two of them. It is
not there. Yes, it is. No, there is no such thing. I see one thing and nothing else. The picture shows them
in the middle, next to each other, in front of the background. Where is it? This one is bigger than that
one, with another below. Count all of the objects and say what they are. Can you tell me who, when, why and
how? They have been here before, but now we want to make some more, from small to large, about as far as we
could go. Would you like to know which one of these it was? Hello! Thank you very much. A dog, a cat and a
question mark."""


def _corpus():
    """Captions as they are trained on, then every name."""
    r = random.Random(11)
    for _ in range(24000):
        scene, form = scenes.scene(r), r.random()
        if form < 0.2 and german.speaks(scene):
            yield german.say(scene, r)
        else:
            yield scene.caption if form < 0.65 else wording.reword(scene, r)
    for thing in scenes.EMOJI:
        for name in (thing.name, thing.plural):
            yield from [f'a {name}', f'{name.capitalize()} two {name}'] * 15
    for noun in scenes.UNTAUGHT:
        yield f'a {noun}'
    yield from [ENGLISH.replace('\n', ' ')] * 40


def build(size):
    """A tokenizers.Tokenizer whose special tokens follow the learned entries, as in the published files."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.decoder = decoders.ByteLevel()
    # The library reads a pre-tokenizer only as part of a whole file.
    description = json.loads(tokenizer.to_str())
    description['pre_tokenizer'] = json.loads((scenes.HERE / 'pretokenizer.json').read_text(encoding='utf-8'))
    tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.train_from_iterator(
        _corpus(),
        trainers.BpeTrainer(
            vocab_size=size - len(SPECIAL),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f'{BOS} $A', pair=f'{BOS} $A {BOS} $B', special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer


def make(settings):
    """Writes FILE."""
    built = build(settings['vocabulary'])
    built.save(str(FILE))
    print(
        f'{built.get_vocab_size()} entries, for instance',
        built.encode(prompt('two dogs on an orange background')).tokens,
    )


def load():
    return Tokenizer.from_file(str(FILE))


SYSTEM = (
    'You are a helpful language and vision assistant. You are able to understand the visual content that '
    'the user provides, and assist the user with a variety of tasks using natural language.'
)


def prompt(caption):
    """The text in front of the image tokens, without BOS: the reference's single-turn template."""
    return f'{USER}: {caption.strip()}\n\n{ASSISTANT}:{BOI}'


# A conversation about a picture: BEFORE_IMAGE, the image's features, AFTER_IMAGE, turn(question,
# first=True), " answer", EOS, turn(question), ...
BEFORE_IMAGE, AFTER_IMAGE = f'{SYSTEM}\n\n{USER}: {BOI}', EOI


def turn(question, first=False):
    """What stands in front of an answer: a question about the image, or a later one."""
    start = '\n' if first else f'{USER}: '
    return f'{start}{question}\n\n{ASSISTANT}:'
