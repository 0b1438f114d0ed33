#!/usr/bin/env python3
"""Writes what PyTorch says about pictures and questions, beside the models that make.py wrote.

  python make_understanding.py CHECKOUT        the tiny models; CHECKOUT is a checkout of github.com/deepseek-ai/Janus
  python make_understanding.py --mini FOLDER   the bundled model (assets/janus-mini), through transformers

Run it after make.py, which empties the folders. Per tiny model:
  original/, converted/        get a preprocessor_config.json
  understanding/golden.json    questions, pictures and PyTorch's own bf16 error
  understanding/K_*.npy        of question K: ids, pixel_values [images, 3, S, S], vision, aligned [images·N, width],
                               text_logits [vocabulary] (after the last id), answer (greedy) and answer_gaps (between the
                               two best logits), vq_codes and vq_gaps (between the two least distances) [images, N]
  understanding/chat_*.npy     the same ids, answer and answer_gaps of a second turn after question 0 and its answer
Pictures are in pictures/, those of the bundled model in janus-mini-understanding/.
"""
import argparse
import json
import pathlib
import shutil

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer

import reference
from make import TINY, original_config, rms, round_parameters, save

HERE = pathlib.Path(__file__).parent
ANSWER = 12  # tokens

# Pictures and question. Sizes are odd, shapes wide, tall and square, modes those that have to become RGB.
QUESTIONS = {
    "wide": (["wide.png"], "What is on the picture?"),
    "tall": (["tall.png"], "  Wie groß ist der grüne Bär 🐻‍❄️ auf dem Øresund? 一只猫\u3000\n"),
    "two": (["alpha.png", "wide.png"], "Which one is brighter?"),
    "none": ([], "  a dog and a cat\n"),
    "no question": (["alpha.png"], ""),
    "three": (["tall.png", "alpha.png", "square.png"], "under the tree?"),
}
# After question 0 and its answer, whose text is encoded anew.
SECOND_TURN = (["tall.png"], "And on this one? 2 Äpfel")


def make_pictures(folder):
    """Pictures with edges, slopes and noise."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    generator = np.random.default_rng(5)

    def picture(width, height, channels=3):
        y, x = np.mgrid[0:height, 0:width].astype(np.float64)
        planes = [127 + 90 * np.sin(x * a + y * b + c) for a, b, c in generator.uniform(-1, 1, (channels, 3))]
        array = np.stack(planes, -1) + generator.normal(0, 20, (height, width, channels))
        array[height // 3:height // 2, width // 4:width // 2] = generator.integers(0, 256, channels)
        return array.clip(0, 255).astype(np.uint8)

    Image.fromarray(picture(61, 23)).save(folder / "wide.png")
    Image.fromarray(picture(5, 17)).quantize(16).save(folder / "tall.png")
    Image.fromarray(picture(29, 31, 4)).save(folder / "alpha.png")
    Image.fromarray(picture(3, 3)[..., 0]).save(folder / "square.png")


def preprocessor_config(spec):
    """As deepseek-ai's folders have it. Their min_size is 14, more than these models' pictures measure."""
    return {"background_color": [127, 127, 127], "do_normalize": True, "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "VLMImageProcessor", "image_size": spec["image"], "image_std": [0.5, 0.5, 0.5],
            "min_size": 3, "processor_class": "VLChatProcessor", "rescale_factor": 1 / 255}


def message(role, content, pictures=()):
    return {"role": role, "content": "<image_placeholder>\n" * len(pictures) + content, "images": pictures}


def inputs_of(chat, messages, pictures):
    images = [Image.open(pictures / name).convert("RGB") for m in messages for name in m["images"]]
    batch = chat(conversations=messages, images=images)
    return {name: batch[name] for name in ("input_ids", "pixel_values", "images_seq_mask", "images_emb_mask")}


def stages(modules, model, inputs, eos, images):
    """Everything between the pictures and the answer."""
    dtype = next(model.parameters()).dtype
    inputs = {**inputs, "input_ids": inputs["input_ids"].clone(), "pixel_values": inputs["pixel_values"].to(dtype)}
    pixels = inputs["pixel_values"][0, :images]
    vision = model.vision_model(pixels).flatten(0, 1)
    logits, chosen, gaps = reference.answer(model.language_model, model.prepare_inputs_embeds(modules.modeling, inputs),
                                            ANSWER, eos)
    result = {"vision": vision, "aligned": model.aligner(vision), "text_logits": logits}
    return {name: tensor.float() for name, tensor in result.items()}, chosen, gaps


def check_converted(janus, inputs, ours, chosen, eos, images):
    """transformers' model on the converted layout agrees."""
    pixels = inputs["pixel_values"][0, :images]
    embeds = janus.get_input_embeddings()(inputs["input_ids"])
    if images:
        vision = janus.model.vision_model(pixels).last_hidden_state
        aligned = janus.model.aligner(vision).flatten(0, 1)
        assert rms(vision.flatten(0, 1) - ours["vision"]) < 1e-5 and rms(aligned - ours["aligned"]) < 1e-5
        embeds[inputs["images_seq_mask"]] = aligned
    logits, twin, _ = reference.answer(janus, embeds, ANSWER, eos)
    assert rms(logits - ours["text_logits"]) < 1e-5 and twin == chosen


