#!/usr/bin/env python3
"""OpenAI Batch files against OpenAI's own package: its client writes the requests, and reads the answers.

  openai_batch.py goldens FOLDER [--write]   checks (or writes) FOLDER/input.jsonl, checks FOLDER/output.jsonl
  openai_batch.py program BIFRONS            runs `BIFRONS render` on requests, right and wrong, and checks its answers

requirements: openai==3.57.0
"""
import argparse
import base64
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
import zlib

import openai
from openai import DefaultHttpxClient, OpenAI
from openai.types import ImagesResponse
from openai.types.chat import ChatCompletion

IMAGES, CHAT = "/v1/images/generations", "/v1/chat/completions"


def png(side: int) -> bytes:
    """A grey picture."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = (b"\0" + b"\x80" * side) * side
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


class Wire:
    """A client whose requests go nowhere: each is kept as a line of a batch, and answered with what is given."""

    def __init__(self):
        import httpx2  # what DefaultHttpxClient is made of
        self.lines, self.answer = [], (200, {"created": 0})

        def handle(request):
            self.lines.append({"method": request.method, "url": request.url.path, "body": json.loads(request.content)})
            status, body = self.answer
            return httpx2.Response(status, json=body)

        self.client = OpenAI(api_key="none", max_retries=0,
                             http_client=DefaultHttpxClient(transport=httpx2.MockTransport(handle)))

    def images(self, **params):
        return self.client.images.generate(**params)

    def chat(self, *messages, **params):
        return self.client.chat.completions.create(model="janus", messages=list(messages), **params)

    def replay(self, url: str, status: int, body: dict):
        """The package's reading of an answer."""
        self.answer = (status, body)
        if url == CHAT:
            return self.chat({"role": "user", "content": "x"})
        return self.images(prompt="x")


def good_requests(picture_url: str, picture_file: str) -> list[dict]:
    wire = Wire()
    shown = lambda url: {"type": "image_url", "image_url": {"url": url, "detail": "high"}}
    said = lambda text: {"type": "text", "text": text}
    wire.images(prompt="a cat")
    wire.images(prompt="a dog “in” the rain\n猫", model="janus", n=2, size="auto", response_format="b64_json",
                output_format="png", quality="high", style="vivid", background="auto", moderation="low", user="me",
                extra_body={"seed": 7, "cfg": 4.5, "temperature": 0.5, "top_k": 100, "top_p": 0.9, "min_p": 0.01})
    wire.images(prompt="a house", output_format="webp", response_format="url", extra_body={"guidance": 2})
    wire.chat({"role": "user", "content": [shown(picture_url), said("What is this?")]}, max_tokens=8)
    wire.chat({"role": "system", "content": "Answer briefly."},
              {"role": "user", "content": [said("What is this?"), shown(picture_file)]},
              {"role": "assistant", "content": "A dog."},
              {"role": "user", "content": "What colour is it?"},
              max_completion_tokens=4, temperature=0.5, top_p=0.9, seed=3, n=1, stream=False)
    wire.images(prompt="a lighthouse", model="gpt-image-1", size="1536x1024", quality="high", output_format="png",
                output_compression=100, background="opaque", moderation="auto")
    wire.images(prompt="a fox", model="dall-e-2", n=2, size="256x256")
    return [{"custom_id": f"request-{i}"} | line for i, line in enumerate(wire.lines)]


