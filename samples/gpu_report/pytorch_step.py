#!/usr/bin/env python3
"""PyTorch's decode step beside that of `bifrons bench`, on the same exported weights:

  bifrons export -m random:janus-pro-1b --out weights && python3 pytorch_step.py weights

transformers' modules in the loop of generation_inference.py, bf16: hidden states, logits, guidance, a token, its
embedding, the transformer. Once eagerly, and once as the replay of a CUDA graph over a cache of fixed size, which spares
PyTorch all its launches. Needs transformers 5, whose static cache keeps its length on the device. Milliseconds, medians.
"""
import argparse
import statistics
import time

import torch
from transformers import DynamicCache, JanusForConditionalGeneration, StaticCache

GUIDANCE = 5
WARM_UP, STEPS = 5, 50

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder")
parser.add_argument("--device", default="cuda", help="cpu has no graphs, and rehearses the rest")
parser.add_argument("--position", type=int, default=300, help="positions already in the cache, as in bench")
parser.add_argument("--rows", default="2,32")
arguments = parser.parse_args()
on_gpu = arguments.device != "cpu"

janus = JanusForConditionalGeneration.from_pretrained(arguments.folder, dtype=torch.bfloat16).eval().to(arguments.device)
text = janus.config.text_config


class Step:
    """A decode step of `rows` rows, of which every two are a guidance pair; its buffers stay where they are."""

    def __init__(self, rows, static):
        options = {"dtype": torch.bfloat16, "device": arguments.device}
        self.static = static
        self.cache = (StaticCache(config=text, max_cache_len=arguments.position + WARM_UP + STEPS + 1) if static
                      else DynamicCache(config=text))
        prompt = torch.randn(rows, arguments.position, text.hidden_size, **options)
        janus.model.language_model(inputs_embeds=prompt, use_cache=True, past_key_values=self.cache)
        self.hidden = torch.randn(rows, 1, text.hidden_size, **options)

    def __call__(self):
        logits = janus.model.generation_head(self.hidden[:, -1]).float()
        conditional, unconditional = logits[0::2], logits[1::2]
        chances = torch.softmax(unconditional + GUIDANCE * (conditional - unconditional), -1)
        token = torch.argmax(chances / torch.empty_like(chances).exponential_(), -1)  # multinomial, without its checks
        embeds = janus.prepare_embeddings_for_image_generation(token.repeat_interleave(2)).unsqueeze(1)
        output = janus.model.language_model(inputs_embeds=embeds, use_cache=True, past_key_values=self.cache)
        self.hidden.copy_(output.last_hidden_state)

    def rewind(self):
        if self.static:
            for layer in self.cache.layers:
                layer.cumulative_length.fill_(arguments.position)
        elif self.cache.get_seq_length() > arguments.position:
            self.cache.crop(arguments.position - self.cache.get_seq_length())

    def captured(self):
        """What replays the step."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self()
        return graph.replay


def median_ms(step, run):
    times = []
    for i in range(WARM_UP + STEPS):
        if not step.static or i == 0:
            step.rewind()
        if on_gpu:
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if on_gpu:
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[WARM_UP:])


with torch.inference_mode():
    name = torch.cuda.get_device_name() if on_gpu else "cpu"
    print(f"{name}; PyTorch {torch.__version__}; {arguments.folder}, bf16, position {arguments.position}")
    for rows in map(int, arguments.rows.split(",")):
        for setting, static, graph in (("eager", False, False), ("static cache", True, False), ("CUDA graph", True, True)):
            if graph and not on_gpu:
                continue
            for attention in ("sdpa", "eager"):
                janus.set_attn_implementation(attention)
                try:
                    step = Step(rows, static)
                    ms = median_ms(step, step.captured() if graph else step)
                    print(f"decode step, {rows} rows, {setting}, {attention} attention: {ms:.3f} ms", flush=True)
                except Exception as error:  # what this PyTorch or GPU cannot do
                    print(f"decode step, {rows} rows, {setting}, {attention} attention: not measured ({error})", flush=True)