def make_tiny(name, spec, modules, pictures):
    folder = HERE / name
    golden = folder / "understanding"
    shutil.rmtree(golden, ignore_errors=True)
    golden.mkdir()
    preprocessing = preprocessor_config(spec)
    for layout in spec["layouts"]:
        (folder / layout / "preprocessor_config.json").write_text(json.dumps(preprocessing, indent=1) + "\n")

    tokenizer = Tokenizer.from_file(str(folder / "original/tokenizer.json"))
    config = json.loads((folder / "original/config.json").read_text())
    assert config == original_config(spec, config["language_config"]["vocab_size"]), "run make.py first"
    models = []
    for dtype in (torch.float32, torch.bfloat16):
        model = reference.Janus(modules, config, spec).eval()
        state = {}
        for file in sorted((folder / "original").glob("pytorch_model*.bin")):
            state.update(torch.load(file, weights_only=True))
        missing, surplus = model.load_state_dict(state, strict=False)
        assert not surplus and set(missing) <= {"gen_vision_model.quantize.codebook_used"}, (missing, surplus)
        round_parameters(model, dtype, dtype)
        models.append(model)
    model, half = models
    converted = None
    if "converted" in spec["layouts"]:
        from transformers import JanusForConditionalGeneration
        converted = JanusForConditionalGeneration.from_pretrained(folder / "converted", dtype=torch.float32).eval()

    grid = spec["image"] // spec["patch"]
    chat = reference.processor(modules, tokenizer, spec["template"], grid * grid, preprocessing)
    roles = modules.conversation.get_conv_template(spec["template"]).roles
    eos = tokenizer.token_to_id("<｜end▁of▁sentence｜>")
    errors = {"vision": [], "aligned": [], "text_logits": []}
    summary = {"template": spec["template"], "layouts": spec["layouts"], "max_tokens": ANSWER, "eos": eos, "questions": []}
    with torch.inference_mode():
        for k, (key, (files, question)) in enumerate(QUESTIONS.items()):
            inputs = inputs_of(chat, [message(roles[0], question, files), message(roles[1], "")], pictures)
            ours, chosen, gaps = stages(modules, model, inputs, eos, len(files))
            if converted:
                check_converted(converted, inputs, ours, chosen, eos, len(files))
            pixels = inputs["pixel_values"][0, :len(files)]
            if files:
                vq_codes = model.gen_vision_model.encode(pixels)[2][2].reshape(len(files), -1)
                twin, vq_gaps = reference.nearest(model.gen_vision_model, pixels)
                assert (twin == vq_codes)[vq_gaps > 1e-5].all()
                for what, array in (("pixel_values", pixels), ("vision", ours["vision"]), ("aligned", ours["aligned"]),
                                    ("vq_codes", vq_codes), ("vq_gaps", vq_gaps)):
                    save(golden, f"{k}_{what}", array)
            for what, array in (("ids", inputs["input_ids"][0]), ("text_logits", ours["text_logits"]), ("answer", chosen),
                                ("answer_gaps", gaps)):
                save(golden, f"{k}_{what}", array)
            bf16 = stages(modules, half, inputs, eos, len(files))[0]
            for what, values in errors.items():
                values.extend((bf16[what] - ours[what]).flatten().tolist())
            summary["questions"].append({"name": key, "text": question, "pictures": files})
            print(f"{name} {key}: {inputs['input_ids'].shape[1]} ids; std of vision, aligned, logits "
                  + " ".join(f"{array.std():.2f}" for array in ours.values() if array.numel())
                  + f"; smallest gap {min(gaps):.4f}, {len(set(chosen))} tokens of {len(chosen)}")
            if files:
                print(f"  codes: smallest gap {vq_gaps.min():.5f}, {len(vq_codes.unique())} of {vq_codes.numel()} differ")
            if k == 0:
                answer = tokenizer.decode(chosen).strip()
        messages = [message(roles[0], QUESTIONS["wide"][1], QUESTIONS["wide"][0]), message(roles[1], answer),
                    message(roles[0], SECOND_TURN[1], SECOND_TURN[0]), message(roles[1], "")]
        inputs = inputs_of(chat, messages, pictures)
        _, chosen, gaps = stages(modules, model, inputs, eos, inputs["pixel_values"].shape[1])
        for what, array in (("ids", inputs["input_ids"][0]), ("answer", chosen), ("answer_gaps", gaps)):
            save(golden, f"chat_{what}", array)
        summary["second_turn"] = {"answer": answer, "text": SECOND_TURN[1], "pictures": SECOND_TURN[0]}
        print(f"{name} {answer!r}; {inputs['input_ids'].shape[1]} ids; smallest gap {min(gaps):.4f}")
    # RMS over questions and values of (PyTorch in bf16 − PyTorch in f32).
    for what, values in errors.items():
        summary[f"bf16_{what}_rms"] = rms(torch.tensor(values))
    (golden / "golden.json").write_text(json.dumps(summary, ensure_ascii=False, indent=1) + "\n")
    print(name, {key: value for key, value in summary.items() if key.endswith("rms")})