def bad_requests() -> list[tuple[str, str, str | None]]:
    """custom_id, line, the parameter at fault."""
    def images(custom_id, **body):
        return json.dumps({"custom_id": custom_id, "method": "POST", "url": IMAGES, "body": body})
    url = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
    return [
        ("broken", '{"custom_id": "broken", "method": "POST", "url": ', None),
        ("no-prompt", images("no-prompt"), "prompt"),
        ("number", images("number", prompt=5), "prompt"),
        ("count", images("count", prompt="x", n="two"), "n"),
        ("typo", images("typo", prompt="x", sede=1), "sede"),
        ("long", images("long", prompt="word " * 200_000), "prompt"),
        ("size", images("size", prompt="x", size="5000x512"), "size"),
        ("request-0", images("request-0", prompt="again"), "custom_id"),
        ("elsewhere", json.dumps({"custom_id": "elsewhere", "method": "POST", "url": "/v1/embeddings", "body": {}}), "url"),
        ("get", json.dumps({"custom_id": "get", "method": "GET", "url": IMAGES, "body": {"prompt": "x"}}), "method"),
        ("download", json.dumps({"custom_id": "download", "method": "POST", "url": CHAT, "body": {
            "model": "janus", "messages": [{"role": "user", "content": [url]}]}}), "messages[0].content[0].image_url.url"),
        ("private", json.dumps({"custom_id": "private", "method": "POST", "url": CHAT, "body": {
            "model": "janus", "messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "file:///etc/hostname"}}]}]}}), None),
    ]


def check_known(value, where: str) -> None:
    """No field that the package's types lack, at any depth."""
    if isinstance(value, list):
        for i, item in enumerate(value):
            check_known(item, f"{where}[{i}]")
    elif hasattr(value, "model_extra"):
        assert not value.model_extra, f"{where} has unknown fields {sorted(value.model_extra)}"
        for name in type(value).model_fields:
            check_known(getattr(value, name), f"{where}.{name}")


def check_line(line: dict) -> dict:
    """The parts of a line that the Batch API documents; its response."""
    assert set(line) == {"id", "custom_id", "response", "error"}, line
    assert line["id"].startswith("batch_req_") and isinstance(line["custom_id"], str), line
    assert line["error"] is None, line
    response = line["response"]
    assert set(response) == {"status_code", "request_id", "body"} and response["request_id"], line
    return response


def check_picture(image, inline: bool, files_exist: bool) -> None:
    if inline:
        data = base64.b64decode(image.b64_json, validate=True)
        assert data.startswith(b"\x89PNG\r\n\x1a\n") and b"IHDR" in data[:16] and data[-8:-4] == b"IEND"
        assert image.url is None
        return
    url = urllib.parse.urlsplit(image.url)
    assert url.scheme == "file" and image.b64_json is None, image.url
    assert not files_exist or pathlib.Path(urllib.request.url2pathname(url.path)).is_file(), image.url


def check_answer(request: dict, line: dict, files_exist: bool) -> None:
    response, body = check_line(line), request["body"]
    assert response["status_code"] == 200, line
    answer = Wire().replay(request["url"], 200, response["body"])
    check_known(answer, request["custom_id"])
    if request["url"] == CHAT:
        ChatCompletion.model_validate(response["body"], strict=True)
        assert answer.model == "janus" and len(answer.choices) == 1 and answer.choices[0].message.content is not None
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
        limit = body.get("max_tokens", body.get("max_completion_tokens"))
        assert answer.usage.completion_tokens <= limit
    else:
        ImagesResponse.model_validate(response["body"], strict=True)
        assert len(answer.data) == body.get("n", 1), line
        assert answer.output_format == body.get("output_format", "png"), answer.output_format
        if body.get("size", "auto") != "auto":
            assert answer.size == body["size"], answer.size
        assert answer.background == "opaque" and answer.quality in (None, body.get("quality")), line
        inline = body.get("response_format") == "b64_json" or body.get("model", "").startswith("gpt-image-")
        for image in answer.data:
            check_picture(image, inline, files_exist)


def check_refusal(line: dict, param: str | None) -> None:
    response = check_line(line)
    assert response["status_code"] == 400, line
    try:
        Wire().replay(IMAGES, 400, response["body"])
    except openai.BadRequestError as error:
        assert error.type == "invalid_request_error" and error.body["message"], line
        assert error.param == param, f"{line['custom_id']}: {error.param} is at fault, not {param}"
        return
    raise AssertionError("the package takes this for an answer: " + json.dumps(line))


def run_goldens(folder: pathlib.Path, write: bool) -> None:
    data_uri = "data:image/png;base64," + base64.b64encode(png(8)).decode()
    requests = good_requests(data_uri, "file:///pictures/a%20dog.png")
    bad = [entry for entry in bad_requests() if entry[0] not in ("long", "private")]  # those are the program's to refuse
    text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in requests) + "".join(b[1] + "\n" for b in bad)
    path = folder / "input.jsonl"
    if write:
        path.write_text(text, encoding="utf-8")
        return
    assert path.read_text(encoding="utf-8") == text, f"{path} is not what this version of the package writes"
    answers = [json.loads(line) for line in (folder / "output.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [a["custom_id"] for a in answers] == [r["custom_id"] for r in requests] + [b[0] for b in bad]
    for request, answer in zip(requests, answers):
        check_answer(request, answer, files_exist=False)
    for (_, _, param), answer in zip(bad, answers[len(requests):]):
        check_refusal(answer, param)
    print(f"{len(answers)} answers are as openai {openai.__version__} reads them")


def run_program(program: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "a picture.png").write_bytes(png(40))
        data_uri = "data:image/png;base64," + base64.b64encode(png(8)).decode()
        requests = good_requests(data_uri, (folder / "a picture.png").as_uri())
        bad = bad_requests()
        lines = [json.dumps(r) for r in requests] + [b[1] for b in bad]
        (folder / "in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        done = subprocess.run([program, "render", folder / "in.jsonl", "-o", folder / "out"], check=False)
        assert done.returncode >= 0, f"ended by signal {-done.returncode}"
        answers = [json.loads(line) for line in (folder / "out" / "output.jsonl").read_text(encoding="utf-8").splitlines()]
        assert len(answers) == len(lines), f"{len(answers)} answers to {len(lines)} requests"

        def take(custom_id: str, good: bool) -> dict:
            for i, answer in enumerate(answers):
                if answer["custom_id"] == custom_id and (answer["response"]["status_code"] == 200) == good:
                    return answers.pop(i)
            raise AssertionError(f"{custom_id} has no {'answer' if good else 'refusal'}: {json.dumps(answers)[:2000]}")

        for request in requests:
            check_answer(request, take(request["custom_id"], True), files_exist=True)
        for custom_id, _, param in bad:
            check_refusal(take(custom_id, False), param)
        print(f"{len(lines)} answers of {program} are as openai {openai.__version__} reads them")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    goldens = commands.add_parser("goldens")
    goldens.add_argument("folder", type=pathlib.Path)
    goldens.add_argument("--write", action="store_true")
    commands.add_parser("program").add_argument("program")
    options = parser.parse_args()
    if options.command == "goldens":
        run_goldens(options.folder, options.write)
    else:
        run_program(options.program)


if __name__ == "__main__":
    sys.exit(main())