MINI_TOKENS = 64
MINI_STRIDE = 12  # of the vision tower's rows every so many are kept
DESCRIBE = "Describe this image."
# Tiles of samples/gallery.png (column, row) and question.
MINI_QUESTIONS = [
    ([(0, 0)], DESCRIBE), ([(1, 1)], DESCRIBE), ([(2, 2)], DESCRIBE), ([(3, 3)], DESCRIBE), ([(1, 3)], DESCRIBE),
    ([(3, 1)], "What is on the picture?"), ([(0, 2)], "How many lollipops are there?"),
    ([(1, 0), (2, 0)], "What color is the background?"), ([], "What can you see?"),
]


def gallery_tile(gallery, column, row):
    """A picture of 96×96 out of the gallery, which shows every pixel twice in both directions; see gallery.sh."""
    tile = gallery[6 + row * gallery.shape[0] // 4:, 6 + column * gallery.shape[1] // 4:][:192, :192]
    assert (tile[::2, ::2] == tile[1::2, 1::2]).all(), "the gallery's tiles have moved"
    return tile[::2, ::2]


def make_mini(folder):
    from transformers import JanusForConditionalGeneration, logging
    from transformers.models.janus.image_processing_pil_janus import JanusImageProcessorPil
    from transformers.models.janus.processing_janus import DEFAULT_SYSTEM_PROMPT

    logging.set_verbosity_error()
    golden = HERE / "janus-mini-understanding"
    shutil.rmtree(golden, ignore_errors=True)
    golden.mkdir()
    janus = JanusForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    preprocess = JanusImageProcessorPil.from_pretrained(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    bos, eos = map(tokenizer.token_to_id, ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"))
    picture = f"<begin_of_image>{'<image_placeholder>' * janus.config.vision_config.num_image_tokens}<end_of_image>\n"
    gallery = np.asarray(Image.open(HERE / "../../samples/gallery.png").convert("RGB"))
    summary = {"stride": MINI_STRIDE, "max_tokens": MINI_TOKENS, "eos": eos, "questions": []}
    with torch.inference_mode():
        for k, (tiles, question) in enumerate(MINI_QUESTIONS):
            files = [f"{k}_{i}.png" for i in range(len(tiles))]
            for file, tile in zip(files, tiles):
                Image.fromarray(gallery_tile(gallery, *tile)).save(golden / file)
            text = f"{DEFAULT_SYSTEM_PROMPT}<|User|>: {picture * len(tiles)}{question}\n\n<|Assistant|>:"
            ids = torch.tensor([[bos] + tokenizer.encode(text, add_special_tokens=False).ids])
            images, arrays = {}, {}
            if files:
                pixels = preprocess([Image.open(golden / file) for file in files], return_tensors="pt")["pixel_values"]
                images = {"pixel_values": pixels}
                vision = janus.model.vision_model(pixels).last_hidden_state
                arrays = {"vision": vision.flatten(0, 1)[::MINI_STRIDE],
                          "aligned": janus.model.aligner(vision).flatten(0, 1)[::MINI_STRIDE]}
                # Its own search for the nearest entry does not normalise, as the reference's does.
                arrays["vq_codes"], arrays["vq_gaps"] = reference.nearest(janus.model.vqmodel, pixels)
            result = janus.generate(ids, attention_mask=torch.ones_like(ids), **images, do_sample=False, eos_token_id=eos,
                                    max_new_tokens=MINI_TOKENS, output_logits=True, return_dict_in_generate=True)
            chosen = result.sequences[0, ids.shape[1]:].tolist()
            best = torch.cat(result.logits).topk(2).values
            arrays |= {"ids": ids[0], "text_logits": result.logits[0][0], "answer": chosen, "answer_gaps": best[:, 0] - best[:, 1]}
            for what, array in arrays.items():
                save(golden, f"{k}_{what}", array)
            answer = tokenizer.decode(chosen).strip()
            summary["questions"].append({"name": f"mini-{k}", "text": question, "pictures": files, "answer": answer})
            print(f"{question} {answer!r}, {len(chosen)} tokens, smallest gap {min(best[:, 0] - best[:, 1]):.5f}")
    (golden / "golden.json").write_text(json.dumps(summary, ensure_ascii=False, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", nargs="?", help="a checkout of deepseek-ai/Janus")
    parser.add_argument("--mini", metavar="FOLDER", help="the bundled model's folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.checkout:
        modules = reference.load(arguments.checkout)
        make_pictures(HERE / "pictures")
        for name, spec in TINY.items():
            make_tiny(name, spec, modules, HERE / "pictures")
    if arguments.mini:
        make_mini(pathlib.Path(arguments.mini))
    if not (arguments.checkout or arguments.mini):
        parser.error("name a checkout, or a folder with --mini")


if __name__ == "__main__":
    main()
